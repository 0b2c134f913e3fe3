"""A PostgreSQL database that several servers share.

Rules: READ COMMITTED with row locks, always in the same order (users, tokens, sources; audit heads come last), so
what a transaction has read stays true until it ends. Nothing waits for the server without a deadline of ours: a
dropped packet or a stopped server process leaves a connection that looks well. A COMMIT that brings a warning (a wait
for a standby that was cancelled) counts as not done. One clock for all: the database's. Needs the extra `postgresql`.
"""

import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Connection, Engine, Select, bindparam, create_engine, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from store.connections import DEADLINE, Connections
from store.rows import can_stand_in_a_row
from store.schema import tickets, tokens, users
from validation.errors import BadInput, StoreUnavailable
from validation.ports import Conflict
from validation.requests import Wanted, neighbourhood

SKEW = 10.0  # seconds between this host's clock and the database's that are worth a warning

_SAY_AGAIN = 3600.0  # seconds
_CONNECT = 3  # seconds
_AT_ONCE = 5000
_HERE = ("", "localhost", "127.0.0.1", "::1")

# Who is stopped in the middle of a transaction must not hold others up for longer than they wait for him.
_OPTIONS = {
    "lock_timeout": "4s",
    "idle_in_transaction_session_timeout": "5s",
    "client_connection_check_interval": "1s",
    "default_transaction_isolation": r"read\ committed",
    "timezone": "UTC",
}

_users_by_name = select(users.c.id).where(users.c.name.in_(bindparam("wanted", expanding=True)))
_owners_by_serial = select(tokens.c.id, tokens.c.user_id).where(
    tokens.c.serial.in_(bindparam("wanted", expanding=True))
)
_owners_by_ticket = select(tickets.c.user_id).where(tickets.c.digest.in_(bindparam("wanted", expanding=True)))
_lock_users = (
    select(users.c.id).where(users.c.id.in_(bindparam("wanted", expanding=True))).order_by(users.c.id).with_for_update()
)
_lock_named = _users_by_name.order_by(users.c.id).with_for_update()
_lock_tokens = (
    select(tokens.c.id, tokens.c.user_id)
    .where(tokens.c.id.in_(bindparam("wanted", expanding=True)))
    .order_by(tokens.c.id)
    .with_for_update()
)
# A source that is counted for the first time has no row that could be locked.
_lock_source = text("SELECT pg_advisory_xact_lock(hashtextextended(:source, 0))")
_clock = text("SELECT extract(epoch FROM clock_timestamp())::float8")
# Who freezes a store waits for the writers that have begun (`freeze`), and those to come see that it is frozen.
_clock_of_writer = text(f"{_clock}, pg_advisory_xact_lock_shared(hashtextextended('twofold writers', 0))")
_take_your_time = text("SET LOCAL idle_in_transaction_session_timeout = '10min'")
_alone = text("SELECT pg_advisory_xact_lock(hashtextextended('twofold writers', 0))")

_log = logging.getLogger("twofold.store")


class _TooLate(errors.OperationalError):
    """Our own deadline has passed."""


class _Driver(psycopg.Connection[Any]):
    """Waits for the server until `until` (monotonic) at the longest, and keeps the warnings that came."""

    until: float = math.inf
    warnings: tuple[str, ...] = ()

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        left = self.until - time.monotonic()
        try:
            return super().wait(gen, interval, timeout if left == math.inf else max(left, 0.0))
        except errors._WaitTimeout:
            self.close()  # what is still on its way belongs to nobody
            raise _TooLate("the database did not answer in time") from None

    def noticed(self, notice: errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self.warnings = (*self.warnings, " ".join((notice.message_primary or "").split()))


class PostgresqlServer(Connections):
    """Connections to one database of a PostgreSQL server."""

    def __init__(self, url: str, deadline: float = DEADLINE) -> None:
        self.name = url.partition("?")[0]
        self._deadline = deadline
        self._ahead = 0.0  # seconds that the database's clock is ahead of time.monotonic()
        self._asked_clock = False
        self._said_skew = -math.inf
        self._engine = _engine(url, deadline)

    # --- the clock ----------------------------------------------------------------------------------------------

    def now(self) -> float:
        """As of the newest transaction that has begun here."""
        return time.monotonic() + self._ahead if self._asked_clock else time.time()

    def skew(self) -> float:
        return self.now() - time.time()

    def _greet(self, connection: Connection) -> None:
        """The first words of a transaction. They also find out whether the connection still works."""
        if _driver(connection).until == math.inf:  # between its statements a command may think, as an upgrade does
            connection.execute(_take_your_time)
        reading = connection.get_execution_options().get("postgresql_readonly", False)
        told = float(connection.execute(_clock if reading else _clock_of_writer).scalars().one())
        self._ahead = told - time.monotonic()
        self._asked_clock = True
        self._warn_of_skew()

    def _warn_of_skew(self) -> None:
        ahead = self.skew()
        if abs(ahead) < SKEW or time.monotonic() < self._said_skew + _SAY_AGAIN:
            return
        self._said_skew = time.monotonic()
        _log.warning(
            "the clock of this host is %.0f s %s that of the database; logins go by the database's. Mend both with NTP",
            abs(ahead),
            "behind" if ahead > 0 else "ahead of",
        )

    # --- transactions -------------------------------------------------------------------------------------------

    def _open(self, reading: bool, hurried: bool) -> Connection:
        connection = self._engine.connect()
        _driver(connection).until = time.monotonic() + self._deadline if hurried else math.inf
        if reading:  # one view for all statements
            return connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        return connection

    def _broke_before(self, error: DBAPIError) -> bool:
        return error.connection_invalidated and not isinstance(error.orig, _TooLate)

    def _commit(self, connection: Connection) -> None:
        driver = _driver(connection)
        driver.warnings = ()
        super()._commit(connection)
        if driver.warnings:
            raise StoreUnavailable(f"the store {self.name} has not made sure of a commit: {'; '.join(driver.warnings)}")

    def _unavailable(self, error: SQLAlchemyError) -> StoreUnavailable:
        said = super()._unavailable(error)
        if isinstance(error, DBAPIError) and isinstance(error.orig, errors.InsufficientPrivilege):
            return StoreUnavailable(f"{said}. Tables are made and changed by who owns them: --as URL")
        return said

    def _is_conflict(self, error: DBAPIError) -> bool:
        undone = isinstance(error.orig, errors.SerializationFailure | errors.DeadlockDetected)
        return undone or isinstance(error, IntegrityError)

    def wait_for_writers(self, connection: Connection) -> None:
        connection.execute(_alone)

    # --- row locks ----------------------------------------------------------------------------------------------

    def lock(self, connection: Connection, wanted: Sequence[Wanted]) -> None:
        """Raises Conflict if a token that is named changed hands in this moment."""
        if any(w.alone for w in wanted):
            self.wait_for_writers(connection)
        names = _texts({w.user for w in wanted}.union(*(w.users for w in wanted)))
        serials = _texts({w.serial for w in wanted}.union(*(w.serials for w in wanted)))
        sources = _texts({neighbourhood(w.source) for w in wanted if w.source})
        digests = {w.ticket for w in wanted if w.ticket is not None}
        if serials or digests or len(names) > _AT_ONCE:
            self._lock_owners(connection, names, serials, digests)
        elif names:
            connection.execute(_lock_named, {"wanted": names}).all()
        for source in sources:
            connection.execute(_lock_source, {"source": source})

    def _lock_owners(
        self, connection: Connection, names: Iterable[str], serials: Iterable[str], digests: Iterable[bytes]
    ) -> None:
        held = dict(_many(connection, _owners_by_serial, serials))
        owners = {owner for owner in held.values() if owner is not None}
        owners |= {id_ for (id_,) in _many(connection, _users_by_name, names)}
        owners |= {id_ for (id_,) in _many(connection, _owners_by_ticket, digests)}
        list(_many(connection, _lock_users, sorted(owners)))
        for id_, owner in _many(connection, _lock_tokens, sorted(held)):
            if owner != held[id_]:
                raise Conflict("the token was given to somebody in the meantime")


def _texts(wanted: Iterable[str | None]) -> list[str]:
    return sorted(value for value in wanted if value is not None and can_stand_in_a_row(value))


def _many(connection: Connection, statement: Select[Any], wanted: Iterable[Any]) -> Iterator[Any]:
    """As many as a statement takes at a time, in the order they have."""
    values = list(wanted)
    for at in range(0, len(values), _AT_ONCE):
        yield from connection.execute(statement, {"wanted": values[at : at + _AT_ONCE]}).all()


def _driver(connection: Connection) -> _Driver:
    driver: Any = connection.connection.driver_connection
    return cast(_Driver, driver)


# --- connecting -------------------------------------------------------------------------------------------------


def _engine(url: str, deadline: float) -> Engine:
    wanted = connection_string(url)

    def connect() -> _Driver:
        driver = _Driver.connect(wanted)
        driver.until = time.monotonic() + deadline
        driver.add_notice_handler(driver.noticed)
        _make_commits_last(driver)
        return driver

    # hide_parameters: what a statement was given (hashes, States) must not stand in an error's text.
    return create_engine(
        "postgresql+psycopg://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=4,
        max_overflow=12,
        pool_timeout=deadline,
        use_native_hstore=False,
        hide_parameters=True,
    )


def _make_commits_last(driver: _Driver) -> None:
    """Whatever the server is set to: an answered login must survive its crash. Stronger settings stay as they are."""
    driver.autocommit = True  # outside of any transaction: a setting of the connection itself
    found = driver.execute("SELECT current_setting('synchronous_commit')").fetchone()
    if found is not None and found[0] == "off":
        driver.execute("SET synchronous_commit = on")
    driver.autocommit = False


def connection_string(url: str) -> str:
    """What libpq is told: `url` with deadlines, and with TLS that checks who answers where nothing else is said.

    Raises BadInput if it is none of PostgreSQL's, or holds a password.
    """
    try:
        said = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise BadInput(f"store.url is no address of a PostgreSQL database: {' '.join(str(error).split())}") from None
    if said.get("password"):
        raise BadInput(
            "store.url holds a password, which does not belong there: put it into a file of mode 0600 "
            "and name that with ?passfile=FILE (https://www.postgresql.org/docs/current/libpq-pgpass.html)"
        )
    options = " ".join(f"-c {name}={value}" for name, value in _OPTIONS.items())
    defaults: dict[str, Any] = {
        "application_name": "twofold",
        "connect_timeout": _CONNECT,
        "tcp_user_timeout": 4000,  # ms
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "target_session_attrs": "read-write",
    }
    if not _is_here(said.get("host")):
        defaults |= {"sslmode": "verify-full"}
        if said.get("sslmode", "verify-full") == "verify-full":
            defaults |= {"sslrootcert": "system"}
    return make_conninfo("", **defaults | said | {"options": f"{options} {said.get('options', '')}".strip()})


def _is_here(hosts: Any) -> bool:
    """On this machine, or in a Unix socket: nobody can listen in."""
    return all(
        host.startswith("/") or host in ("", "localhost", "127.0.0.1", "::1") for host in (hosts or "").split(",")
    )
