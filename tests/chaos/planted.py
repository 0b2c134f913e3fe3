"""Faults that a server may be given, to show that the checker finds them. Each spoils one promise of the product.

Rule: a fault changes nothing but the promise it is named after; what the product is built of is put out of work, and
nothing of the harness knows of it.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, update
from sqlalchemy.exc import SQLAlchemyError

import store.gathering
import store.writing
import validation.decide
from store.connections import Connections
from store.prepared import Prepared
from store.schema import tokens
from validation import changes as c
from validation import policy
from validation.decisions import Accept, Decision, Reason
from validation.errors import StoreUnavailable
from validation.gate import Gate, Outcome
from validation.model import Snapshot
from validation.requests import LoginRequest
from validation.settings import Settings


class _Undone(Exception):
    """Thrown away with the transaction it ends."""


def _answer_first() -> None:
    """The answer leaves before the commit, which is done a moment later."""
    transact = Gate._transact

    def decide(self: Gate, batch: Sequence[LoginRequest]) -> list[Decision]:
        try:
            with self._store.transaction() as transaction:
                snapshots = transaction.snapshots([request.wanted for request in batch])
                decisions = [verdict.decision for verdict in self._verdicts(snapshots, batch)]
                raise _Undone
        except _Undone:
            pass
        if any(not isinstance(decision, Accept) for decision in decisions):
            return transact(self, batch)
        threading.Thread(target=late, args=(self, batch), daemon=True).start()
        return decisions

    def late(self: Gate, batch: Sequence[LoginRequest]) -> None:
        time.sleep(0.02)
        transact(self, batch)

    Gate._transact = decide  # type: ignore[method-assign]


def _unconditional() -> None:
    """No row is locked, and a PIN is used whatever the counter says now."""
    from store.postgresql import PostgresqlServer

    def nothing(self: PostgresqlServer, connection: Connection, wanted: Any) -> None:
        pass

    PostgresqlServer.lock = nothing  # type: ignore[method-assign]
    to = bindparam("to", type_=BigInteger)
    store.gathering._USE_TOKEN = Prepared(
        update(tokens)
        .where(tokens.c.id == bindparam("id_"), tokens.c.moving_factor <= to, bindparam("from_", type_=BigInteger) >= 0)
        .values(moving_factor=to, drift=bindparam("drift_"), failures=0, last_used_at=bindparam("at"))
    )


def _no_row() -> None:
    """An accept is not written down."""
    apply = store.writing.Writer.apply

    def forget(self: store.writing.Writer, changes: Iterable[c.Change]) -> None:
        apply(self, [one for one in changes if not (isinstance(one, c.Audit) and one.decision == "accept")])

    store.writing.Writer.apply = forget  # type: ignore[method-assign]


def _done_anyway() -> None:
    """A commit whose outcome nobody knows counts as done."""
    commit = Connections._commit

    def hope(self: Connections, connection: Connection) -> None:
        try:
            commit(self, connection)
        except SQLAlchemyError:
            connection.invalidate()

    Connections._commit = hope  # type: ignore[method-assign]


def _open_on_error() -> None:
    """Who cannot be looked up is let in."""
    decide = Gate._decide_batch

    def let_in(self: Gate, batch: Sequence[LoginRequest], tries: int = 3) -> Sequence[Outcome]:
        found = decide(self, batch, tries)
        return [
            Accept(request.user, Reason.PASSCODE_RIGHT) if isinstance(one, StoreUnavailable) else one
            for request, one in zip(batch, found, strict=True)
        ]

    Gate._decide_batch = let_in  # type: ignore[method-assign]


def _again() -> None:
    """A transaction whose commit failed is done once more, though it may have been done."""
    transact = Gate._transact

    def twice(self: Gate, batch: Sequence[LoginRequest]) -> list[Decision]:
        try:
            return transact(self, batch)
        except StoreUnavailable:
            return transact(self, batch)

    Gate._transact = twice  # type: ignore[method-assign]


def _deaf() -> None:
    """Nobody is ever locked or disabled."""
    stands = policy.standing

    def looks_well(snapshot: Snapshot, settings: Settings, now: float) -> policy.Standing:
        user = snapshot.user
        well = replace(snapshot, user=replace(user, locked=False, disabled=False)) if user is not None else snapshot
        return stands(well, settings, now)

    setattr(validation.decide, "standing", looks_well)  # noqa: B010 - it is imported there


def _states_stay() -> None:
    """A State that was answered is not closed."""

    store.gathering._WRITERS[c.CloseChallenge] = lambda gathering, changes: None


def _lying_row() -> None:
    """Accept rows name another request than the one that was accepted."""
    apply = store.writing.Writer.apply

    def lie(self: store.writing.Writer, changes: Iterable[c.Change]) -> None:
        apply(self, [_renamed(one) for one in changes])

    def _renamed(change: c.Change) -> c.Change:
        if isinstance(change, c.Audit) and change.decision == "accept":
            return replace(change, source="10.255.255.1")
        return change

    store.writing.Writer.apply = lie  # type: ignore[method-assign]


def _uncounted() -> None:
    """Wrong PINs are written down and not counted."""

    store.gathering._WRITERS[c.SetThrottle] = lambda gathering, changes: None


FAULTS: dict[str, Callable[[], None]] = {
    "answer-first": _answer_first,
    "unconditional": _unconditional,
    "no-row": _no_row,
    "done-anyway": _done_anyway,
    "open-on-error": _open_on_error,
    "again": _again,
    "deaf": _deaf,
    "states-stay": _states_stay,
    "lying-row": _lying_row,
    "uncounted": _uncounted,
}
