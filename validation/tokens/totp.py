"""TOTP, RFC 6238: HOTP over time steps.

Rules: only steps after the last used one are compared (5.2: a passcode is accepted once), within `totp_window` steps
of the expected one. The expected step is now plus the drift learned from the last success (6), which never exceeds
`drift_limit`. T0 is 0 (4.1).
"""

from functools import partial

from validation.errors import BadInput
from validation.model import Token
from validation.tokens import hotp
from validation.tokens.kind import (
    NOTHING,
    Comparison,
    Match,
    Window,
    check_common,
    consecutive,
    first_equal,
    likely_or_first,
    well_formed,
)
from validation.tokens.uri import otpauth

MAX_PERIOD = 120  # seconds; SP 800-63B-4: a new value at least every two minutes
MIN_PERIOD = 10


class Totp:
    name = "totp"
    is_registration = True

    def lengths(self, token: Token) -> tuple[int, ...]:
        return (token.digits,)

    def check(self, token: Token) -> None:
        check_common(token)
        if not MIN_PERIOD <= token.period <= MAX_PERIOD:
            raise BadInput(
                f"period: {token.period} s is not possible; choose {MIN_PERIOD} to {MAX_PERIOD}, 30 is usual"
            )

    def compare(self, token: Token, passcode: str, now: float, window: Window) -> Comparison:
        if not well_formed(passcode, token.digits):
            return NOTHING
        step_now = step_at(now, token.period)
        drift = _bounded(token.drift, window.drift_limit)
        steps = _steps(step_now + drift, window.totp_window)

        value = partial(hotp.value_at, token)
        unused = range(max(steps.start, token.moving_factor), max(steps.stop, token.moving_factor))
        found = likely_or_first(passcode, step_now + drift, unused, value)
        if found is not None:
            return Comparison(Match(found + 1, _bounded(found - step_now, window.drift_limit)), against=unused)
        used = range(steps.start, min(steps.stop, token.moving_factor))
        return Comparison(used=first_equal(passcode, used, value) is not None, against=unused)

    def resync(self, token: Token, first: str, second: str, now: float, window: Window) -> Match | None:
        if not (well_formed(first, token.digits) and well_formed(second, token.digits)):
            return None
        step_now = step_at(now, token.period)
        around = _steps(step_now, window.drift_limit)
        unused = range(max(around.start, token.moving_factor), max(around.stop - 1, token.moving_factor))
        found = consecutive(first, second, unused, partial(hotp.shown_at, token))
        # The second value is the one shown now, or a step ago.
        return Match(found + 2, _bounded(found + 1 - step_now, window.drift_limit)) if found is not None else None

    def uri(self, token: Token, account: str, issuer: str) -> str:
        return otpauth(token, account, issuer, period=token.period)


def step_at(now: float, period: int) -> int:
    """The time step of `now` (4.2: T = floor((now - T0) / X))."""
    return int(now // period)


def value_now(token: Token, now: float) -> str:
    """The value a TOTP app shows at `now`."""
    return hotp.shown_at(token, step_at(now, token.period))


def _steps(expected: int, window: int) -> range:
    """The steps around `expected`, none below 0: near the epoch the window is cut (O-032)."""
    return range(max(0, expected - window), max(0, expected + window + 1))


def _bounded(drift: int, limit: int) -> int:
    return max(-limit, min(limit, drift))
