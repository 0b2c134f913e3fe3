"""Log lines that everybody who types a name can cause: one at once, then one a while that says how many there were."""

import logging
import threading
import time
from collections.abc import Callable

EVERY = 10.0  # seconds


class Seldom:
    """One for each kind of line."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._next = float("-inf")
        self._held = 0

    def error(self, text: str, *arguments: object) -> None:
        with self._lock:
            now = self._clock()
            if now < self._next:
                self._held += 1
                return
            held, self._held, self._next = self._held, 0, now + EVERY
        self._log.error(f"{text}%s", *arguments, f" ({held} more before)" if held else "")
