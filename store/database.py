"""The store on SQLite: snapshots out, changes in, and the only BEGIN and COMMIT of the product.

Rules: WAL and synchronous=FULL, so a committed login survives a power cut. A writer takes the write lock, then
BEGIN IMMEDIATE, so what it reads stays true until it commits. Every trouble with the file is a StoreUnavailable,
every broken expectation a Conflict; both undo the transaction. A commit that fails lets no decision out.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from store import rows
from store.locking import WriteLock, lock_files
from store.schema import meta
from store.sealing import Sealer, check_mode
from store.snapshots import SnapshotReader, read_clients
from store.writing import CLIENTS_GENERATION, Place, Writer, place_of
from validation.changes import Change
from validation.errors import StoreMismatch, StoreUnavailable
from validation.model import Client, Snapshot, Token
from validation.ports import Conflict, Transaction
from validation.requests import Wanted
from validation.settings import Book

DEADLINE = 5.0  # seconds a transaction may wait for other writers; NAS time-outs are 3 to 15 s


@dataclass(frozen=True, slots=True)
class Keys:
    """What the rows of one store are sealed, recognised and chained with."""

    sealer: Sealer
    fingerprint: bytes = field(repr=False)
    audit: bytes = field(repr=False)


class Connections:
    """Connections to one SQLite file, and the transactions on them. Knows nothing of what is in it."""

    def __init__(self, path: Path, deadline: float = DEADLINE) -> None:
        self.path = path
        self._deadline = deadline
        self._engine = _engine(path, deadline)
        self._lock = WriteLock(path, deadline)
        self._file: tuple[int, int] | None = None  # device and inode

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that commits when the block ends well. Raises StoreUnavailable or Conflict."""
        with (
            self._lock.held(),
            _translated(self.path),
            self._engine.connect() as connection,
            _undone_on_error(connection),
        ):
            connection.begin()
            self._check_same_file()
            yield connection
            self._commit(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent view; nothing can be written. Raises StoreUnavailable."""
        with _translated(self.path), self._engine.connect() as connection:
            reader = connection.execution_options(twofold_reading=True)
            with _undone_on_error(reader):
                reader.begin()
                self._check_same_file()
                yield reader
                reader.rollback()

    def _check_same_file(self) -> None:
        """SQLite goes on with the old file where one was removed or replaced, and what it writes there is lost."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise StoreUnavailable(f"the store {self.path} cannot be opened: {error.strerror}") from None
        here = status.st_dev, status.st_ino
        self._file = self._file or here
        if here != self._file:
            raise StoreUnavailable(f"the store {self.path} was replaced while in use; start this program anew")

    def _commit(self, connection: Connection) -> None:
        connection.commit()

    def close(self) -> None:
        self._engine.dispose()
        self._lock.close()


def create_file(path: Path) -> None:
    """Create the empty database file, mode 0600 whatever the umask; -wal and -shm take its mode."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))


def check_file(path: Path) -> None:
    """Raises StoreMismatch if there is no database, or others may get at it or at a file that belongs to it."""
    try:
        check_mode(path, os.lstat(path))
    except FileNotFoundError:
        raise StoreMismatch(f"there is no store at {path}; create one with: twofold init") from None
    except OSError as error:
        raise StoreUnavailable(f"the store {path} cannot be opened: {error.strerror}") from None
    for beside in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm"), *lock_files(path)):
        with contextlib.suppress(FileNotFoundError):  # SQLite removes its two when the last connection closes
            check_mode(beside, os.lstat(beside))


def _engine(path: Path, deadline: float) -> Engine:
    """mode=rw: opening never creates a file, so a missing store is noticed."""

    def connect() -> sqlite3.Connection:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        # isolation_level None: the driver begins nothing by itself, or updates would be lost silently.
        return sqlite3.connect(uri, uri=True, timeout=deadline, isolation_level=None, check_same_thread=False)

    # hide_parameters: what a statement was given (hashes, States) must not stand in an error's text.
    engine = create_engine(
        "sqlite://", creator=connect, poolclass=QueuePool, pool_size=4, max_overflow=12, hide_parameters=True
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("twofold_reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@contextmanager
def _undone_on_error(connection: Connection) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        try:
            connection.rollback()
        except SQLAlchemyError:  # on a full disk SQLite has rolled back by itself
            connection.invalidate()
        if isinstance(error, DBAPIError) and _read_only(error):
            _close_all(connection)
        raise


def _read_only(error: DBAPIError) -> bool:
    code: int = getattr(error.orig, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_READONLY  # the upper bits say which kind


def _close_all(connection: Connection) -> None:
    """SQLite opens what it may not write for reading, and keeps it so as long as the process has a connection open.

    Without any, the next transaction finds out whether writing is possible again.
    """
    connection.invalidate()
    connection.engine.dispose()


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise Conflict(str(error.orig)) from error
    except DBAPIError as error:
        raise StoreUnavailable(f"the store {path} cannot be used: {error.orig}") from error
    except SQLAlchemyError as error:
        raise StoreUnavailable(f"the store {path} cannot be used: {error}") from error


class _Transaction:
    """`validation.ports.Transaction` on an open connection."""

    def __init__(self, connection: Connection, reader: SnapshotReader, writer: Writer) -> None:
        self._connection = connection
        self._reader = reader
        self._writer = writer

    def snapshots(self, wanted: Sequence[Wanted]) -> list[Snapshot]:
        return self._reader.read(self._connection, wanted)

    def apply(self, changes: Iterable[Change]) -> None:
        self._writer.apply(changes)


class Database:
    """`validation.ports.Store` on SQLite."""

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
            with self.connections.writing() as connection:
                ahead, self._sealed_ahead = self._sealed_ahead, {}
                writer = Writer(connection, self.keys.sealer, self.keys.fingerprint, self.keys.audit, self.chain, ahead)
                yield _Transaction(connection, self._reader, writer)
                writer.finish()
        except BaseException:
            self._reader.forget_book()  # it may have been read here, from rows that are now undone
            raise

    def look(self, wanted: Sequence[Wanted]) -> list[Snapshot]:
        with self.connections.reading() as connection:
            return self._reader.read(connection, wanted)

    def clients(self) -> tuple[Client, ...]:
        """The clients that are whole; a damaged one is not served, and every command about it says why."""
        with self.connections.reading() as connection:
            readable, damaged = read_clients(connection, self.keys.sealer)
        return tuple(client for name, client in readable.items() if name not in damaged)

    def book(self) -> Book:
        """Policies and texts as they are now."""
        with self.connections.reading() as connection:
            return self._reader.book(connection)

    def clients_generation(self) -> int:
        with self.connections.reading() as connection:
            statement = select(meta.c.value).where(meta.c.name == CLIENTS_GENERATION)
            return int(connection.execute(statement).scalar_one())

    def check(self) -> None:
        """Write a mark and commit it: proves that a login could be recorded now. Raises StoreUnavailable."""
        with self.connections.writing() as connection:
            here = meta.c.name == "checked_at"
            connection.execute(update(meta).where(here).values(value=os.urandom(8).hex()))

    def close(self) -> None:
        self.connections.close()
