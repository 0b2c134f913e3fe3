"""One damaged row: the request that needs it is refused alone, and everybody else gets in."""

import sqlite3
from collections.abc import Callable

import pytest

from tests.flows.crowd import ask_all, numbered
from tests.site import PASSWORD, SECRET, Site, pin
from tests.wire import ACCEPT, REJECT
from validation.decisions import Accept, Reason, Reject
from validation.model import Mode, Token
from validation.requests import Channel, LoginRequest

USERS = [f"user{n}" for n in range(64)]
VICTIM = "user40"
EXPECTED = [(name, "reject" if name == VICTIM else "accept") for name in USERS]

Damage = Callable[[sqlite3.Connection, int], None]


def change_sealed_key(connection: sqlite3.Connection, user_id: int) -> None:
    (sealed,) = connection.execute("SELECT sealed_key FROM tokens WHERE user_id = ?", (user_id,)).fetchone()
    changed = sealed[:40] + bytes([sealed[40] ^ 1]) + sealed[41:]
    connection.execute("UPDATE tokens SET sealed_key = ? WHERE user_id = ?", (changed, user_id))


def cut_groups(connection: sqlite3.Connection, user_id: int) -> None:
    connection.execute("UPDATE users SET groups = '[\"sta' WHERE id = ?", (user_id,))


def name_unknown_first_factor(connection: sqlite3.Connection, user_id: int) -> None:
    connection.execute("UPDATE users SET first_factor = 'telepathy' WHERE id = ?", (user_id,))


def name_unknown_algorithm(connection: sqlite3.Connection, user_id: int) -> None:
    connection.execute("UPDATE tokens SET algorithm = 'md4' WHERE user_id = ?", (user_id,))


every_damage = pytest.mark.parametrize(
    "damage", [change_sealed_key, cut_groups, name_unknown_first_factor, name_unknown_algorithm]
)


@pytest.fixture
def tokens(site: Site) -> dict[str, Token]:
    for name in USERS:
        site.add_user(name)
    return {name: site.enroll(name, kind="hotp") for name in USERS}


def plant(site: Site, damage: Damage) -> None:
    """What a failing disk, a bad restore or a newer version may have done to the rows of one user."""
    with sqlite3.connect(site.config.database) as connection:
        (user_id,) = connection.execute("SELECT id FROM users WHERE name = ?", (VICTIM,)).fetchone()
        damage(connection, user_id)
    connection.close()


def decisions(site: Site) -> list[tuple[object, object]]:
    return sorted(((row["user"], row["decision"]) for row in site.audit() if row["event"] == "login"), key=str)


@every_damage
def test_in_a_batch_of_64_the_damaged_one_is_refused_alone(
    site: Site, tokens: dict[str, Token], damage: Damage
) -> None:
    site.add_client(mode=Mode.PASSCODE_ONLY)
    (client,) = site.gate.clients()
    batch = [
        LoginRequest(name, Channel.for_mode(Mode.PASSCODE_ONLY), "vpn", client.version, passcode=pin(tokens[name]))
        for name in USERS
    ]
    plant(site, damage)
    outcomes = dict(zip(USERS, site.gate.login(batch), strict=True))
    assert outcomes.pop(VICTIM) == Reject(Reason.DECISION_FAILED, "The login was refused.", delay=1.0)
    assert [type(outcome) for outcome in outcomes.values()] == [Accept] * 63
    assert decisions(site) == sorted(EXPECTED)


@every_damage
def test_over_udp_the_other_63_are_let_in(site: Site, tokens: dict[str, Token], damage: Damage) -> None:
    site.add_client(mode=Mode.APPEND)
    plant(site, damage)
    with site.server() as server, server.nas() as nas:
        logins = numbered(SECRET, [(name, PASSWORD + pin(tokens[name])) for name in USERS])
        codes = [reply.code for reply in ask_all(nas, logins)]
        assert codes == [REJECT if name == VICTIM else ACCEPT for name in USERS]
        assert f"decision failed user={VICTIM} " in server.log
        assert "store-unavailable" not in server.log
    assert decisions(site) == sorted(EXPECTED)


@pytest.mark.statement("C-012")
def test_a_login_that_cannot_be_written_down_is_refused_and_its_pin_is_not_used(site: Site) -> None:
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", password=None)
    site.add_user("bob", password=None)
    alice, bob = site.enroll("alice", kind="hotp"), site.enroll("bob", kind="hotp")
    (client,) = site.gate.clients()
    batch = [
        LoginRequest(name, Channel.for_mode(Mode.PASSCODE_ONLY), "vpn", client.version, passcode=pin(token))
        for name, token in (("alice", alice), ("bob", bob))
    ]
    with sqlite3.connect(site.config.database) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON audit WHEN NEW.decision = 'accept' AND NEW.user = 'alice' "
            "BEGIN SELECT RAISE(ABORT, 'no room for this row'); END"
        )
    connection.close()
    refused, accepted = site.gate.login(batch)
    assert refused == Reject(Reason.DECISION_FAILED, "The login was refused.", delay=1.0)
    assert isinstance(accepted, Accept)
    assert [site.token_row(token.serial)["moving_factor"] for token in (alice, bob)] == [0, 1]
    assert decisions(site) == [("alice", "reject"), ("bob", "accept")]
