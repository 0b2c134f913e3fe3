"""The read-only look before a password check: what to check against, and where a one-field entry is cut."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW, hotp_token, moment, snapshot, totp_token, user
from tests.validation.engine import pin
from validation import looking
from validation.decisions import Look, Split
from validation.errors import Damaged
from validation.model import Factor, Mode, Snapshot, Throttle, TokenState
from validation.requests import LookRequest, typed_alone

SIX = totp_token(id=1, serial="SIX", key=b"6" * 20)
SEVEN = totp_token(id=2, serial="SEVEN", key=b"7" * 20, digits=7)
EIGHT = hotp_token(id=3, serial="EIGHT", key=b"8" * 20, digits=8)
WAITING = {Factor.PASSCODE: Throttle(5, NOW + 1)}


def look(seen: Snapshot, typed: str = "", mode: Mode = Mode.APPEND) -> Look:
    return looking.look(seen, LookRequest("alice", "vpn", mode, typed), moment())


def split(seen: Snapshot, typed: str) -> tuple[str, str] | None:
    found = look(seen, typed).split
    return (found.password, found.passcode) if found is not None else None


# --- what the password is checked against


def test_a_user_who_may_log_in_is_checked_against_his_own_hash() -> None:
    seen = snapshot(user=user(password_hash="hash"))
    assert look(seen, mode=Mode.CHALLENGE) == Look("local", "hash", 3, user="alice")


@pytest.mark.parametrize(
    "fields",
    [
        {"user": None, "tokens": ()},
        {"user": user(password_hash="hash", locked=True)},
        {"user": user(password_hash="hash", disabled=True)},
        {"user": user(password_hash="hash"), "throttles": WAITING},
    ],
    ids=["unknown", "locked", "disabled", "waiting"],
)
def test_whoever_may_not_log_in_is_checked_against_nothing(fields: dict[str, Any]) -> None:
    """All the same: no hash, and a version that no stored hash has, so that no result can ever count."""
    assert look(snapshot(**fields), mode=Mode.CHALLENGE) == Look("local", None, -1)


def test_a_user_without_a_token_has_his_password_checked() -> None:
    """Else the time of the answer would tell who has one."""
    assert look(snapshot(user=user(password_hash="hash"), tokens=()), mode=Mode.CHALLENGE).password_hash == "hash"


def test_damage_is_not_looked_past() -> None:
    with pytest.raises(Damaged):
        look(snapshot(damage=Damaged("row")))


# --- where an entry is cut


@pytest.mark.parametrize("mode", [Mode.CHALLENGE, Mode.PASSCODE_ONLY])
def test_only_the_append_mode_cuts(mode: Mode) -> None:
    assert look(snapshot(), "geheim123456", mode).split is None


@pytest.mark.statement("O-070")
def test_the_token_whose_pin_was_typed_says_where_to_cut() -> None:
    seen = snapshot(tokens=(SIX, SEVEN, EIGHT))
    for token in (SIX, SEVEN, EIGHT):
        typed = pin(token, NOW)
        assert split(seen, f"geheim{typed}") == ("geheim", typed), token.serial


@pytest.mark.statement("O-070")
@pytest.mark.parametrize("password", ["geheim1", "123456", "000000000000", "7", "pass word ", "ü€😀", "\x00"])
def test_a_password_that_ends_in_digits_stays_whole(password: str) -> None:
    for tokens in [(SIX,), (EIGHT,), (SIX, EIGHT), (EIGHT, SIX), (SIX, SEVEN, EIGHT)]:
        for token in tokens:
            typed = pin(token, NOW)
            assert split(snapshot(tokens=tokens), password + typed) == (password, typed)


def test_the_window_counts_for_the_cut_too() -> None:
    seen = snapshot(tokens=(SIX, EIGHT))
    for ahead in (-1, 1):
        assert split(seen, "pw1" + pin(SIX, NOW, ahead)) == ("pw1", pin(SIX, NOW, ahead))
    assert split(seen, "pw1" + pin(EIGHT, NOW, 10)) == ("pw1", pin(EIGHT, NOW, 10))


@pytest.mark.statement("O-070")
@pytest.mark.parametrize(
    ("tokens", "length"),
    [
        ((SIX,), 6),
        ((EIGHT,), 8),
        ((EIGHT, totp_token(digits=8), SIX), 6),
        ((SIX, totp_token(), EIGHT), 6),
    ],
    ids=["six", "eight", "mostly eight", "mostly six"],
)
def test_where_no_pin_matches_the_shortest_length_is_cut(tokens: Any, length: int) -> None:
    entry = "geheim-00000000"
    assert split(snapshot(tokens=tokens), entry) == (entry[:-length], entry[-length:])


def test_a_token_that_is_not_active_says_nothing() -> None:
    disabled = totp_token(id=4, digits=8, state=TokenState.DISABLED)
    assert split(snapshot(tokens=(disabled, SIX)), "geheim" + pin(disabled, NOW)) == (
        "geheim" + pin(disabled, NOW)[:2],
        pin(disabled, NOW)[2:],
    )


@pytest.mark.parametrize("tokens", [(), (totp_token(state=TokenState.DISABLED),)], ids=["none", "disabled"])
def test_who_has_nothing_to_show_a_pin_with_has_typed_the_password_alone(tokens: Any) -> None:
    """His password may well end in digits, and must be proved before he may pair an app."""
    assert split(snapshot(tokens=tokens), "geheim123456") == ("geheim123456", "")


def test_an_unknown_user_is_cut_like_most() -> None:
    assert split(snapshot(user=None, tokens=()), "geheim-123456") == ("geheim-", "123456")


@pytest.mark.statement("O-073")
@pytest.mark.parametrize("entry", ["", "1", "12345", "123456"])
def test_an_entry_with_no_room_for_a_password_is_not_cut(entry: str) -> None:
    assert split(snapshot(tokens=(SIX,)), entry) is None
    assert split(snapshot(user=None, tokens=()), entry) is None


@pytest.mark.statement("O-073")
def test_a_pin_alone_is_no_entry_even_if_it_is_right() -> None:
    assert split(snapshot(tokens=(SIX,)), pin(SIX, NOW)) is None


def test_an_entry_too_short_for_one_token_may_fit_another() -> None:
    typed = pin(SIX, NOW)
    assert split(snapshot(tokens=(EIGHT, SIX)), "g" + typed) == ("g", typed)


@pytest.mark.parametrize(
    "fields",
    [{"user": user(locked=True)}, {"user": user(disabled=True)}, {"throttles": WAITING}],
    ids=["locked", "disabled", "waiting"],
)
def test_for_whoever_may_not_log_in_the_cut_compares_nothing(fields: dict[str, Any]) -> None:
    """A token with a hash nobody knows is a trap: comparing with it raises."""
    trap = totp_token(algorithm="md5", digits=8)
    assert split(snapshot(tokens=(trap,), **fields), "geheim12345678") == ("geheim", "12345678")
    with pytest.raises(KeyError, match="md5"):
        split(snapshot(tokens=(trap,)), "geheim12345678")


def test_a_kind_nobody_knows_is_damage() -> None:
    with pytest.raises(Damaged, match="ocra"):
        split(snapshot(tokens=(totp_token(kind="ocra"),)), "geheim12345678")


@given(entry=st.text(max_size=300), tokens=st.lists(st.sampled_from([SIX, SEVEN, EIGHT]), unique=True))
def test_a_cut_entry_is_the_entry_and_neither_part_is_empty(entry: str, tokens: list[Any]) -> None:
    found = look(snapshot(tokens=tuple(tokens)), entry).split
    if not tokens:
        assert found == Split(entry, "")
    elif found is not None:
        assert found.password + found.passcode == entry
        assert found.password
        assert len(found.passcode) in (6, 7, 8)


def test_looking_shows_neither_password_nor_pin() -> None:
    assert repr(Split("geheim", "755224")) == "Split()"
    assert "geheim" not in repr(LookRequest("alice", "vpn", Mode.APPEND, "geheim755224"))


# --- what is stripped from a PIN typed alone


@pytest.mark.parametrize("typed", ["755224", "755 224", "755-224", " 755\u00a0224 ", "7-5-5-2-2-4"])
def test_blanks_and_dashes_of_a_pin_typed_alone_do_not_count(typed: str) -> None:
    assert typed_alone(typed) == "755224"


@pytest.mark.parametrize(
    "typed", ["755\t224", "755.224", "755_224", "\uff17\uff15\uff15\uff12\uff12\uff14", "755\u2009224"]
)
def test_nothing_else_is_stripped(typed: str) -> None:
    assert typed_alone(typed) == typed


def test_who_has_a_security_key_alone_types_a_password_and_no_pin() -> None:
    """Else its end was cut off, and a right password counted as a wrong one."""
    seen = snapshot(user=user(first_registered_at=NOW), tokens=(totp_token(kind="webauthn"),))
    assert split(seen, "geheim-geheim") == ("geheim-geheim", "")
    assert split(seen, "geheim123456") == ("geheim", "123456")
