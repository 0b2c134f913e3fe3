"""`twofold audit prune`: the oldest rows of the audit trail go, some at a time, while servers go on.

Rules: of each chain a beginning goes, up to the last row that is old and has no younger one before it, and never the
newest. Rows are verified before they go, so nothing that was tampered with is cleared away. Each transaction removes
some rows, says where the rest starts, and writes a row that tells it: whoever is killed anywhere has left a trail that
verifies, and the next run goes on. Everything is found by the key of the table, so nothing reads the rows that stay.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from store import listings, saving
from store.audit import Verifier, telling
from store.database import Database
from store.schema import audit
from validation.administer.pruning import check_age
from validation.errors import Refused
from validation.gate import Gate
from validation.messages import printable
from validation.model import TrailStart
from validation.requests import PruneAudit

AT_ONCE = 500  # rows in one transaction; a login waits for one


@dataclass(frozen=True, slots=True)
class Part:
    """What goes of a chain: the rows behind `start`, up to `through`; the first is of `oldest`, the last of `newest`.
    `stays`: how many rows are left then."""

    chain: str
    start: TrailStart | None
    through: int
    oldest: float
    newest: float
    stays: int

    @property
    def after(self) -> int:
        return self.start.seq if self.start is not None else 0

    @property
    def rows(self) -> int:
        return self.through - self.after


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one transaction. `start` is where the rest starts when they are gone; of `retold` one of them tells."""

    after: int
    start: TrailStart
    rows: list[dict[str, Any]]
    retold: tuple[TrailStart, ...]


def parts(store: Database, before: float) -> list[Part]:
    """What is from before `before` (epoch seconds). Raises Refused where that is too late."""
    with store.connections.reading() as connection:
        now = store.connections.now()
        check_age(before, now)
        starts = _starts(connection, store.keys.audit)
        found = [
            _part(connection, c, starts.get(c), before, now) for c in sorted(listings.chain_heads(connection), key=str)
        ]
    return [part for part in found if part is not None]


def _starts(connection: Connection, key: bytes) -> dict[str, TrailStart]:
    starts, findings = listings.chain_starts(connection, key)
    if findings:
        raise _tampered(findings[0].chain, findings[0].problem)
    return starts


def _tampered(chain: str, problem: str) -> Refused:
    return Refused(
        f"chain {printable(str(chain))}: {problem}. Nothing from there on was removed; see: twofold audit verify"
    )


def _part(connection: Connection, chain: str, start: TrailStart | None, before: float, now: float) -> Part | None:
    """A time that lies in the future is what a clock said that was ahead: the next row tells how old it is."""
    left = (audit.c.chain == chain) & (audit.c.seq > (start.seq if start is not None else 0))
    newest = _end(connection, left, last=True)
    if newest is None:
        return None
    if not isinstance(newest.seq, int):
        raise _tampered(chain, "a row has no number")
    younger = _end(connection, left & (audit.c.at >= before) & (audit.c.at <= now))
    end = min(newest.seq, younger.seq) if younger is not None else newest.seq
    goes = left & (audit.c.seq < end) & (audit.c.at < before)
    first, last = _end(connection, goes), _end(connection, goes, last=True)
    if first is None or last is None:
        return None
    return Part(chain, start, last.seq, first.at, last.at, newest.seq - last.seq)


def _end(connection: Connection, where: ColumnElement[bool], last: bool = False) -> Any:
    """The first or the last row there. It is found along the key, from its end of it."""
    order = audit.c.seq.desc() if last else audit.c.seq
    return connection.execute(select(audit.c.seq, audit.c.at).where(where).order_by(order).limit(1)).one_or_none()


def _pieces(store: Database, part: Part) -> Iterator[Piece]:
    """Verified. Each is read when it is asked for, from where the one before has ended."""
    start = part.start
    while start is None or start.seq < part.through:
        with store.connections.reading() as connection, store.connections.text_as_it_is(connection):
            piece = _piece(connection, store.keys.audit, part, start)
        yield piece
        start = piece.start


def _piece(connection: Connection, key: bytes, part: Part, start: TrailStart | None) -> Piece:
    """The row behind them is verified as well: it stays, and must follow."""
    starts = _starts(connection, key)
    if starts.get(part.chain) not in (part.start, start):
        raise Refused(f"somebody else has pruned the rows of {printable(part.chain)} in the meantime; run it again")
    after = start.seq if start is not None else 0
    left = select(audit).where(audit.c.chain == part.chain, audit.c.seq > after).order_by(audit.c.seq)
    rows = [dict(row) for row in connection.execute(left.limit(AT_ONCE + 1)).mappings()]
    verifier = _verified(key, part.chain, start, rows)
    goes = [row for row in rows[:AT_ONCE] if row["seq"] <= part.through]
    if len(goes) == len(rows):
        raise _tampered(part.chain, f"the rows behind {goes[-1]['seq'] if goes else after} are missing")
    told = [one.start for row in goes if (one := telling(row)) is not None]
    retold = {one.chain: one for one in told if one.chain != part.chain and starts.get(one.chain) == one}
    ends = TrailStart(part.chain, goes[-1]["seq"], goes[-1]["mac"], verifier.begins_with)
    return Piece(after, ends, goes, tuple(retold.values()))


def _verified(key: bytes, chain: str, start: TrailStart | None, rows: Iterable[dict[str, Any]]) -> Verifier:
    verifier = Verifier(key, chain, start=start)
    for row in rows:
        verifier.add(row)
    if verifier.findings:
        raise _tampered(chain, verifier.findings[0].problem)
    return verifier


def prune(
    store: Database, gate: Gate, found: Iterable[Part], before: float, actor: str, facts: dict[str, str]
) -> Iterator[int]:
    """Removes what was found, and says after each transaction how many rows it took. `facts` go into the trail.

    Raises Refused if a row was tampered with; what went before is gone."""
    for part in found:
        for piece in _pieces(store, part):
            command = PruneAudit(
                actor=actor, after=piece.after, start=piece.start, before=before, retold=piece.retold, facts=facts
            )
            gate.administer(command)
            yield len(piece.rows)


# --- what goes, in a file -------------------------------------------------------------------------------------------


def export(store: Database, found: Iterable[Part], path: Path) -> str:
    """All rows that were found, verified, one JSON object in a line. Returns the SHA-256 of the file, which is made
    whole or not at all. Raises Refused if there is one, or a row was tampered with."""
    saving.check_free(path)
    hashed = hashlib.sha256()
    with saving.unfinished(path) as made:
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for part in found:
                for piece in _pieces(store, part):
                    text = "".join(map(_line, piece.rows)).encode()
                    hashed.update(text)
                    file.write(text)
            file.flush()
            os.fsync(file.fileno())
        saving.put(made, path)
    return hashed.hexdigest()


def _line(row: dict[str, Any]) -> str:
    """As `audit list --json` has them, but for the time, which is as it stands in the row."""
    return json.dumps(row | {"detail": json.loads(row["detail"]), "mac": row["mac"].hex()}) + "\n"
