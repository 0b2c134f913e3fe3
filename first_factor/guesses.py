"""How many wrong passwords a process asks the host about for somebody else, and when it stops. In memory, no clock.

Rules: a check is counted before it is made, so that many at once do not outrun the count, and given back if it proved
the password or the host did not answer. From the `ACCOUNT_FREE`-th wrong one in a row about an account each begins a
wait in which nothing is asked about it: `FIRST_WAIT` seconds, doubled up to `LONGEST_WAIT`. In all there may be
`ALL_AT_ONCE` wrong ones, and `ALL_A_SECOND` more each second. A right password clears what stands against its account
alone. Whoever asks counts for himself, too, and with narrower limits; these hold when he was broken into.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

ACCOUNT_FREE = 30
FIRST_WAIT = 30.0
LONGEST_WAIT = 3600.0
ALL_AT_ONCE = 600.0
ALL_A_SECOND = 1.0


class Held(Exception):
    """Nothing is asked about this account now."""


@dataclass(slots=True)
class _Account:
    wrong: int = 0
    until: float = 0.0


class Guesses:
    """`now` gives seconds that only grow."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._accounts: dict[str, _Account] = {}  # real ones alone, so there are only so many
        self._left = ALL_AT_ONCE
        self._left_at = now()
        self._guard = threading.Lock()

    def count(self, account: str) -> None:
        """Count a check of this account's password as a wrong one. Raises Held if there may be none now."""
        with self._guard:
            now = self._now()
            self._refill(now)
            known = self._accounts.get(account, _Account())
            if now < known.until or self._left < 1:
                raise Held
            self._left -= 1
            known.wrong += 1
            known.until = now + _wait(known.wrong)
            self._accounts[account] = known

    def proved(self, account: str) -> None:
        with self._guard:
            self._accounts.pop(account, None)
            self._left = min(self._left + 1, ALL_AT_ONCE)

    def unanswered(self, account: str) -> None:
        """Neither right nor wrong: as if nothing had been asked."""
        with self._guard:
            self._left = min(self._left + 1, ALL_AT_ONCE)
            known = self._accounts.get(account)
            if known is None:  # proved meanwhile
                return
            known.wrong, known.until = known.wrong - 1, 0.0
            if not known.wrong:
                del self._accounts[account]

    def _refill(self, now: float) -> None:
        self._left = min(self._left + (now - self._left_at) * ALL_A_SECOND, ALL_AT_ONCE)
        self._left_at = now


def _wait(wrong: int) -> float:
    """Seconds, after so many wrong passwords in a row."""
    if wrong < ACCOUNT_FREE:
        return 0.0
    # The exponent is cut before the power: a count of thousands must not make a number of thousands of digits.
    return float(min(FIRST_WAIT * 2.0 ** min(wrong - ACCOUNT_FREE, 16), LONGEST_WAIT))
