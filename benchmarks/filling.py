"""A crowd put into a store straight through SQL: the same rows that the gate would write, a thousand at a time.

Rules: keys are sealed and recognised, and the audit rows chained, as the product does it and with its own functions.
The store has had no user before: ids are counted from 1.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Table, insert, select, update

from benchmarks.people import Crowd, Person
from store import audit as trail
from store import rows
from store.database import Database
from store.schema import audit, audit_heads, known_keys, tokens, users
from store.sealing import fingerprint
from validation.changes import Audit
from validation.model import Origin, Token, canonical_key

_CHUNK = 5_000


def fill(database: Database, crowd: Crowd, password_hash: str | None, audit_rows: int = 0) -> None:
    """Everybody with a token and, if it is to be, `audit_rows` logins in the trail."""
    numbered = enumerate(crowd.people, start=1)
    while chunk := list(islice(numbered, _CHUNK)):
        with database.connections.writing(hurried=False) as connection:
            _insert(connection, users, [_user(number, person, password_hash) for number, person in chunk])
            _insert_tokens(connection, database, crowd.kind, chunk)
            if audit_rows:
                _insert_audit(connection, database, [p for _, p in chunk], audit_rows)


def _insert(connection: Connection, table: Table, made: Sequence[dict[str, Any]]) -> None:
    """As the driver takes it: SQLAlchemy's work on each row is more than all the rest."""
    compiled = insert(table).compile(dialect=connection.dialect, column_keys=list(made[0]))
    order = compiled.positiontup
    values = list(map(itemgetter(*order), made)) if order is not None else list(made)
    connection.exec_driver_sql(str(compiled), values)


def _user(number: int, person: Person, password_hash: str | None) -> dict[str, Any]:
    now = time.time()
    return {
        "id": number,
        "name": person.name,
        "created_at": now,
        "first_factor": "",
        "groups": "[]",
        "disabled": False,
        "locked": False,
        "password_hash": password_hash,
        "password_version": 0,
        "pairing": "new",
        "pairing_since": now,
        "first_registered_at": now,
        "bypass_until": 0.0,
    }


def _insert_tokens(connection: Connection, database: Database, kind: str, chunk: Iterable[tuple[int, Person]]) -> None:
    made = [_token(database, kind, number, person) for number, person in chunk]
    _insert(connection, known_keys, [{"fingerprint": t["fingerprint"], "serial": t["serial"]} for t in made])
    _insert(connection, tokens, made)


def _token(database: Database, kind: str, number: int, person: Person) -> dict[str, Any]:
    token = Token(
        id=number,
        serial=f"B{number:08}",
        user_id=number,
        kind=kind,
        key=person.key,
        origin=Origin.ADMIN,
        created_at=time.time(),
    )
    mark = fingerprint(database.keys.fingerprint, canonical_key(token.key, token.algorithm))
    return rows.token_columns(token, database.keys.sealer, mark)


# --- the trail


def _insert_audit(connection: Connection, database: Database, people: Sequence[Person], each: int) -> None:
    here = audit_heads.c.chain == database.chain
    stored = connection.execute(select(audit_heads.c.seq, audit_heads.c.mac).where(here)).one()
    head = trail.Head(database.chain, stored.seq, stored.mac)
    entries = _logins(people, each)
    while chunk := list(islice(entries, _CHUNK)):
        made, head = trail.rows(database.keys.audit, head, chunk)
        _insert(connection, audit, made)
    connection.execute(update(audit_heads).where(here).values(seq=head.seq, mac=head.mac))


def _logins(people: Sequence[Person], each: int) -> Iterator[Audit]:
    now = time.time()
    for number in range(each):
        for person in people:
            yield Audit(
                at=now - 86_400 * (each - number),
                event="login",
                decision="accept",
                reason="passcode-right",
                user=person.name,
                client="passcodes",
                face="radius",
            )
