"""`twofold message`: texts are set for whom they are meant, and refused where people could not read them."""

from tests.store.cli.command import Twofold


def test_a_text_is_set_and_read_where_it_is_meant_to_be(twofold: Twofold) -> None:
    twofold.done("message", "set", "refused", "Ask Eve on floor 3.", "--group", "staff")
    for options, text in ((("--group", "staff"), "Ask Eve on floor 3."), ((), "The login was refused.")):
        assert twofold.done("message", "show", *options, "--json").json["texts"]["refused"] == text
    twofold.done("message", "set", "refused", "", "--group", "staff")
    shown = twofold.done("message", "show", "--group", "staff", "--json").json
    assert (shown["texts"]["refused"], shown["set"]) == ("The login was refused.", [])


def test_a_placeholder_that_nothing_fills_in_changes_nothing(twofold: Twofold) -> None:
    done = twofold("message", "set", "grace", "{days} days, {name}")
    assert done.status == 2
    assert "grace: people would read {name} as it stands; placeholders of this text: {days}" in done.sentence
    assert twofold.done("message", "show", "--json").json["set"] == []
