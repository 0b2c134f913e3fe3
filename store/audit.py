"""The hash-chained audit trail: every row carries an HMAC over itself and the row before it.

Rules: one chain per host, numbered from 1 without gaps; the head is kept in its own row and moved in the same
transaction. Whoever cannot read the audit key can neither change, swap nor remove a row unseen. Cutting off the
newest rows *and* the head is shown only by an anchor kept elsewhere (`verify` against a `Head`).

The oldest rows may be pruned. Where the rest starts is kept under a seal of the same key, and a row of the trail tells
it: no other gap is taken for a pruned one.
"""

import hmac
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any

from validation.administer import pruning
from validation.changes import Audit
from validation.messages import printable
from validation.model import TrailStart

GENESIS = b"\x00" * 32

COLUMNS = (
    "chain",
    "seq",
    "at",
    "event",
    "decision",
    "reason",
    "user",
    "client",
    "face",
    "source",
    "serial",
    "actor",
    "request_id",
    "detail",
)
_TOLD = tuple(name for name in COLUMNS if name not in ("chain", "seq", "detail"))  # as an Audit has them
_AS_TOLD: Callable[[Audit], tuple[Any, ...]] = attrgetter(*_TOLD)
_AS_ROW: Callable[[dict[str, Any]], tuple[Any, ...]] = itemgetter(*COLUMNS)

# Made once: `json.dumps` with options makes one for each call.
_AS_DETAIL = json.JSONEncoder(sort_keys=True, ensure_ascii=True)
_AS_ARRAY = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Head:
    """The newest row of a chain."""

    chain: str
    seq: int
    mac: bytes


def rows(key: bytes, head: Head, audits: Iterable[Audit]) -> tuple[list[dict[str, Any]], Head]:
    """The rows that continue the chain after `head`, and the head after them."""
    made: list[dict[str, Any]] = []
    for audit in audits:
        row: dict[str, Any] = {"chain": head.chain, "seq": head.seq + 1}
        row |= zip(_TOLD, _told(audit), strict=True)
        row["detail"] = _AS_DETAIL.encode(audit.detail)
        row["mac"] = _mac(key, head.mac, row)
        made.append(row)
        head = Head(head.chain, row["seq"], row["mac"])
    return made, head


def _told(audit: Audit) -> Iterable[Any]:
    """Not every database's text can hold NUL; the control picture stands for it (U+2400)."""
    values = _AS_TOLD(audit)
    if "\0" not in "".join(map(str, values)):
        return values
    return [value.replace("\0", "\u2400") if isinstance(value, str) else value for value in values]


def _mac(key: bytes, previous: bytes, row: dict[str, Any]) -> bytes:
    """HMAC-SHA256 over the previous MAC and the row as a JSON array, in which every value is delimited."""
    text = _AS_ARRAY.encode(_AS_ROW(row))
    return hmac.digest(key, previous + text.encode(), "sha256")


# --- where a pruned chain starts ------------------------------------------------------------------------------------

_START = b"\xff" * 32  # where a row has the MAC before it; and no row is an array of so few values


def seal(key: bytes, start: TrailStart) -> bytes:
    text = _AS_ARRAY.encode([start.chain, start.seq, start.mac.hex(), start.began])
    return hmac.digest(key, _START + text.encode(), "sha256")


def is_sealed(key: bytes, start: TrailStart, sealed: object) -> bool:
    """Whoever changed the row may have put anything into it; nothing raises for that."""
    try:
        return _same(seal(key, start), sealed)
    except (AttributeError, TypeError, ValueError):
        return False


@dataclass(frozen=True, slots=True)
class Telling:
    """What a row of the trail tells of pruning: where a chain starts since then, when, and by whom."""

    start: TrailStart
    at: float
    actor: str


def telling(row: dict[str, Any]) -> Telling | None:
    """Of a row that is genuine."""
    if row["event"] != pruning.EVENT:
        return None
    told = json.loads(row["detail"])
    start = TrailStart(told["chain"], int(told["through"]), bytes.fromhex(told["mac"]), told["began"])
    return Telling(start, row["at"], row["actor"])


# --- verifying ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a chain, as a sentence."""

    chain: str
    seq: int
    problem: str


class Verifier:
    """Walks one chain from its first row, or from `start`. Feed it every row in order of `seq`, then ask for the
    findings."""

    def __init__(self, key: bytes, chain: str, anchor: Head | None = None, start: TrailStart | None = None) -> None:
        self._key = key
        self._first = start.seq if start is not None else 0
        self._head = Head(chain, start.seq, start.mac) if start is not None else Head(chain, 0, GENESIS)
        self._anchor = anchor
        self._anchor_seen = anchor is None
        self.anchor_pruned = False  # there is nothing any more that it could be compared with
        self.findings: list[Finding] = []
        self.begins_with = start.began if start is not None else ""  # the event of the first row, if that is genuine
        self.told: list[Telling] = []
        self._ghosts = False
        self._compare_start()

    @property
    def head(self) -> Head:
        return self._head

    def add(self, row: dict[str, Any]) -> None:
        """Whoever changed a row may have put anything into it; nothing raises for that."""
        expected, seq = self._head.seq + 1, row["seq"]
        if not isinstance(seq, int):
            self._found(expected, f"row {expected} is followed or replaced by one without a number")
            return
        if seq <= self._first:
            if not self._ghosts:  # however many there are
                self._found(seq, f"row {seq} is there, though rows up to {self._first} were pruned")
            self._ghosts = True
            return
        if seq != expected:
            self._found(expected, f"row {_span(expected, seq - 1)} is missing")
            # What follows is judged by itself: the missing rows are one finding, not thousands.
        elif not self._fits(row):
            self._found(seq, f"row {seq} was changed or does not follow the row before it")
        else:
            self._read(row)
        if self._anchor is not None and seq == self._anchor.seq:
            self._anchor_seen = True
            if not _same(self._anchor.mac, row["mac"]):
                self._found(seq, f"row {seq} is not the row that was anchored")
        self._head = Head(self._head.chain, seq, row["mac"] if isinstance(row["mac"], bytes) else b"")

    def _read(self, genuine: dict[str, Any]) -> None:
        if genuine["seq"] == 1:
            self.begins_with = genuine["event"]
        if told := telling(genuine):
            self.told.append(told)

    def _compare_start(self) -> None:
        if self._anchor is None or self._anchor.seq > self._first:
            return
        self._anchor_seen = True
        self.anchor_pruned = self._anchor.seq < self._first
        if not self.anchor_pruned and not _same(self._anchor.mac, self._head.mac):
            self._found(self._first, f"row {self._first}, which was pruned, is not the row that was anchored")

    def _fits(self, row: dict[str, Any]) -> bool:
        try:
            return _same(_mac(self._key, self._head.mac, row), row["mac"])
        except (TypeError, ValueError):  # a value that JSON cannot hold: no row of ours
            return False

    def finish(self, stored: Head | None) -> list[Finding]:
        """Compare the end of the walk with the stored head and the anchor."""
        last = self._head.seq
        if last == 0:
            self._found(0, "the trail is empty, though creating a store writes its first row")
        elif last == self._first:
            self._found(last, f"the trail is empty behind row {last}, though the newest row is never pruned")
        elif stored is None or stored.seq != last:
            shown = "is missing" if stored is None else f"names row {stored.seq}"
            self._found(last, f"the trail ends at row {last}, but its head {shown}")
        elif not _same(stored.mac, self._head.mac):
            self._found(last, f"the head does not fit row {last}")
        if self._anchor is not None and not self._anchor_seen:
            self._found(self._anchor.seq, f"the anchored row {self._anchor.seq} is missing: the trail was cut")
        return self.findings

    def _found(self, seq: int, problem: str) -> None:
        self.findings.append(Finding(self._head.chain, seq, problem))


def _same(mac: object, other: object) -> bool:
    return isinstance(mac, bytes) and isinstance(other, bytes) and hmac.compare_digest(mac, other)


def _span(first: int, last: int) -> str:
    return str(first) if first >= last else f"{first} to {last}"


def lines(findings: Iterable[Finding]) -> Iterator[str]:
    for finding in findings:
        yield f"chain {printable(str(finding.chain))}: {finding.problem}"
