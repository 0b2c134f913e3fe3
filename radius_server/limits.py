"""So many a second, for each of many. Pure: time is handed in."""

from collections import OrderedDict
from collections.abc import Hashable

KEYS = 4096  # remembered; the one that was not seen for longest is forgotten first


class Allowance:
    """A bucket for each key: `at_once` go through, and from then on `a_second`."""

    def __init__(self, a_second: float, at_once: float, keys: int = KEYS) -> None:
        self._a_second = a_second
        self._at_once = at_once
        self._keys = keys
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # how many, when

    def takes(self, key: Hashable, now: float) -> bool:
        """Whether one more of `key` goes through; then it is counted."""
        left, since = self._left.pop(key, (self._at_once, now))
        left = min(self._at_once, left + (now - since) * self._a_second)
        allowed = left >= 1.0
        self._left[key] = (left - allowed, now)
        if len(self._left) > self._keys:
            self._left.popitem(last=False)
        return allowed
