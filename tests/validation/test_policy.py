"""The rules that are tables, and which names and secrets are acceptable."""

import itertools

import pytest

from tests.builders import NOW, snapshot, totp_token, user
from validation.decisions import Reason
from validation.errors import BadInput
from validation.model import Factor, Snapshot, Throttle, TokenState
from validation.policy import (
    LIFECYCLE,
    OBSTACLE,
    Standing,
    check_label,
    check_name,
    check_secret,
    check_serial,
    may_move,
    standing,
    usable_tokens,
)
from validation.settings import DAY, DEFAULTS

WAITING = {Factor.PASSWORD: Throttle(5, NOW + 1)}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (snapshot(user=None, tokens=()), Standing.UNKNOWN),
        (snapshot(user=user(disabled=True, locked=True), throttles=WAITING), Standing.DISABLED),
        (snapshot(user=user(locked=True), throttles=WAITING), Standing.LOCKED),
        (snapshot(throttles=WAITING), Standing.WAITING),
        (snapshot(throttles=WAITING, tokens=()), Standing.WAITING),
        (snapshot(throttles={Factor.PASSCODE: Throttle(5, NOW + 1)}), Standing.WAITING),
        (snapshot(throttles={Factor.PASSCODE: Throttle(9, NOW)}), Standing.REGISTERED),
        (snapshot(tokens=()), Standing.NEW),
        (snapshot(tokens=(totp_token(state=TokenState.DISABLED),)), Standing.NEW),
        (snapshot(), Standing.REGISTERED),
    ],
)
def test_where_a_user_stands(seen: Snapshot, expected: Standing) -> None:
    assert standing(seen, DEFAULTS, NOW) is expected


def test_whoever_is_unknown_or_barred_gets_no_further_and_the_others_do() -> None:
    assert OBSTACLE == {
        Standing.SOURCE_HELD: Reason.SOURCE_HELD,
        Standing.UNKNOWN: Reason.USER_UNKNOWN,
        Standing.DISABLED: Reason.USER_DISABLED,
        Standing.LOCKED: Reason.USER_LOCKED,
        Standing.WAITING: Reason.WAITING,
    }
    assert set(Standing) - set(OBSTACLE) == {Standing.NEW, Standing.REGISTERED}


def test_only_active_tokens_are_usable() -> None:
    tokens = tuple(totp_token(id=n, state=state) for n, state in enumerate(TokenState))
    assert [t.state for t in usable_tokens(snapshot(tokens=tokens))] == [TokenState.ACTIVE]


def test_a_revoked_token_moves_nowhere() -> None:
    moves = {
        (old, new) for old, new in itertools.product(TokenState, TokenState) if may_move(totp_token(state=old), new)
    }
    assert moves == {
        (TokenState.ACTIVE, TokenState.DISABLED),
        (TokenState.ACTIVE, TokenState.REVOKED),
        (TokenState.DISABLED, TokenState.ACTIVE),
        (TokenState.DISABLED, TokenState.REVOKED),
    }
    assert set(LIFECYCLE) == set(TokenState)


def test_the_defaults_are_the_documented_ones() -> None:
    s = DEFAULTS
    assert (s.totp_window, s.drift_limit, s.look_ahead) == (1, 10, 10)
    assert (s.tries, s.challenge_lifetime, s.onboarding_lifetime) == (3, 120, 600)
    assert (s.second_factor, s.enrolment, s.onboarding_over_radius) == ("required", "both", "ticket")
    assert (s.pairing_window, s.pairing_reopen, s.grace, s.reuse_window) == (14 * DAY, 3 * DAY, 0, 0)
    assert (s.security_key, s.max_registrations, s.guess_budget, s.show_key) == ("allowed", 5, 900, "off")
    assert (s.lock_from, s.lock_base, s.lock_max, s.disable_at, s.reject_delay) == (5, 30, 3600, 100, 1.0)
    assert s.source_lock_from == 50


@pytest.mark.parametrize(
    "name",
    ["a", "alice", "EXAMPLE\\alice", "alice@example.org", "Zoë", "李", "root", "0", "*", "a b", "../x", "x" * 253, "'"],
)
def test_names_that_are_acceptable(name: str) -> None:
    check_name("user", name)
    assert len(name.encode()) <= 253


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "  ", "\t", " alice", "alice ", "alice\n", "\u00a0alice", "-alice", "--json"),
        *("al\0ice", "al\x1b[31mice", "al\rice", "al\u202eice", "al\u200bice", "al\u2028ice", "\ue000", "\U000e0001"),
        *("al\udc80ice", "\u0378", "x" * 254, "ü" * 127, "x" * 65_536),
    ],
    ids=ascii,
)
def test_names_that_could_not_be_typed_back_or_trick_a_reader_are_refused(name: str) -> None:
    with pytest.raises(BadInput) as refusal:
        check_name("group", name)
    assert str(refusal.value).startswith("group name: ")
    assert len(str(refusal.value)) < 200
    assert str(refusal.value).isprintable()


def test_serials_that_are_acceptable() -> None:
    for serial in ("TF-1", "x" * 64, "UBHO00012345", "1", "a/b:c"):
        check_serial(serial)


@pytest.mark.parametrize("serial", ["", "x" * 65, "a b", "a\n", "ü", "\x7f", "-1", "a\0", " "], ids=ascii)
def test_serials_that_are_not(serial: str) -> None:
    with pytest.raises(BadInput, match=r"^serial: "):
        check_serial(serial)


def test_labels_that_are_acceptable() -> None:
    for label in ("", "Pixel 8", "x" * 64, "Zoës Telefon 📱"):
        check_label(label)


@pytest.mark.parametrize("label", ["x" * 65, "a\n", "\x1b[0m", "\u202e", "a\u200bb"], ids=ascii)
def test_labels_that_are_not(label: str) -> None:
    with pytest.raises(BadInput, match=r"^label: "):
        check_label(label)


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(BadInput, match="must not be empty"):
        check_secret(b"")


def test_a_secret_below_24_octets_is_warned_about_and_not_shown() -> None:
    for length in (1, 12, 23):
        (warning,) = check_secret(b"q" * length)
        assert f"{length} characters" in warning
        assert "qq" not in warning
    for length in (24, 64, 128):
        assert check_secret(b"q" * length) == ()
