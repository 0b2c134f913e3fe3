"""`twofold restore`: a backup becomes the store, with its guards raised before anybody can use it.

Rules: all is done on a copy, which takes its place in one step: SQLite by a rename, PostgreSQL by one transaction. A
restore that is killed has changed nothing. The key is tried first. An older store is put beside, under another name,
and only when nobody has it open: SQLite would write into the new one what belongs to the old.
"""

import itertools
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from sqlalchemy import delete, func, select

from store import checking, copying, listings, migrations
from store.config import Config
from store.connections import DEADLINE, Connections
from store.database import Database, Keys
from store.key_ring import KeyRing
from store.locking import WriteLock
from store.notices import NoNotices
from store.opening import LoggedFaults, SystemMoments, check_schema, connect, open_store, read_keys
from store.saving import BACKUP_AT, put, unfinished
from store.schema import audit, audit_heads, meta
from store.sealing import sync_folder
from store.snapshots import FROZEN
from store.sqlite import SqliteFile, settle, taken_out_of_use
from validation.administer import pruning
from validation.errors import BadInput, Refused, StoreUnavailable, TwofoldError
from validation.gate import Gate
from validation.requests import RaiseGuards

_PROBLEMS_SHOWN = 5
_NO_CHANGE = ("login", "backup", pruning.EVENT)  # events after which nobody must do something again


@dataclass(frozen=True, slots=True)
class Restore:
    """What is wanted. `ahead` and `keep_recovery` are those of RaiseGuards."""

    config: Config
    file: Path
    replace: bool = False
    ahead: int | None = None
    keep_recovery: bool = False
    owner_url: str = ""


@dataclass(frozen=True, slots=True)
class Restored:
    """Since `backup_at` (epoch seconds) everything is undone; `undone` are the rows of the old store's trail that tell
    what an admin did, None if it could not be read; `pruned`, how many more were pruned from it. `kept` is where the
    old store is now."""

    backup_at: float
    warnings: tuple[str, ...]
    kept: Path | None = None
    undone: tuple[listings.Row, ...] | None = field(default=None)
    pruned: int = 0


def restore(wanted: Restore, actor: str) -> Restored:
    """Raises StoreMismatch for another key or version, Refused if something is in the way or wrong with the file; then
    nothing was changed."""
    ring = KeyRing(wanted.config)
    place = _Server(wanted) if wanted.config.url else _File(wanted)
    with closing(place), _copied(wanted, place.beside) as copy:
        keys, backup_at, heads = _examined(wanted, copy, ring)
        undone, pruned = place.undone(heads)
        with closing(SqliteFile(copy)) as connections, place.alone():
            store = Database(connections, keys, wanted.config.chain)
            warnings = (*_guarded(wanted, store, backup_at, place.now, actor), *_of_the_key(keys, ring))
            kept = place.take(copy, connections)
    return Restored(backup_at, warnings, kept, undone, pruned)


@contextmanager
def _copied(wanted: Restore, beside: Path) -> Iterator[Path]:
    """The backup is only read."""
    if not wanted.file.is_file():
        raise BadInput(f"{wanted.file}: there is no such file")
    with unfinished(beside) as copy:
        for end in ("", "-wal", "-journal"):  # a copy made by hand may have them
            with suppress(FileNotFoundError):
                shutil.copyfile(wanted.file.with_name(wanted.file.name + end), copy.with_name(copy.name + end))
        copy.chmod(0o600)
        try:
            settle(copy)
        except sqlite3.DatabaseError as error:
            raise Refused(f"{wanted.file} is no backup that can be read: {error}") from None
        yield copy


def _examined(wanted: Restore, copy: Path, ring: KeyRing) -> tuple[Keys, float, dict[str, int]]:
    """Its keys, when it was made, and how far its trail goes. It is no backup any more then, and of this version."""
    named = replace(wanted.config, url="", database=wanted.file)
    with closing(SqliteFile(copy)) as connections:
        with connections.writing(hurried=False) as connection:
            here = migrations.current(connection)
            if here is None or here > migrations.HEAD:
                check_schema(connection, named)
            facts = {row.name: row.value for row in connection.execute(select(meta))}
            if FROZEN in facts and BACKUP_AT not in facts:
                raise Refused(facts[FROZEN])
            keys = read_keys(connection, ring, named, frozen=True)
            migrations.upgrade(connection)
            connection.execute(delete(meta).where(meta.c.name.in_([FROZEN, BACKUP_AT])))
            newest = connection.execute(select(func.max(audit.c.at))).scalar() or 0.0
            heads = {row.chain: row.seq for row in connection.execute(select(audit_heads))}
        _check_whole(wanted, Database(connections, keys, wanted.config.chain))
    return keys, float(facts.get(BACKUP_AT, newest)), heads


def _check_whole(wanted: Restore, store: Database) -> None:
    found = list(checking.problems(store))
    if found:
        more = f" and {len(found) - _PROBLEMS_SHOWN} more" if len(found) > _PROBLEMS_SHOWN else ""
        raise Refused(f"{wanted.file} is not whole: {'; '.join(found[:_PROBLEMS_SHOWN])}{more}. Nothing was changed")


def _guarded(
    wanted: Restore, store: Database, backup_at: float, now: Callable[[], float], actor: str
) -> tuple[str, ...]:
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(backup_at))
    command = RaiseGuards(
        actor=actor,
        event="restore",
        ahead=wanted.ahead,
        keep_recovery=wanted.keep_recovery,
        facts={"backup": when, "file": str(wanted.file)},
    )
    return Gate(store, SystemMoments(now), LoggedFaults(), NoNotices()).administer(command).warnings


def _of_the_key(keys: Keys, ring: KeyRing) -> Iterator[str]:
    """A backup from before a rotation brings the old key back, which the configuration is to be rid of some day."""
    if keys.sealer.key_id != ring.newest.key.id:
        yield (
            f"the backup is sealed with key {keys.sealer.key_id.hex()}, which [key] names as the old one, and nobody "
            "gets in without it: twofold key rotate"
        )


# --- where it goes ----------------------------------------------------------------------------------------------


class _File:
    """A SQLite file, with or without an older store in its place."""

    def __init__(self, wanted: Restore) -> None:
        self._config = wanted.config
        self._path = self.beside = wanted.config.database
        self._was_there = os.path.lexists(self._path)
        self.now = time.time
        if not self._was_there:
            return
        if self._path.is_symlink() or not self._path.is_file():
            raise Refused(f"{self._path} is not a regular file; take it away first")
        if not wanted.replace:
            raise Refused(f"there is a store at {self._path}; --replace puts it aside and keeps it")
        if wanted.file.exists() and self._path.samefile(wanted.file):
            raise Refused(f"{wanted.file} is the store itself")

    def close(self) -> None:
        """Nothing is held."""

    def undone(self, heads: dict[str, int]) -> "_Undone":
        return _changes_since(self._config, heads) if self._was_there else (None, 0)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody writes to the old store from here on, so it accepts nothing that the guards do not know of."""
        if not self._was_there:
            yield
            return
        lock = WriteLock(self._path, DEADLINE)
        with closing(lock), lock.held(), ExitStack() as stack:
            with suppress(sqlite3.DatabaseError):  # what cannot be read any more, nobody uses
                stack.enter_context(taken_out_of_use(self._path))
            yield

    def take(self, copy: Path, connections: Connections) -> Path | None:
        connections.close()
        settle(copy)
        owner = os.stat(self._path if self._was_there else self._path.parent)
        os.chown(copy, owner.st_uid, owner.st_gid)
        kept = self._put_aside()
        if self._was_there:
            os.replace(copy, self._path)
            sync_folder(self._path.parent)
        else:
            put(copy, self._path)
        return kept

    def _put_aside(self) -> Path | None:
        """What SQLite keeps beside a database belongs to the old one, and would be taken for the new one's."""
        aside = _free_name(self._path.with_name(self._path.name + time.strftime(".until-%Y%m%d-%H%M%S", time.gmtime())))
        if self._was_there:
            os.link(self._path, aside)
        for end in ("-wal", "-journal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(self._path.with_name(self._path.name + end), aside.with_name(aside.name + end))
        return aside if self._was_there else None


def _free_name(path: Path) -> Path:
    others = (path.with_name(f"{path.name}-{n}") for n in itertools.count(2))
    return next(name for name in itertools.chain([path], others) if not os.path.lexists(name))


class _Server:
    """An empty database of a PostgreSQL server."""

    def __init__(self, wanted: Restore) -> None:
        self._config = wanted.config
        self._owner_url = wanted.owner_url
        self.beside = Path(tempfile.gettempdir(), wanted.file.name)  # a backup may be on what cannot be written to
        if wanted.replace:
            raise BadInput("--replace is for files; on PostgreSQL make an empty database and name it in store.url")
        self._connections = connect(wanted.config, wanted.owner_url)
        try:
            with self._connections.reading(hurried=True) as connection:
                if migrations.current(connection) is not None:
                    raise Refused(
                        f"there is a store at {wanted.config.store_name}; rename that database and make an empty one"
                    )
        except BaseException:
            self.close()
            raise
        self.now = self._connections.now

    def close(self) -> None:
        self._connections.close()

    def undone(self, heads: dict[str, int]) -> "_Undone":
        return None, 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The database is empty: nobody can use it before `take`."""
        yield

    def take(self, copy: Path, connections: Connections) -> Path | None:
        with connections.reading() as source, self._connections.writing(hurried=False) as target:
            migrations.upgrade(target)
            copying.copy_at_once(source, target)
            if self._owner_url:
                migrations.grant(target, self._config.url)
        return None


_Undone: TypeAlias = tuple[tuple[listings.Row, ...] | None, int]


def _changes_since(config: Config, heads: dict[str, int]) -> _Undone:
    """What the old store's trail has beyond `heads`, logins left out, None if it cannot be read; and how many rows more
    there were, that have been pruned."""
    try:
        store = open_store(config)
    except (TwofoldError, OSError):
        return None, 0
    try:
        with store.connections.reading() as connection:
            starts, _ = listings.chain_starts(connection, store.keys.audit)
            gone = sum(max(0, start.seq - heads.get(chain, 0)) for chain, start in starts.items())
            rows = listings.audit_rows(connection)
            found = tuple(
                row for row in rows if row["seq"] > heads.get(row["chain"], 0) and row["event"] not in _NO_CHANGE
            )
            return found, gone
    except (StoreUnavailable, ValueError):
        return None, 0
    finally:
        store.close()
