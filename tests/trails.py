"""Audit trails with a past: rows that are as old as a test needs them, each genuine.

Rule: rows are written through the product's door; then all times are moved back, and the chains made anew with the key
of the store, as if it had been used long ago.
"""

import json
import time
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from store import audit as trail
from store import listings, opening
from store.schema import audit, audit_heads
from tests.site import Site
from validation.changes import Audit

DAY = 86_400.0
_TOLD = [name for name in trail.COLUMNS if name not in ("chain", "seq", "detail")]


def write(site: Site, count: int, days_ago: float = 0.0, user: str = "alice") -> None:
    """So many logins, a second apart."""
    first = time.time() - days_ago * DAY - count
    rows = [Audit(first + number, "login", "accept", "passcode-right", user, "vpn") for number in range(count)]
    with site.database.transaction() as transaction:
        transaction.apply(rows)


def age(site: Site, days: float, owner_url: str = "") -> None:
    """Everything that is in the trail was so many days earlier. `owner_url`: whose tables they are."""
    database = opening.open_store(site.config, owner_url)
    with closing(database), database.connections.writing(hurried=False) as connection:
        starts, _ = listings.chain_starts(connection, database.keys.audit)
        for chain in listings.chain_heads(connection):
            start = starts.get(chain)
            before = trail.Head(chain, start.seq, start.mac) if start else trail.Head(chain, 0, trail.GENESIS)
            _make_anew(connection, database.keys.audit, before, days * DAY)


def _make_anew(connection: Connection, key: bytes, before: trail.Head, earlier: float) -> None:
    here = audit.c.chain == before.chain
    rows: list[dict[str, Any]] = list(
        map(dict, connection.execute(select(audit).where(here).order_by(audit.c.seq)).mappings())
    )
    told = [Audit(**{name: row[name] for name in _TOLD} | {"detail": json.loads(row["detail"])}) for row in rows]
    for one in told:
        object.__setattr__(one, "at", one.at - earlier)
    made, head = trail.rows(key, before, told)
    connection.execute(delete(audit).where(here))
    connection.execute(insert(audit), made)
    connection.execute(update(audit_heads).where(audit_heads.c.chain == head.chain).values(seq=head.seq, mac=head.mac))
