"""Real reports about tokens and the names and texts around them, each as a small login.

Where nothing else is said, alice has the password `geheim` and the HOTP token of RFC 4226 at counter 0. What takes
months runs on a fake clock; the rest on a real store and a real server.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.builders import RFC_KEY
from tests.site import PASSWORD, TWOFOLD, ServerProcess, Site, pin
from tests.validation.engine import ACTOR, PORTAL, SSH, Engine
from tests.vectors import reference
from tests.wire import ACCEPT, CHALLENGE, REJECT, STATE, Nas
from validation.decisions import Accept, Reason, Reject
from validation.model import Mode
from validation.requests import (
    Channel,
    EnrollToken,
    FirstFactor,
    FirstFactorResult,
    LoginRequest,
    ResyncToken,
    SetRule,
    Wanted,
)
from validation.settings import Scope

SERIAL = "CASE0001"
MONTH = 30 * 86_400
DOORS = {Mode.CHALLENGE: "127.0.0.2", Mode.APPEND: "127.0.0.3", Mode.PASSCODE_ONLY: "127.0.0.4"}


def value(counter: int) -> str:
    """Of the RFC key."""
    return reference.hotp(RFC_KEY, counter)


@pytest.fixture
def alice(site: Site) -> Site:
    """Alice with her token, and a client for each door."""
    site.add_user("alice")
    site.enroll("alice", kind="hotp", key=RFC_KEY, serial=SERIAL)
    add_doors(site)
    return site


def add_doors(site: Site) -> None:
    for mode, address in DOORS.items():
        site.add_client(mode, f"{address}/32", mode=mode)


@contextmanager
def door(server: ServerProcess, mode: Mode) -> Iterator[Nas]:
    with server.nas(source=DOORS[mode]) as nas:
        yield nas


def one_field(server: ServerProcess, typed: str, name: str = "alice") -> int:
    with door(server, Mode.APPEND) as nas:
        return nas.login(name, typed).code


def factor(site: Site, serial: str = SERIAL) -> object:
    return site.token_row(serial)["moving_factor"]


# --- O01 --------------------------------------------------------------------------------------------------------


@pytest.mark.statement("O-027", "O-028")
def test_o01_a_clock_that_drifts_a_step_a_month_is_followed_and_a_forgotten_one_resynchronised() -> None:
    engine = Engine(totp_window="2")
    for name in ("alice", "bob"):
        engine.add_user(name)
    used, spare = (_totp_of_a_minute(engine, name) for name in ("alice", "bob"))
    for month in range(1, 9):
        engine.clock.now += MONTH
        assert isinstance(engine.log_in("alice", engine.pin(used, month)), Accept), month
        assert engine.token(used).drift == month
    assert isinstance(engine.log_in("bob", engine.pin(spare, 8)), Reject)
    first = engine.pin(spare, 8)
    engine.clock.now += 60
    command = ResyncToken(actor=ACTOR, serial=spare, first=first, second=engine.pin(spare, 8))
    assert not engine.gate.administer(command).refused
    assert engine.token(spare).drift == 8
    engine.clock.now += 60
    assert isinstance(engine.log_in("bob", engine.pin(spare, 8)), Accept)


def _totp_of_a_minute(engine: Engine, user: str) -> str:
    return engine.gate.administer(EnrollToken(actor=ACTOR, user=user, period=60)).serials[0]


@pytest.mark.statement("O-028")
def test_o01_the_admin_resynchronises_a_forgotten_token_and_sees_its_drift(site: Site) -> None:
    """Its clock is seven steps ahead, or eight when a step has passed meanwhile."""
    site.add_user("alice")
    add_doors(site)
    token = site.enroll("alice", period=60)
    with site.server() as server:
        began = time.time()
        assert one_field(server, PASSWORD + pin(token, 8, began)) == REJECT
        done = site.command("token", "resync", token.serial, pin(token, 7, began), pin(token, 8, began))
        assert done.returncode == 0, done.stderr
        assert one_field(server, PASSWORD + pin(token, 8, began)) == REJECT, "it is used up"
        assert one_field(server, PASSWORD + pin(token, 9, began)) == ACCEPT
    shown = site.command("token", "show", token.serial).stdout
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("drift ")] in (["8"], ["9"])


# --- O03 --------------------------------------------------------------------------------------------------------

ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"]
CHANGES = [1_774_745_990, 1_774_746_010, 1_792_889_990, 1_792_890_010]  # 10 s around 01:00 UTC, 2026-03-29 and -10-25


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_o03_around_the_change_of_the_clocks_a_pin_is_right_in_every_zone(zone: str) -> None:
    summer = [bool(time.localtime(now).tm_isdst) for now in CHANGES]
    assert summer == {"Europe/Berlin": [False, True, True, False], "America/St_Johns": [True] * 4}.get(
        zone, [False] * 4
    )
    engine = Engine()
    engine.add_user("alice")
    serial = engine.enroll("alice", key=RFC_KEY)
    for now in CHANGES:
        engine.clock.now = now
        passcode = reference.totp(RFC_KEY, now)
        assert isinstance(engine.log_in("alice", reference.totp(RFC_KEY, now + 3600)), Reject), "an hour off"
        assert isinstance(engine.log_in("alice", passcode), Accept), now
        assert isinstance(engine.log_in("alice", passcode), Reject), "once, whatever the clock on the wall says"
    assert engine.token(serial).drift == 0


def test_o03_servers_in_different_zones_take_the_same_pins(site: Site) -> None:
    """One store, one user; a new step for each, all inside the window."""
    site.add_user("alice")
    add_doors(site)
    site.gate.administer(SetRule(actor="test", key="totp_window", value="3", scope=Scope()))
    token = site.enroll("alice")
    began = time.time()
    for step, name in enumerate(ZONES):
        with site.server(program=["env", f"TZ={name}", *TWOFOLD]) as server:
            assert one_field(server, PASSWORD + pin(token, step, began)) == ACCEPT, name


# --- O08 --------------------------------------------------------------------------------------------------------

SPELLINGS = ["{0} {1}", " {0}{1}", "{0}{1} ", "{0}-{1}"]


def spelled(counter: int) -> str:
    return SPELLINGS[counter % len(SPELLINGS)].format(value(counter)[:3], value(counter)[3:])


def test_o08_a_pin_typed_alone_may_hold_blanks_and_dashes(alice: Site) -> None:
    with alice.server() as server, door(server, Mode.CHALLENGE) as vpn, door(server, Mode.PASSCODE_ONLY) as portal:
        for counter in range(4):
            step = vpn.login("alice", PASSWORD)
            assert vpn.login("alice", spelled(counter), state=step.state).code == ACCEPT, spelled(counter)
        for counter in range(4, 8):
            assert portal.login("alice", spelled(counter)).code == ACCEPT, spelled(counter)


def test_o08_in_one_field_every_blank_belongs_to_the_password(alice: Site) -> None:
    alice.add_user("bob", PASSWORD + " ")
    token = alice.enroll("bob", kind="hotp")
    with alice.server() as server:
        assert one_field(server, PASSWORD + spelled(0)) == REJECT, "755 224 behind a password, as decision 23 says"
        assert factor(alice) == 0
        assert one_field(server, PASSWORD + value(0)) == ACCEPT
        assert one_field(server, PASSWORD + " " + pin(token), "bob") == ACCEPT
        assert one_field(server, PASSWORD + pin(token, 1), "bob") == REJECT, "and is not left out of one"


# --- O10 --------------------------------------------------------------------------------------------------------

AES, PRIVATE_ID, PUBLIC_ID = "cf64810f205e07ee9c491a748cf2ce2a", "3151368d087a", "ccccccrcvvuu"
LOWER_CASE = "ccccccrcvvuubfuutddhurfuhbtdllgldkfdujirevkh"  # session 5, use 0
CAPS_LOCK = "CCCCCCRCVVUUECVNNJEUFINTNCVGNVUJIVJBUHVGGRTU"  # session 5, use 1
US_DVORAK = "jjjjjjpjkkggddy.cuj.upndhgtjc.npcedcxn.dthdh"  # session 5, use 2


def give_key(site: Site, user: str = "alice") -> str:
    """The serial of a YubiKey."""
    key = bytes.fromhex(AES + PRIVATE_ID)
    command = EnrollToken(actor="test", user=user, kind="yubico_otp", key=key, public_id=PUBLIC_ID)
    return site.gate.administer(command).serials[0]


@pytest.mark.statement("O-070", "O-073")
def test_o10_a_field_is_cut_where_a_token_fits_and_only_that_token_moves(alice: Site) -> None:
    eight = alice.enroll("alice", digits=8)
    serials = [SERIAL, eight.serial, give_key(alice)]
    moved = [factor(alice, serial) for serial in serials]
    with alice.server() as server:
        for place, passcode in enumerate((value(0), pin(eight), LOWER_CASE)):
            assert one_field(server, PASSWORD + passcode) == ACCEPT, passcode
            before, moved = moved, [factor(alice, serial) for serial in serials]
            assert [was != now for was, now in zip(before, moved, strict=True)] == [n == place for n in range(3)]
        assert alice.failures("alice") == {}
        for entry in (value(1), "geh"):
            assert one_field(server, entry) == REJECT
        assert one_field(server, PASSWORD) == REJECT, "and nothing is left for a PIN"
        assert [factor(alice, serial) for serial in serials] == moved
        assert alice.failures("alice") == {"password": 3}, "no password was proved, so no PIN was judged"
        assert one_field(server, PASSWORD + value(1)) == ACCEPT


# --- O11 --------------------------------------------------------------------------------------------------------

BASE32 = {
    "3d69dc311d8d74e1ce092e408027fe7cc9ca5f76": [
        "HVU5YMI5RV2ODTQJFZAIAJ76PTE4UX3W",
        "hvu5ymi5rv2odtqjfzaiaj76pte4ux3w",
        "hvu5 ymi5 rv2o dtqj fzai aj76 pte4 ux3w",
        "HVU5-YMI5-RV2O-DTQJ-FZAI-AJ76-PTE4-UX3W",
    ],
    "ae67a8c866a8f9b8b10d0359001b8a7d": [
        "VZT2RSDGVD43RMINANMQAG4KPU======",
        "VZT2RSDGVD43RMINANMQAG4KPU",
        "vzt2rsdgvd43rminanmqag4kpu",
        "vzt2rsdgvd43rminanmqag4kpu  ",
    ],
}
NOT_BASE32 = "HVU5YMI50189DTQJFZAIAJ76PTE4UX3W"


@pytest.mark.statement("O-030")
def test_o11_however_a_secret_is_pasted_it_is_the_same_key(site: Site) -> None:
    """The first spelling makes a token, which works; each other is refused because its key is that token's."""
    site.add_user("alice")
    add_doors(site)
    serials = []
    for key, spellings in BASE32.items():
        for spelling in spellings:
            done = site.command("token", "enroll", "alice", "--key-stdin", "--json", stdin=f"{spelling}\n")
            if spelling == spellings[0]:
                serials.append(json.loads(done.stdout)["serial"])
            else:
                assert (done.returncode, serials[-1] in done.stderr) == (1, True), done.stderr
        with site.server() as server:
            assert one_field(server, PASSWORD + reference.totp(bytes.fromhex(key), time.time())) == ACCEPT
    assert len(serials) == len(json.loads(site.command("token", "list", "--json").stdout)) == 2


def test_o11_what_is_not_base32_is_refused_by_the_character_and_nothing_is_stored(site: Site) -> None:
    site.add_user("alice")
    done = site.command("token", "enroll", "alice", "--key-stdin", stdin=f"{NOT_BASE32}\n")
    assert done.returncode != 0
    assert "the character '0' does not occur in Base32" in done.stderr
    assert NOT_BASE32 not in done.stdout + done.stderr
    assert site.command("token", "list", "--json").stdout.strip() == "[]"


# --- O13 --------------------------------------------------------------------------------------------------------


@pytest.mark.statement("O-007")
def test_o13_a_button_pressed_in_the_pocket(alice: Site) -> None:
    with alice.server() as server:
        assert one_field(server, PASSWORD + "520489") == ACCEPT, "counter 9"
        assert one_field(server, PASSWORD + "864257") == REJECT, "counter 60, alone"
        assert alice.command("token", "resync", SERIAL, "864257", "719632").returncode == 0
        for used in ("864257", "719632"):
            assert one_field(server, PASSWORD + used) == REJECT
        assert alice.command("token", "resync", SERIAL, "864257", "719632").returncode == 1
        assert factor(alice) == 62
        assert one_field(server, PASSWORD + value(62)) == ACCEPT


# --- O15 --------------------------------------------------------------------------------------------------------


@pytest.mark.statement("O-046", "O-047")
def test_o15_a_code_is_good_once_at_whatever_door_and_after_a_restart(alice: Site) -> None:
    token = alice.enroll("alice")
    began = time.time()
    passcode = pin(token, 0, began)
    with alice.server() as server:
        assert one_field(server, PASSWORD + passcode) == ACCEPT
        assert one_field(server, PASSWORD + passcode) == REJECT
        with door(server, Mode.PASSCODE_ONLY) as portal:
            assert portal.login("alice", passcode).code == REJECT
        with door(server, Mode.CHALLENGE) as vpn:
            step = vpn.login("alice", PASSWORD)
            assert vpn.login("alice", passcode, state=step.state).code == CHALLENGE, "asked again"
    assert console_answer(alice, passcode) is Reason.PASSCODE_REPEATED
    with alice.server() as server:
        assert one_field(server, PASSWORD + passcode) == REJECT
        assert one_field(server, PASSWORD + pin(token, 1, began)) == ACCEPT, "the next one"
    assert ("reject", "passcode-used") in alice.logins(), "somebody logged in before: the trail says so"


def console_answer(site: Site, passcode: str) -> Reason:
    """Why the engine answers as it does to alice's password and `passcode` on a terminal of this host."""
    (seen,) = site.database.look([Wanted(user="alice")])
    assert seen.user is not None
    proved = FirstFactorResult(FirstFactor.PROVED, seen.user.password_version)
    request = LoginRequest("alice", Channel.console(), "", 0, proved, passcode)
    (outcome,) = site.gate.login([request])
    assert isinstance(outcome, Reject), outcome
    return outcome.reason


# --- O17 --------------------------------------------------------------------------------------------------------


@pytest.mark.statement("O-087")
def test_o17_a_yubikey_with_caps_lock_is_read_and_one_on_dvorak_refused(site: Site) -> None:
    site.add_user("alice")
    add_doors(site)
    serial = give_key(site)
    with site.server() as server, door(server, Mode.PASSCODE_ONLY) as portal:
        assert portal.login("alice", LOWER_CASE).code == ACCEPT
        assert portal.login("alice", CAPS_LOCK).code == ACCEPT
        moved = factor(site, serial)
        assert portal.login("alice", US_DVORAK).code == REJECT
        assert site.logins()[-1] == ("reject", "passcode-keyboard-layout")
        assert factor(site, serial) == moved
        assert portal.login("alice", CAPS_LOCK).code == REJECT, "used"


# --- O20 --------------------------------------------------------------------------------------------------------


@pytest.mark.statement("O-044")
@pytest.mark.parametrize("client", [PORTAL, SSH])
def test_o20_mistypes_at_one_token_do_not_lock_the_other(client: str) -> None:
    """Thirty times a wrong PIN and a right one of the counter token; with the password proved and without."""
    engine = Engine()
    engine.add_user("alice")
    counting, timed = engine.enroll("alice", "hotp"), engine.enroll("alice", "totp")
    for _ in range(30):
        assert isinstance(engine.log_in("alice", _wrong_for_both(engine, counting, timed), client), Reject)
        assert isinstance(engine.log_in("alice", engine.pin(counting), client), Accept)
    assert isinstance(engine.log_in("alice", engine.pin(timed), client), Accept)


def _wrong_for_both(engine: Engine, *serials: str) -> str:
    right = {engine.pin(serial, ahead) for serial in serials for ahead in range(-20, 20)}
    while (guess := engine.wrong_pin(serials[0])) in right:
        pass
    return guess


# --- R03 --------------------------------------------------------------------------------------------------------


@pytest.mark.statement("R-077")
def test_r03_every_challenge_has_a_state_and_something_to_read(alice: Site) -> None:
    """Whatever is set as its text: a blank one is refused, an empty one is the default."""
    for blank in (" ", "\\n", " \\n \\n"):
        done = alice.command("message", "set", "ask-pin", blank)
        assert (done.returncode, "blank" in done.stderr) == (2, True), done
    for name in ("ask-pin", "welcome", "apps", "first-pin"):
        assert alice.command("message", "set", name, "").returncode == 0
    alice.add_user("bob")
    alice.gate.administer(SetRule(actor="test", key="onboarding_over_radius", value="key", scope=Scope()))
    with alice.server() as server, door(server, Mode.CHALLENGE) as vpn:
        asked = vpn.login("alice", PASSWORD)
        again = vpn.login("alice", "wrong", state=asked.state)
        welcome = vpn.login("bob", PASSWORD)
        apps = vpn.login("bob", "n", state=welcome.state)
        key = vpn.login("bob", "s", state=apps.state)
    for reply in (asked, again, welcome, apps, key):
        assert (reply.code, len(reply.values(STATE))) == (CHALLENGE, 1)
        assert 1 <= len(reply.state) <= 253
        assert reply.text.strip()
    assert asked.text == "PIN from your authenticator app: "


# --- R12 --------------------------------------------------------------------------------------------------------

REALMS = """\
[store]
chain = "test"
[radius]
listen = ["127.0.0.1:0"]
[names]
realms = ["EXAMPLE", "example.org"]
case_insensitive = true
"""
ONE_PERSON = ["alice", "EXAMPLE\\alice", "alice@example.org", "ALICE", "Example\\Alice"]


@pytest.mark.statement("C-050", "C-053")
def test_r12_every_spelling_of_a_name_is_one_person(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", REALMS)
    site.add_user("alice")
    site.enroll("alice", kind="hotp", key=RFC_KEY, serial=SERIAL)
    add_doors(site)
    with site.server() as server:
        for counter, name in enumerate(ONE_PERSON):
            assert one_field(server, PASSWORD + value(counter), name) == ACCEPT, name
        for failures, name in enumerate(ONE_PERSON[:4], 1):
            assert one_field(server, f"wrong{value(5)}", name) == REJECT
            assert site.failures("alice")["password"] == failures, name
        assert factor(site) == 5
        assert one_field(server, PASSWORD + value(5), "OTHER\\alice") == REJECT
        assert one_field(server, PASSWORD + value(5), "EXAMPLE\\alice") == ACCEPT, "it was not used up by a stranger"
        assert "other\\\\alice" in server.log.casefold(), "the log doubles a backslash, so that it can be read back"
    rows = json.loads(site.command("audit", "list", "--json").stdout)
    assert "other\\alice" in {row["user"].casefold() for row in rows}, "with its backslash"
    assert site.failures("alice")["password"] == 0
