"""HOTP against RFC 4226: values, window, counter."""

import random
from dataclasses import replace

import pytest

from tests.builders import NOW, hotp_token
from tests.vectors import reference, rfc4226
from validation.model import Token
from validation.tokens import hotp
from validation.tokens.kind import MAX_COUNTER, NOTHING, Comparison, Match, Window

HOTP = hotp.Hotp()


def compare(token: Token, passcode: str, look_ahead: int = 10) -> Comparison:
    """Without what it was held against, which has a test of its own."""
    found = HOTP.compare(token, passcode, NOW, Window(totp_window=1, drift_limit=10, look_ahead=look_ahead))
    return replace(found, against=range(0))


def value(counter: int) -> str:
    return reference.hotp(rfc4226.KEY, counter)


@pytest.mark.statement("O-001")
@pytest.mark.parametrize("row", rfc4226.APPENDIX_D, ids=lambda row: str(row.counter))
def test_the_values_of_appendix_d(row: rfc4226.Row) -> None:
    token = hotp_token(key=rfc4226.KEY, moving_factor=row.counter)
    assert hotp.value_at(token, row.counter) == row.hotp
    assert compare(token, row.hotp).match == Match(row.counter + 1, 0)


@pytest.mark.statement("O-001")
@pytest.mark.parametrize("row", rfc4226.APPENDIX_D, ids=lambda row: str(row.counter))
def test_the_reference_agrees_with_every_column_of_appendix_d(row: rfc4226.Row) -> None:
    """The other tests of this folder compare the product with it."""
    digest = reference.hmac_of(rfc4226.KEY, row.counter)
    assert (digest.hex(), reference.truncated(digest)) == (row.hmac_hex, row.truncated)
    assert reference.hotp(rfc4226.KEY, row.counter) == row.hotp


@pytest.mark.statement("O-003")
@pytest.mark.parametrize("digits", [6, 7, 8])
@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_six_to_eight_digits_with_their_leading_zeros(digits: int, algorithm: str) -> None:
    token = hotp_token(digits=digits, algorithm=algorithm)
    zeros = next(c for c in range(1000) if reference.hotp(token.key, c, digits, algorithm).startswith("0"))
    expected = reference.hotp(token.key, zeros, digits, algorithm)
    assert (hotp.value_at(token, zeros), len(expected)) == (expected, digits)
    at_zeros = hotp_token(digits=digits, algorithm=algorithm, moving_factor=zeros)
    assert compare(at_zeros, expected).match == Match(zeros + 1, 0)
    assert compare(at_zeros, expected.lstrip("0")) == NOTHING


@pytest.mark.statement("O-004")
@pytest.mark.parametrize("counter", [2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**62, 2**63 - 2])
def test_counters_beyond_32_bits_work(counter: int) -> None:
    token = hotp_token(moving_factor=counter)
    assert compare(token, value(counter)).match == Match(counter + 1, 0)


@pytest.mark.statement("O-004")
def test_the_value_of_the_greatest_counter_is_right() -> None:
    for counter in (2**63 - 1, 2**64 - 1):
        assert hotp.value_at(hotp_token(), counter) == value(counter)


@pytest.mark.statement("O-004")
def test_a_token_whose_next_counter_would_not_fit_the_store_is_spent() -> None:
    """The last counter to accept is the one before: success must be able to write the next one."""
    last = hotp_token(moving_factor=MAX_COUNTER - 1)
    match = compare(last, value(MAX_COUNTER - 1)).match
    assert match == Match(MAX_COUNTER, 0)
    assert MAX_COUNTER == 2**63 - 1
    spent = hotp_token(moving_factor=MAX_COUNTER)
    assert [compare(spent, value(MAX_COUNTER + n)) for n in (0, 1)] == [NOTHING, NOTHING]


@pytest.mark.statement("O-005", "O-006")
@pytest.mark.parametrize("look_ahead", [0, 1, 10])
@pytest.mark.parametrize("counter", [0, 1, 100])
def test_success_at_c_plus_k_sets_the_counter_to_c_plus_k_plus_1(counter: int, look_ahead: int) -> None:
    token = hotp_token(moving_factor=counter)
    for k in range(look_ahead + 1):
        assert compare(token, value(counter + k), look_ahead) == Comparison(Match(counter + k + 1, 0))


@pytest.mark.statement("O-006")
@pytest.mark.parametrize("look_ahead", [0, 1, 10])
def test_beyond_the_look_ahead_nothing_is_accepted(look_ahead: int) -> None:
    token = hotp_token(moving_factor=100)
    assert compare(token, value(100 + look_ahead + 1), look_ahead) == NOTHING
    assert compare(token, value(100 + look_ahead + 2), look_ahead) == NOTHING


@pytest.mark.statement("O-006")
@pytest.mark.parametrize("look_ahead", [0, 1, 10])
def test_a_counter_once_passed_is_never_accepted(look_ahead: int) -> None:
    """The latest ones are recognised as used, which the log may say; older ones are just wrong."""
    token = hotp_token(moving_factor=100)
    for behind in range(1, 101):
        recognised = behind <= look_ahead + 1
        assert compare(token, value(100 - behind), look_ahead) == Comparison(used=recognised), behind


def test_the_look_ahead_ends_at_the_greatest_counter() -> None:
    near_the_end = hotp_token(moving_factor=MAX_COUNTER - 3)
    assert compare(near_the_end, value(MAX_COUNTER - 1)).match == Match(MAX_COUNTER, 0)
    assert compare(near_the_end, value(MAX_COUNTER)).match is None


@pytest.mark.parametrize(
    ("counter", "look_ahead", "against"),
    [(0, 10, range(11)), (5, 0, range(5, 6)), (MAX_COUNTER - 2, 10, range(MAX_COUNTER - 2, MAX_COUNTER))],
)
def test_a_wrong_value_costs_the_counters_it_was_held_against(counter: int, look_ahead: int, against: range) -> None:
    window = Window(totp_window=1, drift_limit=10, look_ahead=look_ahead)
    near = {value(n) for n in range(max(0, counter - 20), counter + 20)}
    wrong = next(text for n in range(100) if (text := f"{n:06}") not in near)
    assert HOTP.compare(hotp_token(moving_factor=counter), wrong, NOW, window) == Comparison(against=against)
    assert HOTP.compare(hotp_token(moving_factor=counter), "12345", NOW, window) == NOTHING


def test_comparing_changes_no_drift() -> None:
    assert compare(hotp_token(drift=4), value(0)).match == Match(1, 4)


def test_a_token_may_have_a_look_ahead_of_its_own() -> None:
    token = hotp_token(key=rfc4226.KEY, moving_factor=100, look_ahead=30)
    window = Window(totp_window=1, drift_limit=10, look_ahead=10)
    assert HOTP.compare(token, value(130), NOW, window).match == Match(131, 0)
    assert HOTP.compare(token, value(131), NOW, window).match is None
    assert HOTP.compare(replace(token, look_ahead=0), value(101), NOW, window).match is None


@pytest.mark.statement("O-001")
def test_what_is_compared_is_what_pyotp_shows() -> None:
    dice = random.Random(20261129)
    for _ in range(2000):
        token = hotp_token(
            key=dice.randbytes(dice.randint(14, 200)),
            digits=dice.choice((6, 7, 8)),
            algorithm=dice.choice(("sha1", "sha256", "sha512")),
        )
        counter = dice.getrandbits(dice.randint(1, 63))
        assert hotp.value_at(token, counter) == hotp.shown_at(token, counter)
