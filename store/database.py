"""The store on a database: snapshots out, changes in.

Rules: a transaction is one of `connections.py`, which begins and commits it; what it reads is locked first.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from store import rows
from store.connections import Connections
from store.prepared import Driver
from store.schema import meta
from store.sealing import Sealer
from store.snapshots import CLIENTS_GENERATION, SnapshotReader
from store.upsert import Upsert, same
from store.writing import Place, Writer, place_of
from validation.changes import Change
from validation.model import Client, Snapshot, Token
from validation.ports import Transaction
from validation.requests import Wanted
from validation.settings import Book

_MARK = Upsert(meta, ["name"], same("value"))  # one for each host: they must not wait for each other


@dataclass(frozen=True, slots=True)
class Keys:
    """What the rows of one store are sealed, recognised and chained with."""

    sealer: Sealer
    fingerprint: bytes = field(repr=False)
    audit: bytes = field(repr=False)


class _Transaction:
    """`validation.ports.Transaction` on an open connection."""

    def __init__(
        self, connections: Connections, connection: Connection, reader: SnapshotReader, writer: Writer
    ) -> None:
        self._connections = connections
        self._connection = connection
        self._reader = reader
        self._writer = writer

    def snapshots(self, wanted: Sequence[Wanted]) -> list[Snapshot]:
        self._connections.lock(self._connection, wanted)
        return self._reader.read(self._connection, self._writer.driver, wanted)

    def apply(self, changes: Iterable[Change]) -> None:
        self._writer.apply(changes)


class Database:
    """`validation.ports.Store` on a database."""

    def __init__(self, connections: Connections, keys: Keys, chain: str) -> None:
        self.connections = connections
        self.keys = keys
        self.chain = chain
        self._reader = SnapshotReader(keys.sealer, keys.fingerprint)
        self._sealed_ahead: dict[Place, bytes] = {}
        self.watch_sealing: Callable[[Iterable[Token]], Iterable[Token]] = iter  # for who shows how far it is

    def seal_ahead(self, tokens: Iterable[Token]) -> None:
        watched = self.watch_sealing(tokens)
        self._sealed_ahead = {place_of(token): rows.sealed_key(token, self.keys.sealer) for token in watched}

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        try:
            ahead, self._sealed_ahead = self._sealed_ahead, {}
            with self.connections.writing(hurried=not ahead) as connection:
                writer = Writer(connection, self.keys.sealer, self.keys.fingerprint, self.keys.audit, self.chain, ahead)
                yield _Transaction(self.connections, connection, self._reader, writer)
                writer.finish()
        except BaseException:
            self._reader.forget()  # it may have been read here, from rows that are now undone
            raise

    def look(self, wanted: Sequence[Wanted]) -> list[Snapshot]:
        with self.connections.reading(hurried=True) as connection:
            return self._reader.read(connection, Driver(connection), wanted)

    def clients(self) -> tuple[Client, ...]:
        """The clients that are whole; a damaged one is not served, and every command about it says why."""
        with self.connections.reading(hurried=True) as connection:
            return self._reader.clients(connection)

    def book(self) -> Book:
        """Policies and texts as they are now."""
        with self.connections.reading() as connection:
            return self._reader.book(connection)

    def clients_generation(self) -> int:
        with self.connections.reading(hurried=True) as connection:
            statement = select(meta.c.value).where(meta.c.name == CLIENTS_GENERATION)
            return int(connection.execute(statement).scalar_one())

    def check(self) -> None:
        """Write a mark and commit it: proves that a login could be recorded now. Raises StoreUnavailable."""
        with self.connections.writing() as connection:
            self._reader.book(connection)
            _MARK.run(Driver(connection), {"name": f"checked_at {self.chain}", "value": os.urandom(8).hex()})

    def close(self) -> None:
        self.connections.close()
