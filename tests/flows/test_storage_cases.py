"""Real reports about stores (cases S01, S05, S09, S11), each with what was right to do. Named in the docstrings."""

import select
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from store import migrations
from tests.desk import PROVED
from tests.flows.test_storage_trouble import transaction_held
from tests.flows.worker import told
from tests.pam_helper.host import Host, frame, kinds, needs_root, open_folder
from tests.postgres import on_both
from tests.site import PASSWORD, Site, pin
from tests.store import raw
from validation.decisions import Accept, Challenge
from validation.model import Mode, Origin, Token
from validation.requests import (
    AssignTokens,
    Channel,
    Command,
    FirstFactor,
    FirstFactorResult,
    ImportTokens,
    LoginRequest,
    NewToken,
    RevokeToken,
    SetTokenUse,
)

ADMIN = "anna@host-1"


# --- S01: another process writes for three seconds


@needs_root
def test_s01_console_logins_wait_for_a_locked_store_and_are_answered_right(tmp_path: Path) -> None:
    """S01, over PAM: three people have typed their PINs while the store is locked for 3 s; one of them is wrong. Over
    RADIUS, and for longer than anybody waits, it is tried in test_storage_trouble.py and peers/pam/test_full_disk.py.
    """
    with open_folder() as folder, Host(folder) as host:
        consoles = {}
        for user in ("alice", "bob", "carol"):
            host.site.add_user(user)
            token = host.site.enroll(user, kind="hotp")
            console, asked = host.ask(service="login", user=user, authtok=PASSWORD)
            assert kinds(asked)[-1] == "P", asked
            consoles[console] = pin(token, ahead=50 if user == "carol" else 0)
        with transaction_held(host.site):
            for console, typed in consoles.items():
                console.send(frame("R", typed.encode()))
            ready, _, _ = select.select([console.connection for console in consoles], [], [], 3.0)
            assert ready == [], "answered though nothing could be recorded"
        ends = [console.until_asked()[-1] for console in consoles]
        assert ends[:2] == [("F", b"Salice"), ("F", b"Sbob")]
        assert ends[2][0] == "P", "carol is asked again"
        found = sorted((decision, reason) for decision, reason in host.site.logins() if reason != "password-right")
        assert found == [("accept", "passcode-right")] * 2 + [("again", "passcode-wrong")]


# --- S05: the program is newer than the store


@pytest.mark.parametrize("server", [("radius", "serve"), ("pam", "serve", "--socket", "s")], ids=["radius", "pam"])
@pytest.mark.parametrize(
    ("schema", "hint"), [("0001", "twofold db upgrade"), ("9999", "upgrade Twofold")], ids=["older", "newer"]
)
def test_s05_no_server_starts_on_another_schema(site: Site, server: tuple[str, ...], schema: str, hint: str) -> None:
    """S05: one line that says what to do. What the upgrade says, and that it goes on from there, stands in
    store/test_upgrade.py."""
    assert raw.rows(site.config.database, "SELECT version_num FROM alembic_version") == [(migrations.HEAD,)], "stamped"
    raw.tamper(site.config.database, f"UPDATE alembic_version SET version_num = '{schema}'")
    done = site.command(*(str(site.folder / "s") if word == "s" else word for word in server))
    assert done.returncode == 3
    *_, last = done.stderr.splitlines()
    assert schema in last
    assert hint in last
    assert "Traceback" not in done.stderr


# --- S09: names that are nearly the same


@on_both
def test_s09_names_are_told_apart_alike_on_every_database(site: Site) -> None:
    """S09: letter by letter, accents and capitals too, in logins as in commands; nobody shadows anybody."""
    names = ["alice", "Alice", "ALICE", "stra\u00dfe", "STRASSE", "strasse", "jose", "jos\u00e9"]
    site.add_client(mode=Mode.PASSCODE_ONLY)
    tokens = {}
    for name in names:
        site.add_user(name, password=None)
        tokens[name] = site.enroll(name, kind="hotp")
    for other_spelling in ("jose\u0301", "\uff41lice"):  # not composed; in full width
        refused = site.command("user", "add", other_spelling)
        assert (refused.returncode, "exists" in refused.stderr) == (1, True), refused.stderr
    foreign = [
        login_by_pin(site, name, tokens[other]) for name, other in zip(names, names[1:] + names[:1], strict=True)
    ]
    assert [told(outcome) for outcome in site.gate.login(foreign)] == [("reject", "passcode-wrong")] * len(names)
    outcomes = site.gate.login([login_by_pin(site, name, tokens[name]) for name in names])
    assert [type(outcome) for outcome in outcomes] == [Accept] * len(names)
    accepted = [row["user"] for row in site.audit() if (row["event"], row["decision"]) == ("login", "accept")]
    assert sorted(map(str, accepted)) == sorted(names)


def login_by_pin(site: Site, user: str, token: Token) -> LoginRequest:
    (client,) = site.gate.clients()
    return LoginRequest(user, Channel.for_mode(client.mode), client.name, client.version, passcode=pin(token))


# --- S11: a token goes to somebody else while its owner logs in


@dataclass
class Drawer:
    """alice and bob, and a hardware token D1 in alice's hands, whose button was pressed seven times."""

    site: Site
    d1: Token
    pressed: int = 7

    def admin(self, command: Command) -> None:
        self.site.gate.administer(command)

    def hand_to(self, user: str | None) -> None:
        self.admin(AssignTokens(actor=ADMIN, serials=("D1",), user=user))

    def asks(self, user: str) -> tuple[LoginRequest, Challenge]:
        request = LoginRequest(user, Channel.console(), "login@web-7", 0, first_factor=PROVED)
        (asked,) = self.site.gate.login([request])
        assert isinstance(asked, Challenge), asked
        return request, asked

    def answers(self, begun: tuple[LoginRequest, Challenge], counter: int) -> tuple[str, str]:
        request, asked = begun
        passcode = pin(self.d1, ahead=counter)
        unchecked = FirstFactorResult(FirstFactor.NOT_CHECKED)
        answer = replace(request, first_factor=unchecked, state=asked.state, passcode=passcode)
        return told(self.site.gate.login([answer])[0])

    @property
    def counter(self) -> object:
        return self.site.token_row("D1")["moving_factor"]


@pytest.fixture
def drawer(site: Site) -> Drawer:
    for user in ("alice", "bob"):
        site.add_user(user)
    d1 = Token(id=0, serial="D1", user_id=None, kind="hotp", key=b"D1" * 10, origin=Origin.ADMIN)
    drawer = Drawer(site, d1)
    drawer.admin(ImportTokens(actor=ADMIN, tokens=(NewToken("line 1", d1),), file="box.csv"))
    drawer.hand_to("alice")
    assert drawer.answers(drawer.asks("alice"), 6) == ("accept", "passcode-right")
    return drawer


def delete(drawer: Drawer) -> None:
    drawer.admin(RevokeToken(actor=ADMIN, serial="D1"))


def disable(drawer: Drawer) -> None:
    drawer.admin(SetTokenUse(actor=ADMIN, serial="D1", enabled=False))


def unassign(drawer: Drawer) -> None:
    drawer.hand_to(None)


def reassign(drawer: Drawer) -> None:
    drawer.hand_to(None)
    drawer.hand_to("bob")


EVENTS: dict[Callable[[Drawer], None], str] = {
    delete: "token-revoke",
    disable: "token-disable",
    unassign: "token-unassign",
    reassign: "token-assign",
}


@on_both
@pytest.mark.parametrize("act", EVENTS)
def test_s11_what_an_admin_does_between_the_steps_ends_the_login(drawer: Drawer, act: Callable[[Drawer], None]) -> None:
    """S11: refused, nothing is used up, and the trail names the admin."""
    begun = drawer.asks("alice")
    act(drawer)
    assert drawer.answers(begun, 7)[0] == "reject"
    assert drawer.counter == 7
    *_, row = [row for row in drawer.site.audit() if row["event"] == EVENTS[act]]
    assert (row["actor"], row["serial"]) == (ADMIN, "D1")


@on_both
def test_s11_the_counter_goes_with_the_device(drawer: Drawer) -> None:
    """S11: what alice has used is used for bob, and what comes after it lets him in, and not her."""
    reassign(drawer)
    assert drawer.answers(drawer.asks("bob"), 6)[0] != "accept"
    assert drawer.answers(drawer.asks("bob"), 7) == ("accept", "passcode-right")
    assert drawer.counter == 8


@on_both
def test_s11_a_deleted_token_does_not_come_back(drawer: Drawer) -> None:
    """S11: neither under its serial nor under another, whoever is to have it."""
    delete(drawer)
    for serial, key in (("D1", drawer.d1.key), ("D2", drawer.d1.key), ("D1", b"another key of 20 octets")):
        again = replace(drawer.d1, serial=serial, key=key)
        done = drawer.site.gate.administer(
            ImportTokens(actor=ADMIN, tokens=(NewToken("line 1", again),), file="box.csv")
        )
        assert done.refused, serial
