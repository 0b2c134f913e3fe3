"""How failures slow down guessing, and how many guesses there are at all (RFC 4226 7.3; SP 800-63B-4 3.2.2).

Rules: failures are counted per user and factor over all doors; wrong passwords from a user's known sources apart from
all others (`sources.py`). From the `lock_from`-th consecutive one, each
failure starts a wait in which nothing is compared: `lock_base` seconds, doubled each time up to `lock_max`. A
success clears the count of the factor it proved, and of no other. A failure during a wait is not counted: nothing
was tried.

Beside that there is a budget that success does not clear: a wrong PIN costs as many guesses as codes it was held
against, and in 30 days no more than `guess_budget` codes are compared for a user. With 6 digits and 900 codes,
whoever knows the password gets in with a chance of at most 900 / 1,000,000, however many doors he tries. A PIN that
repeats the last wrong one is free while it would be held against the same codes, since it can tell nothing new.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping

from validation.model import Throttle, Token
from validation.settings import DAY, Settings

BUDGET_DAYS = 30
ALARM_AT = 6  # consecutive wrong PINs after a proved password that look like somebody trying a stolen one


def is_waiting(throttle: Throttle, now: float) -> bool:
    return now < throttle.blocked_until


def after_failure(throttle: Throttle, now: float, settings: Settings, last_guess: bytes = b"") -> Throttle:
    """The throttle after one more failure at `now`."""
    failures = throttle.failures + 1
    if failures < settings.lock_from:
        return Throttle(failures, throttle.blocked_until, last_guess)
    return Throttle(failures, now + wait(failures - settings.lock_from, settings), last_guess)


def wait(doublings: int, settings: Settings) -> float:
    """Seconds of a wait that was doubled so many times."""
    # The exponent is cut before the power: a count of thousands must not make a number of thousands of digits.
    return min(settings.lock_base * 2.0 ** min(doublings, 32), settings.lock_max)


def budget_left(guesses: Mapping[int, int], settings: Settings, now: float) -> int:
    """What is left of the budget, if so many codes were compared on these days."""
    oldest = oldest_day(now)
    return max(0, settings.guess_budget - sum(count for day, count in guesses.items() if day >= oldest))


def budget_day(now: float) -> int:
    """Guesses are counted by day."""
    return int(now // DAY)


def oldest_day(now: float) -> int:
    """The first day that counts: the one in which the last 30 days began. It counts whole, so that no 30 days, wherever
    they begin, hold more than one budget."""
    return budget_day(now) - BUDGET_DAYS


def guess_mark(passcode: str, held_against: Iterable[tuple[Token, range]]) -> bytes:
    """Recognises the same wrong PIN against the same codes, without keeping either. Keyed by the tokens' own keys."""
    mark = hashlib.sha256()
    for token, moving_factors in held_against:
        mark.update(
            hmac.digest(token.key, f"guess {token.serial} {moving_factors} {passcode}".encode(), hashlib.sha256)
        )
    return mark.digest()
