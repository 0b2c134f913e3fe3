"""Where faces and commands come in: `open_gate(config)` gives a gate on the real store, clock and dice.

Rules: opening refuses, with one clear sentence, a store that is missing, of another schema, sealed with another
key, or readable by others; it never creates or changes anything. `create` is the only maker of stores, and safe to
repeat.
"""

import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, insert, select

from store import audit, listings, migrations
from store.config import Config, template
from store.database import Connections, Database, Keys, check_file, create_file
from store.notices import notices_for
from store.schema import meta, store_keys
from store.sealing import MasterKey, Sealer, create_key_file, create_whole, read_key_file
from store.snapshots import BOOK_GENERATION
from store.writing import CLIENTS_GENERATION, Writer
from validation.changes import Audit
from validation.errors import BadInput, Damaged, StoreMismatch
from validation.gate import Gate
from validation.messages import printable
from validation.model import MOMENT_RANDOM_OCTETS, Moment, Site
from validation.requests import LoginRequest

_log = logging.getLogger("twofold.gate")

# Below that python-fido2 writes down the ids of credentials, whatever level we are told to log at (W-022).
logging.getLogger("fido2").setLevel(logging.WARNING)


class SystemMoments:
    """The system's clock and randomness."""

    def moment(self) -> Moment:
        return Moment(time.time(), os.urandom(MOMENT_RANDOM_OCTETS))


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


def open_gate(config: Config) -> Gate:
    """The gate on the store of `config`. Raises StoreUnavailable or StoreMismatch."""
    return gate_on(open_store(config), config)


def gate_on(store: Database, config: Config) -> Gate:
    """The gate on an open store, with the real clock and dice."""
    return Gate(store, SystemMoments(), LoggedFaults(), notices_for(config.notify), _site(config))


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


def open_store(config: Config) -> Database:
    """The store of `config`, checked. Raises StoreUnavailable or StoreMismatch."""
    check_file(config.database)
    master = read_key_file(config.key_file)
    connections = Connections(config.database)
    try:
        with connections.reading() as connection:
            _check_schema(connection, config.database)
            keys = _read_keys(connection, master, config)
    except BaseException:
        connections.close()
        raise
    return Database(connections, keys, config.chain)


def _check_schema(connection: Connection, path: Path) -> None:
    here = migrations.current(connection)
    if here is None:
        raise StoreMismatch(f"{path} is no Twofold store; create one with: twofold init")
    if here < migrations.HEAD:
        raise StoreMismatch(f"the store {path} has schema {here}, this version needs {migrations.HEAD}: twofold init")
    if here > migrations.HEAD:
        raise StoreMismatch(
            f"the store {path} has schema {here}, newer than this version's {migrations.HEAD}: upgrade Twofold"
        )


def _read_keys(connection: Connection, master: MasterKey, config: Config) -> Keys:
    facts = {row.name: row.value for row in connection.execute(select(meta))}
    expected = facts.get("key_id", "")
    if expected != master.id.hex():
        raise StoreMismatch(
            f"the key in {config.key_file} does not fit the store {config.database}: "
            f"it is key {master.id.hex()}, the store was sealed with {expected}. Nothing was changed"
        )
    sealed = {row.purpose: row.sealed for row in connection.execute(select(store_keys))}
    try:
        sealer = Sealer(master, facts["store_id"])
        opened = {name: sealer.open("store-key", name, sealed[name]) for name in ("fingerprint", "audit")}
    except (KeyError, Damaged) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise StoreMismatch(f"the store {config.database} is damaged: {what}; restore it from a backup") from None
    return Keys(sealer, opened["fingerprint"], opened["audit"])


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
            findings, _ = listings.verify(connection, store.keys.audit, store.chain, {})
    finally:
        store.close()
    return Trail(rows, tuple(audit.lines(findings)))


# --- making a store ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Created:
    """What `create` made; what is not named was there already."""

    made: tuple[str, ...] = field(default=())


def create_config(path: Path, chain: str) -> bool:
    """Write the configuration file if there is none. True if it was written."""
    try:
        create_whole(path, template(chain), 0o640)
    except FileExistsError:
        return False
    return True


def create(config: Config, actor: str) -> Created:
    """Make key file and store where there are none, and bring an older schema forward. Changes nothing else.

    Raises StoreMismatch rather than pairing an old store with a new key.
    """
    made: list[str] = []
    if config.database.exists() and not config.key_file.exists() and config.database.stat().st_size > 0:
        raise StoreMismatch(f"{config.database} exists, but its key {config.key_file} is missing. Restore the key file")
    if not config.key_file.exists():
        create_key_file(config.key_file)
        made.append(f"key      {config.key_file}")
    if not config.database.exists():
        create_file(config.database)
        made.append(f"store    {config.database}")
    check_file(config.database)
    master = read_key_file(config.key_file)
    connections = Connections(config.database)
    try:
        with connections.writing() as connection:
            made += _migrate(connection, master, config, actor)
    finally:
        connections.close()
    return Created(tuple(made))


def _migrate(connection: Connection, master: MasterKey, config: Config, actor: str) -> list[str]:
    before = migrations.current(connection)
    if before == migrations.HEAD:
        _read_keys(connection, master, config)
        return []
    if before is not None and before > migrations.HEAD:
        _check_schema(connection, config.database)
    if before is not None:
        _read_keys(connection, master, config)
    migrations.upgrade(connection)
    if before is None:
        _fill(connection, master)
    keys = _read_keys(connection, master, config)
    event = "store-create" if before is None else "store-upgrade"
    writer = Writer(connection, keys.sealer, keys.fingerprint, keys.audit, config.chain)
    writer.apply([Audit(time.time(), event, "done", "", actor=actor, detail={"schema": migrations.HEAD})])
    writer.finish()
    return [f"schema   {before or 'none'} -> {migrations.HEAD}"]


def _fill(connection: Connection, master: MasterKey) -> None:
    store_id = os.urandom(16).hex()
    facts = {
        "store_id": store_id,
        "key_id": master.id.hex(),
        CLIENTS_GENERATION: "0",
        BOOK_GENERATION: "0",
        "checked_at": "",
    }
    connection.execute(insert(meta), [{"name": name, "value": value} for name, value in facts.items()])
    sealer = Sealer(master, store_id)
    for purpose in ("fingerprint", "audit"):
        sealed = sealer.seal("store-key", purpose, os.urandom(32))
        connection.execute(insert(store_keys).values(purpose=purpose, sealed=sealed))
