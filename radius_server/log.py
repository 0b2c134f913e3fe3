"""Log lines of the RADIUS face: `word key=value …`, no secrets, no forged lines, no floods.

Rules: every value passes `printable`; a value with blanks or quotes is quoted. Lines that strangers can cause are
limited per key: the first at once, then one a minute that says how many there were. Counters stay exact.
"""

import logging
from collections import Counter, OrderedDict

from validation.messages import printable

log = logging.getLogger("twofold.radius")

EVERY = 60.0  # seconds between lines with the same key
KEYS = 4096  # keys remembered; the oldest is forgotten first


def line(word: str, **values: object) -> str:
    """`reject user=alice client=vpn1`; values that are None or empty are left out."""
    shown = (f"{name}={_value(value)}" for name, value in values.items() if value not in (None, ""))
    return " ".join([word, *shown])


def _value(value: object) -> str:
    text = printable(str(value))
    if any(char in ' "=' for char in text):
        return '"' + text.replace('"', '\\"') + '"'
    return text


class Drops:
    """Counts what was dropped and why, and logs it without being flooded."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._limit = RateLimit()

    def drop(self, now: float, reason: str, source: str, client: str = "", hint: str = "") -> None:
        self.counters[reason] += 1
        # Strangers share one key: source addresses of UDP packets can be made up by the thousand.
        more = self._limit.allows((source, client, reason) if client else reason, now)
        if more is not None:
            log.warning(
                "%s%s",
                line("drop", client=client, **{"from": source}, reason=reason, hint=hint),
                f" ({more} more in the last minute)" if more else "",
            )


class RateLimit:
    """At most one line per key in `every` seconds."""

    def __init__(self, every: float = EVERY, keys: int = KEYS) -> None:
        self._every = every
        self._keys = keys
        self._seen: OrderedDict[object, tuple[float, int]] = OrderedDict()

    def allows(self, key: object, now: float) -> int | None:
        """None to stay silent, else how many lines with this key were kept back since the last one."""
        since, held = self._seen.get(key, (float("-inf"), 0))
        if now < since + self._every:
            self._seen[key] = (since, held + 1)
            return None
        self._seen.pop(key, None)
        self._seen[key] = (now, 0)
        if len(self._seen) > self._keys:
            self._seen.popitem(last=False)
        return held
