"""How failures slow down guessing (RFC 4226 7.3; SP 800-63B-4 3.2.2).

Rules: failures are counted per user and factor over all doors. From the `lock_from`-th consecutive one, each failure
starts a wait in which nothing is compared: `lock_base` seconds, doubled each time up to `lock_max`. A success
clears the count of the factor it proved, and of no other. A failure during a wait is not counted: nothing was tried.
"""

from validation.model import Throttle


def is_waiting(throttle: Throttle, now: float) -> bool:
    return now < throttle.blocked_until


def after_failure(throttle: Throttle, now: float, *, lock_from: int, lock_base: float, lock_max: float) -> Throttle:
    """The throttle after one more failure at `now`."""
    failures = throttle.failures + 1
    if failures < lock_from:
        return Throttle(failures, throttle.blocked_until)
    # The exponent is cut before the power: a count of thousands must not make a number of thousands of digits.
    doublings = min(failures - lock_from, 32)
    return Throttle(failures, now + min(lock_base * 2**doublings, lock_max))
