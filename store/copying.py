"""Rows of one store into another, table by table, whatever the databases.

Rules: whoever copies sees to it that the source does not change meanwhile. Rows go over in the order of their keys, in
short transactions, so a copy that was killed goes on behind the last row that arrived; or all at once, where nobody
waits. Ids stay as they are, and none is given twice. `differences` compares what is there in the end, row by row.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, Row, Select, Table, func, insert, select, text, tuple_

from store.connections import Connections
from store.schema import meta, metadata

CHUNK = 1000  # rows

# In an order in which no row comes before one that it needs. `meta` says what store it is: its rows are never copied.
TABLES = tuple(table for table in metadata.sorted_tables if table is not meta)


Said: TypeAlias = Callable[[str, int], None]


def copy_rows(source: Connection, target: Connections, tables: Sequence[Table], said: Said) -> None:
    """`said` is told after each table how many rows it got. Raises StoreUnavailable or Conflict."""
    for table in tables:
        count = 0
        while done := _copy_chunk(source, target, table):
            count += done
        said(table.name, count)


def copy_at_once(source: Connection, target: Connection) -> None:
    """Everything into empty tables, `meta` too, in the transaction that is open there: whole or not at all."""
    for table in TABLES:
        while _insert_chunk(source, target, table):
            pass
    go_on_counting(target, source)
    facts = [dict(row) for row in source.execute(select(meta)).mappings()]
    target.execute(insert(meta), facts)


def _copy_chunk(source: Connection, target: Connections, table: Table) -> int:
    with target.writing(hurried=False) as connection:
        return _insert_chunk(source, connection, table)


def _insert_chunk(source: Connection, target: Connection, table: Table) -> int:
    last = target.execute(_last_key(table)).one_or_none()
    rows = [dict(row) for row in source.execute(_after(table, last)).mappings()]
    if rows:
        target.execute(insert(table), rows)
    return len(rows)


def _last_key(table: Table) -> Select[Any]:
    keys = list(table.primary_key.columns)
    return select(*keys).order_by(*(key.desc() for key in keys)).limit(1)


def _after(table: Table, last: Row[Any] | None) -> Select[Any]:
    keys = list(table.primary_key.columns)
    statement = select(table).order_by(*keys).limit(CHUNK)
    if last is None:
        return statement
    return statement.where(tuple_(*keys) > tuple_(*last) if len(keys) > 1 else keys[0] > last[0])


def go_on_counting(target: Connection, source: Connection) -> None:
    """The next id is greater than any that the source ever gave, removed rows included."""
    for table in TABLES:
        column = table.autoincrement_column
        if column is None or table.c.get("id") is None:
            continue
        newest = max(_given(source, table), int(target.execute(select(func.max(column))).scalar() or 0))
        if not newest:
            continue
        if target.dialect.name == "postgresql":
            target.execute(text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), {newest})"))
        else:
            target.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
            values = {"name": table.name, "seq": newest}
            target.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)"), values)


def _given(source: Connection, table: Table) -> int:
    """The greatest id that was ever given."""
    if source.dialect.name == "postgresql":
        (sequence,) = source.execute(text(f"SELECT pg_get_serial_sequence('{table.name}', 'id')")).one()
        last, called = source.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()  # noqa: S608 - its own
        return int(last) if called else 0
    found = source.execute(text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
    return int(found.scalar_one_or_none() or 0)


def differences(source: Connection, target: Connection) -> Iterator[str]:
    """What is not the same on both sides, as sentences."""
    for table in TABLES:
        ours, theirs = _digest(source, table), _digest(target, table)
        if ours != theirs:
            yield f"table {table.name}: {ours[0]} rows there, {theirs[0]} here, and they are not the same"


def _digest(connection: Connection, table: Table) -> tuple[int, bytes]:
    """How many rows, and SHA-256 over them in the order of their keys."""
    hashed, count = hashlib.sha256(), 0
    statement = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=CHUNK)
    for row in connection.execute(statement):
        hashed.update(repr(tuple(row)).encode("utf-8", "surrogateescape"))
        count += 1
    return count, hashed.digest()
