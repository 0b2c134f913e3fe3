"""Statements on the road of a login: compiled by SQLAlchemy once, and then handed to the driver as they are.

Why: SQLAlchemy's way through a statement takes ten times as long as SQLite does for it, and a login has twenty.

Rules: a value needs no conversion by its type on its way in; on its way out only a Boolean does, which SQLite does not
have. An error of the driver is told as SQLAlchemy tells it, without the values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Select, bindparam
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import Delete, Insert, Update

Row = Mapping[str, Any]

MOST = 64  # values of one query; a batch has no more


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

    def run(self, connection: Connection, rows: Sequence[Row]) -> int:
        """How many rows were changed in all. `rows` have the same names; there is one at least."""
        change = self._compiled.get(connection.dialect.name)
        if change is None:
            change = self._compiled[connection.dialect.name] = _change(self._statement, connection.dialect, rows[0])
        count: int = _executed(connection, change.text, [change.values(row) for row in rows], many=True).rowcount
        return count


def _change(statement: Update | Delete | Insert, dialect: Dialect, row: Row) -> _Change:
    columns = list(row) if isinstance(statement, Insert) else None
    made: Any = statement.compile(dialect=dialect, column_keys=columns)
    fixed = {name: value for name, value in made.construct_params(_check=False).items() if name not in row}
    if not made.positional:
        return _Change(str(made), lambda row: fixed | dict(row))
    order = made.positiontup
    if fixed:
        return _Change(str(made), lambda row: [(fixed | dict(row))[name] for name in order])
    pick = itemgetter(*order)
    return _Change(str(made), pick if len(order) > 1 else lambda row: [pick(row)])


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

    def rows(self, connection: Connection, values: Sequence[Any]) -> list[dict[str, Any]]:
        """With the names of the columns."""
        found: list[dict[str, Any]] = []
        for at in range(0, len(values), MOST):
            found += self._some(connection, values[at : at + MOST])
        return found

    def _some(self, connection: Connection, values: Sequence[Any]) -> list[dict[str, Any]]:
        size = 1 << (len(values) - 1).bit_length()  # few statements for all sizes: the last value is named again
        query = self._compiled.get((connection.dialect.name, size))
        if query is None:
            query = self._compiled[connection.dialect.name, size] = self._compile(connection.dialect, size)
        padded = [*values, *[values[-1]] * (size - len(values))]
        found = _executed(connection, query.text, query.values(padded)).fetchall()
        rows = [dict(zip(query.names, row, strict=True)) for row in found]
        for name in query.booleans:
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


def _executed(connection: Connection, text: str, values: Any, many: bool = False) -> Any:
    """The driver's cursor after it. Raises DBAPIError."""
    cursor, dialect = connection.connection.cursor(), connection.dialect
    for listener in connection.dispatch.before_cursor_execute:  # who listens hears of it, as of all other statements
        listener(connection, cursor, text, values, None, many)
    try:
        for listener in dialect.dispatch.do_executemany if many else dialect.dispatch.do_execute:
            listener(cursor, text, values, None)
        (cursor.executemany if many else cursor.execute)(text, values)
    except dialect.loaded_dbapi.Error as error:
        raise _told(connection, text, error) from error
    return cursor


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
