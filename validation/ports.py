"""What the engine needs from outside, in its own words.

Rules: `Transaction` lives inside `Store.transaction()`, which commits when its block ends well and rolls back when it
does not. Both raise StoreUnavailable when the store cannot answer; then nothing happened that anyone may rely on.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from validation.changes import Audit, Change
from validation.model import Client, Moment, Snapshot, Token
from validation.requests import LoginRequest, Wanted


class Transaction(Protocol):
    def snapshots(self, wanted: Sequence[Wanted]) -> list[Snapshot]:
        """One snapshot each, in order. A row that cannot be read damages only the snapshots that need it."""

    def apply(self, changes: Iterable[Change]) -> None:
        """Write `changes` in order. Raises Conflict if one does not find what it expects."""


class Store(Protocol):
    def transaction(self) -> AbstractContextManager[Transaction]: ...

    def look(self, wanted: Sequence[Wanted]) -> list[Snapshot]:
        """Snapshots outside a transaction: good for a first look, never for a decision."""

    def seal_ahead(self, tokens: Iterable[Token]) -> None:
        """These are about to be inserted: what can be done for that before the transaction is done now."""

    def clients(self) -> tuple[Client, ...]: ...

    def clients_generation(self) -> int:
        """A number that grows with every change to any client."""

    def check(self) -> None:
        """Prove that the store can be written now. Raises StoreUnavailable if not."""


class Conflict(Exception):
    """A conditional change found another state than it expected: somebody else was quicker."""


class Moments(Protocol):
    def moment(self) -> Moment:
        """The time now and fresh random octets."""


class Faults(Protocol):
    """Where an error inside a decision is reported, so that it is seen though the login is merely refused."""

    def decision_failed(self, request: LoginRequest, error: Exception) -> None: ...

    def notice_failed(self, audit: Audit, error: Exception) -> None:
        """What was committed stays decided; somebody was not told of it."""


class Notices(Protocol):
    """Where events that somebody asked to be told of go (`[notify] command`). Must not block, and never raises."""

    def tell(self, audit: Audit) -> None: ...
