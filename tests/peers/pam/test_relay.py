"""A program that is not root's and logs other people in: a web server with `[pam.relays]`, by the real module.

Rules: the helper stands on its own two sockets, with the configuration an administrator would write; the module finds
the public one by itself. The relay gets PINs alone: what a policy would let root's programs do, it may not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.peers import peers
from tests.peers.pam.house import AGAIN, PASSWORD_PROMPT, PIN, TIMEOUT, House, Person
from tests.peers.pam.programs import Answers, Visit, visit
from tests.site import TWOFOLD, eventually
from validation.requests import GiveBypass, IssueTicket

pytestmark = pytest.mark.peer("pamtester", "nsenter", "setpriv", "unshare", "cc")

RELAY = "www-data"
SERVICE, OTHER = "webapp", "intranet"
SOCKETS = ("/run/twofold/priv/pam.sock", "/run/twofold/pam.sock")
RELAYS = f'[pam.relays]\n{RELAY} = ["{SERVICE}"]\n'
ELSEWHERE = "192.0.2.7"
IN = "successfully authenticated"

# What the relay's program does with the password. Its pam_unix may read no shadow, so its word counts nothing.
PIN_ALONE = ("required {module}",)
WITH_PASSWORD = ("[default=ignore] pam_unix.so nodelay", "required {module}")
ONE_FIELD = ("required {module} combined",)
GUESSES = ((PIN, "000000"), (AGAIN, "111111"), (AGAIN, "222222"))


@dataclass
class Web:
    house: House

    def stack(self, *lines: str, service: str = SERVICE) -> None:
        module = f"{self.house.world.path}/pam_twofold.so timeout={TIMEOUT}"
        text = "".join(f"auth {line}\n" for line in lines).format(module=module)
        self.house.world.pam_service(service, text)

    def visit(
        self, name: str, *answers: tuple[str, str], service: str = SERVICE, by: str = RELAY, rhost: str = ""
    ) -> Visit:
        """Of `name`, through a program that runs as `by`. `who` stays None: the screen says what became of it."""
        items = ("-I", f"rhost={rhost}") if rhost else ()
        command = (peers.require("pamtester"), *items, service, name, "authenticate")
        questions: Answers = answers
        return visit(self.house.world, command, questions, user=by)

    def lets_in(
        self, name: str, *answers: tuple[str, str], service: str = SERVICE, by: str = RELAY, rhost: str = ""
    ) -> bool:
        return IN in self.visit(name, *answers, service=service, by=by, rhost=rhost).screen

    def rows(self) -> list[tuple[object, object, object, object]]:
        """(actor, door, source, reason) of the logins so far."""
        return [
            (row["actor"], row["client"], row["source"], row["reason"])
            for row in self.house.site.audit()
            if row["event"] == "login"
        ]

    def said(self) -> str:
        return self.house.world.read(self.house.world.path / "relay.log")


@pytest.fixture(scope="module")
def host(house: House) -> Iterator[Web]:
    """The house's store, with a second helper on it that knows a relay."""
    config = house.site.folder / "relay.toml"
    config.write_text('[store]\nchain = "web-7"\n' + RELAYS)
    config.chmod(0o640)
    command = [*TWOFOLD, "--config", str(config), "pam", "serve"]
    helper = house.world.start(*command, log="relay.log")
    there = [house.world.outside(socket) for socket in SOCKETS]
    eventually(lambda: all(file.exists() for file in there) or helper.process.poll() is not None, what="the helper")
    web = Web(house)
    assert helper.process.poll() is None, web.said()
    yield web
    helper.stop()


@pytest.fixture
def web(host: Web) -> Web:
    host.house.no_policies()
    host.stack(*PIN_ALONE)
    return host


# --- what it may --------------------------------------------------------------------------------------------------


@pytest.mark.statement("P-015", "P-019")
def test_a_relay_logs_another_user_in_with_his_pin_and_each_pin_once(web: Web) -> None:
    alice = web.house.somebody()
    assert not web.lets_in("alice", *GUESSES)
    assert web.lets_in("alice", (PIN, alice.pin())), web.said()
    used = alice.last_pin()
    assert not web.lets_in("alice", (PIN, used), (AGAIN, used), (AGAIN, used))
    assert web.house.site.logins()[-3] == ("again", "passcode-used")


def test_a_relay_hands_a_password_on_and_it_is_checked(web: Web) -> None:
    web.stack(*WITH_PASSWORD)
    alice = web.house.somebody()
    pin = alice.pin()
    assert not web.lets_in("alice", (PASSWORD_PROMPT, "wrong"), (PIN, pin), (AGAIN, pin), (AGAIN, pin))
    assert web.lets_in("alice", (PASSWORD_PROMPT, alice.password), (PIN, pin)), "a wrong password uses up no PIN"


def test_password_and_pin_in_the_one_field_of_a_relay(web: Web) -> None:
    web.stack(*ONE_FIELD)
    alice, field = web.house.somebody(), "in one: ?$"
    pin = alice.pin()
    assert not web.lets_in("alice", (field, "wrong" + pin))
    assert web.lets_in("alice", (field, alice.password + pin)), web.said()
    assert not web.lets_in("alice", (field, alice.password + pin)), "used"


@pytest.mark.statement("P-019")
def test_the_trail_and_the_log_name_the_relay(web: Web) -> None:
    alice = web.house.somebody()
    before = len(web.rows())
    assert not web.lets_in("alice", *GUESSES)
    assert web.lets_in("alice", (PIN, alice.pin()))
    rows = web.rows()[before:]
    assert len(rows) >= 4
    assert {row[:3] for row in rows} == {(RELAY, f"{SERVICE}@web-7", "")}
    assert f"login success user=alice service={SERVICE} by={RELAY}" in web.said()


# --- what nobody may ----------------------------------------------------------------------------------------------


def test_an_unknown_user_meets_the_questions_of_a_known_one(web: Web) -> None:
    web.house.somebody()
    web.house.forget("bob")
    known, unknown = web.visit("alice", *GUESSES), web.visit("bob", *GUESSES)
    nobody = web.visit("no-such-account", *GUESSES)
    assert known.screen == unknown.screen == nobody.screen
    assert known.screen.count("PIN") == 3
    assert IN not in known.screen
    assert web.rows()[-1][0] == RELAY


@pytest.mark.statement("P-019")
@pytest.mark.parametrize(
    ("by", "service", "why"),
    [
        (RELAY, OTHER, f"{RELAY} may not log in as somebody else"),
        ("carol", SERVICE, "carol may not log in as somebody else"),
        ("daemon", SERVICE, "daemon may not log in as somebody else"),
    ],
)
def test_another_service_and_who_is_no_relay_are_asked_nothing_and_refused(
    web: Web, by: str, service: str, why: str
) -> None:
    web.stack(*PIN_ALONE, service=service)
    alice, said = web.house.somebody(), len(web.said())
    before = len(web.rows())
    pin = alice.pin()
    refused = web.visit("alice", (PIN, pin), service=service, by=by)
    assert IN not in refused.screen
    assert "PIN" not in refused.screen, "no word about anybody"
    assert web.rows()[before:] == []
    eventually(lambda: why in web.said()[said:], what="a line that says why")
    assert web.lets_in("alice", (PIN, pin)), "the PIN was not used up"


def test_a_relay_guesses_no_further_than_the_throttle(web: Web) -> None:
    alice, bob = web.house.somebody(), web.house.somebody("bob")
    for _ in range(2):
        assert not web.lets_in("alice", *GUESSES)
    pin = alice.pin()
    assert not web.lets_in("alice", (PIN, pin), (AGAIN, pin), (AGAIN, pin)), "right, and too late"
    assert web.house.last() == ("reject", "waiting-after-failures")
    assert web.lets_in("bob", (PIN, bob.pin())), "the others go on"


# --- what root's programs may, and a relay may not -----------------------------------------------------------------


def newcomer(web: Web) -> Person:
    return web.house.somebody(token=False)


@pytest.mark.statement("P-006", "P-019")
@pytest.mark.parametrize("lines", [PIN_ALONE, WITH_PASSWORD], ids=["pin-alone", "with-password"])
def test_a_relay_onboards_nobody_and_gets_no_ticket(web: Web, lines: tuple[str, ...]) -> None:
    """With the right password: at a login of root's this person would be shown a key."""
    web.stack(*lines)
    person = newcomer(web)
    asked = ((PASSWORD_PROMPT, person.password),) if lines is WITH_PASSWORD else ()
    refused = web.visit("alice", *asked, (".*: ?$", "s"), (".*: ?$", "s"), (".*: ?$", "s"))
    assert IN not in refused.screen
    for word in ("otpauth", "Scan", "secret", "ticket", "\u2588"):
        assert word.lower() not in refused.screen.lower(), refused.screen
    assert web.house.site.logins()[-1][0] == "reject"
    assert not web.house.site.command("token", "list", "--user", "alice", "--json").stdout.strip("[] \n")
    assert [row["event"] for row in web.house.site.audit()][-1] == "login", "no ticket was made"


def test_a_ticket_that_an_administrator_gave_is_no_pin_for_a_relay(web: Web) -> None:
    web.stack(*WITH_PASSWORD)
    person = newcomer(web)
    done = web.house.site.gate.administer(IssueTicket(actor="test", name="alice"))
    (ticket,) = done.shown_once
    asked = (PASSWORD_PROMPT, person.password)
    refused = web.visit("alice", asked, *[(".*: ?$", ticket)] * 3)
    assert IN not in refused.screen
    assert "secret" not in refused.screen
    assert not web.house.site.command("token", "list", "--user", "alice", "--json").stdout.strip("[] \n")


def skip(web: Web) -> None:
    web.house.policy("second_factor", "skip")


def grace(web: Web) -> None:
    web.house.policy("grace", "7d")


def bypass(web: Web) -> None:
    web.house.site.gate.administer(GiveBypass(actor="test", name="alice", hours=1))


@pytest.mark.statement("P-002", "P-019")
@pytest.mark.parametrize("way", [skip, grace, bypass])
def test_no_way_past_the_pin_is_open_to_a_relay(web: Web, way: Callable[[Web], None]) -> None:
    """The same stack and password let root's program in without a PIN, which shows that there is a way."""
    web.stack(*WITH_PASSWORD, "required pam_permit.so")
    person = newcomer(web)
    way(web)
    password = (PASSWORD_PROMPT, person.password)
    assert not web.lets_in("alice", password, (".*: ?$", "000000"), (".*: ?$", "111111"), (".*: ?$", "222222"))
    assert web.rows()[-1][0] == RELAY
    assert web.lets_in("alice", password, by="root"), web.said()


@pytest.mark.statement("P-023", "P-031")
def test_an_address_that_a_relay_claims_is_not_believed(web: Web) -> None:
    web.stack(*WITH_PASSWORD, "required pam_permit.so")
    web.house.policy("reuse_window", "8h")
    alice = web.house.somebody()
    password, pin = (PASSWORD_PROMPT, alice.password), alice.pin()
    assert web.lets_in("alice", password, (PIN, pin), by="root", rhost=ELSEWHERE)
    assert web.lets_in("alice", password, by="root", rhost=ELSEWHERE), "there is a window"
    assert not web.lets_in("alice", password, (PIN, pin), (AGAIN, pin), (AGAIN, pin), rhost=ELSEWHERE)
    assert web.rows()[-1][:3] == (RELAY, f"{SERVICE}@web-7", "")
    assert web.lets_in("alice", password, (PIN, alice.pin()), rhost=ELSEWHERE)
    assert not web.lets_in("alice", password, (PIN, pin), (AGAIN, pin), (AGAIN, pin), rhost=ELSEWHERE), "opened none"
    assert ELSEWHERE not in {row[2] for row in web.rows() if row[0] == RELAY}
