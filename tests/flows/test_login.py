"""Whole logins on a real store and real sockets, and what may come between their two steps."""

import base64
import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from tests.flows.crowd import answered, ask_all, numbered, replies, wrong_pins
from tests.site import PASSWORD, SECRET, ServerProcess, Site, eventually, pin
from tests.wire import (
    ACCEPT,
    CHALLENGE,
    MESSAGE_AUTHENTICATOR,
    REJECT,
    REPLY_MESSAGE,
    Nas,
    Reply,
    Request,
    access_request,
    status_server,
)
from validation.model import Mode, Token
from validation.requests import ChangeUserState, SetPairing, UserAct


@dataclass
class House:
    """A server for all tests of this file, with a gateway in each mode. Each test brings its own users."""

    site: Site
    server: ServerProcess
    gateways: dict[Mode, Nas]
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def newcomer(self, kind: str = "totp") -> tuple[str, Token]:
        name = f"user{next(self._numbers)}"
        self.site.add_user(name)
        return name, self.site.enroll(name, kind=kind)

    def newcomer_without_token(self) -> str:
        """He may not pair an app either."""
        name = f"user{next(self._numbers)}"
        self.site.add_user(name)
        self.site.gate.administer(SetPairing(actor="test", name=name, open=False))
        return name

    @property
    def vpn(self) -> Nas:
        return self.gateways[Mode.CHALLENGE]

    def challenged(self, name: str, password: str = PASSWORD) -> Reply:
        challenge = self.vpn.login(name, password)
        assert challenge.code == CHALLENGE
        return challenge

    def one_field(self, name: str, password: str, passcode: str) -> Reply:
        return self.gateways[Mode.APPEND].login(name, password + passcode)

    def codes(self, name: str, *steps: tuple[Mode, str, Reply | None]) -> list[int]:
        """What the requests of `name` get, sent at once so that their reject delays pass together."""
        requests = [
            access_request(SECRET, name, typed, state=challenge.state if challenge else None, identifier=identifier)
            for identifier, (_, typed, challenge) in enumerate(steps)
        ]
        sent: dict[Mode, list[Request]] = {}
        for (mode, _, _), request in zip(steps, requests, strict=True):
            sent.setdefault(mode, []).append(request)
            self.gateways[mode].send(request.data)
        found = {r.identifier: r.code for mode in sent for r in answered(self.gateways[mode], sent[mode])}
        return [found[identifier] for identifier in range(len(steps))]

    def run(self, *command: str, stdin: str = "") -> None:
        done = self.site.command(*command, stdin=stdin)
        assert done.returncode == 0, done.stderr

    def reasons(self, name: str) -> list[object]:
        """Why the logins of `name` ended as they did, from old to new."""
        return [row["reason"] for row in self.site.audit() if row["user"] == name and row["event"] == "login"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    site = Site(tmp_path_factory.mktemp("house"))
    addresses = {mode: f"127.0.0.{number}" for number, mode in enumerate(Mode, start=2)}
    for mode, address in addresses.items():
        site.add_client(str(mode), f"{address}/32", mode=mode)
    with site.server() as server, ExitStack() as stack:
        gateways = {mode: stack.enter_context(server.nas(source=address)) for mode, address in addresses.items()}
        yield House(site, server, gateways)


# --- Getting in -------------------------------------------------------------------------------------------------


def test_password_then_pin(house: House) -> None:
    name, token = house.newcomer()
    challenge = house.challenged(name)
    assert challenge.text == "PIN from your authenticator app: "
    assert house.vpn.login(name, pin(token), state=challenge.state).code == ACCEPT
    assert house.reasons(name) == ["password-right", "passcode-right"]


def test_password_and_pin_in_one_field(house: House) -> None:
    name, token = house.newcomer()
    assert house.one_field(name, PASSWORD, pin(token)).code == ACCEPT
    assert house.reasons(name) == ["passcode-right"]


def test_a_pin_alone_where_the_gateway_checks_the_password(house: House) -> None:
    name, token = house.newcomer("hotp")
    gateway = house.gateways[Mode.PASSCODE_ONLY]
    first, second = pin(token), pin(token, ahead=1)
    assert gateway.login(name, first).code == ACCEPT
    assert gateway.login(name, f"{second[:3]} {second[3:]}").code == ACCEPT, "as apps show it, with a blank"
    assert house.reasons(name) == ["passcode-right"] * 2


@pytest.mark.statement("R-100")
def test_two_terminals_at_once_do_not_disturb_each_other(house: House) -> None:
    name, token = house.newcomer("hotp")
    first, second = house.challenged(name), house.challenged(name)
    assert house.vpn.login(name, pin(token), state=second.state).code == ACCEPT
    assert house.vpn.login(name, pin(token, ahead=1), state=first.state).code == ACCEPT


# --- A wrong PIN, a used PIN ------------------------------------------------------------------------------------


@pytest.mark.statement("R-094")
def test_a_challenge_allows_three_tries_and_failures_are_kept(house: House) -> None:
    name, token = house.newcomer()
    first = house.challenged(name)
    wrong = wrong_pins(token, 3)
    second = house.vpn.login(name, wrong[0], state=first.state)
    third = house.vpn.login(name, wrong[1], state=second.state)
    assert [reply.code for reply in (second, third)] == [CHALLENGE, CHALLENGE]
    assert second.text == "That PIN was not accepted. Wait for a new one. 2 tries left: "
    assert third.text == "That PIN was not accepted. Wait for a new one. 1 try left: "
    assert house.site.failures(name) == {"passcode": 2}
    assert house.vpn.login(name, wrong[2], state=third.state).code == REJECT
    late = [(Mode.CHALLENGE, pin(token), challenge) for challenge in (first, second, third)]
    assert house.codes(name, *late) == [REJECT] * 3
    assert house.site.failures(name) == {"passcode": 3}
    house.challenged(name)  # the right password does not clear them
    assert house.site.failures(name) == {"passcode": 3}


@pytest.mark.statement("R-094")
def test_after_a_wrong_pin_the_right_one_lets_in_and_its_state_is_used_up(house: House) -> None:
    name, token = house.newcomer("hotp")
    again = house.vpn.login(name, wrong_pins(token)[0], state=house.challenged(name).state)
    assert house.vpn.login(name, pin(token), state=again.state).code == ACCEPT
    assert house.site.failures(name) == {"passcode": 0}
    assert house.vpn.login(name, pin(token, ahead=1), state=again.state).code == REJECT
    assert house.reasons(name)[-2:] == ["passcode-right", "state-unknown"]


def test_a_used_pin_does_not_let_in_again_by_any_way(house: House) -> None:
    name, token = house.newcomer()
    used = pin(token)
    assert house.one_field(name, PASSWORD, used).code == ACCEPT
    again = house.vpn.login(name, used, state=house.challenged(name).state)
    assert again.code == CHALLENGE
    ways = [(Mode.APPEND, PASSWORD + used, None), (Mode.PASSCODE_ONLY, used, None)]
    assert house.codes(name, *ways) == [REJECT] * 2
    *begun, first, _, _ = house.reasons(name)
    others = house.reasons(name)[-2:]
    assert [*begun, first] == ["passcode-right", "password-right", "passcode-used"]
    # Held against the same codes it is a repetition; if a time step has passed in between, it is not.
    assert set(others) <= {"passcode-repeated", "passcode-used"}


# --- Locked, disabled, without a token --------------------------------------------------------------------------


def test_after_5_failures_even_the_right_pin_waits_until_an_admin_unlocks(house: House) -> None:
    name, token = house.newcomer()
    passcode = pin(token)
    open_before = house.challenged(name)
    guesses = numbered(SECRET, [(name, PASSWORD + wrong) for wrong in wrong_pins(token, 5)])
    assert [reply.code for reply in ask_all(house.gateways[Mode.APPEND], guesses)] == [REJECT] * 5
    assert house.site.failures(name) == {"passcode": 5}
    again = house.vpn.login(name, passcode, state=open_before.state)
    assert (again.code, again.text) == (CHALLENGE, "That PIN was not accepted. Wait for a new one. 2 tries left: ")
    assert house.one_field(name, PASSWORD, passcode).code == REJECT
    assert house.reasons(name)[-2:] == ["waiting-after-failures"] * 2
    assert house.site.failures(name) == {"passcode": 5}, "nothing was compared, so nothing is counted"
    house.run("user", "unlock", name)
    assert house.vpn.login(name, passcode, state=again.state).code == ACCEPT


def test_after_5_wrong_passwords_the_right_one_waits(house: House) -> None:
    name, token = house.newcomer()
    guesses = numbered(SECRET, [(name, f"guess-{n}") for n in range(5)])
    assert [reply.code for reply in ask_all(house.vpn, guesses)] == [REJECT] * 5
    assert house.site.failures(name) == {"password": 5}
    assert house.vpn.login(name, PASSWORD).code == REJECT
    house.run("user", "unlock", name)
    assert house.vpn.login(name, pin(token), state=house.challenged(name).state).code == ACCEPT


@pytest.mark.parametrize(
    ("shut", "reopen", "shut_out"), [("disable", "enable", "user-disabled"), ("lock", "unlock", "user-locked")]
)
def test_shut_out_between_the_steps(house: House, shut: str, reopen: str, shut_out: str) -> None:
    name, token = house.newcomer()
    challenge = house.challenged(name)
    passcode = pin(token)
    house.run("user", shut, name)
    both = [(Mode.CHALLENGE, passcode, challenge), (Mode.APPEND, PASSWORD + passcode, None)]
    assert house.codes(name, *both) == [REJECT] * 2
    house.run("user", reopen, name)
    assert house.vpn.login(name, passcode, state=challenge.state).code == REJECT, "that login is over"
    assert house.one_field(name, PASSWORD, passcode).code == ACCEPT
    assert Counter(house.reasons(name)[1:]) == {"state-unknown": 2, shut_out: 1, "passcode-right": 1}


def test_a_user_without_a_token_is_refused_and_only_the_right_password_says_why_in_the_trail(house: House) -> None:
    name = house.newcomer_without_token()
    answers = ask_all(house.vpn, numbered(SECRET, [(name, "wrong"), (name, PASSWORD)]))
    assert [reply.code for reply in answers] == [REJECT, REJECT]
    assert sorted(map(str, house.reasons(name))) == ["pairing-closed", "password-wrong"]


# --- What admins do between the two steps -----------------------------------------------------------------------


def test_a_new_password_ends_open_logins(house: House) -> None:
    name, token = house.newcomer()
    challenge = house.challenged(name)
    house.run("user", "set", name, "--password-stdin", stdin="neues Geheimnis")
    passcode = pin(token)
    both = [(Mode.CHALLENGE, passcode, challenge), (Mode.APPEND, PASSWORD + passcode, None)]
    assert house.codes(name, *both) == [REJECT] * 2
    again = house.challenged(name, "neues Geheimnis")
    assert house.vpn.login(name, passcode, state=again.state).code == ACCEPT, "the PIN was not used up"


def test_a_token_revoked_between_the_steps(house: House) -> None:
    name, token = house.newcomer()
    challenge = house.challenged(name)
    house.run("token", "revoke", token.serial)
    passcode = pin(token)
    both = [(Mode.CHALLENGE, passcode, challenge), (Mode.APPEND, PASSWORD + passcode, None)]
    assert house.codes(name, *both) == [REJECT] * 2
    assert Counter(house.reasons(name)) == {"password-right": 1, "state-unknown": 1, "no-token": 1}


def test_a_user_removed_between_the_steps_and_added_again(house: House) -> None:
    name, token = house.newcomer()
    challenge = house.challenged(name)
    house.run("user", "remove", name)
    house.run("user", "add", name, "--password-stdin", stdin=PASSWORD)
    both = [(Mode.CHALLENGE, pin(token), challenge), (Mode.APPEND, PASSWORD + pin(token), None)]
    assert house.codes(name, *both) == [REJECT] * 2
    assert Counter(house.reasons(name)) == {"password-right": 1, "state-unknown": 1, "password-wrong": 1}


def test_a_gateway_removed_between_the_steps_gets_no_answer_to_the_second(house: House) -> None:
    name, token = house.newcomer()
    house.site.add_client("leaving", "127.0.0.9/32")
    with house.server.nas(source="127.0.0.9") as leaving:
        eventually(lambda: answers(leaving, status_server(SECRET)), what="the server to know the new client")
        challenge = leaving.login(name, PASSWORD)
        house.run("client", "remove", "leaving")
        second = access_request(SECRET, name, pin(token), state=challenge.state)
        leaving.send(second.data)
        refusal = leaving.receive(2)
        assert refusal is None or refusal.check(second).code == REJECT, "refused until the server has noticed"
        eventually(lambda: not answers(leaving, status_server(SECRET)), what="silence")
    assert "passcode-right" not in house.reasons(name)


def answers(nas: Nas, request: Request) -> bool:
    nas.send(request.data)
    return replies(nas, [request], 0.5) != [None]


# --- More than one server ---------------------------------------------------------------------------------------


@pytest.mark.statement("R-096")
def test_the_second_step_may_reach_another_server_after_the_first_was_killed(site: Site) -> None:
    site.add_user("alice")
    token = site.enroll("alice")
    site.add_client()
    with site.server() as first, first.nas() as nas:
        challenge = nas.login("alice", PASSWORD)
        first.kill()
        with site.server() as second, second.nas() as nas_there:
            assert nas_there.login("alice", pin(token), state=challenge.state).code == ACCEPT
    assert site.logins() == [("challenge", "password-right"), ("accept", "passcode-right")]


@pytest.mark.statement("R-096")
def test_two_servers_share_challenges_tries_and_used_pins(site: Site) -> None:
    site.add_user("alice")
    token = site.enroll("alice")
    site.add_client()
    with site.server() as first, site.server() as second, first.nas() as here, second.nas() as there:
        again = there.login("alice", wrong_pins(token)[0], state=here.login("alice", PASSWORD).state)
        assert again.text.endswith("2 tries left: ")
        passcode = pin(token)
        assert here.login("alice", passcode, state=again.state).code == ACCEPT
        replayed = there.login("alice", passcode, state=there.login("alice", PASSWORD).state)
        assert replayed.code == CHALLENGE
    assert site.logins()[-1] == ("again", "passcode-used")


# --- Refusals look alike ----------------------------------------------------------------------------------------


def without_authenticators(reply: Reply) -> tuple[int, int, tuple[tuple[int, bytes], ...]]:
    """Everything in a reply but its Identifier and its two authenticators."""
    length = int.from_bytes(reply.data[2:4], "big")
    shown = ((kind, b"" if kind == MESSAGE_AUTHENTICATOR else value) for kind, value in reply.attributes)
    return reply.code, length, tuple(shown)


def scrv1(password: str, passcode: str) -> str:
    """OpenVPN's static challenge."""
    return ":".join(["SCRV1", *(base64.b64encode(part.encode()).decode() for part in (password, passcode))])


@pytest.mark.statement("R-078", "R-066")
@pytest.mark.parametrize("mode", Mode)
def test_refusals_are_equal_but_for_identifier_and_authenticators(house: House, mode: Mode) -> None:
    gateway = house.gateways[mode]

    def entry(password: str, passcode: str) -> str:
        one_field = {Mode.PREPEND: passcode + password, Mode.OPENVPN: scrv1(password, passcode)}
        return {Mode.CHALLENGE: password, Mode.PASSCODE_ONLY: passcode, **one_field}.get(mode, password + passcode)

    refused = {"unknown": ("nobody", entry(PASSWORD, "123456"))}
    for what in ("locked", "disabled", "waiting", "wrong password"):
        name, token = house.newcomer()
        refused[what] = name, entry("wrong" if what == "wrong password" else PASSWORD, pin(token))
    if mode is Mode.PASSCODE_ONLY:  # in the others, who has proved his password is told that he has no token
        refused["no-token"] = house.newcomer_without_token(), entry(PASSWORD, "123456")
    if mode not in (Mode.CHALLENGE, Mode.AUTO):  # in auto, it makes a wrong password of the field
        name, token = house.newcomer()
        refused["wrong pin"] = name, entry(PASSWORD, wrong_pins(token)[0])
    if mode is Mode.PASSCODE_ONLY:
        del refused["wrong password"]
    house.site.gate.administer(ChangeUserState(actor="test", name=refused["locked"][0], act=UserAct.LOCK))
    house.site.gate.administer(ChangeUserState(actor="test", name=refused["disabled"][0], act=UserAct.DISABLE))
    ask_all(house.vpn, numbered(SECRET, [(refused["waiting"][0], "wrong")] * 5))

    answers = ask_all(gateway, numbered(SECRET, list(refused.values())))
    reasons = {what: house.reasons(name)[-1] for what, (name, _) in refused.items() if what != "unknown"}
    assert len(set(reasons.values())) == len(reasons), f"not the refusals that were meant: {reasons}"
    assert {without_authenticators(reply) for reply in answers} == {
        (REJECT, 62, ((MESSAGE_AUTHENTICATOR, b""), (REPLY_MESSAGE, b"The login was refused.")))
    }


def test_wrong_used_and_waiting_pins_get_the_same_question_again(house: House) -> None:
    questions = set()
    for what in ("passcode-wrong", "passcode-used", "waiting-after-failures"):
        name, token = house.newcomer()
        typed = wrong_pins(token)[0] if what == "passcode-wrong" else pin(token)
        challenge = house.challenged(name)
        if what == "passcode-used":
            assert house.one_field(name, PASSWORD, typed).code == ACCEPT
        if what == "waiting-after-failures":
            ask_all(house.vpn, numbered(SECRET, [(name, "wrong")] * 5))
        reply = house.vpn.login(name, typed, state=challenge.state)
        assert house.reasons(name)[-1] == what
        questions.add((reply.code, len(reply.data), reply.text))
    assert len(questions) == 1
