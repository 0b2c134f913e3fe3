"""One SQLite file: how it is made, opened and written to.

Rules: WAL and synchronous=FULL, so a committed login survives a power cut. A writer takes the write lock, then
BEGIN IMMEDIATE, so what it reads stays true until it commits. Opening never makes a file. On a full disk whoever waits
for a login gives up the ballast, and begins anew.
"""

import contextlib
import os
import sqlite3
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import Pool, QueuePool

from store.ballast import Ballast
from store.connections import DEADLINE, NO_TEXT, READING, Connections, let_sqlite_begin
from store.locking import WriteLock, lock_files
from store.prepared import READ_ANEW
from store.sealing import check_mode
from validation.errors import Refused, StoreMismatch, StoreUnavailable
from validation.requests import Wanted

# Of each connection, in KiB, and taken as it is needed. A batch of logins touches some 500 pages of 4 KiB, which is all
# that SQLite keeps by itself: the upper pages of the trees would be read anew by each.
_CACHE = "cache_size=-4096"
_READY_MOST = 4  # connections; more are needed for a moment only
_MAYBE_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


class SqliteFile(Connections):
    """Connections to one SQLite file."""

    def __init__(self, path: Path, deadline: float = DEADLINE) -> None:
        self.path = path
        self.name = str(path)
        self._deadline = deadline
        self._engine = _engine(path, deadline)
        self._lock = WriteLock(path, deadline)
        self._ballast = Ballast(path)
        self._file: tuple[int, int] | None = None  # device and inode
        self._pools_left: WeakSet[Pool] = WeakSet()
        # For the next transaction: taking one out of the pool and putting it back costs as much as what a login reads.
        self._ready: deque[Connection] = deque()

    def now(self) -> float:
        return time.time()

    def close(self) -> None:
        self._close_ready()
        super().close()
        self._lock.close()

    def lock(self, connection: Connection, wanted: Sequence[Wanted]) -> None:
        """BEGIN IMMEDIATE has locked everything."""

    def text_as_it_is(self, connection: Connection) -> AbstractContextManager[None]:
        return _text_as_it_is(connection)

    def faults(self, connection: Connection) -> Iterator[str]:
        for (line,) in connection.exec_driver_sql("PRAGMA integrity_check"):
            if line != "ok":
                yield f"{self.path}: {line}; restore it from a backup"
        for table, _, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            yield f"{self.path}: a row of {table} belongs to none of {parent}; restore it from a backup"

    def _turn(self) -> AbstractContextManager[None]:
        return self._lock.held()

    def _open(self, reading: bool, hurried: bool) -> Connection:
        try:
            connection = self._ready.pop()
        except IndexError:
            connection = self._engine.connect()
        connection.info[READING] = reading
        return connection

    def _done_with(self, connection: Connection) -> None:
        if connection.invalidated or connection.in_transaction() or len(self._ready) >= _READY_MOST:
            connection.close()
        else:
            self._ready.append(connection)

    def _close_ready(self) -> None:
        with contextlib.suppress(IndexError):  # another thread may be taking them, too
            while True:
                self._ready.pop().close()

    def _greet(self, connection: Connection) -> None:
        """SQLite goes on with the old file where one was removed or replaced, and what it writes there is lost."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise StoreUnavailable(f"the store {self.path} cannot be opened: {error.strerror}") from None
        here = status.st_dev, status.st_ino
        self._file = self._file or here
        if here != self._file:
            raise StoreUnavailable(f"the store {self.path} was replaced while in use; start this program anew")

    def _makes_room(self, error: DBAPIError) -> bool:
        code = _code(error)
        return code in _MAYBE_FULL and self._ballast.give_up(is_full=code == sqlite3.SQLITE_FULL)

    def _unavailable(self, error: SQLAlchemyError) -> StoreUnavailable:
        """Where SQLite finds no room for `-shm` it speaks of an error of the disk."""
        said = super()._unavailable(error)
        if isinstance(error, DBAPIError) and _code(error) in _MAYBE_FULL and self._ballast.finds_no_room:
            return StoreUnavailable(f"{said}. The disk is full: make room on {self.path.parent}")
        return said

    def _on_error(self, connection: Connection, error: DBAPIError) -> None:
        """SQLite opens what it may not write for reading, and keeps it so as long as the process has a connection open.

        Without any, the next transaction finds out whether writing is possible again. A connection that is in use now
        goes back to the pool it came from, so that pool is emptied again at the next error.
        """
        if _code(error) == sqlite3.SQLITE_READONLY:
            connection.invalidate()
            self._close_ready()
            self._pools_left.add(self._engine.pool)
            self._engine.dispose()
            for pool in self._pools_left:
                pool.dispose()


@contextmanager
def _text_as_it_is(connection: Connection) -> Iterator[None]:
    driver: Any = connection.connection.driver_connection  # sqlite3.Connection
    driver.text_factory = lambda octets: octets.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = str


def _read_anew(connection: Connection, error: DBAPIError) -> AbstractContextManager[None] | None:
    """A flipped bit makes of a text what the driver raises for, whoever else is in the batch."""
    return _text_as_it_is(connection) if NO_TEXT in str(error.orig) else None


def _code(error: DBAPIError) -> int:
    code: int = getattr(error.orig, "sqlite_errorcode", 0)
    return code & 0xFF  # the upper bits say which kind


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


# --- a file as a whole -----------------------------------------------------------------------------------------


def copy_file(source: Path, target: Path) -> None:
    """Everything that has been committed to `source` by now, though others write to it, into the empty file `target`.

    Raises sqlite3.Error.
    """
    with closing(_plainly(source, "ro")) as reading, closing(_plainly(target)) as writing:
        reading.backup(writing)


def settle(path: Path) -> None:
    """All of it into the one file, which nobody has open, and that onto the disk. Raises sqlite3.Error and OSError."""
    with _alone(path):
        pass
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def taken_out_of_use(path: Path) -> Iterator[None]:
    """All of it in the one file, and nobody else has it open. Raises Refused if somebody has, sqlite3.Error if SQLite
    cannot read it."""
    try:
        stack = contextlib.ExitStack()
        stack.enter_context(_alone(path))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        raise _in_use(path) from None
    with stack:
        yield


def _in_use(path: Path) -> Refused:
    return Refused(f"the store {path} is in use; stop the servers and the helper of this host first")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Leaving WAL needs everybody else to be gone; and while somebody reads, nobody can write or go back to it."""
    with closing(_plainly(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        with closing(connection.execute("SELECT * FROM sqlite_master")) as held:
            held.fetchone()
            if connection.execute("PRAGMA journal_mode").fetchone() != ("delete",):
                raise _in_use(path)
            yield


def _plainly(path: Path, mode: str = "rw") -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=DEADLINE, isolation_level=None)


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
    let_sqlite_begin(engine)
    return engine


def _configure(connection: Any, record: Any) -> None:
    record.info[READ_ANEW] = _read_anew
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF", _CACHE):
        connection.execute(f"PRAGMA {pragma}")
