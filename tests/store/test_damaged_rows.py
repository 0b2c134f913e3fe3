"""Rows that no program of ours wrote: a flipped bit, a value of another type. They hurt whom they belong to, and show
nothing."""

import logging
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from store.schema import users
from tests.site import Site, pin
from tests.store import raw
from tests.store.cli.command import Twofold
from validation.decisions import Accept, Reason, Reject
from validation.errors import StoreUnavailable
from validation.model import Mode, Token
from validation.requests import Channel, LoginRequest, LookRequest, RevokeToken, Wanted

OF_ALICE: dict[str, raw.Statement] = {
    "a hash": "UPDATE users SET password_hash = CAST(x'2461ff' AS TEXT) WHERE name = 'alice'",
    "groups, no UTF-8": "UPDATE users SET groups = CAST(x'ff' AS TEXT) WHERE name = 'alice'",
    "groups, another form": "UPDATE users SET groups = '5' WHERE name = 'alice'",
    "groups, nested": ("UPDATE users SET groups = ? WHERE name = 'alice'", ("[" * 100_000,)),
    "replies, another form": "UPDATE users SET replies = '[]' WHERE name = 'alice'",
    "replies, no lists": "UPDATE users SET replies = '{\"Class\": 1}' WHERE name = 'alice'",
    "a first factor": "UPDATE users SET first_factor = 'none' WHERE name = 'alice'",
    "a label": "UPDATE tokens SET label = CAST(x'ff' AS TEXT) WHERE serial = 'TF-A'",
    "a number for a sealed key": "UPDATE tokens SET sealed_key = 5 WHERE serial = 'TF-A'",
    "a text for a sealed key": "UPDATE tokens SET sealed_key = 'abc' WHERE serial = 'TF-A'",
    "a sealed key, no UTF-8": "UPDATE tokens SET sealed_key = CAST(x'ff' AS TEXT) WHERE serial = 'TF-A'",
    "an origin": "UPDATE tokens SET origin = 'x' WHERE serial = 'TF-A'",
    "a state": "UPDATE tokens SET state = 'x' WHERE serial = 'TF-A'",
    "a factor": "INSERT INTO throttles SELECT id, 'x', 1, 0, x'' FROM users WHERE name = 'alice'",
    "a factor, no UTF-8": "INSERT INTO throttles SELECT id, CAST(x'ff' AS TEXT), 1, 0, x'' FROM users "
    "WHERE name = 'alice'",
    "where he came from": "INSERT INTO known_sources SELECT id, CAST(x'ff' AS TEXT), 1, 0, 0 FROM users "
    "WHERE name = 'alice'",
}
OF_A_TOKEN = [what for what, statement in OF_ALICE.items() if "UPDATE tokens" in statement]


@pytest.fixture
def two(site: Site) -> tuple[Token, Token]:
    """Alice and bob, each with a password and a counter token; `vpn` asks for the PIN alone."""
    for name in ("alice", "bob"):
        site.add_user(name)
    site.add_client("vpn", mode=Mode.PASSCODE_ONLY)
    return site.enroll("alice", kind="hotp", serial="TF-A"), site.enroll("bob", kind="hotp", serial="TF-B")


@pytest.mark.parametrize("what", OF_ALICE)
def test_a_row_that_cannot_be_read_hurts_its_user_alone(site: Site, two: tuple[Token, Token], what: str) -> None:
    raw.tamper(site.config.database, OF_ALICE[what])
    looks = [LookRequest(name, "vpn", Mode.CHALLENGE, "typed", source="192.0.2.1") for name in ("alice", "bob")]
    assert [look.password_hash is not None for look in site.gate.look(looks)] == [False, True]
    (client,) = site.gate.clients()
    channel = Channel.for_mode(Mode.PASSCODE_ONLY)
    alice, bob = site.gate.login(
        [
            LoginRequest(name, channel, "vpn", client.version, passcode=pin(token), source="192.0.2.1")
            for name, token in zip(("alice", "bob"), two, strict=True)
        ]
    )
    assert isinstance(alice, Reject)
    assert alice.reason is Reason.DECISION_FAILED
    assert isinstance(bob, Accept)


@pytest.mark.parametrize("what", OF_A_TOKEN)
def test_a_token_that_cannot_be_read_can_be_taken_out_of_service(
    site: Site, two: tuple[Token, Token], what: str
) -> None:
    raw.tamper(site.config.database, OF_ALICE[what])
    site.gate.administer(RevokeToken(actor="test", serial="TF-A"))
    assert raw.rows(site.config.database, "SELECT state FROM tokens WHERE serial = 'TF-A'") == [("revoked",)]
    assert site.gate.look([LookRequest("alice", "vpn", Mode.CHALLENGE, "typed")])[0].password_hash is not None


def test_a_challenge_that_cannot_be_read_is_damage(site: Site) -> None:
    site.add_user("alice", None)
    raw.tamper(
        site.config.database,
        "INSERT INTO challenges (state, user_id, client, face, tries_left, expires_at, stage, purpose, replaces, "
        "ticket, proved, refusal, groups, replies) SELECT '00', id, 'vpn', 'radius', 1, 9e9, 'pin', 'login', '', x'', "
        "1, CAST(x'ff' AS TEXT), '[]', '[]' FROM users",
    )
    damaged, whole = site.database.look([Wanted(user="alice", state="00"), Wanted(user="alice")])
    assert str(damaged.damage) == "an open challenge: its refusal is no UTF-8"
    assert damaged.challenge is None
    assert whole.damage is None


def test_a_client_that_is_no_text_is_not_served_and_others_are(site: Site) -> None:
    site.add_client("one", "192.0.2.1/32")
    site.add_client("two", "192.0.2.2/32")
    raw.tamper(site.config.database, "UPDATE clients SET network = CAST(x'ff' AS TEXT) WHERE name = 'one'")
    assert [client.name for client in site.gate.clients()] == ["two"]


LISTED = {
    "UPDATE users SET groups = CAST(x'ff' AS TEXT) WHERE name = 'alice'": ("user", "list"),
    "UPDATE tokens SET label = CAST(x'ff' AS TEXT) WHERE serial = 'TF-A'": ("token", "list"),
    "UPDATE clients SET encoding = CAST(x'ff' AS TEXT) WHERE name = 'vpn'": ("client", "list"),
}


@pytest.mark.parametrize("statement", LISTED)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_listing_shows_the_others(
    site: Site, two: tuple[Token, Token], statement: str, form: tuple[str, ...]
) -> None:
    site.add_client("bobs", "192.0.2.2/32")
    raw.tamper(site.config.database, statement)
    shown = site.command(*LISTED[statement], *form)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "bob" in shown.stdout


# --- What is no text may be a secret


@pytest.fixture
def stored(site: Site) -> str:
    """The hash of alice's password, before a bit of its last octet was flipped in the file."""
    site.add_user("alice")
    ((stored,),) = raw.rows(site.config.database, "SELECT password_hash FROM users")
    octets = stored.encode()
    flipped = octets[:-1] + bytes([octets[-1] ^ 0x80])
    raw.tamper(site.config.database, ("UPDATE users SET password_hash = CAST(? AS TEXT)", (flipped,)))
    return str(stored)


def _chain(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{error} {error!r}"
        error = error.__cause__ or error.__context__


@pytest.mark.statement("C-031")
def test_an_error_of_the_driver_does_not_show_what_it_could_not_read(site: Site, stored: str) -> None:
    with pytest.raises(StoreUnavailable) as caught, site.database.connections.reading() as connection:
        connection.execute(select(users)).all()
    shown = repr(list(_chain(caught.value)))
    assert "Could not decode to UTF-8 column 'password_hash'" in str(caught.value)
    assert stored[:20] not in shown
    assert "$argon2" not in shown


@pytest.mark.statement("C-031")
def test_no_part_of_such_a_hash_is_logged(site: Site, stored: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    site.add_client("vpn")
    (client,) = site.gate.clients()
    site.gate.look([LookRequest("alice", "vpn", Mode.CHALLENGE, "typed")])
    site.gate.login([LoginRequest("alice", Channel.for_mode(Mode.CHALLENGE), "vpn", client.version)])
    assert "user alice: its password_hash is no UTF-8; restore the row from a backup" in caplog.text
    assert "$argon2" not in caplog.text


@pytest.mark.statement("C-031")
def test_the_check_names_the_row_and_no_command_shows_the_hash(site: Site, stored: str) -> None:
    twofold = Twofold(site)
    checked = twofold("db", "check")
    assert "user alice: its password_hash is no UTF-8; restore the row from a backup" in checked.out + checked.err
    for command in (["user", "list"], ["user", "show", "alice"], ["user", "lock", "alice"], ["db", "check"]):
        result = twofold(*command)
        assert "$argon2" not in result.out + result.err
