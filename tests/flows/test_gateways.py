"""What gateways differ in, on real sockets: modes, a question before anything is told, two secrets at a time, and the
attributes of an Accept."""

import base64
import itertools
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import pytest

from tests.site import PASSWORD, SECRET, ServerProcess, Site, eventually, pin
from tests.wire import ACCEPT, CHALLENGE, REJECT, Nas, Reply, access_request
from validation.model import Encoding, MessageAuthenticatorRule, Mode, Token
from validation.requests import ChangeUserState, SetRule, UserAct
from validation.settings import Scope

OFF = MessageAuthenticatorRule.OFF
CLIENTS: dict[str, dict[str, object]] = {
    "prepend": {"mode": Mode.PREPEND},
    "auto": {"mode": Mode.AUTO},
    "openvpn": {"mode": Mode.OPENVPN},
    "asks": {"mode": Mode.CHALLENGE, "always_challenge": True},
    "portal": {"mode": Mode.PASSCODE_ONLY, "always_challenge": True},
    "off": {"mode": Mode.APPEND, "rule": OFF},
    "off-latin": {"mode": Mode.APPEND, "rule": OFF, "encoding": Encoding.LATIN_1},
    "replies": {"mode": Mode.APPEND},
}


@dataclass
class House:
    """A server for all tests of this file, and its clients by loopback address. Each test brings its own users."""

    site: Site
    server: ServerProcess
    clients: dict[str, Nas]
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def newcomer(self, groups: tuple[str, ...] = ()) -> tuple[str, Token]:
        name = f"user{next(self._numbers)}"
        self.site.add_user(name, groups=groups)
        return name, self.site.enroll(name, kind="hotp")

    def failures(self, name: str) -> int:
        return sum(self.site.failures(name).values())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    site = Site(tmp_path_factory.mktemp("gateways"))
    site.gate.administer(SetRule(actor="test", key="reject_delay", value="0", scope=Scope()))
    sources = {name: f"127.0.1.{number}" for number, name in enumerate(CLIENTS, 1)}
    for name, options in CLIENTS.items():
        site.add_client(name, sources[name], **options)  # type: ignore[arg-type]
    with ExitStack() as stack:
        server = stack.enter_context(site.server())
        clients = {name: stack.enter_context(server.nas(source=source)) for name, source in sources.items()}
        yield House(site, server, clients)
    site.database.close()


# --- modes


def test_prepend_takes_the_pin_first(house: House) -> None:
    name, token = house.newcomer()
    nas = house.clients["prepend"]
    assert nas.login(name, PASSWORD + pin(token)).code == REJECT, "the other way round"
    assert nas.login(name, pin(token) + PASSWORD).code == ACCEPT
    assert nas.login(name, pin(token) + PASSWORD).code == REJECT, "used"
    assert nas.login(name, pin(token, 1) + "wrong").code == REJECT


def test_auto_takes_one_field_or_asks(house: House) -> None:
    name, token = house.newcomer()
    nas = house.clients["auto"]
    assert nas.login(name, PASSWORD + pin(token)).code == ACCEPT
    step = nas.login(name, PASSWORD)
    assert step.code == CHALLENGE
    assert nas.login(name, pin(token, 1), state=step.state).code == ACCEPT
    assert house.failures(name) == 0
    assert nas.login(name, PASSWORD + "000000").code == REJECT
    assert house.failures(name) == 1, "one check, one failure"


def test_auto_names_a_used_pin_for_what_it_is(house: House) -> None:
    """Portals and gateways send the same field twice: no wrong password is counted for it."""
    name, token = house.newcomer()
    nas = house.clients["auto"]
    assert nas.login(name, PASSWORD + pin(token)).code == ACCEPT
    assert nas.login(name, PASSWORD + pin(token)).code == REJECT
    assert house.site.logins()[-1] == ("reject", "passcode-used")
    assert nas.login(name, PASSWORD + pin(token, 1)).code == ACCEPT
    assert house.failures(name) == 0


def test_auto_asks_only_after_failures_so_that_nobody_guesses_pins_as_wrong_passwords(house: House) -> None:
    """Whoever knows the password gets no sixth guess in one field; the question counts guesses as such."""
    name, token = house.newcomer()
    nas = house.clients["auto"]
    house.site.gate.administer(SetRule(actor="test", key="lock_base", value="1", scope=Scope(client="auto")))
    for _ in range(5):
        assert nas.login(name, PASSWORD + "000000").code == REJECT
    eventually(lambda: nas.login(name, PASSWORD).code == CHALLENGE, what="the end of the wait")
    right = pin(token)
    assert nas.login(name, PASSWORD + right).code == REJECT
    assert house.site.token_row(token.serial)["moving_factor"] == 0


@pytest.mark.parametrize("with_state", [False, True], ids=["in the field alone", "with the attribute too"])
def test_openvpn_answers_a_dynamic_challenge_in_the_field(house: House, with_state: bool) -> None:
    name, token = house.newcomer()
    nas = house.clients["openvpn"]
    step = nas.login(name, PASSWORD)
    assert step.code == CHALLENGE
    answer = f"CRV1::{step.state.decode()}::{pin(token)}"
    assert nas.login(name, answer, state=step.state if with_state else None).code == ACCEPT
    assert nas.login(name, answer).code == REJECT, "the State is spent"


@pytest.mark.parametrize("answer", ["CRV1::", "CRV1::::755224", "CRV1::abc", "CRV1::" + "0" * 32 + "::755224"])
def test_openvpn_cannot_make_up_a_state(house: House, answer: str) -> None:
    name, _ = house.newcomer()
    assert house.clients["openvpn"].login(name, answer).code == REJECT
    assert house.failures(name) == 0


def test_openvpn_may_leave_the_pin_of_a_static_challenge_empty(house: House) -> None:
    name, token = house.newcomer()
    nas = house.clients["openvpn"]
    step = nas.login(name, f"SCRV1:{base64.b64encode(PASSWORD.encode()).decode()}:")
    assert step.code == CHALLENGE
    assert nas.login(name, pin(token), state=step.state).code == ACCEPT


# --- a question before anything is told


def ending(nas: Nas, name: str, password: str, *pins: str) -> list[tuple[int, str]]:
    """Codes and texts of a login in which these PINs are typed as long as one is asked for."""
    reply = nas.login(name, password)
    seen = [(reply.code, reply.text)]
    for one in pins:
        if reply.code != CHALLENGE:
            break
        reply = nas.login(name, one, state=reply.state)
        seen.append((reply.code, reply.text))
    return seen


@pytest.mark.statement("R-098")
def test_where_everybody_is_asked_first_a_wrong_password_looks_like_a_wrong_pin(house: House) -> None:
    """Right and wrong passwords, a locked user and a name that is nobody's: the same replies to the end."""
    nas = house.clients["asks"]
    (name, _), (locked, _) = house.newcomer(), house.newcomer()
    house.site.gate.administer(ChangeUserState(actor="test", name=locked, act=UserAct.LOCK))
    wrong = ("000000", "000001", "000002", "000003")
    seen = [
        ending(nas, name, PASSWORD, *wrong),
        ending(nas, name, "wrong", *wrong),
        ending(nas, locked, PASSWORD, *wrong),
        ending(nas, "nobody-here", PASSWORD, *wrong),
    ]
    assert [code for code, _ in seen[0]] == [CHALLENGE, CHALLENGE, CHALLENGE, REJECT]
    assert seen == [seen[0]] * 4


def test_where_everybody_is_asked_first_the_trail_and_the_counts_are_what_they_were(house: House) -> None:
    nas = house.clients["asks"]
    name, token = house.newcomer()
    before = len(house.site.logins())
    assert ending(nas, name, "wrong", pin(token), pin(token), pin(token))[-1][0] == REJECT
    assert set(house.site.logins()[before:]) == {
        ("challenge", "password-wrong"),
        ("again", "password-wrong"),
        ("reject", "password-wrong"),
    }
    assert house.failures(name) == 1
    assert house.site.token_row(token.serial)["moving_factor"] == 0, "no PIN was looked at"
    assert [code for code, _ in ending(nas, name, PASSWORD, pin(token))] == [CHALLENGE, ACCEPT]


def test_where_everybody_is_asked_first_who_has_no_token_goes_on_to_get_one(house: House) -> None:
    nas = house.clients["asks"]
    house.site.add_user("newbie")
    step = nas.login("newbie", PASSWORD)
    ticket = nas.login("newbie", "", state=step.state)
    assert (step.code, ticket.code) == (CHALLENGE, CHALLENGE)
    assert "enrolment ticket" in ticket.text
    hidden = nas.login("newbie", "wrong")
    assert (hidden.code, hidden.text) == (CHALLENGE, step.text)
    assert "enrolment ticket" not in nas.login("newbie", "", state=hidden.state).text


def test_who_needs_no_pin_is_let_in_after_the_question(house: House) -> None:
    nas = house.clients["asks"]
    name, _ = house.newcomer(groups=("skippers",))
    house.site.gate.administer(SetRule(actor="t", key="second_factor", value="skip", scope=Scope(group="skippers")))
    assert [code for code, _ in ending(nas, name, PASSWORD, "")] == [CHALLENGE, ACCEPT]


def test_a_client_that_checks_passwords_itself_may_ask_for_the_pin(house: House) -> None:
    nas = house.clients["portal"]
    name, token = house.newcomer()
    house.site.add_user("without")
    assert [code for code, _ in ending(nas, name, "", pin(token))] == [CHALLENGE, ACCEPT]
    seen = [ending(nas, who, "", *["000000"] * 4) for who in (name, "without", "nobody-here")]
    assert seen == [seen[0]] * 3, "whom we know is not told"


def test_no_other_mode_begins_with_an_empty_password(house: House) -> None:
    name, _ = house.newcomer()
    for client in ("prepend", "auto", "openvpn", "asks", "off", "replies"):
        assert house.clients[client].login(name, "").code == REJECT
    assert house.failures(name) == 0


# --- secrets


NEXT = b"the-next-secret-of-24-octets"


def turn(house: House, client: str, *options: str) -> None:
    done = house.site.command("client", "set", client, "--secret-stdin", *options, stdin=NEXT.decode())
    assert done.returncode == 0, done.stderr


def code_of(nas: Nas, name: str, password: str, form: str) -> int | None:
    """None for silence, and for a reply that is signed under another secret than the request."""
    request = access_request(nas.secret, name, password, message_authenticator=form)
    nas.send(request.data)
    while (reply := nas.receive(0.5)) is not None:
        if reply.identifier == request.data[1]:
            with suppress(AssertionError):
                return reply.check(request).code
    return None


@pytest.mark.statement("R-028")
@pytest.mark.parametrize(("form", "source"), [("first", "127.0.2.1"), ("none", "127.0.2.2")])
def test_two_secrets_are_right_for_a_while_and_then_one(house: House, form: str, source: str) -> None:
    name, token = house.newcomer()
    rule = MessageAuthenticatorRule.REQUIRED if form == "first" else OFF
    house.site.add_client(f"turned-{form}", source, mode=Mode.APPEND, rule=rule)
    with house.server.nas(SECRET, source) as old, house.server.nas(NEXT, source) as new:
        eventually(lambda: code_of(old, "nobody", "nothing-at-all", form) == REJECT, what="the client")
        turn(house, f"turned-{form}", "--overlap", "1h")
        first, second, third, fourth = (PASSWORD + pin(token, ahead) for ahead in range(4))
        # Until the server knows, requests are refused or dropped and no PIN is used: the same one is tried again.
        eventually(lambda: code_of(new, name, first, form) == ACCEPT, what="the new secret")
        assert code_of(old, name, second, form) == ACCEPT, "the old one is right, too"
        turn(house, f"turned-{form}")
        eventually(lambda: code_of(old, name, third, form) != ACCEPT, what="the end")
        eventually(lambda: code_of(new, name, fourth, form) == ACCEPT, what="a login")


@pytest.mark.statement("R-048")
def test_a_password_that_nobody_can_have_typed_speaks_of_another_secret(house: House) -> None:
    """It is told apart from a wrong password, and counts nothing."""
    name, _ = house.newcomer()
    for client in ("off", "off-latin"):
        nas = house.clients[client]
        for octets in (b"\x01\x02abc", b"\xff\xfe\x80\x81", b"tab\there", b"\x7f"):
            request = access_request(SECRET, name, octets, message_authenticator="none")
            assert nas.ask(request).code == REJECT
    assert house.failures(name) == 0
    assert 'why="the shared secrets differ: nobody can type such a password"' in house.server.log
    assert nas.ask(access_request(SECRET, name, "a wrong password", message_authenticator="none")).code == REJECT
    assert house.failures(name) == 1


# --- reply attributes


def known_anew(nas: Nas, name: str, typed: str) -> Reply:
    """An Accept after the client was changed: for a second at most the server does not know, and refuses without using
    the PIN."""
    heard: list[Reply] = []

    def accepted() -> bool:
        heard.append(nas.login(name, typed))
        return heard[-1].code == ACCEPT

    eventually(accepted, what="a login through the client as it is now")
    return heard[-1]


def test_an_accept_carries_what_is_set_for_user_group_and_client(house: House) -> None:
    name, token = house.newcomer(groups=("staff", "admins"))
    run = house.site.command
    for arguments in (
        ("client", "set", "replies", "--reply", "Session-Timeout=3600", "--reply", "Filter-Id=of-client"),
        ("reply", "set", "Filter-Id=staff-1", "Filter-Id=staff-2", "Session-Timeout=600", "--group", "staff"),
        ("reply", "set", "Filter-Id=admins", "--group", "admins"),
        ("reply", "set", "Class=OU=all", "Idle-Timeout=60"),
        ("user", "set", name, "--reply", "Idle-Timeout=30", "--reply", "Cisco-AVPair=shell:priv-lvl=15"),
    ):
        done = run(*arguments)
        assert done.returncode == 0, done.stderr
    accepted = known_anew(house.clients["replies"], name, PASSWORD + pin(token))
    assert accepted.values(11) == [b"admins", b"staff-1", b"staff-2"], "of all groups, before the client's"
    assert [int.from_bytes(value, "big") for value in accepted.values(27)] == [600]
    assert [int.from_bytes(value, "big") for value in accepted.values(28)] == [30], "his own"
    assert accepted.values(25) == [b"OU=all"]
    assert accepted.values(26) == [b"\x00\x00\x00\x09\x01\x13shell:priv-lvl=15"]
    refused = house.clients["replies"].login(name, PASSWORD + pin(token))
    assert refused.code == REJECT
    assert {kind for kind, _ in refused.attributes} <= {18, 80}


def test_an_attribute_that_is_taken_away_is_gone_at_the_next_login(house: House) -> None:
    name, token = house.newcomer()
    nas = house.clients["prepend"]
    assert house.site.command("reply", "set", "Filter-Id=x", "--client", "prepend").returncode == 0
    assert nas.login(name, pin(token) + PASSWORD).values(11) == [b"x"]
    assert house.site.command("reply", "unset", "Filter-Id", "--client", "prepend").returncode == 0
    assert nas.login(name, pin(token, 1) + PASSWORD).values(11) == []


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        ("Framed-IP-Address=10.10.1.444", "10.10.1.444"),
        ("Filter-Idd=x", "did you mean Filter-Id"),
        ("Session-Timeout=-1", "Session-Timeout"),
        ("Reply-Message=hello", "Reply-Message"),
        ("Filter-Id", "ATTRIBUTE=VALUE"),
    ],
)
def test_what_cannot_stand_in_an_accept_is_refused_when_it_is_set(house: House, pair: str, told: str) -> None:
    done = house.site.command("client", "set", "replies", "--reply", pair)
    assert done.returncode == 2
    assert told in done.stderr
