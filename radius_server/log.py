"""Log lines of the RADIUS face: `word key=value …` or JSON, no secrets, no forged lines, no floods.

Rules: every value passes `printable`; a value with blanks or quotes is quoted. Lines that strangers can cause are
limited per key: the first at once, then one a minute that says how many there were; and for each client, whatever
addresses of its network they come from. Counters stay exact. As JSON each line is one object with the same words. Lines
of logins that were decided together are written together, by a call that returns when they are written: none waits in
memory.
"""

import json
import logging
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO

from radius_server.limits import Allowance
from validation.messages import printable

log = logging.getLogger("twofold.radius")

EVERY = 60.0  # seconds between lines with the same key
# Lines about the addresses of one client: in a network of its, somebody else may have as many as he likes.
LINES_A_SECOND = 0.2
LINES_AT_ONCE = 100.0
KEYS = 4096  # keys remembered; the oldest is forgotten first
TEXT = "%(asctime)s %(levelname)s %(message)s"
# What a write to a pipe keeps whole (pipe(7), PIPE_BUF): others may write to the same one.
WRITTEN_AT_ONCE = 4096  # octets


class Line(str):
    """A line as text, and what it is made of."""

    word: str
    values: dict[str, object]

    def __new__(cls, word: str, values: Mapping[str, object], end: str = "") -> "Line":
        """Values that are None or empty are left out. `end`: how the text goes on."""
        kept = {name: value for name, value in values.items() if value is not None and value != ""}
        made = super().__new__(cls, " ".join([word, *[f"{k}={_value(v)}" for k, v in kept.items()]]) + end)
        made.word, made.values = word, kept
        return made


def line(word: str, **values: object) -> Line:
    """`reject user=alice client=vpn1`; values that are None or empty are left out."""
    return Line(word, values)


# Printable ASCII but blank, ", = and backslash: `printable` leaves it as it is, and nothing is quoted.
_stays = re.compile(r"[!#-<>-\[\]-~]{1,256}").fullmatch


def _value(value: object) -> str:
    text = str(value)
    if _stays(text):
        return text
    text = printable(text)
    if " " in text or '"' in text or "=" in text:
        return '"' + text.replace('"', '\\"') + '"'
    return text


class TextFormatter(logging.Formatter):
    """`TEXT`, as `logging.Formatter` writes it; what stands before the milliseconds is made once a second."""

    def __init__(self) -> None:
        super().__init__(TEXT)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return f"{_second(int(record.created))},{int(record.msecs):03}"


@lru_cache(maxsize=1)
def _second(epoch: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch))


_FRAME = frozenset({"time", "level", "event"})


class JsonFormatter(logging.Formatter):
    """One object for each record: `time` (RFC 3339), `level`, `event` and the values of the line.

    What other parts of the program log has the event `log` and its text.
    """

    def format(self, record: logging.LogRecord) -> str:
        shown: dict[str, object] = {
            "time": _rfc3339(record.created),
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


@lru_cache(maxsize=1)  # lines that are written together have one time
def _rfc3339(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds")


def _json_value(value: object) -> object:
    return value if isinstance(value, int | float) else printable(str(value))


def log_together(lines: Sequence[Line]) -> None:
    """Each line as `log.info` would log it; a handler that writes to a stream gets them with one time, and writes them
    by few calls."""
    if not lines or not log.isEnabledFor(logging.INFO):
        return
    for handler in _handlers():
        if type(handler) is logging.StreamHandler and not handler.filters:
            _write(handler, lines)
        else:
            for text in lines:
                handler.handle(_record(text))


def _handlers() -> Iterator[logging.Handler]:
    """Those that would be handed a line of `log`."""
    logger: logging.Logger | None = log
    while logger is not None:
        yield from [handler for handler in logger.handlers if handler.level <= logging.INFO]
        logger = logger.parent if logger.propagate else None


def _record(text: str) -> logging.LogRecord:
    return log.makeRecord(log.name, logging.INFO, "", 0, text, (), None)


def _write(handler: "logging.StreamHandler[TextIO]", lines: Sequence[Line]) -> None:
    """A line that cannot be written is told as `logging` tells it, and takes no other with it."""
    handler.acquire()
    try:
        for texts in _packed(_formatted(handler, lines)):
            try:
                handler.stream.write(texts)
                handler.flush()
            except Exception:
                handler.handleError(_record(texts))
    finally:
        handler.release()


def _formatted(handler: "logging.StreamHandler[TextIO]", lines: Iterable[Line]) -> Iterator[str]:
    record = _record("")
    for text in lines:
        record.msg = text
        try:
            yield handler.format(record) + handler.terminator
        except Exception:
            handler.handleError(record)


def _packed(texts: Iterable[str], most: int = WRITTEN_AT_ONCE) -> Iterator[str]:
    """Joined to pieces of at most `most` octets, or of one text."""
    piece: list[str] = []
    size = 0
    for text in texts:
        octets = len(text.encode("utf-8", "backslashreplace"))
        if piece and size + octets > most:
            yield "".join(piece)
            piece, size = [], 0
        piece.append(text)
        size += octets
    if piece:
        yield "".join(piece)


class Drops:
    """Counts what was dropped and why, and logs it without being flooded."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._strangers = RateLimit()
        self._clients = AddressLimit()

    def drop(self, now: float, reason: str, source: str, client: str = "", hint: str = "") -> None:
        self.counters[reason] += 1
        # Strangers share one key: source addresses of UDP packets can be made up by the thousand.
        more = self._clients.allows(client, source, reason, now) if client else self._strangers.allows(reason, now)
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
        since, held = self._seen.get(key, _NEVER)
        if now < since + self._every:
            self._seen[key] = (since, held + 1)
            return None
        self._seen[key] = (now, 0)
        self._seen.move_to_end(key)
        if len(self._seen) > self._keys:
            self._seen.popitem(last=False)
        return held


_NEVER = (float("-inf"), 0)


class AddressLimit:
    """At most one line in `every` seconds for what is said of an address of a client, and of all its addresses together
    so many: whoever has a place in a client's network (an IPv6 /64, say) can send from addresses by the thousand."""

    def __init__(self, every: float = EVERY) -> None:
        self._limit = RateLimit(every)
        self._of_client = Allowance(LINES_A_SECOND, LINES_AT_ONCE)
        self._unsaid = Counter[str]()

    def allows(self, client: str, address: str, what: str, now: float) -> int | None:
        """None to stay silent, else how many lines were kept back before this one: of the same kind, or of this client
        because there were too many."""
        held = self._limit.allows((client, address, what), now)
        if held is None:
            return None
        if not self._of_client.takes(client, now):
            self._unsaid[client] += held + 1
            return None
        return held + self._unsaid.pop(client, 0)
