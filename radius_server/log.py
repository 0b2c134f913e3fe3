"""Log lines of the RADIUS face: `word key=value …` or JSON, no secrets, no forged lines, no floods.

Rules: every value passes `printable`; a value with blanks or quotes is quoted. Lines that strangers can cause are
limited per key: the first at once, then one a minute that says how many there were. Counters stay exact. As JSON each
line is one object with the same words.
"""

import json
import logging
from collections import Counter, OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime

from validation.messages import printable

log = logging.getLogger("twofold.radius")

EVERY = 60.0  # seconds between lines with the same key
KEYS = 4096  # keys remembered; the oldest is forgotten first
TEXT = "%(asctime)s %(levelname)s %(message)s"


class Line(str):
    """A line as text, and what it is made of."""

    word: str
    values: dict[str, object]

    def __new__(cls, word: str, values: Mapping[str, object], end: str = "") -> "Line":
        """Values that are None or empty are left out. `end`: how the text goes on."""
        kept = {name: value for name, value in values.items() if value not in (None, "")}
        made = super().__new__(cls, " ".join([word, *(f"{k}={_value(v)}" for k, v in kept.items())]) + end)
        made.word, made.values = word, kept
        return made


def line(word: str, **values: object) -> Line:
    """`reject user=alice client=vpn1`; values that are None or empty are left out."""
    return Line(word, values)


def _value(value: object) -> str:
    text = printable(str(value))
    if " " in text or '"' in text or "=" in text:
        return '"' + text.replace('"', '\\"') + '"'
    return text


_FRAME = frozenset({"time", "level", "event"})


class JsonFormatter(logging.Formatter):
    """One object for each record: `time` (RFC 3339), `level`, `event` and the values of the line.

    What other parts of the program log has the event `log` and its text.
    """

    def format(self, record: logging.LogRecord) -> str:
        shown: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        if isinstance(record.msg, Line):
            values = {name: _json_value(value) for name, value in record.msg.values.items()}
            shown |= {"event": record.msg.word} | {name: values[name] for name in values if name not in _FRAME}
        else:
            shown |= {"event": "log", "logger": record.name, "text": printable(record.getMessage())}
        if record.exc_info:
            shown["trace"] = self.formatException(record.exc_info)
        return json.dumps(shown)


def _json_value(value: object) -> object:
    return value if isinstance(value, int | float) else printable(str(value))


class Drops:
    """Counts what was dropped and why, and logs it without being flooded."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._limit = RateLimit()

    def drop(self, now: float, reason: str, source: str, client: str = "", hint: str = "") -> None:
        self.counters[reason] += 1
        # Strangers share one key: source addresses of UDP packets can be made up by the thousand.
        more = self._limit.allows((source, client, reason) if client else reason, now)
        if more is None:
            return
        values = {"client": client, "from": source, "reason": reason, "hint": hint}
        shown = Line("drop", values, f" ({more} more in the last minute)" if more else "")
        if more:
            shown.values["more"] = more
        log.warning(shown)


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
