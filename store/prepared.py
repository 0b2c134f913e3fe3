"""Statements for many rows, compiled once and then handed to the driver: SQLAlchemy's own way goes over every value of
every row, and takes longer than the database does.

Rules: a statement names all its values with bindparam or as columns, none of which may need a conversion by its type;
nothing of ours does. It is compiled for each database when it is first used there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.dml import Delete, Insert, Update

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Compiled:
    text: str
    names: tuple[str, ...] | None  # the order of its values, where they have no names
    fixed: dict[str, Any]  # values that stand in the statement itself


class Prepared:
    def __init__(self, statement: Update | Delete | Insert) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> int:
        """How many rows were changed in all; -1 if the driver does not tell. `rows` have the same names."""
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _compile(self._statement, dialect, list(rows[0]))
        return connection.exec_driver_sql(compiled.text, _values(compiled, rows)).rowcount


def _values(compiled: _Compiled, rows: Sequence[Row]) -> Any:
    if compiled.names is None:
        return [compiled.fixed | dict(row) for row in rows]
    if compiled.fixed:
        rows = [compiled.fixed | dict(row) for row in rows]
    return [tuple([row[name] for name in compiled.names]) for row in rows]


def _compile(statement: Executable, dialect: Dialect, names: list[str]) -> _Compiled:
    columns = names if isinstance(statement, Insert) else None
    made = statement.compile(dialect=dialect, column_keys=columns)  # type: ignore[attr-defined]
    order = tuple(made.positiontup) if made.positional else None
    fixed = {name: value for name, value in made.construct_params(_check=False).items() if name not in names}
    return _Compiled(str(made), order, fixed)
