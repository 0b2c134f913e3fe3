"""The hash-chained audit trail: every row carries an HMAC over itself and the row before it.

Rules: one chain per host, numbered from 1 without gaps; the head is kept in its own row and moved in the same
transaction. Whoever cannot read the audit key can neither change, swap nor remove a row unseen. Cutting off the
newest rows *and* the head is shown only by an anchor kept elsewhere (`verify` against a `Head`).
"""

import hmac
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any

from validation.changes import Audit
from validation.messages import printable

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


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a chain, as a sentence."""

    chain: str
    seq: int
    problem: str


class Verifier:
    """Walks one chain from its first row. Feed it every row in order of `seq`, then ask for the findings."""

    def __init__(self, key: bytes, chain: str, anchor: Head | None = None) -> None:
        self._key = key
        self._head = Head(chain, 0, GENESIS)
        self._anchor = anchor
        self._anchor_seen = anchor is None
        self.findings: list[Finding] = []
        self.begins_with = ""  # the event of the first row, if that row is genuine

    @property
    def head(self) -> Head:
        return self._head

    def add(self, row: dict[str, Any]) -> None:
        """Whoever changed a row may have put anything into it; nothing raises for that."""
        expected, seq = self._head.seq + 1, row["seq"]
        if not isinstance(seq, int):
            self._found(expected, f"row {expected} is followed or replaced by one without a number")
            return
        if seq != expected:
            self._found(expected, f"row {_span(expected, seq - 1)} is missing")
            # What follows is judged by itself: the missing rows are one finding, not thousands.
        elif not self._fits(row):
            self._found(seq, f"row {seq} was changed or does not follow the row before it")
        elif seq == 1:
            self.begins_with = row["event"]
        if self._anchor is not None and seq == self._anchor.seq:
            self._anchor_seen = True
            if not _same(self._anchor.mac, row["mac"]):
                self._found(seq, f"row {seq} is not the row that was anchored")
        self._head = Head(self._head.chain, seq, row["mac"] if isinstance(row["mac"], bytes) else b"")

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
