"""The database file as a program sees it that goes past the product: plain sqlite3.

Rule: nothing of the product is imported here. Whoever attacks the store in a test has the file and no key.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Statement = str | tuple[str, tuple[Any, ...]]


@contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection that commits each statement by itself, with foreign keys enforced as the product has them."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=10)
    try:
        connection.execute("PRAGMA foreign_keys=ON")
        yield connection
    finally:
        connection.close()


def tamper(database: Path, *statements: Statement) -> None:
    """Write what the schema forbids: its triggers are dropped and its constraints switched off first."""
    with opened(database) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("PRAGMA ignore_check_constraints=ON")
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            sql, values = (statement, ()) if isinstance(statement, str) else statement
            assert connection.execute(sql, values).rowcount != 0, f"nothing was changed by: {sql}"


def rows(database: Path, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    with opened(database) as connection:
        return connection.execute(sql, values).fetchall()


def tables(database: Path) -> list[str]:
    named = rows(database, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return sorted(name for (name,) in named)


def contents(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, to compare before and after."""
    return {table: sorted(rows(database, f"SELECT * FROM {table}"), key=repr) for table in tables(database)}


def octets(database: Path) -> bytes:
    """Everything the store has on the disk: the file and what SQLite keeps beside it."""
    return b"".join(path.read_bytes() for path in sorted(database.parent.glob(database.name + "*")))
