"""Transactions on a database, whichever it is: the only BEGIN and COMMIT of the product.

Rules: a writing transaction commits when its block ends well and is undone when it does not; a commit that fails, or
whose outcome is not known, is a StoreUnavailable, so no decision gets out. Every trouble with the database is a
StoreUnavailable, every broken expectation a Conflict. What differs between databases stands in `sqlite.py` and
`postgresql.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from store.prepared import Driver
from validation.errors import RoomMade, StoreUnavailable
from validation.ports import Conflict
from validation.requests import Wanted

DEADLINE = 5.0  # seconds a transaction may wait for other writers; NAS time-outs are 3 to 15 s
READING = "twofold_reading"  # in what is known of a connection: whether its transaction only reads

NO_TEXT = "Could not decode to UTF-8 column"  # what SQLite's driver says, and which; and then:
_VALUE = " with text "


class Connections(ABC):
    """Connections to one database. Knows nothing of what is in it. `name` is how errors call it."""

    name: str
    _engine: Engine

    @contextmanager
    def writing(self, hurried: bool = True) -> Iterator[Connection]:
        """One transaction that commits when the block ends well. `hurried`: somebody waits for a login. Raises
        StoreUnavailable or Conflict; RoomMade if it may be done anew at once."""
        with self._turn(), self._translated(hurried), self._begun(False, hurried) as connection:
            yield connection
            self._commit(connection)

    @contextmanager
    def reading(self, hurried: bool = False) -> Iterator[Connection]:
        """A consistent view; nothing can be written. Raises StoreUnavailable."""
        with self._translated(), self._begun(True, hurried) as connection:
            yield connection
            connection.rollback()

    @contextmanager
    def _begun(self, reading: bool, hurried: bool) -> Iterator[Connection]:
        connection = self._in_transaction(reading, hurried, again=True)
        try:
            with self._undone_on_error(connection):
                yield connection
        except BaseException:
            connection.close()
            raise
        self._done_with(connection)

    def _in_transaction(self, reading: bool, hurried: bool, again: bool) -> Connection:
        """A connection may have broken while nobody needed it; that is found out before anything was asked of it."""
        try:
            connection = self._open(reading, hurried)
        except DBAPIError as error:
            if not (again and hurried and self._makes_room(error)):
                raise
            return self._in_transaction(reading, hurried, again=False)
        try:
            connection.begin()
            self._greet(connection)
            return connection
        except DBAPIError as error:
            self._on_error(connection, error)
            connection.close()
            if not (again and self._broke_before(error)):
                raise
        except BaseException:
            connection.close()
            raise
        return self._in_transaction(reading, hurried, again=False)

    def _commit(self, connection: Connection) -> None:
        connection.commit()

    def close(self) -> None:
        self._engine.dispose()

    @abstractmethod
    def now(self) -> float:
        """The time that decisions on this database go by, in epoch seconds."""

    def skew(self) -> float:
        """Seconds that this clock is ahead of this host's, as of the newest transaction."""
        return 0.0

    @abstractmethod
    def lock(self, connection: Connection, wanted: Sequence[Wanted]) -> None:
        """Called in a writing transaction before anything is read: what is read stays true until it ends."""

    def wait_for_writers(self, connection: Connection) -> None:  # noqa: B027 - SQLite has one writer
        """In a writing transaction: from here on nobody else writes until it ends, and who did has committed."""

    def text_as_it_is(self, connection: Connection) -> AbstractContextManager[None]:
        """Octets that are no UTF-8, put where text belongs, are read all the same."""
        return nullcontext()

    def faults(self, connection: Connection) -> Iterator[str]:
        """What the database itself finds wrong with its files, as sentences."""
        yield from ()

    # --- what each database does in its own way -----------------------------------------------------------------

    def _turn(self) -> AbstractContextManager[None]:
        """Held around a writing transaction."""
        return nullcontext()

    @abstractmethod
    def _open(self, reading: bool, hurried: bool) -> Connection:
        """A connection, set up for one transaction of this sort."""

    def _done_with(self, connection: Connection) -> None:
        """After a transaction that ended well."""
        connection.close()

    @abstractmethod
    def _greet(self, connection: Connection) -> None:
        """The first words of a transaction: whether this is still the database that was opened."""

    def _broke_before(self, error: DBAPIError) -> bool:
        """The connection broke while nobody needed it; another one may do."""
        return False

    def _is_conflict(self, error: DBAPIError) -> bool:
        """Somebody else was quicker, and the transaction was undone: it may be tried again."""
        return isinstance(error, IntegrityError)

    def _makes_room(self, error: DBAPIError) -> bool:
        """There was no room to write, and now there is some: it may be done anew."""
        return False

    def _on_error(self, connection: Connection, error: DBAPIError) -> None:  # noqa: B027 - few have something to do
        """After the transaction was undone, or could not begin."""

    # --- errors -------------------------------------------------------------------------------------------------

    @contextmanager
    def _undone_on_error(self, connection: Connection) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            try:
                connection.rollback()
            except SQLAlchemyError:  # it is gone, or has rolled back by itself, as SQLite does on a full disk
                connection.invalidate()
            if isinstance(error, DBAPIError):
                self._on_error(connection, error)
            raise

    @contextmanager
    def _translated(self, hurried: bool = False) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            _forget_value(error)
            if self._is_conflict(error):
                raise Conflict(_words(error)) from error
            if hurried and self._makes_room(error):
                raise RoomMade(str(self._unavailable(error))) from error
            raise self._unavailable(error) from error
        except SQLAlchemyError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: SQLAlchemyError) -> StoreUnavailable:
        return StoreUnavailable(f"the store {self.name} cannot be used: {_words(error)}")


def _forget_value(error: DBAPIError) -> None:
    """What is no text may be a password hash with a flipped bit; not even a traceback may show it."""
    if NO_TEXT in str(error.orig):
        for told in filter(None, (error, error.orig)):
            told.args = tuple(str(said).partition(_VALUE)[0] for said in told.args)


def _words(error: SQLAlchemyError) -> str:
    """What the database said, on one line."""
    return " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())


def let_sqlite_begin(engine: Engine) -> None:
    """Its driver begins nothing by itself, and DEFERRED would find out too late that somebody else writes."""
    event.listen(engine, "begin", _begin_sqlite)


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.info.get(READING, False)
    Driver(connection).run("BEGIN" if reading else "BEGIN IMMEDIATE")
