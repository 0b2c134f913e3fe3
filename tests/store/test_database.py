"""The store on SQLite: whole transactions, durable commits, and a damaged row that hurts only its owner."""

import hashlib
from collections.abc import Iterator
from ipaddress import ip_network

import pytest
from sqlalchemy import Connection, insert, update

from store.connections import Connections
from store.database import Database
from store.schema import clients, users
from tests.builders import RFC_KEY
from tests.site import SECRET, Site, pin
from tests.store import raw
from validation import changes as c
from validation.decisions import Accept, Reason, Reject
from validation.errors import Damaged, Refused, StoreUnavailable
from validation.model import Mode, Token, TokenState
from validation.ports import Conflict
from validation.requests import (
    AddClient,
    ChangeUserState,
    Channel,
    EnrollToken,
    LoginRequest,
    RemoveClient,
    RemoveUser,
    RevokeToken,
    SetClient,
    UserAct,
    Wanted,
)

FAILED = Reject(Reason.DECISION_FAILED, "The login was refused.", delay=1.0)


@pytest.fixture
def store(site: Site) -> Database:
    return site.database


def by_pin_alone(site: Site, user: str, token: Token) -> LoginRequest:
    """A login through `vpn`, which has checked the password itself."""
    (client,) = [client for client in site.gate.clients() if client.name == "vpn"]
    channel = Channel.for_mode(Mode.PASSCODE_ONLY)
    return LoginRequest(user, channel, client.name, client.version, passcode=pin(token), request_id="r")


# --- Transactions


def test_each_connection_is_durable_and_checks_what_it_can(store: Database) -> None:
    """WAL with synchronous=FULL: a login that was answered survives a power cut (C-006)."""
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "trusted_schema": 0}
    for transaction in (store.connections.writing, store.connections.reading):
        with transaction() as connection:
            assert {name: _pragma(connection, name) for name in wanted} == wanted


def _pragma(connection: Connection, name: str) -> object:
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


def test_an_error_undoes_everything(site: Site) -> None:
    site.add_user("alice", None)
    before = raw.contents(site.config.database)

    def fail() -> None:
        with site.database.transaction() as transaction:
            transaction.apply([c.DeleteUser(1), c.Audit(0.0, "user-remove", "done", "")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert raw.contents(site.config.database) == before


def test_a_change_that_meets_another_state_undoes_what_came_before_it(site: Site) -> None:
    site.add_user("alice", None)
    site.enroll("alice", kind="hotp", serial="TF-1", moving_factor=5)
    before = raw.contents(site.config.database)
    for stale in (
        c.UseToken(1, from_=4, to=9, drift=0, used_at=1.0),
        c.UseToken(1, from_=5, to=5, drift=0, used_at=1.0),
        c.CloseChallenge("00" * 16),
        c.Rehash(1, version=7, password_hash="x"),
        c.SetTokenState(99, TokenState.REVOKED, None, 1.0),
        c.DeleteUser(99),
        c.DeleteClient("nobody"),
    ):
        with pytest.raises(Conflict), site.database.transaction() as transaction:
            transaction.apply([c.Audit(0.0, "login", "accept", ""), stale])
        assert raw.contents(site.config.database) == before, stale


def test_nothing_can_be_written_while_reading(site: Site) -> None:
    with site.database.connections.reading() as connection:
        connection.execute(update(users).values(name="mallory"))
        connection.execute(
            insert(users).values(
                name="x",
                created_at=0,
                first_factor="local",
                groups="[]",
                disabled=False,
                locked=False,
                password_version=0,
                pairing="new",
                pairing_since=0,
                bypass_until=0,
            )
        )
    assert raw.rows(site.config.database, "SELECT * FROM users") == []


def test_a_reader_sees_one_moment(site: Site) -> None:
    with site.database.connections.reading() as connection:
        count = "SELECT count(*) FROM users"
        assert connection.exec_driver_sql(count).scalar_one() == 0
        site.add_user("alice", None)
        assert connection.exec_driver_sql(count).scalar_one() == 0
    with site.database.connections.reading() as connection:
        assert connection.exec_driver_sql(count).scalar_one() == 1


def test_a_commit_that_fails_is_no_commit(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: object, connection: Connection) -> None:
        raise StoreUnavailable("the disk is full")

    before = raw.contents(site.config.database)
    with monkeypatch.context() as planted:
        planted.setattr(Connections, "_commit", full)
        with pytest.raises(StoreUnavailable, match="disk is full"):
            site.add_user("alice", None)
    assert raw.contents(site.config.database) == before
    site.add_user("alice", None)


@pytest.mark.statement("C-031")
def test_an_error_of_the_database_does_not_repeat_what_it_was_given(site: Site) -> None:
    """SQLAlchemy likes to print the values of the statement that failed; among them are hashes and States."""
    site.add_user("alice", None)
    hostile = {"name": "alice", "created_at": 0, "first_factor": "local", "groups": "[]", "disabled": False}
    more = {"pairing": "new", "pairing_since": 0, "bypass_until": 0}
    with pytest.raises(Conflict) as caught, site.database.connections.writing() as connection:
        connection.execute(
            insert(users).values(**hostile, locked=False, password_version=0, password_hash="S3CRET", **more)
        )
    shown = repr(list(_chain(caught.value)))
    assert "UNIQUE constraint failed: users.name" in shown
    assert "INSERT INTO users" in shown
    assert "S3CRET" not in shown


def _chain(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{error} {error!r}"
        error = error.__cause__ or error.__context__


def test_a_program_without_the_file_gets_one_sentence(site: Site) -> None:
    connections = site.database.connections
    connections.close()
    site.config.database.unlink()
    for transaction in (connections.reading, connections.writing):
        with pytest.raises(StoreUnavailable, match=r"cannot be (used|opened)"), transaction():
            pytest.fail("opened a store that is gone")
    assert not site.config.database.exists()


def test_check_proves_that_a_login_could_be_written_down(site: Site) -> None:
    mark = "SELECT value FROM meta WHERE name = 'checked_at test'"
    before = raw.rows(site.config.database, mark)
    site.database.check()
    assert raw.rows(site.config.database, mark) != before


# --- Damage and theft


@pytest.fixture
def two(site: Site) -> tuple[Token, Token]:
    """Alice and bob, each with a counter token; `vpn` asks for the PIN alone."""
    for name in ("alice", "bob"):
        site.add_user(name, None)
    site.add_client("vpn", mode=Mode.PASSCODE_ONLY)
    return site.enroll("alice", kind="hotp", serial="TF-A"), site.enroll("bob", kind="hotp", serial="TF-B")


def test_a_damaged_token_refuses_its_owner_alone(site: Site, two: tuple[Token, Token]) -> None:
    ((sealed,),) = raw.rows(site.config.database, "SELECT sealed_key FROM tokens WHERE serial = 'TF-A'")
    flipped = sealed[:-1] + bytes([sealed[-1] ^ 1])
    raw.tamper(site.config.database, ("UPDATE tokens SET sealed_key = ? WHERE serial = 'TF-A'", (flipped,)))
    requests = [by_pin_alone(site, "alice", two[0]), by_pin_alone(site, "bob", two[1])]
    alice, bob = site.gate.login(requests)
    assert alice == FAILED
    assert isinstance(bob, Accept)
    assert site.logins() == [("reject", "decision-failed"), ("accept", "passcode-right")]


def test_a_stolen_key_does_not_work_in_another_row(site: Site, two: tuple[Token, Token]) -> None:
    """Bob can write the database file. With his sealed key in alice's row, his PIN still does not let him in as her."""
    raw.tamper(
        site.config.database,
        "UPDATE tokens SET sealed_key = (SELECT sealed_key FROM tokens WHERE serial = 'TF-B') WHERE serial = 'TF-A'",
    )
    assert site.gate.login([by_pin_alone(site, "alice", two[1])]) == [FAILED]


def test_a_token_given_to_another_user_does_not_work(site: Site, two: tuple[Token, Token]) -> None:
    raw.tamper(site.config.database, "UPDATE tokens SET user_id = 1 WHERE serial = 'TF-B'")
    assert site.gate.login([by_pin_alone(site, "alice", two[1])]) == [FAILED]


def test_a_damaged_token_can_still_be_taken_out_of_service(site: Site, two: tuple[Token, Token]) -> None:
    raw.tamper(site.config.database, "UPDATE tokens SET sealed_key = x'00'")
    with pytest.raises(Damaged, match=r"TF-A\|hotp\|1"):
        site.gate.administer(EnrollToken(actor="test", user="alice"))
    site.gate.administer(ChangeUserState(actor="test", name="alice", act=UserAct.LOCK))
    site.gate.administer(RevokeToken(actor="test", serial="TF-A"))
    site.gate.administer(RemoveUser(actor="test", name="bob"))
    assert raw.rows(site.config.database, "SELECT serial, state FROM tokens") == [("TF-A", "revoked")]


def test_a_client_whose_secret_was_swapped_is_not_served(site: Site) -> None:
    for number, name in enumerate(("one", "two", "three"), 1):
        site.add_client(name, f"192.0.2.{number}/32", secret=name.encode() * 8)
    raw.tamper(
        site.config.database,
        "UPDATE clients SET sealed_secret = (SELECT sealed_secret FROM clients WHERE name = 'one') WHERE name = 'two'",
    )
    assert {client.name: client.secret for client in site.gate.clients()} == {
        "one": b"one" * 8,
        "three": b"three" * 8,
    }


def test_a_key_is_known_for_ever(site: Site) -> None:
    """After `user remove` nothing is left of the token but the fingerprint, and that is enough."""
    site.add_user("alice", None)
    site.enroll("alice", key=RFC_KEY, serial="TF-OLD")
    site.gate.administer(RemoveUser(actor="test", name="alice"))
    assert raw.rows(site.config.database, "SELECT * FROM tokens") == []
    with site.database.transaction() as transaction:
        (snapshot,) = transaction.snapshots([Wanted(key=RFC_KEY)])
        assert snapshot.key_known_as == "TF-OLD"


# --- Clients


def test_every_change_of_a_client_moves_the_number_servers_look_at(site: Site) -> None:
    numbers = [site.gate.clients_generation()]
    network, secret = ip_network("192.0.2.1/32"), b"s" * 24
    for command in (
        AddClient(actor="test", name="vpn", network=network, secret=secret),
        SetClient(actor="test", name="vpn", mode=Mode.APPEND),
        RemoveClient(actor="test", name="vpn"),
        AddClient(actor="test", name="vpn", network=network, secret=secret),
    ):
        site.gate.administer(command)
        numbers.append(site.gate.clients_generation())
    assert numbers == sorted(set(numbers))


def test_a_client_made_anew_is_not_the_old_one(site: Site) -> None:
    """A request that was read under the removed client is refused by its version."""
    versions = []
    for _ in range(2):
        site.add_client("vpn")
        versions += [client.version for client in site.gate.clients()]
        site.gate.administer(RemoveClient(actor="test", name="vpn"))
    assert versions[0] != versions[1]


def test_a_client_whose_secret_is_damaged_is_not_served_but_can_be_repaired_or_removed(site: Site) -> None:
    site.add_client("vpn")
    _damage_secret(site)
    assert site.gate.clients() == ()
    with pytest.raises(Damaged, match="vpn"):
        site.gate.administer(SetClient(actor="test", name="vpn", mode=Mode.APPEND))
    with pytest.raises(Refused, match="belongs to client 'vpn'"):
        site.add_client("other")
    site.gate.administer(SetClient(actor="test", name="vpn", secret=SECRET))
    assert [client.secret for client in site.gate.clients()] == [SECRET]
    _damage_secret(site)
    site.gate.administer(RemoveClient(actor="test", name="vpn"))
    assert site.command("client", "list", "--json").stdout.strip() == "[]"


def _damage_secret(site: Site) -> None:
    with site.database.connections.writing() as connection:
        connection.execute(update(clients).values(sealed_secret=bytes(60)))


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_a_revoked_key_is_recognised_in_every_form_that_makes_the_same_values(site: Site, algorithm: str) -> None:
    """HMAC fills a key with zero octets and hashes one longer than its block (RFC 2104 2)."""
    site.add_user("alice", None)
    long = RFC_KEY * 7
    for key in (RFC_KEY, long):
        token = site.enroll("alice", key=key, algorithm=algorithm)
        site.gate.administer(RevokeToken(actor="test", serial=token.serial))
    for same in (RFC_KEY + bytes(5), hashlib.new(algorithm, long).digest()):
        with pytest.raises(Refused, match="already known"):
            site.enroll("alice", key=same, algorithm=algorithm)


@pytest.mark.parametrize("act", ["remove", "replace"])
def test_a_store_that_was_removed_or_replaced_in_use_lets_nobody_in(site: Site, act: str) -> None:
    """SQLite would go on with the old file, and what it writes there is lost."""
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", None)
    token = site.enroll("alice")
    request = by_pin_alone(site, "alice", token)
    database = site.config.database
    copy = database.with_name("copy")
    copy.write_bytes(database.read_bytes())
    database.unlink()
    if act == "replace":
        copy.chmod(0o600)
        copy.rename(database)
    (outcome,) = site.gate.login([request])
    assert isinstance(outcome, StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        site.gate.clients()
