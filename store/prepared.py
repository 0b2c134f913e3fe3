"""Statements on the road of a login: compiled by SQLAlchemy once, and then handed to the driver as they are.

Why: SQLAlchemy's way through a statement takes ten times as long as SQLite does for it, and a login has twenty.

Rules: one `Driver` serves one transaction, and every statement on that road goes through it. A value needs no
conversion by its type on its way in; on its way out only a Boolean does, which SQLite does not have. An error of the
driver is told as SQLAlchemy tells it, without the values.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Boolean, Column, Connection, Select, bindparam
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import Delete, Insert, Update

Row = Mapping[str, Any]

MOST = 64  # values of one query; a batch has no more

_Found = TypeVar("_Found")

# In what is known of a connection: how it is read once more after such an error, or None if that would be no better.
READ_ANEW = "twofold_read_anew"
ReadAnew = Callable[[Connection, DBAPIError], AbstractContextManager[None] | None]


# --- changes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Change:
    text: str
    values: Callable[[Row], Any]  # in the order, or under the names, that the driver wants


class Prepared:
    """A change, for one row or for many."""

    def __init__(self, statement: Update | Delete | Insert) -> None:
        self._statement = statement
        self._compiled: dict[str, _Change] = {}

    def run(self, driver: "Driver", rows: Sequence[Row]) -> int:
        """How many rows were changed in all. `rows` have the same names; there is one at least."""
        change = self._compiled.get(driver.kind)
        if change is None:
            change = self._compiled[driver.kind] = _change(self._statement, driver.dialect, rows[0])
        return driver.change(change.text, list(map(change.values, rows)))


def _change(statement: Update | Delete | Insert, dialect: Dialect, row: Row) -> _Change:
    columns = list(row) if isinstance(statement, Insert) else None
    made: Any = statement.compile(dialect=dialect, column_keys=columns)
    fixed = {name: value for name, value in made.construct_params(_check=False).items() if name not in row}
    if not made.positional:
        return _Change(str(made), lambda row: fixed | dict(row))
    order = made.positiontup
    pick = itemgetter(*order) if len(order) > 1 else lambda values: [values[order[0]]]
    return _Change(str(made), (lambda row: pick({**fixed, **row})) if fixed else pick)


# --- queries ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Query:
    text: str
    names: tuple[str, ...]  # of the columns
    booleans: tuple[str, ...]  # those that come as numbers
    values: Callable[[Sequence[Any]], Any]  # in the order, or under the names, that the driver wants


class Query:
    """Rows in which `column` has one of so many values. `build` makes the statement for that condition."""

    def __init__(self, column: Column[Any], build: Callable[[Any], Select[Any]]) -> None:
        self._column = column
        self._build = build
        self._compiled: dict[tuple[str, int], _Query] = {}

    def rows(self, driver: "Driver", values: Sequence[Any]) -> list[dict[str, Any]]:
        """With the names of the columns."""
        found: list[dict[str, Any]] = []
        for at in range(0, len(values), MOST):
            found += self._some(driver, values[at : at + MOST])
        return found

    def _some(self, driver: "Driver", values: Sequence[Any]) -> list[dict[str, Any]]:
        size = 1 << (len(values) - 1).bit_length()  # few statements for all sizes: the last value is named again
        query = self._compiled.get((driver.kind, size))
        if query is None:
            query = self._compiled[driver.kind, size] = self._compile(driver.dialect, size)
        padded = [*values, *[values[-1]] * (size - len(values))]
        names = query.names
        rows = [dict(zip(names, row, strict=True)) for row in driver.found(query.text, query.values(padded))]
        for name in query.booleans if rows else ():
            for row in rows:
                row[name] = bool(row[name])
        return rows

    def _compile(self, dialect: Dialect, size: int) -> _Query:
        wanted = [f"w{number}" for number in range(size)]
        here = self._column.in_([bindparam(name, type_=self._column.type) for name in wanted])
        statement = self._build(here)
        made: Any = statement.compile(dialect=dialect)
        names = tuple(column.name for column in statement.selected_columns)
        numbers = () if dialect.supports_native_boolean else _booleans(statement)
        return _Query(str(made), names, numbers, _filled(made, wanted))


def _filled(made: Any, wanted: list[str]) -> Callable[[Sequence[Any]], Any]:
    """Puts values in their places, between those that stand in the statement itself."""
    fixed = {name: value for name, value in made.construct_params(_check=False).items() if name not in wanted}
    if not made.positional:
        return lambda values: fixed | dict(zip(wanted, values, strict=True))
    order = list(made.positiontup)
    if order == wanted:
        return lambda values: values

    def filled(values: Sequence[Any]) -> list[Any]:
        given = fixed | dict(zip(wanted, values, strict=True))
        return [given[name] for name in order]

    return filled


def _booleans(statement: Select[Any]) -> tuple[str, ...]:
    return tuple(column.name for column in statement.selected_columns if isinstance(column.type, Boolean))


# --- the driver -------------------------------------------------------------------------------------------------


class Driver:
    """The driver's cursors in one transaction, and who listens to its statements. Raises DBAPIError, as SQLAlchemy.

    Each statement has a cursor of its own: one that lives on keeps what it has run, and SQLite its files.
    """

    __slots__ = ("_connection", "_cursor_of", "_heard", "_many", "_one", "dialect", "kind")

    def __init__(self, connection: Connection) -> None:
        self.dialect = connection.dialect
        self.kind = connection.dialect.name
        self._connection = connection
        driver: Any = connection.connection.dbapi_connection
        self._cursor_of: Callable[[], Any] = driver.cursor
        # Who listens hears of it, as of all other statements; that is looked up once, since it is seldom anybody.
        self._heard = tuple(connection.dispatch.before_cursor_execute)
        self._one = tuple(self.dialect.dispatch.do_execute)
        self._many = tuple(self.dialect.dispatch.do_executemany)

    def found(self, text: str, values: Any = ()) -> list[Any]:
        """The rows of a query."""
        cursor = self._cursor_of()
        for listener in self._heard:
            listener(self._connection, cursor, text, values, None, False)
        try:
            for listener in self._one:
                listener(cursor, text, values, None)
            cursor.execute(text, values)
            rows: list[Any] = cursor.fetchall()
        except self.dialect.loaded_dbapi.Error as error:
            raise _told(self._connection, text, error) from error
        return rows

    def run(self, text: str) -> None:
        """A statement that finds and changes nothing."""
        self.found(text)

    def change(self, text: str, values: Any) -> int:
        """How many rows a change has changed, for each of `values`."""
        cursor = self._cursor_of()
        for listener in self._heard:
            listener(self._connection, cursor, text, values, None, True)
        try:
            for listener in self._many:
                listener(cursor, text, values, None)
            cursor.executemany(text, values)
        except self.dialect.loaded_dbapi.Error as error:
            raise _told(self._connection, text, error) from error
        count: int = cursor.rowcount
        return count


def as_it_is(connection: Connection, read: Callable[[], _Found]) -> tuple[_Found, bool]:
    """What `read` finds; and whether there is text in it with octets that the driver makes no text of: they come as
    surrogates, and one such row does not stand in the way of the others."""
    try:
        return read(), False
    except DBAPIError as error:
        known: ReadAnew | None = None if error.connection_invalidated else connection.info.get(READ_ANEW)
        anew = known(connection, error) if known is not None else None
        if anew is None:
            raise
    with anew:
        return read(), True


def _told(connection: Connection, text: str, error: Exception) -> BaseException:
    dialect = connection.dialect
    gone = dialect.is_disconnect(error, connection.connection.driver_connection, None)  # type: ignore[arg-type]
    if gone:
        connection.invalidate(error)
    return DBAPIError.instance(
        text,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=gone,
        dialect=dialect,
    )
