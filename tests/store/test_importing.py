"""From a file's tokens to those the engine is asked for: serials that are made, owners, origins, the file's order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.formats.reading import BadRow, Contents, Item, Seed, Skipped
from store.importing import boxful
from validation.decisions import Fate, RowResult
from validation.model import Origin, TokenState
from validation.names import Spelling
from validation.policy import MAX_SERIAL, check_label, check_serial
from validation.requests import NewToken

KEY = b"k" * 20


def seed(place: str = "line 1", **facts: Any) -> Seed:
    return Seed(place, "hotp", KEY, **facts)


def tokens(*items: Item, form: str = "oath-csv", stem: str = "box", **options: object) -> tuple[NewToken, ...]:
    return boxful(Contents(form, items), stem, Spelling(), **options).tokens  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "owner", "serial"),
    [
        ({"serial": "S1", "user": "alice"}, "bob", "S1"),
        ({"public_id": "ccccccrcvvuu", "user": "alice"}, "", "ccccccrcvvuu"),
        ({"user": "alice", "label": "blue phone"}, "bob", "alice-blue-phone"),
        ({"label": "phone"}, "bob", "bob-phone"),
        ({}, "bob", "bob"),
        ({}, "", "box"),
        ({"user": "käthe"}, "", "k-the"),
        ({"label": "\x1b[2J ü"}, "", "[2J"),
        ({"label": "ü"}, "", "token"),
    ],
)
def test_what_a_serial_is_made_of(facts: dict[str, Any], owner: str, serial: str) -> None:
    (new,) = tokens(seed(**facts), owner=owner)
    assert new.token.serial == serial


def test_made_serials_are_told_apart_in_the_order_of_the_file() -> None:
    made = [new.token.serial for new in tokens(seed("1"), seed("2", serial="box-2"), seed("3"), seed("4"))]
    assert made == ["box", "box-2", "box-3", "box-4"]


@given(st.lists(st.tuples(st.text(max_size=80), st.text(max_size=80)), max_size=30))
def test_any_names_give_possible_serials_and_the_same_each_time(names: list[tuple[str, str]]) -> None:
    items = [seed(str(n), user=user, label=label) for n, (user, label) in enumerate(names)]
    made = [new.token.serial for new in tokens(*items)]
    assert made == [new.token.serial for new in tokens(*items)]
    assert len(set(made)) == len(made)
    for serial in made:
        assert len(serial) <= MAX_SERIAL
        check_serial(serial)


def test_many_of_one_name_take_no_time_that_grows_with_their_square() -> None:
    """50,000 steps of the search, not 50,000 squared: else this would not end."""
    made = tokens(*(seed(str(n)) for n in range(50_000)))
    assert made[-1].token.serial == "box-50000"


def test_whose_they_are() -> None:
    items = (seed("1", user="alice"), seed("2"))
    assert [new.user for new in tokens(*items)] == ["alice", ""]
    assert [new.user for new in tokens(*items, owner="bob")] == ["alice", "bob"]
    assert [new.user for new in tokens(*items, no_users=True)] == ["", ""]


@pytest.mark.parametrize(
    ("form", "told", "asked", "origin"),
    [
        ("oath-csv", "", None, Origin.ADMIN),
        ("google-authenticator", "", None, Origin.SELF),
        ("otpauth", "", None, Origin.SELF),
        ("pskc", "self", None, Origin.SELF),
        ("otpauth", "admin", None, Origin.ADMIN),
        ("pskc", "self", Origin.ADMIN, Origin.ADMIN),
    ],
)
def test_who_brought_them(form: str, told: str, asked: Origin | None, origin: Origin) -> None:
    (new,) = tokens(seed(origin=told), form=form, origin=asked)
    assert new.token.origin is origin


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        ("C:\\\\keys", "C:\\\\keys"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 63 + "…"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
    ],
)
def test_a_label_stays_as_it_is_where_it_can(label: str, kept: str) -> None:
    (new,) = tokens(seed(serial="S", label=label))
    assert new.token.label == kept
    check_label(new.token.label)


def test_state_and_time_step() -> None:
    (new,) = tokens(seed(disabled=True, period=60), period=30)
    assert (new.token.state, new.token.period) == (TokenState.DISABLED, 60)
    (new,) = tokens(seed(period_assumed=True), period=60)
    assert (new.token.state, new.token.period) == (TokenState.ACTIVE, 60)


def test_what_is_said_comes_in_the_order_of_the_file() -> None:
    contents = Contents(
        "oath-csv", (seed("1"), BadRow("2", "seed", "too short", "S2"), Skipped("3", "a password"), seed("4"))
    )
    box = boxful(contents, "box", Spelling())
    results = box.results(RowResult(new.place, new.token.serial, Fate.READY) for new in box.tokens)
    assert [(row.place, row.fate, row.text) for row in results] == [
        ("1", Fate.READY, ""),
        ("2", Fate.REFUSED, "seed: too short"),
        ("4", Fate.READY, ""),
    ]


@pytest.mark.statement("O-106")
def test_a_key_in_place_of_the_serial_is_refused_and_not_shown() -> None:
    swapped = Seed("line 1", "hotp", b"S2", serial="U5ZWKZLEEBXWMIDUNBSSA5DFON2HGIHO")
    box = boxful(Contents("entra-csv", (swapped, seed("line 2", serial="a" * 32))), "box", Spelling())
    assert [(bad.place, bad.field, bad.serial) for bad in box.bad] == [("line 1", "serial", "")]
    assert "U5ZW" not in repr(box)
    assert [new.token.serial for new in box.tokens] == ["a" * 32], "a long serial beside a key of its length stays"
