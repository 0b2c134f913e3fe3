"""`twofold policy`: rules are set, shown, and explained for every door."""

import pytest

from tests.site import Site
from tests.store.cli.command import Twofold


@pytest.fixture
def alice(twofold: Twofold, site: Site) -> str:
    site.add_user("alice")
    site.add_client()
    return "alice"


def explained(twofold: Twofold, *options: str) -> tuple[str, str]:
    document = twofold.done("policy", "explain", "--user", "alice", *options, "--json").json
    return document["next_step"], document["reason"]


def test_explain_knows_every_door(twofold: Twofold, alice: str) -> None:
    twofold.done("policy", "set", "second_factor", "skip", "--service", "screen")
    assert explained(twofold, "--client", "vpn") == ("ticket", "onboarding")
    assert explained(twofold) == ("onboard", "onboarding")
    assert explained(twofold, "--service", "sshd") == ("onboard", "onboarding")
    assert explained(twofold, "--service", "screen") == ("let-in", "second-factor-skipped")
    said = twofold.done("policy", "explain", "--user", "alice", "--service", "screen").out
    assert said.startswith("The next login of alice through screen asks for a password. It is let in without a PIN")
    assert "policy 1: service screen" in said


@pytest.mark.parametrize(
    ("options", "whom"),
    [
        ([], "for everybody"),
        (["--group", "staff"], "for group staff"),
        (["--from", "10.20.0.0/16"], "from 10.20.0.0/16"),
        (["--client", "vpn", "--from", "10.20.0.0/16"], "for client vpn, from 10.20.0.0/16"),
    ],
)
def test_what_is_set_is_said_as_a_sentence(twofold: Twofold, alice: str, options: list[str], whom: str) -> None:
    assert twofold.done("policy", "set", "tries", "2", *options).out == f"tries is 2 {whom}.\n"
    assert twofold.done("policy", "unset", "tries", *options).out == f"tries is no longer set {whom}.\n"


def test_explain_names_what_it_cannot_make_sense_of(twofold: Twofold, alice: str) -> None:
    refused = {
        ("--user", "bob"): (1, "there is no user 'bob'"),
        ("--user", "alice", "--client", "wlan"): (1, "there is no client 'wlan'"),
        ("--user", "alice", "--from", "foo"): (2, "--from: 'foo' is no address"),
        ("--user", "alice", "--client", "vpn", "--service", "su"): (2, "--client and --service exclude each other"),
    }
    for options, (status, words) in refused.items():
        result = twofold("policy", "explain", *options)
        assert (result.status, words in result.err) == (status, True), result
