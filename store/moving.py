"""A whole store to another database: frozen here, copied, compared, and then in use there.

Rules: at no moment can both be written, or a PIN would work in each of them. Whoever is killed in the middle runs the
same command again, which goes on where it was. Nothing is sealed anew: a seal names its store, which stays the same.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from store import copying, migrations
from store.config import Config, store_address
from store.connections import Connections
from store.key_ring import KeyRing
from store.opening import check_schema, connect, read_keys
from store.schema import meta
from store.snapshots import FROZEN
from store.sqlite import create_file
from store.writing import Writer
from validation.changes import Audit
from validation.errors import Refused, StoreMismatch

_COPYING = "copying"  # in the new store: the id of the one that it is made from


@dataclass(frozen=True, slots=True)
class Move:
    """From one place to another, each a path or an address of PostgreSQL; `config` names the key."""

    config: Config
    from_: str
    to: str
    owner_url: str = ""

    @property
    def source(self) -> Config:
        return _at(self.config, self.from_)

    @property
    def target(self) -> Config:
        return _at(self.config, self.to)


def _at(config: Config, place: str) -> Config:
    url, path = store_address(place)
    return replace(config, url=url, database=path or Path())


def move(wanted: Move, actor: str, said: Callable[[str, int], None]) -> bool:
    """Carry it out, or on. False: it was done already. Raises StoreMismatch, StoreUnavailable or Refused."""
    with closing(connect(wanted.source)) as source:
        store_id = _check_source(wanted, source)  # before anything is made
        with closing(_new(wanted)) as target:
            if _is_done(target, store_id):
                _check_frozen(wanted, source)
                return False
            _prepare(wanted, target, store_id)
            _freeze(wanted, source)
            with source.reading() as connection:
                copying.copy_rows(connection, target, copying.TABLES, said)
                _compare(connection, target)
                _finish(wanted, connection, target, actor)
    return True


def abandon(wanted: Move) -> None:
    """Take the old store into use again. Raises Refused if the new one is in use, or cannot be asked."""
    with closing(connect(wanted.source)) as source, closing(connect(wanted.target)) as target:
        with target.reading() as connection:
            there = _facts(connection) if migrations.current(connection) is not None else {}
        if "store_id" in there:
            raise Refused(f"{wanted.target.store_name} is in use: a PIN would work there and here")
        with source.writing(hurried=False) as connection:
            connection.execute(delete(meta).where(meta.c.name == FROZEN))


def _facts(connection: Connection) -> dict[str, Any]:
    return {row.name: row.value for row in connection.execute(select(meta))}


def _check_source(wanted: Move, source: Connections) -> str:
    """The store's id. Its key must be here: else nobody could use what was copied."""
    with source.reading(hurried=True) as connection:
        check_schema(connection, wanted.source)
        facts = _facts(connection)
        if FROZEN in facts and facts[FROZEN] != _moved(wanted):
            raise StoreMismatch(facts[FROZEN])
        read_keys(connection, KeyRing(wanted.config), wanted.source, frozen=True)
    return str(facts["store_id"])


def _moved(wanted: Move) -> str:
    return (
        f"the store {wanted.source.store_name} has moved to {wanted.target.store_name}; "
        "name that in [store] of the configuration"
    )


def _check_frozen(wanted: Move, source: Connections) -> None:
    with source.reading(hurried=True) as connection:
        if _facts(connection).get(FROZEN) != _moved(wanted):
            there, here = wanted.target.store_name, wanted.source.store_name
            raise Refused(f"{there} holds this store already, and {here} is in use")


# --- the new one ------------------------------------------------------------------------------------------------


def _new(wanted: Move) -> Connections:
    target = wanted.target
    if not target.url and not target.database.exists():
        create_file(target.database)
    return connect(target, wanted.owner_url)


def _is_done(target: Connections, store_id: str) -> bool:
    """Raises Refused if another store is there."""
    with target.reading(hurried=True) as connection:
        facts = _facts(connection) if migrations.current(connection) is not None else {}
    if facts.get("store_id", store_id) != store_id or facts.get(_COPYING, store_id) != store_id:
        raise Refused(f"{target.name} holds another store; nothing was changed")
    return "store_id" in facts


def _prepare(wanted: Move, target: Connections, store_id: str) -> None:
    """Tables, and a mark that this is no store yet."""
    unfinished = (
        f"the store {wanted.target.store_name} is being made; finish it with: "
        f"twofold db copy {wanted.source.store_name} {wanted.target.store_name}"
    )
    with target.writing(hurried=False) as connection:
        if migrations.current(connection) is None:
            migrations.upgrade(connection)
        if not connection.execute(select(func.count()).select_from(meta)).scalar_one():
            marks = {_COPYING: store_id, FROZEN: unfinished}
            connection.execute(insert(meta), [{"name": name, "value": value} for name, value in marks.items()])


def _freeze(wanted: Move, source: Connections) -> None:
    with source.writing(hurried=False) as connection:
        source.wait_for_writers(connection)
        connection.execute(delete(meta).where(meta.c.name == FROZEN))
        connection.execute(insert(meta).values(name=FROZEN, value=_moved(wanted)))


def _compare(source: Connection, target: Connections) -> None:
    with target.reading() as connection:
        found = list(copying.differences(source, connection))
    if found:
        raise Refused(f"the copy is not the same, and not in use: {'; '.join(found)}")


def _finish(wanted: Move, source: Connection, target: Connections, actor: str) -> None:
    """From here on the new one is the store."""
    facts = {name: value for name, value in _facts(source).items() if name != FROZEN}
    with target.writing(hurried=False) as connection:
        copying.go_on_counting(connection, source)
        connection.execute(delete(meta))
        connection.execute(insert(meta), [{"name": name, "value": value} for name, value in facts.items()])
        keys = read_keys(connection, KeyRing(wanted.config), wanted.target)
        writer = Writer(connection, keys.sealer, keys.fingerprint, keys.audit, wanted.config.chain)
        detail: dict[str, str | int] = {"from": wanted.source.store_name, "to": wanted.target.store_name}
        writer.apply([Audit(time.time(), "store-move", "done", "", actor=actor, detail=detail)])
        writer.finish()
        if wanted.owner_url:
            migrations.grant(connection, wanted.target.url)
