"""Whether a store is whole: what the database says of itself, every seal, every row, the audit trail.

Rule: it only reads, and each finding is a sentence that names the row.
"""

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection, Table, select

from store import audit, listings, migrations, rows
from store.database import Database
from store.schema import challenges, tokens, users
from store.sealing import Sealer
from store.snapshots import read_clients
from validation.errors import Damaged


def problems(store: Database) -> Iterator[str]:
    """What is wrong, as sentences. Raises StoreUnavailable if the store cannot be read at all."""
    with store.connections.reading() as connection:
        yield from store.connections.faults(connection)
        for name in migrations.missing_triggers(connection):
            yield f"the trigger {name} is missing, which keeps rows as they must be; restore the store from a backup"
        with store.connections.text_as_it_is(connection):
            yield from _unreadable(connection, store.keys.sealer)
            findings = listings.verify(connection, store.keys.audit, store.chain, {}).findings
        yield from audit.lines(findings)


def _unreadable(connection: Connection, sealer: Sealer) -> Iterator[str]:
    yield from _each(connection, users, "name", rows.user_from)
    yield from _each(connection, tokens, "serial", lambda row: rows.token_from(row, sealer))
    yield from _each(connection, challenges, "", lambda row: rows.challenge_from(row, sealer))
    _, damaged = read_clients(connection, sealer)
    yield from map(str, damaged.values())


def _each(connection: Connection, table: Table, named: str, read: Callable[[Any], object]) -> Iterator[str]:
    statement = select(table).execution_options(yield_per=1000)
    for row in connection.execute(statement).mappings():
        try:
            read(rows.legible(dict(row)))
        except Damaged as error:
            yield str(error)
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            what = f"{table.name.removesuffix('s')} {row[named]}" if named else "an open challenge"
            yield f"{what}: {error}; restore the row from a backup"
