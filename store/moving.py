"""A whole store to another database: frozen here, copied, compared, and then in use there.

Rules: at no moment can both be written, or a PIN would work in each of them. Whoever is killed in the middle runs the
same command again, which goes on where it was; a run that still goes on then, or while the copy is given up, ends
without the new one in use. Nothing is sealed anew: a seal names its store, which stays the same.
"""

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, select

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
from validation.errors import Refused, StoreMismatch, StoreUnavailable

_COPYING = "copying"  # in the new store: the id of the one that it is made from
_RUN = "copy_run"  # in the new store: the run that may take it into use


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
            run = _prepare(wanted, target, store_id)
            _freeze(wanted, source)
            with source.reading() as connection:
                copying.copy_rows(connection, target, copying.TABLES, said)
                _compare(connection, target)
                _finish(wanted, connection, target, run, actor)
    return True


def abandon(wanted: Move) -> None:
    """Take the old store into use again. Raises Refused if the new one is in use, or cannot be asked, or the old one
    has not gone there."""
    with closing(connect(wanted.source)) as source, closing(connect(wanted.target, wanted.owner_url)) as target:
        with source.reading(hurried=True) as connection:
            _check_gone(wanted, connection)
        with target.writing(hurried=False) as connection:  # done before the old one is touched: no run can finish now
            target.wait_for_writers(connection)
            if _facts_if_any(connection):
                connection.execute(delete(meta).where(meta.c.name == _RUN))
        with target.writing(hurried=False) as there:  # held: none begins meanwhile
            target.wait_for_writers(there)
            _check_unused(wanted, there)
            with source.writing(hurried=False) as connection:
                _check_gone(wanted, connection)
                connection.execute(delete(meta).where(meta.c.name == FROZEN))


def _check_unused(wanted: Move, target: Connection) -> None:
    facts = _facts_if_any(target)
    if "store_id" in facts:
        raise Refused(f"{wanted.target.store_name} is in use: a PIN would work there and here")
    if _RUN in facts:
        raise _overtaken(wanted)


def _check_gone(wanted: Move, source: Connection) -> None:
    """A backup is frozen, too, and a store may have moved elsewhere: it is in use there."""
    said = _facts_if_any(source).get(FROZEN)
    if said is None:
        raise Refused(f"{wanted.source.store_name} is in use; there is no copy to give up")
    if said != _moved(wanted):
        raise StoreMismatch(said)


def _facts(connection: Connection) -> dict[str, Any]:
    return {row.name: row.value for row in connection.execute(select(meta))}


def _facts_if_any(connection: Connection) -> dict[str, Any]:
    """None where there are no tables yet."""
    return _facts(connection) if migrations.current(connection) is not None else {}


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
    """Raises StoreUnavailable if there is none, and none can be made."""
    target = wanted.target
    try:
        if not target.url and not target.database.exists():
            create_file(target.database)
    except OSError as error:
        raise StoreUnavailable(f"{target.database} cannot be made: {error.strerror}") from None
    return connect(target, wanted.owner_url)


def _is_done(target: Connections, store_id: str) -> bool:
    """Raises Refused if another store is there."""
    with target.reading(hurried=True) as connection:
        facts = _facts_if_any(connection)
    if facts.get("store_id", store_id) != store_id or facts.get(_COPYING, store_id) != store_id:
        raise Refused(f"{target.name} holds another store; nothing was changed")
    return "store_id" in facts


def _prepare(wanted: Move, target: Connections, store_id: str) -> str:
    """Tables, and a mark that this is no store yet. Returns what this run is called."""
    run = os.urandom(8).hex()
    unfinished = (
        f"the store {wanted.target.store_name} is being made; finish it with: "
        f"twofold db copy {wanted.source.store_name} {wanted.target.store_name}"
    )
    with target.writing(hurried=False) as connection:
        if migrations.current(connection) is None:
            migrations.upgrade(connection)
        if "store_id" in _facts(connection):
            raise _overtaken(wanted)
        connection.execute(delete(meta))
        marks = {_COPYING: store_id, FROZEN: unfinished, _RUN: run}
        connection.execute(insert(meta), [{"name": name, "value": value} for name, value in marks.items()])
    return run


def _overtaken(wanted: Move) -> Refused:
    return Refused(
        f"somebody else has copied to {wanted.target.store_name}, or given that up, in the meantime; nothing is lost: "
        "run this again to see how it stands"
    )


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


def _finish(wanted: Move, source: Connection, target: Connections, run: str, actor: str) -> None:
    """From here on the new one is the store."""
    facts = {name: value for name, value in _facts(source).items() if name != FROZEN}
    with target.writing(hurried=False) as connection:
        if connection.execute(delete(meta).where(meta.c.name == _RUN, meta.c.value == run)).rowcount != 1:
            raise _overtaken(wanted)
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
