"""What the store does when PostgreSQL is gone, slow, half dead, or of another mind.

Every server that is stopped or spoiled here is one of the test's own.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, event, text

from store import config as configuration
from store import opening
from store.database import Database
from store.postgresql import PostgresqlServer, connection_string
from tests.postgres import Stores, postgres
from tests.site import Site, eventually, pin
from validation.decisions import Accept
from validation.errors import BadInput, StoreMismatch, StoreUnavailable
from validation.model import Mode
from validation.ports import Conflict
from validation.requests import Channel, LoginRequest, RevokeToken, Wanted

pytestmark = pytest.mark.peer("postgres", "psql")


@pytest.fixture
def site(stores: Stores, tmp_path: Path) -> Iterator[Site]:
    site = stores.site(tmp_path / "site")
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", password=None)
    yield site
    site.database.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """Stores on a server that these tests may stop."""
    with postgres() as server:
        yield Stores(server, tmp_path_factory.mktemp("own"))


@pytest.fixture
def mortal(own: Stores, tmp_path: Path) -> Iterator[Site]:
    site = own.site(tmp_path / "site")
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", password=None)
    yield site
    site.database.close()


def login(site: Site, passcode: str) -> LoginRequest:
    (client,) = site.gate.clients()
    channel = Channel.for_mode(Mode.PASSCODE_ONLY)
    return LoginRequest("alice", channel, "vpn", client.version, passcode=passcode)


# --- connections that break, S03


def test_the_first_login_after_the_server_closed_all_connections_is_answered(site: Site, stores: Stores) -> None:
    """S03: found out before anything was asked, so nothing is asked twice."""
    token = site.enroll("alice", kind="hotp")
    asked = login(site, pin(token))
    name = site.config.store_name.rpartition("/")[2]
    closed = stores.server.sql(
        f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"
    )
    assert int(closed[0][0]) >= 1
    (outcome,) = site.gate.login([asked])
    assert isinstance(outcome, Accept)


@pytest.mark.statement("C-010")
def test_a_server_that_was_restarted_is_found_again_and_one_that_is_gone_is_unavailable(
    own: Stores, mortal: Site
) -> None:
    token = mortal.enroll("alice", kind="hotp")
    asked = login(mortal, pin(token))
    own.server.crash()
    try:
        (outcome,) = mortal.gate.login([asked])
        assert isinstance(outcome, StoreUnavailable)
        assert str(outcome).startswith(f"the store {mortal.config.store_name} cannot be used: ")
        assert "\n" not in str(outcome)
    finally:
        own.server.start()
    (outcome,) = mortal.gate.login([asked])
    assert isinstance(outcome, Accept)


@pytest.mark.statement("C-010")
def test_a_server_that_is_stopped_in_its_tracks_is_given_up_in_time(own: Stores, mortal: Site) -> None:
    """The kernel takes what is sent, so no time-out of TCP's notices."""
    token = mortal.enroll("alice", kind="hotp")
    asked = login(mortal, pin(token))
    hurried = PostgresqlServer(mortal.config.url, deadline=0.5)
    with hurried.reading():  # a connection is there
        pass
    own.server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match="did not answer in time"), hurried.writing():
            pass
    finally:
        own.server.signal(signal.SIGCONT)
        hurried.close()
    (outcome,) = mortal.gate.login([asked])
    assert isinstance(outcome, Accept)


# --- commits that are not sure


def test_a_commit_that_comes_back_with_a_warning_is_none(own: Stores, mortal: Site) -> None:
    """PostgreSQL says COMMIT and a warning when the wait for a standby was cancelled: nobody may rely on it."""
    token = mortal.enroll("alice", kind="hotp")
    asked = login(mortal, pin(token))
    own.server.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
    own.server.sql("ALTER SYSTEM SET synchronous_commit = 'on'")
    own.server.sql("SELECT pg_reload_conf()")
    outcomes = []
    try:
        thread = threading.Thread(target=lambda: outcomes.extend(mortal.gate.login([asked])))
        thread.start()
        waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        eventually(lambda: own.server.sql(f"SELECT pid {waiting}"), what="a commit that waits")
        own.server.sql(f"SELECT pg_cancel_backend(pid) {waiting}")
        thread.join(30)
    finally:
        own.server.sql("ALTER SYSTEM RESET ALL")
        own.server.sql("SELECT pg_reload_conf()")
    (outcome,) = outcomes
    assert isinstance(outcome, StoreUnavailable)
    assert "has not made sure of a commit" in str(outcome)
    (again,) = mortal.gate.login([asked])
    assert not isinstance(again, Accept), "it was committed here all the same, and the PIN is used"


def test_a_commit_that_nobody_answers_is_given_up(own: Stores, mortal: Site) -> None:
    own.server.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
    own.server.sql("ALTER SYSTEM SET synchronous_commit = 'on'")
    own.server.sql("SELECT pg_reload_conf()")
    hurried = PostgresqlServer(mortal.config.url, deadline=0.5)
    try:
        with pytest.raises(StoreUnavailable, match="did not answer in time"), hurried.writing() as connection:
            connection.execute(text("UPDATE meta SET value = '7' WHERE name = 'clients_generation'"))
    finally:
        hurried.close()
        own.server.sql("ALTER SYSTEM RESET ALL")
        own.server.sql("SELECT pg_reload_conf()")
    assert mortal.command("audit", "verify").returncode == 0


def test_commits_last_whatever_the_server_is_set_to(site: Site) -> None:
    """The server of these tests has synchronous_commit = off."""
    with site.database.connections.reading() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"


# --- locks


def test_two_servers_that_want_the_same_users_in_another_order_do_not_stop_each_other(site: Site) -> None:
    """They would wait for one another were the rows not locked by id."""
    for number in range(20):
        site.add_user(f"user{number}", password=None)
    names = [f"user{number}" for number in range(20)]
    stores = [opening.open_store(site.config) for _ in range(2)]
    troubles: list[BaseException] = []

    def go(store: Database, order: list[str]) -> None:
        try:
            for _ in range(50):
                with store.transaction() as transaction:
                    transaction.snapshots([Wanted(user=name, source="192.0.2.1") for name in order])
        except BaseException as error:
            troubles.append(error)

    threads = [threading.Thread(target=go, args=pair) for pair in zip(stores, (names, names[::-1]), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for store in stores:
        store.close()
    assert troubles == []


@pytest.mark.statement("C-005")
def test_a_deadlock_is_a_conflict_and_tried_again_and_then_refused(site: Site) -> None:
    """Somebody else's program locks in another order than we do."""
    token = site.enroll("alice", kind="hotp")
    seen: list[int] = []

    def deadlock(connection: Connection) -> None:
        seen.append(1)
        connection.execute(text("DO $$ BEGIN RAISE deadlock_detected; END $$"))

    engine = site.database.connections._engine
    event.listen(engine, "commit", deadlock)
    try:
        (outcome,) = site.gate.login([login(site, pin(token))])
    finally:
        event.remove(engine, "commit", deadlock)
    assert (type(outcome).__name__, getattr(outcome, "reason", "")) == ("Reject", "decision-failed")
    assert len(seen) == 4, "three times as asked, once to write down that it failed"
    (outcome,) = site.gate.login([login(site, pin(token))])
    assert isinstance(outcome, Accept), "the PIN was not used"


@pytest.mark.statement("C-005")
def test_a_row_that_stays_locked_is_waited_for_in_bounds(site: Site, stores: Stores) -> None:
    token = site.enroll("alice", kind="hotp")
    asked = login(site, pin(token))
    with closing(PostgresqlServer(site.config.url)) as other, other.writing(hurried=False) as holder:
        holder.execute(text("SELECT id FROM users FOR UPDATE"))
        holder.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        (outcome,) = site.gate.login([asked])
        assert isinstance(outcome, StoreUnavailable)
        assert "lock timeout" in str(outcome)
    (outcome,) = site.gate.login([asked])
    assert isinstance(outcome, Accept)


def test_who_is_stopped_inside_a_transaction_holds_others_up_for_seconds_only(site: Site) -> None:
    token = site.enroll("alice", kind="hotp")
    asked = login(site, pin(token))

    def answered() -> bool:
        (outcome,) = site.gate.login([asked])
        return isinstance(outcome, Accept)

    def stopped_inside(store: PostgresqlServer) -> None:
        with store.writing() as connection:
            connection.execute(text("SELECT id FROM users FOR UPDATE"))
            eventually(answered, 30)

    with closing(PostgresqlServer(site.config.url)) as stopped, pytest.raises(StoreUnavailable):
        stopped_inside(stopped)


# --- what is refused


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://twofold:geheim@db.example.org/twofold", "holds a password"),
        ("postgresql://twofold@db.example.org/twofold?password=geheim", "holds a password"),
        ("postgresql://twofold@db.example.org/twofold?nonsense=1", "no address of a PostgreSQL database"),
    ],
)
def test_an_address_that_is_none_or_gives_a_secret_away_is_refused(url: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as refused:
        connection_string(url)
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "sslmode"),
    [
        ("postgresql://twofold@db.example.org/twofold", "verify-full"),
        ("postgresql://twofold@127.0.0.1,db.example.org/twofold", "verify-full"),
        ("postgresql://twofold@/twofold?host=db.example.org", "verify-full"),
        ("postgresql://twofold@db.example.org/twofold?sslmode=require", "require"),
        ("postgresql://twofold@127.0.0.1/twofold", None),
        ("postgresql://twofold@/twofold?host=/run/postgresql", None),
    ],
)
def test_a_database_on_another_machine_must_prove_who_it_is_unless_said_otherwise(url: str, sslmode: str) -> None:
    said = conninfo_to_dict(connection_string(url))
    assert said.get("sslmode") == sslmode
    assert said.get("sslrootcert") == ("system" if sslmode == "verify-full" else None)


def test_an_empty_database_is_no_store_and_a_newer_one_is_refused(stores: Stores, tmp_path: Path) -> None:
    site = stores.site(tmp_path / "site")
    with site.database.connections.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    site.database.close()
    with pytest.raises(StoreMismatch, match="has schema 9999, newer than this version"):
        opening.open_store(site.config)
    empty = site.config_file.read_text().replace(site.config.url, stores.server.database())
    site.config_file.write_text(empty)
    with pytest.raises(StoreMismatch, match="is no Twofold store; create one with: twofold init"):
        opening.open_store(site.config)


@pytest.mark.statement("C-015")
def test_a_second_host_needs_a_copy_of_the_key(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    config = folder / "twofold.toml"
    config.write_text(site.config_file.read_text())
    config.chmod(0o640)
    with pytest.raises(StoreMismatch, match=r"is a store already, but its key .* is missing here"):
        opening.create(configuration.load(config), "test")
    assert sorted(path.name for path in folder.iterdir()) == ["twofold.toml"]


# --- what the database itself forbids


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tokens SET moving_factor = moving_factor - 1",
        "UPDATE tokens SET state = 'active', sealed_key = '\\x00', revoked_at = NULL",
        "DELETE FROM known_keys",
        "UPDATE known_keys SET serial = 'other'",
    ],
)
def test_triggers_repeat_the_invariants(site: Site, statement: str) -> None:
    token = site.enroll("alice", kind="hotp", moving_factor=5)
    site.gate.administer(RevokeToken(actor="test", serial=token.serial))
    with pytest.raises(Conflict), site.database.connections.writing() as connection:
        connection.execute(text(statement))


# --- clocks


def test_all_hosts_go_by_the_clock_of_the_database(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    here = site.database.connections
    monkeypatch.setattr("store.postgresql.time.time", lambda: 1_000_000.0)
    with here.reading() as connection:
        there = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())::float8")).scalar_one()
    assert 0 <= here.now() - there < 60
    assert isinstance(here, PostgresqlServer)
    assert here.skew() > 1_000_000_000


def test_a_clock_that_differs_is_said_once(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = time.time
    monkeypatch.setattr("store.postgresql.time.time", lambda: real() - 40)
    for _ in range(3):
        with site.database.connections.reading():
            pass
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("the clock of this host is 40 s behind that of the database; logins go by the database's")


# --- an older schema


def shape(connection: Connection) -> list[tuple[object, ...]]:
    """Columns, indexes and constraints, as the database spells them."""
    asked = (
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns "
        "WHERE table_schema = 'public'",
        "SELECT indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT conname, pg_get_constraintdef(oid), '', '' FROM pg_constraint WHERE conrelid > 0",
    )
    return sorted(tuple(row) for question in asked for row in connection.execute(text(question)))


def shape_of(site: Site) -> list[tuple[object, ...]]:
    with site.database.connections.reading() as connection:
        return shape(connection)


@pytest.mark.statement("C-013")
def test_an_older_schema_is_brought_forward_and_the_servers_role_may_use_what_is_new(
    stores: Stores, tmp_path: Path
) -> None:
    """As it was before there were recorded answers."""
    site = stores.site(tmp_path / "site")
    wanted = shape_of(site)
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", password=None)
    token = site.enroll("alice", kind="hotp")
    site.database.close()
    owner_url = site.config.url
    database = owner_url.partition("?")[0].rpartition("/")[2]
    for table in ("answers", "audit_starts"):
        stores.server.sql(f"DROP TABLE {table}", database)
    stores.server.sql("ALTER TABLE tokens DROP COLUMN needs_resync", database)
    for index in ("reuse_windows_expires_at", "tickets_expires_at", "floods_since", "source_scores_end"):
        stores.server.sql(f"DROP INDEX ix_{index}", database)
    stores.server.sql("DROP INDEX ix_challenges_user, ix_challenges_client", database)
    for column in ("user_id", "client"):
        stores.server.sql(f"CREATE INDEX ix_challenges_{column} ON challenges ({column})", database)
    stores.server.sql("UPDATE alembic_version SET version_num = '0003'", database)
    stores.server.sql("CREATE ROLE servant LOGIN")
    site.config_file.write_text(site.config_file.read_text().replace("postgres@", "servant@"))
    done = site.command("db", "upgrade", "--as", owner_url)
    assert (done.returncode, "0003 -> 0009" in done.stdout) == (0, True), done
    again = Site.__new__(Site)
    again.folder, again.config_file = site.folder, site.config_file
    assert shape_of(again) == wanted
    request = replace(login(again, pin(token)), packet=b"p" * 32)
    first, second = (again.gate.login([request])[0] for _ in range(2))
    assert isinstance(first, Accept)
    assert second == first
    again.database.close()
