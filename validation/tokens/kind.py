"""What every kind of OTP token must be able to do.

Rules: a kind is stateless and knows one algorithm. It compares in constant time, never changes anything, and only
looks at passcodes of exactly the right shape, so that no text reaches `int()`.
"""

import hmac
from collections.abc import Callable, Iterable
from typing import Protocol

from validation.errors import BadInput
from validation.model import Token
from validation.values import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """How far from the expected value a passcode may be. From the policy keys of the same names."""

    totp_window: int  # steps to either side
    drift_limit: int  # steps
    look_ahead: int  # HOTP counters beyond the next


@dataclass(frozen=True, slots=True)
class Match:
    """The passcode is right: what the token's moving factor and drift become."""

    moving_factor: int
    drift: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Outcome of holding one passcode against one token: a match, a value used up before, or neither."""

    match: Match | None = None
    used: bool = False
    against: range = range(0)  # the moving factors it was held against: what a wrong guess costs of the budget
    other_layout: bool = False  # it looks typed by a device that takes the keyboard for a QWERTY one


NOTHING = Comparison()


class Kind(Protocol):
    name: str
    is_registration: bool  # False: it helps in need, but a user who has nothing else has no second factor yet

    def lengths(self, token: Token) -> tuple[int, ...]:
        """How many characters a passcode has, for taking one-field entries apart."""

    def check(self, token: Token) -> None:
        """Refuse settings this kind cannot work with (BadInput, naming the field)."""

    def compare(self, token: Token, passcode: str, now: float, window: Window) -> Comparison: ...

    def resync(self, token: Token, first: str, second: str, now: float, window: Window) -> Match | None:
        """What two consecutive unused values make of the token (RFC 4226 7.4, RFC 6238 6); None if they are not that.

        Raises BadInput for a kind that cannot run away.
        """

    def uri(self, token: Token, account: str, issuer: str) -> str:
        """The `otpauth://` address an authenticator app scans."""


def well_formed(passcode: str, digits: int) -> bool:
    """Exactly `digits` ASCII digits (O-012). `isdigit` alone is true for `²` and Arabic-Indic digits."""
    return len(passcode) == digits and passcode.isascii() and passcode.isdigit()


def first_equal(passcode: str, moving_factors: Iterable[int], value: Callable[[int], str]) -> int | None:
    """The first of `moving_factors` whose value is `passcode`. All are computed, so time tells nothing."""
    found: int | None = None
    for moving_factor in moving_factors:
        equal = hmac.compare_digest(value(moving_factor), passcode)
        if equal and found is None:
            found = moving_factor
    return found


def likely_or_first(passcode: str, likely: int, moving_factors: range, value: Callable[[int], str]) -> int | None:
    """`likely` if it is one of `moving_factors` and its value is `passcode`, else as `first_equal`.

    Most right passcodes cost one HMAC. Of a wrong one all are computed.
    """
    if likely in moving_factors and hmac.compare_digest(value(likely), passcode):
        return likely
    return first_equal(passcode, moving_factors, value)


def consecutive(first: str, second: str, moving_factors: range, value: Callable[[int], str]) -> int | None:
    """The first of `moving_factors` that shows `first` and is followed by one that shows `second`."""
    found: int | None = None
    previous = value(moving_factors.start) if moving_factors else ""
    for moving_factor in moving_factors:
        following = value(moving_factor + 1)
        if hmac.compare_digest(previous, first) & hmac.compare_digest(following, second) and found is None:
            found = moving_factor
        previous = following
    return found


DIGITS = (6, 7, 8)  # RFC 4226 5.3: at least 6; 7 and 8 possible
ALGORITHMS = ("sha1", "sha256", "sha512")  # RFC 6238 1.2
LOOK_AHEAD_MOST = 100  # counters, as for the policy key
KEY_OCTETS_NEVER_BELOW = 14  # 112 bits, SP 800-63B-4
KEY_OCTETS_LEAST = 16  # 128 bits, RFC 4226 4 R6
# The counter is 8 octets (5.1); the store's integers are signed. A token is spent when its next counter would not fit.
MAX_COUNTER = 2**63 - 1


def check_common(token: Token) -> None:
    """Settings that HOTP and TOTP share. Raises BadInput."""
    if token.digits not in DIGITS:
        raise BadInput(f"digits: {token.digits} is not possible; choose 6, 7 or 8")
    if token.algorithm not in ALGORITHMS:
        raise BadInput(f"algorithm: {token.algorithm} is not known; choose one of {', '.join(ALGORITHMS)}")
    if len(token.key) < KEY_OCTETS_NEVER_BELOW:
        raise BadInput(
            f"key: {len(token.key) * 8} bits are too few; at least 112 are needed, 160 are usual. Make a new key"
        )
    if token.look_ahead is not None and (token.kind != "hotp" or not 0 <= token.look_ahead <= LOOK_AHEAD_MOST):
        raise BadInput(f"look-ahead: {token.look_ahead} is not possible; 0 to {LOOK_AHEAD_MOST} are, for kind hotp")
    if not 0 <= token.moving_factor < MAX_COUNTER:
        raise BadInput(f"counter: {token.moving_factor} is outside 0 … 2^63-2")
