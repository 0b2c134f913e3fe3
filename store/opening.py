"""Where faces and commands come in: `open_gate(config)` gives a gate on the real store, clock and dice.

Rules: opening refuses, with one clear sentence, a store that is missing, of another schema, sealed with another
key, or readable by others; it never creates or changes anything. `create` is the only maker of stores, and safe to
repeat.
"""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, insert, select

from store import audit, listings, migrations
from store.ballast import LEAST_FREE, Ballast
from store.config import Config, template
from store.connections import Connections
from store.database import Database, Keys
from store.key_ring import KeyRing
from store.notices import notices_for
from store.schema import meta, store_keys
from store.sealing import MasterKey, Sealer, create_key_file, create_whole
from store.snapshots import BOOK_GENERATION, CLIENTS_GENERATION, FROZEN, KEY_ID, OLD_KEY_ID
from store.sqlite import SqliteFile, check_file, create_file
from store.writing import Writer
from validation.changes import Audit
from validation.errors import BadInput, Damaged, Refused, StoreMismatch
from validation.gate import Gate
from validation.messages import printable
from validation.model import MOMENT_RANDOM_OCTETS, Moment, Site
from validation.requests import LoginRequest

_log = logging.getLogger("twofold.gate")

# Below that python-fido2 writes down the ids of credentials, whatever level we are told to log at (W-022).
logging.getLogger("fido2").setLevel(logging.WARNING)


class SystemMoments:
    """A clock, in epoch seconds, and the system's randomness."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now

    def moment(self) -> Moment:
        return Moment(self._now(), os.urandom(MOMENT_RANDOM_OCTETS))


class LoggedFaults:
    """Errors inside decisions go to the log. The message of a Damaged row is safe; other errors show their type."""

    def decision_failed(self, request: LoginRequest, error: Exception) -> None:
        what = str(error) if isinstance(error, Damaged) else type(error).__name__
        _log.error(
            "decision failed user=%s request=%s error=%s",
            printable(request.user),
            request.request_id,
            printable(what),
        )
        _log.debug("decision failed, where it happened", exc_info=error)

    def notice_failed(self, audit: Audit, error: Exception) -> None:
        _log.error("notify: %s was not told: %s", audit.notice, type(error).__name__)
        _log.debug("notice failed, where it happened", exc_info=error)


def open_gate(config: Config) -> Gate:
    """The gate on the store of `config`. Raises StoreUnavailable or StoreMismatch."""
    return gate_on(open_store(config), config)


def gate_on(store: Database, config: Config) -> Gate:
    """The gate on an open store, with the real clock and dice."""
    return Gate(store, SystemMoments(store.connections.now), LoggedFaults(), notices_for(config.notify), _site(config))


def _site(config: Config) -> Site:
    """Raises BadInput if the certificates cannot be read."""
    keys = config.security_key
    roots = _certificates(Path(keys.attestation_roots)) if keys.attestation_roots else ()
    return Site(config.issuer, keys.rp_id, keys.origin, frozenset(keys.aaguids), roots)


def _certificates(path: Path) -> tuple[bytes, ...]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"security_key.attestation_roots: {path} holds no certificates (PEM): {error}") from None
    return tuple(one.public_bytes(Encoding.DER) for one in found)


def open_store(config: Config, owner_url: str = "") -> Database:
    """The store of `config`, checked; `owner_url` as for `connect`. Raises StoreUnavailable or StoreMismatch."""
    connections = connect(config, owner_url)
    try:
        ring = KeyRing(config)
        with connections.reading(hurried=True) as connection:
            check_schema(connection, config)
            keys = read_keys(connection, ring, config)
    except BaseException:
        connections.close()
        raise
    return Database(connections, keys, config.chain)


def connect(config: Config, owner_url: str = "") -> Connections:
    """To the database of `config`, whatever is in it. `owner_url`: as who owns the tables, where that is somebody else.

    Raises StoreMismatch if there is none, or others may read it."""
    if not config.url:
        check_file(config.database)
        return SqliteFile(config.database)
    try:
        from store.postgresql import PostgresqlServer
    except ImportError:
        raise StoreMismatch("store.url needs PostgreSQL's driver: pip install 'twofold[postgresql]'") from None
    return PostgresqlServer(owner_url or config.url)


def check_schema(connection: Connection, config: Config) -> None:
    """Raises StoreMismatch if it is not this version's."""
    path = config.store_name
    here = migrations.current(connection)
    if here is None:
        raise StoreMismatch(f"{path} is no Twofold store; create one with: twofold init")
    if here < migrations.HEAD:
        raise StoreMismatch(
            f"the store {path} has schema {here}, this version needs {migrations.HEAD}: twofold db upgrade"
        )
    if here > migrations.HEAD:
        raise StoreMismatch(
            f"the store {path} has schema {here}, newer than this version's {migrations.HEAD}: upgrade Twofold"
        )


def read_keys(connection: Connection, ring: KeyRing, config: Config, frozen: bool = False) -> Keys:
    """Raises StoreMismatch if `ring` lacks a key that is needed, or the store is not in use (unless `frozen`)."""
    facts = {row.name: row.value for row in connection.execute(select(meta))}
    if FROZEN in facts and not frozen:
        raise StoreMismatch(facts[FROZEN])
    masters = [_held(ring, facts[name], config) for name in (KEY_ID, OLD_KEY_ID) if name in facts]
    sealed = {row.purpose: row.sealed for row in connection.execute(select(store_keys))}
    try:
        sealer = Sealer(masters[0], facts["store_id"], ring.find)
        for master in masters:
            sealer.holds(master.id)
        opened = {name: sealer.open("store-key", name, sealed[name]) for name in ("fingerprint", "audit")}
    except (KeyError, IndexError, Damaged) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise StoreMismatch(f"the store {config.store_name} is damaged: {what}; restore it from a backup") from None
    return Keys(sealer, opened["fingerprint"], opened["audit"])


def _held(ring: KeyRing, key_id: str, config: Config) -> MasterKey:
    """The id is not to be trusted: it is what a row says."""
    found = next((one.key for one in ring.held if one.key.id.hex() == key_id), None)
    if found is not None:
        return found
    held = ", ".join(f"{one.source} is key {one.key.id.hex()}" for one in ring.held[1:])
    raise StoreMismatch(
        f"the key in {ring.newest.source} does not fit the store {config.store_name}: it is key "
        f"{ring.newest.key.id.hex()}, the store was sealed with {key_id}{f' ({held})' if held else ''}. "
        f"Nothing was changed{f'; {ring.trouble}' if ring.trouble else ''}"
    )


@dataclass(frozen=True, slots=True)
class Trail:
    """The whole audit trail, and what is wrong with it, as sentences."""

    rows: tuple[listings.Row, ...]
    problems: tuple[str, ...]


def read_trail(config: Config) -> Trail:
    """Read and verify the audit trail. Raises StoreUnavailable or StoreMismatch."""
    store = open_store(config)
    try:
        with store.connections.reading() as connection:
            rows = tuple(listings.audit_rows(connection))
            with store.connections.text_as_it_is(connection):
                findings = listings.verify(connection, store.keys.audit, store.chain, {}).findings
    finally:
        store.close()
    return Trail(rows, tuple(audit.lines(findings)))


# --- making a store ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Created:
    """What `create` made; what is not named was there already."""

    made: tuple[str, ...] = field(default=())


def create_ballast(config: Config) -> list[str]:
    """Beside a store in a file, where there is none. What was made. Raises Refused if it cannot be."""
    ballast = Ballast(config.database)
    if config.url or ballast.is_there:
        return []
    try:
        if ballast.make():
            return [f"ballast  {ballast.path}"]
        why = f"{ballast.room >> 20} MB are free, and {LEAST_FREE >> 20} MB must be"
    except OSError as error:
        why = str(error.strerror)
    raise Refused(f"the ballast {ballast.path}, for a disk that is full, was not made: {why}")


def create_config(path: Path, chain: str) -> bool:
    """Write the configuration file if there is none. True if it was written."""
    try:
        create_whole(path, template(chain), 0o640)
    except FileExistsError:
        return False
    return True


def create(config: Config, actor: str, owner_url: str = "") -> Created:
    """Make key file and store where there are none, and bring an older schema forward. Changes nothing else.

    With `owner_url`, PostgreSQL's tables are that role's, and the role of `config` gets the rights it needs.
    Raises StoreMismatch rather than pairing an old store with a new key.
    """
    made = [] if config.url else _create_files(config)
    connections = connect(config, owner_url)
    try:
        if config.url:
            made += _create_key(connections, config)
        ring = KeyRing(config)
        with connections.writing(hurried=False) as connection:
            made += _migrate(connection, ring, config, actor)
            if owner_url:
                migrations.grant(connection, config.url)
    finally:
        connections.close()
    return Created(tuple(made))


def upgrade(config: Config, actor: str, owner_url: str = "") -> Created:
    """Bring the schema of a store forward; `create` for one that is there. Raises StoreMismatch if there is none."""
    connections = connect(config, owner_url)
    try:
        with connections.reading(hurried=True) as connection:
            if migrations.current(connection) is None:
                check_schema(connection, config)
    finally:
        connections.close()
    return create(config, actor, owner_url)


def _create_files(config: Config) -> list[str]:
    made: list[str] = []
    path = config.key.file
    if path is not None and not path.exists():
        if config.database.exists() and config.database.stat().st_size > 0:
            raise StoreMismatch(f"{config.database} exists, but its key {path} is missing. Restore the key file")
        create_key_file(path)
        made.append(f"key      {path}")
    if not config.database.exists():
        create_file(config.database)
        made.append(f"store    {config.database}")
    return made


def _create_key(connections: Connections, config: Config) -> list[str]:
    """The key of the first of several servers; the others get a copy of it."""
    path = config.key.file
    if path is None or path.exists():
        return []
    with connections.reading(hurried=True) as connection:
        if migrations.current(connection) is not None:
            raise StoreMismatch(
                f"{config.store_name} is a store already, but its key {path} is missing here. "
                "Copy it from another server"
            )
    create_key_file(path)
    return [f"key      {path}"]


def _migrate(connection: Connection, ring: KeyRing, config: Config, actor: str) -> list[str]:
    before = migrations.current(connection)
    if before == migrations.HEAD:
        read_keys(connection, ring, config)
        return []
    if before is not None and before > migrations.HEAD:
        check_schema(connection, config)
    if before is not None:
        read_keys(connection, ring, config)
    migrations.upgrade(connection)
    if before is None:
        _fill(connection, ring.newest.key)
    keys = read_keys(connection, ring, config)
    event = "store-create" if before is None else "store-upgrade"
    writer = Writer(connection, keys.sealer, keys.fingerprint, keys.audit, config.chain)
    writer.apply([Audit(time.time(), event, "done", "", actor=actor, detail={"schema": migrations.HEAD})])
    writer.finish()
    return [f"schema   {before or 'none'} -> {migrations.HEAD}"]


def _fill(connection: Connection, master: MasterKey) -> None:
    store_id = os.urandom(16).hex()
    facts = {
        "store_id": store_id,
        KEY_ID: master.id.hex(),
        CLIENTS_GENERATION: "0",
        BOOK_GENERATION: "0",
    }
    connection.execute(insert(meta), [{"name": name, "value": value} for name, value in facts.items()])
    sealer = Sealer(master, store_id)
    for purpose in ("fingerprint", "audit"):
        sealed = sealer.seal("store-key", purpose, os.urandom(32))
        connection.execute(insert(store_keys).values(purpose=purpose, sealed=sealed))
