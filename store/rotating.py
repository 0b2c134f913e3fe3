"""`twofold key rotate`: every sealed value under another master key, while servers go on.

Rules: one transaction says that the store is sealed with the new key, and from then on nobody seals with the old one.
Then values are sealed anew, some at a time. The old key is needed until a last transaction, for which all others wait,
has found no value under it. Whoever is killed anywhere has lost nothing: both keys open the store, and the next run
goes on.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, insert, select, update

from store import listings, sealed
from store.config import Config
from store.connections import Connections
from store.database import Keys
from store.key_ring import Held, KeyRing
from store.opening import check_schema, connect, read_keys
from store.schema import meta
from store.sealed import SealedColumn
from store.snapshots import KEY_ID, OLD_KEY_ID
from store.writing import Writer
from validation.changes import Audit
from validation.errors import Damaged, Refused

_AT_ONCE = 200  # values in one transaction; a login waits for one
_LATELY = 30 * 86400.0  # seconds; a host that has written no row for so long is not asked for
_SHOWN = 10

Watch = Callable[[int], Callable[[Iterable[None]], Iterable[None]]]


def _unwatched(_rows: int) -> Callable[[Iterable[None]], Iterable[None]]:
    return iter


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation is from and to, as ids, and how many values this run has sealed anew."""

    old: str
    new: str
    values: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """Which key the store is sealed with, which one before while a rotation is unfinished, how many values are under
    each, and what this host holds. `trouble` is why it does not hold an old key that is configured."""

    key_id: str
    old_key_id: str
    counts: dict[str, int]
    held: tuple[Held, ...]
    trouble: str = field(default="")

    @property
    def missing(self) -> list[str]:
        held = {one.key.id.hex() for one in self.held}
        return [id_ for id_ in (self.key_id, self.old_key_id) if id_ and id_ not in held]


def standing(config: Config) -> Standing:
    """Also where the keys do not fit. Raises StoreUnavailable."""
    ring = KeyRing(config)
    with closing(connect(config)) as connections, connections.reading() as connection:
        check_schema(connection, config)
        facts = _facts(connection)
        counts = {id_.hex(): count for id_, count in sealed.counts(connection).items()}
    return Standing(facts[KEY_ID], facts.get(OLD_KEY_ID, ""), counts, tuple(ring.held), ring.trouble)


def rotate(config: Config, actor: str, everywhere: bool = False, watch: Watch = _unwatched) -> Rotation | None:
    """To the key that `[key]` names. None: there is nothing to do.

    `everywhere`: the other hosts hold that key, too. Raises Refused if they have not been asked for, an older rotation
    is unfinished, or a value cannot be opened; StoreMismatch if a key is missing. Nothing is lost then.
    """
    with closing(connect(config)) as connections:
        with connections.reading(hurried=True) as connection:
            check_schema(connection, config)
        work = _Work(config, connections, KeyRing(config), actor)
        rotation = work.announce(everywhere)
        return work.seal_all(rotation, watch) if rotation is not None else None


class _Work:
    def __init__(self, config: Config, connections: Connections, ring: KeyRing, actor: str) -> None:
        self._config = config
        self._connections = connections
        self._ring = ring
        self._actor = actor
        self._unreadable: list[str] = []

    def announce(self, everywhere: bool) -> Rotation | None:
        new = self._ring.newest.key.id.hex()
        with self._connections.writing(hurried=False) as connection:
            keys = read_keys(connection, self._ring, self._config)
            facts = _facts(connection)
            here = facts[KEY_ID]
            if OLD_KEY_ID in facts:
                if here != new:
                    raise Refused(
                        f"the rotation to key {here} is unfinished, and [key] names another, {new}: "
                        f"name {here} there, with {facts[OLD_KEY_ID]} as the old one, and finish that first"
                    )
                return Rotation(facts[OLD_KEY_ID], new)
            if here == new:
                return None
            self._check(connection, everywhere)
            connection.execute(update(meta).where(meta.c.name == KEY_ID).values(value=new))
            connection.execute(insert(meta).values(name=OLD_KEY_ID, value=here))
            self._tell(connection, keys, "begun", {"from": here, "to": new})
        return Rotation(here, new)

    def _check(self, connection: Connection, everywhere: bool) -> None:
        others = _other_hosts(connection, self._config.chain)
        if others and not everywhere:
            raise Refused(
                f"other hosts use this store, too: {', '.join(others)}. Name the new key in [key] on each, and the old "
                "one as old_file, old_credential or old_command; then run: twofold key rotate --on-every-host"
            )
        strange = [id_.hex() or "none at all" for id_ in sealed.counts(connection) if self._ring.find(id_) is None]
        if strange:
            raise Refused(f"some values are sealed with a key that is not here, {', '.join(strange)}: twofold db check")

    def seal_all(self, rotation: Rotation, watch: Watch) -> Rotation:
        values = 0
        while left := self._finish(rotation, values):
            done = sum(1 for _ in watch(left)(self._pass(rotation)))
            values += done
            if self._unreadable and not done:
                raise Refused(self._unopened(rotation))
        return Rotation(rotation.old, rotation.new, values)

    def _unopened(self, rotation: Rotation) -> str:
        names = self._unreadable
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return (
            f"{len(names)} values cannot be opened: {', '.join(names[:_SHOWN])}{more}. Everything else is sealed with "
            f"key {rotation.new}. Revoke such a token, set such a secret anew, or restore a backup; then run this again"
        )

    def _pass(self, rotation: Rotation) -> Iterator[None]:
        """Once over all columns."""
        self._unreadable.clear()
        for column in sealed.SEALED:
            last: object = None
            while True:
                last, done = self._batch(rotation, column, last)
                yield from [None] * done
                if last is None:
                    break

    def _batch(self, rotation: Rotation, column: SealedColumn, after: object) -> tuple[object, int]:
        """The key of the last row, None behind the last one, and how many were sealed anew."""
        with self._connections.writing(hurried=False) as connection:
            keys = self._still(connection, rotation)
            found = connection.execute(column.under(bytes.fromhex(rotation.old), after, _AT_ONCE)).mappings().all()
            made = []
            for row in map(dict, found):
                try:
                    made.append(column.anew(row, keys.sealer))
                except Damaged:
                    self._unreadable.append(column.called(row))
            if made:
                connection.execute(column.update, made)
        return (found[-1][column.key.name] if found else None), len(made)

    def _still(self, connection: Connection, rotation: Rotation) -> Keys:
        """Raises StoreMismatch if the store has moved elsewhere, Refused if another run has finished."""
        keys = read_keys(connection, self._ring, self._config)
        facts = _facts(connection)
        if (facts[KEY_ID], facts.get(OLD_KEY_ID)) != (rotation.new, rotation.old):
            raise Refused("another run of this command has finished meanwhile; see: twofold key status")
        return keys

    def _finish(self, rotation: Rotation, values: int) -> int:
        """How many values are still under the old key. If none is, it is not needed any more.

        Whoever has begun to write is waited for, so nothing comes after the count.
        """
        with self._connections.writing(hurried=False) as connection:
            self._connections.wait_for_writers(connection)
            keys = self._still(connection, rotation)
            left = sealed.counts(connection).get(bytes.fromhex(rotation.old), 0)
            if not left:
                connection.execute(delete(meta).where(meta.c.name == OLD_KEY_ID))
                self._tell(connection, keys, "finished", {"from": rotation.old, "to": rotation.new, "values": values})
        return left

    def _tell(self, connection: Connection, keys: Keys, what: str, detail: dict[str, str | int]) -> None:
        writer = Writer(connection, keys.sealer, keys.fingerprint, keys.audit, self._config.chain)
        writer.apply([Audit(time.time(), "key-rotate", "done", what, actor=self._actor, detail=detail)])
        writer.finish()


def _facts(connection: Connection) -> dict[str, str]:
    return {row.name: row.value for row in connection.execute(select(meta))}


def _other_hosts(connection: Connection, chain: str) -> list[str]:
    since = time.time() - _LATELY
    return [row["chain"] for row in listings.status(connection).chains if row["chain"] != chain and row["at"] > since]
