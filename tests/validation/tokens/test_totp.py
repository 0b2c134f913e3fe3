"""TOTP against RFC 6238: values, window, drift, and that a step is used once."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW, RFC_KEY, totp_token
from tests.vectors import reference, rfc6238
from validation import policy
from validation.model import Token
from validation.settings import DEFAULTS
from validation.tokens import hotp, totp
from validation.tokens.kind import NOTHING, Comparison, Match, Window

TOTP = totp.Totp()
STEP = int(NOW) // 30


def compare(token: Token, passcode: str, now: float = NOW, window: int = 1, drift_limit: int = 10) -> Comparison:
    """Without what it was held against, which has a test of its own."""
    found = TOTP.compare(token, passcode, now, Window(window, drift_limit, look_ahead=10))
    return replace(found, against=range(0))


def value(step: int) -> str:
    return reference.hotp(RFC_KEY, step)


@pytest.mark.statement("O-020")
@pytest.mark.parametrize("row", rfc6238.APPENDIX_B, ids=lambda row: f"{row.time}-{row.algorithm}")
def test_the_values_of_appendix_b(row: rfc6238.Row) -> None:
    token = totp_token(key=rfc6238.SEEDS[row.algorithm], algorithm=row.algorithm, digits=8)
    assert totp.step_at(row.time, 30) == row.step
    assert totp.value_now(token, row.time) == row.totp
    assert compare(token, row.totp, row.time, window=0).match == Match(row.step + 1, 0)


@pytest.mark.statement("O-003")
def test_the_value_at_1111111109_keeps_its_leading_zero() -> None:
    token = totp_token(key=rfc6238.SEEDS["sha1"], digits=8)
    assert totp.value_now(token, 1111111109) == "07081804"
    assert compare(token, "7081804", 1111111109) == NOTHING


@pytest.mark.statement("O-021")
@pytest.mark.parametrize(
    "now",
    [
        20_000_000_000,
        2**31,  # January 2038
        2**32,  # February 2106
        30 * (2**32 - 1),
        30 * 2**32,  # the first step that does not fit 32 bits
        30 * 2**40 + 29,
    ],
)
def test_times_and_steps_beyond_32_bits_work(now: int) -> None:
    expected = reference.totp(RFC_KEY, now)
    assert totp.value_now(totp_token(), now) == expected
    assert compare(totp_token(), expected, now, window=0).match == Match(now // 30 + 1, 0)


@pytest.mark.parametrize("period", [30, 60, 120])
def test_a_step_begins_and_ends_with_its_period(period: int) -> None:
    token = totp_token(period=period)
    start = float(NOW // period * period)
    first = reference.totp(RFC_KEY, start, period=period)
    for now, same in [(start, True), (start + period - 0.001, True), (start + period, False), (start - 0.001, False)]:
        assert (totp.value_now(token, now) == first) is same, now


@pytest.mark.statement("O-023")
@pytest.mark.parametrize("window", [0, 1, 2, 5])
def test_the_window_ends_where_it_is_configured(window: int) -> None:
    accepted = [
        n for n in range(-window - 3, window + 4) if compare(totp_token(), value(STEP + n), window=window).match
    ]
    assert accepted == list(range(-window, window + 1))


@pytest.mark.statement("O-023")
def test_by_default_the_window_is_one_step_to_either_side() -> None:
    default = policy.window(DEFAULTS)
    found = [bool(TOTP.compare(totp_token(), value(STEP + n), NOW, default).match) for n in (-2, -1, 0, 1, 2)]
    assert found == [False, True, True, True, False]


@pytest.mark.statement("O-024", "O-025")
def test_after_a_step_was_used_neither_it_nor_an_older_one_is_accepted() -> None:
    """CVE-2021-43177 let one trailing step through. All orders of use within the widest window in question."""
    for window, used in itertools.product([1, 2], range(-2, 3)):
        if abs(used) > window:
            continue
        match = compare(totp_token(), value(STEP + used), window=window).match
        assert match == Match(STEP + used + 1, used)
        after = totp_token(moving_factor=match.moving_factor, drift=0)
        for step in range(-window, window + 1):
            expected = Comparison(Match(STEP + step + 1, step)) if step > used else Comparison(used=True)
            assert compare(after, value(STEP + step), window=window) == expected, (window, used, step)


@pytest.mark.statement("O-024")
def test_a_used_value_stays_used_as_long_as_it_is_in_the_window() -> None:
    after = totp_token(moving_factor=STEP + 1)
    for seconds in range(60):
        assert compare(after, value(STEP), NOW + seconds) == Comparison(used=True), seconds
    assert compare(after, value(STEP), NOW + 60) == NOTHING


# Found by search: with the RFC's key, this step and the next have the same value.
TWIN_STEP, TWIN_VALUE = 59_061_240, "963181"


@pytest.mark.statement("O-026")
def test_equal_values_of_two_steps_are_told_apart_by_their_step() -> None:
    now = TWIN_STEP * 30.0
    assert (value(TWIN_STEP), value(TWIN_STEP + 1)) == (TWIN_VALUE, TWIN_VALUE)
    first = compare(totp_token(), TWIN_VALUE, now, window=0).match
    assert first == Match(TWIN_STEP + 1, 0)
    # In the same step the value is used up; in the next one it is that step's own and works once more.
    after_first = totp_token(moving_factor=first.moving_factor)
    assert compare(after_first, TWIN_VALUE, now, window=0) == Comparison(used=True)
    second = compare(after_first, TWIN_VALUE, now + 30, window=0).match
    assert second == Match(TWIN_STEP + 2, 0)
    after_both = totp_token(moving_factor=second.moving_factor)
    assert compare(after_both, TWIN_VALUE, now + 30) == Comparison(used=True)


@pytest.mark.statement("O-026")
def test_a_value_that_only_looks_like_the_next_step_is_refused_there() -> None:
    """The ordinary neighbour of the twins: replayed one step later, the text is not that step's own."""
    now = (TWIN_STEP + 1) * 30.0
    after = totp_token(moving_factor=TWIN_STEP + 2)
    assert value(TWIN_STEP + 2) != TWIN_VALUE
    assert compare(after, TWIN_VALUE, now + 30) == Comparison(used=True)


@pytest.mark.parametrize(
    ("moving_factor", "drift", "against"),
    [
        (0, 0, range(STEP - 1, STEP + 2)),
        (STEP, 0, range(STEP, STEP + 2)),
        (STEP + 2, 0, range(STEP + 2, STEP + 2)),
        (STEP + 50, 0, range(STEP + 50, STEP + 50)),
        (0, -4, range(STEP - 5, STEP - 2)),
    ],
)
def test_a_wrong_value_costs_the_unused_steps_it_was_held_against(
    moving_factor: int, drift: int, against: range
) -> None:
    """Used steps cannot let anybody in, so they cost nothing."""
    token = totp_token(moving_factor=moving_factor, drift=drift)
    near = {value(step) for step in range(STEP - 10, STEP + 10)}
    wrong = next(text for n in range(100) if (text := f"{n:06}") not in near)
    found = TOTP.compare(token, wrong, NOW, Window(1, 10, look_ahead=10))
    assert found == Comparison(against=against)
    assert TOTP.compare(token, "12345", NOW, Window(1, 10, look_ahead=10)).against == range(0)


@pytest.mark.statement("O-027")
def test_the_drift_of_a_success_moves_the_window() -> None:
    """A token 1 step late per login is followed, as far as the limit goes (RFC 6238 6)."""
    drift, reached = 0, []
    for _ in range(6):
        match = compare(totp_token(drift=drift), value(STEP + drift - 1), drift_limit=3).match
        drift = match.drift if match is not None else drift
        reached.append(drift)
    assert reached == [-1, -2, -3, -3, -3, -3]
    assert compare(totp_token(drift=-3), value(STEP - 5), drift_limit=3) == NOTHING


def test_a_stored_drift_beyond_the_limit_counts_as_the_limit() -> None:
    token = totp_token(drift=1000)
    assert compare(token, value(STEP + 10)).match == Match(STEP + 11, 10)
    assert compare(token, value(STEP + 12)) == NOTHING


@pytest.mark.statement("O-032")
@pytest.mark.parametrize("drift", [-10, -2, -1, 0, 1, 10])
def test_near_the_epoch_only_steps_from_0_on_are_compared(drift: int) -> None:
    token = totp_token(drift=drift)
    for now in range(60):
        expected = now // 30 + drift
        allowed = {step for step in range(expected - 1, expected + 2) if step >= 0}
        accepted = {step for step in range(14) if compare(token, value(step), now).match}
        assert accepted == allowed, now


@pytest.mark.statement("O-032")
@given(
    now=st.floats(-1e6, 1e6),
    drift=st.integers(-(2**31), 2**31),
    window=st.integers(0, 10),
    passcode=st.integers(0, 999_999),
    moving_factor=st.integers(0, 100),
)
def test_no_time_and_no_drift_give_a_negative_counter(
    now: float, drift: int, window: int, passcode: int, moving_factor: int
) -> None:
    """A negative one would raise in HMAC, whose counter is unsigned."""
    token = totp_token(drift=drift, moving_factor=moving_factor)
    match = compare(token, f"{passcode:06}", now, window).match
    assert match is None or match.moving_factor > moving_factor


@given(
    now=st.integers(0, 2**40),
    drift=st.integers(-10, 10),
    moving_factor=st.integers(-20, 20),
    offset=st.integers(-15, 15),
)
def test_a_match_is_the_step_whose_value_was_typed_and_moves_forward(
    now: int, drift: int, moving_factor: int, offset: int
) -> None:
    step = max(0, now // 30 + offset)
    token = totp_token(drift=drift, moving_factor=max(0, now // 30 + moving_factor))
    match = compare(token, value(step), now).match
    if match is not None:
        assert match.moving_factor > token.moving_factor
        assert hotp.value_at(token, match.moving_factor - 1) == value(step)
        assert abs(match.drift) <= 10
