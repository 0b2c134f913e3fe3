"""The real `pam_radius_auth` in a real sshd: who types what at `ssh`, and what a running server makes of it.

One server has a client in each mode, told apart by the address that a line of pam_radius's configuration sends from.
pam_radius never signs, so the clients are set to `off`. Docs: docs/radius/pam_radius.md.
"""

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.peers.pam import programs
from tests.peers.pam.programs import Sshd, Visit
from tests.peers.test_radclient_onboarding import TICKETS, Phone, redeemed
from tests.peers.wiretap import Wiretap
from tests.peers.world import World
from tests.site import PASSWORD, SECRET, ServerProcess, Site, eventually, pin
from tests.wire import CHALLENGE, MESSAGE_AUTHENTICATOR, REPLY_MESSAGE, STATE, Reply
from validation.model import MessageAuthenticatorRule, Mode, RevokeReason, Token
from validation.requests import (
    ChangeUserState,
    RemoveUser,
    RevokeToken,
    SetRule,
    SetText,
    UnsetRule,
    UserAct,
)
from validation.settings import Scope

pytestmark = pytest.mark.peer("pam_radius_auth.so", "ssh", "sshd", "ssh-keygen", "nsenter", "unshare", "oathtool")

TWO_STEPS, ONE_FIELD, PIN_ALONE, WITH_KEY = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"
FILE = "/etc/pam_radius_auth.conf"
ASKED = "Password: ?$"
PIN = "PIN from your authenticator app: ?$"
AGAIN = r"That PIN was not accepted\. Wait for a new one\. \d tr(y|ies) left: ?$"
REST = "account required pam_unix.so\nsession required pam_permit.so\npassword required pam_deny.so\n"


@dataclass
class Room:
    """A host that asks our server. alice and bob have accounts there; their passwords are ours to check."""

    world: World
    site: Site
    server: ServerProcess
    ssh: Sshd

    def asks(self, *servers: str, options: str = "", before: str = "") -> None:
        """Lines of pam_radius's configuration, options of its line in the stack, and lines before that."""
        self.world.write(FILE, "".join(f"{line}\n" for line in servers), 0o600)
        self.world.pam_service("sshd", f"{before}auth required pam_radius_auth.so {options}\n{REST}")

    def line(self, source: str, server: str = "", timeout: int = 3) -> str:
        address, port = self.server.address
        return f"{server or f'{address}:{port}'} {SECRET.decode()} {timeout} {source}"

    def visit(self, name: str, *answers: tuple[str, str | Callable[[str], str]], password: str = PASSWORD) -> Visit:
        return self.ssh.visit(name, ((ASKED, password), *answers))

    def somebody(self, name: str = "alice", token: bool = True) -> Token | None:
        """Made anew, with a counter token, so that nothing waits for a clock."""
        self.forget(name)
        self.site.add_user(name)
        return self.site.enroll(name, kind="hotp") if token else None

    def alice(self) -> Token:
        token = self.somebody()
        assert token is not None
        return token

    def forget(self, name: str) -> None:
        if self.site.gate.outlook(name) is not None:
            self.administer(RemoveUser(actor="test", name=name))

    def administer(self, command: Any) -> Any:
        return self.site.gate.administer(command)

    def set_policy(self, key: str, value: str) -> None:
        self.administer(SetRule(actor="test", key=key, value=value, scope=Scope()))

    def reasons(self) -> list[object]:
        return [reason for _, reason in self.site.logins()]


@pytest.fixture(scope="module")
def furnished(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    site = Site(tmp_path_factory.mktemp("site"))
    modes = {TWO_STEPS: Mode.CHALLENGE, ONE_FIELD: Mode.APPEND, PIN_ALONE: Mode.PASSCODE_ONLY, WITH_KEY: Mode.CHALLENGE}
    for number, (source, mode) in enumerate(modes.items()):
        site.add_client(f"ssh{number}", source, mode=mode, rule=MessageAuthenticatorRule.OFF)
    key = SetRule(actor="test", key="onboarding_over_radius", value="key", scope=Scope(client="ssh3"))
    site.gate.administer(key)
    ssh = programs.sshd(world)
    with site.server() as server:
        yield Room(world, site, server, ssh)
    ssh.stop()


@pytest.fixture
def room(furnished: Room) -> Iterator[Room]:
    furnished.asks(furnished.line(TWO_STEPS))
    furnished.set_policy("reject_delay", "0")
    yield furnished
    for rule in furnished.site.gate.policies().rules:
        if rule.scope == Scope():
            furnished.administer(UnsetRule(actor="test", key=rule.key, scope=rule.scope))
    for text in furnished.site.gate.policies().texts:
        furnished.administer(SetText(actor="test", key=text.key, language=text.language, text="", scope=text.scope))


# --- getting in -------------------------------------------------------------------------------------------------


def test_password_then_pin(room: Room) -> None:
    alice = room.alice()
    entered = room.visit("alice", (PIN, pin(alice)))
    assert entered.who == "alice", entered.screen + room.server.log
    assert room.site.logins()[-1] == ("accept", "passcode-right")


def test_a_wrong_pin_is_asked_again_and_the_right_one_lets_in(room: Room) -> None:
    """Two challenges in one login."""
    alice = room.alice()
    entered = room.visit("alice", (PIN, "000000"), (AGAIN, pin(alice)))
    assert entered.who == "alice", entered.screen
    assert room.reasons()[-2:] == ["passcode-wrong", "passcode-right"]


def test_a_pin_with_a_blank_as_apps_show_it(room: Room) -> None:
    shown = pin(room.alice())
    assert room.visit("alice", (PIN, f"{shown[:3]} {shown[3:]}")).who == "alice"


def test_password_and_pin_in_one_field(room: Room) -> None:
    alice = room.alice()
    room.asks(room.line(ONE_FIELD), options="prompt=Password_and_PIN")
    asked = "Password_and_PIN: ?$"

    def typed(text: str) -> str | None:
        return room.ssh.visit("alice", ((asked, text),)).who

    assert typed(PASSWORD + "000000") is None
    assert typed("wrong" + pin(alice)) is None
    assert typed(PASSWORD + pin(alice)) == "alice", "a wrong password uses up no PIN"
    assert typed(PASSWORD + pin(alice)) is None, "used"
    assert room.reasons()[-4:] == ["passcode-wrong", "password-wrong", "passcode-right", "passcode-used"]


def test_the_host_checks_the_password_and_we_the_pin(room: Room) -> None:
    """Mode passcode-only behind pam_unix, with a prompt of its own."""
    alice = room.alice()
    room.asks(room.line(PIN_ALONE), options="prompt=PIN force_prompt", before="auth requisite pam_unix.so nodelay\n")
    asked = "PIN: ?$"
    assert room.visit("alice", (asked, "000000"), password="pw-alice").who is None
    assert room.visit("alice", (asked, pin(alice)), password="pw-alice").who == "alice"
    seen = len(room.site.logins())
    assert room.visit("alice", (asked, pin(alice, 1)), password="wrong").who is None
    assert len(room.site.logins()) == seen, "after a wrong password nothing is sent"


# --- not getting in ---------------------------------------------------------------------------------------------


def test_a_wrong_password_is_refused_without_a_word(room: Room) -> None:
    """pam_radius shows no text of a reject."""
    room.somebody()
    refused = room.visit("alice", password="wrong")
    assert (refused.who, "PIN" in refused.screen, "refused" in refused.screen) == (None, False, False)
    assert room.reasons()[-1] == "password-wrong"


def test_three_wrong_pins_end_the_login(room: Room) -> None:
    room.somebody()
    refused = room.visit("alice", (PIN, "000000"), (AGAIN, "111111"), (AGAIN, "222222"))
    assert refused.who is None, refused.screen
    assert room.site.failures("alice")["passcode"] == 3


def test_a_pin_works_once(room: Room) -> None:
    alice = room.alice()
    assert room.visit("alice", (PIN, pin(alice))).who == "alice"
    again = room.visit("alice", (PIN, pin(alice)), (AGAIN, pin(alice)), (AGAIN, pin(alice)))
    assert again.who is None
    assert room.reasons()[-3:] == ["passcode-used", "passcode-repeated", "passcode-repeated"]


@pytest.mark.parametrize(("act", "reason"), [(UserAct.LOCK, "user-locked"), (UserAct.DISABLE, "user-disabled")])
def test_a_barred_user_is_refused_like_a_wrong_password(room: Room, act: UserAct, reason: str) -> None:
    room.somebody()
    room.administer(ChangeUserState(actor="test", name="alice", act=act))
    refused = room.visit("alice")
    assert (refused.who, "PIN" in refused.screen) == (None, False), refused.screen
    assert room.reasons()[-1] == reason


def test_a_revoked_token_lets_nobody_in(room: Room) -> None:
    alice = room.alice()
    room.administer(RevokeToken(actor="test", serial=alice.serial, reason=RevokeReason.COMPROMISE))
    refused = room.visit("alice")
    assert refused.who is None, refused.screen
    assert room.reasons()[-1] == "pairing-closed"


def test_a_token_revoked_while_its_pin_is_typed(room: Room) -> None:
    alice = room.alice()

    def revoke_first(_: str) -> str:
        room.administer(RevokeToken(actor="test", serial=alice.serial, reason=RevokeReason.OTHER))
        return pin(alice)

    assert room.visit("alice", (PIN, revoke_first)).who is None
    assert room.reasons()[-1] == "state-unknown"


def test_an_account_that_twofold_does_not_know_is_refused(room: Room) -> None:
    room.forget("bob")
    assert room.visit("bob").who is None
    assert room.reasons()[-1] == "user-unknown"


def test_a_user_without_an_account_on_the_host_is_refused_and_nothing_is_counted(room: Room) -> None:
    """sshd puts controls of its own in place of what was typed. From an unsigned client that may be a wrong secret."""
    room.forget("mallory")
    room.site.add_user("mallory")
    assert room.visit("mallory").who is None
    assert room.site.logins()[-1] == ("reject", "request-unsupported")
    assert not any(room.site.failures("mallory").values())


def test_who_must_have_a_hardware_token_and_has_none_is_refused(room: Room) -> None:
    """The notice is in the reply; pam_radius does not show it. Documented."""
    room.somebody(token=False)
    room.set_policy("enrolment", "hardware-only")
    with Wiretap(room.server.address, TWO_STEPS) as wire:
        room.asks(f"{wire.address} {SECRET.decode()}")
        refused = room.visit("alice")
        (reply,) = [Reply(data) for data in wire.replies()]
    assert (refused.who, "hardware" in refused.screen) == (None, False), refused.screen
    assert reply.text == "Your account needs a hardware token. Please ask your administrator for yours."
    assert room.reasons()[-1] == "hardware-only"


def test_with_skip_passwd_an_empty_password_is_sent_and_refused(room: Room) -> None:
    room.somebody()
    room.asks(room.line(TWO_STEPS), options="skip_passwd")
    refused = room.ssh.visit("alice", ())
    assert refused.who is None
    assert room.reasons()[-1] == "request-unsupported"
    assert 'why="an empty password"' in room.server.log


# --- a first login ----------------------------------------------------------------------------------------------


def test_a_first_login_with_the_key_on_the_screen(room: Room) -> None:
    """The address comes first, and pam_radius shows one Reply-Message."""
    room.somebody("bob", token=False)
    room.asks(room.line(WITH_KEY))
    key = r"period=30$"
    entered = room.visit(
        "bob",
        (r"Enter s to go on, or n for instructions: ?$", "n"),
        (r"then enter s to go on: ?$", "s"),
        (key, "000000"),
        (r"2 tries left\. First PIN from the app: ?$", lambda screen: Phone.that_has_read(screen).pin()),
    )
    assert entered.who == "bob", entered.screen
    assert "type: " not in entered.screen, "the second line is not shown"
    assert room.reasons()[-1] == "registered"


def test_a_first_login_with_a_ticket(room: Room) -> None:
    room.somebody("bob", token=False)
    text = "Ticket {ticket} ({minutes} min): run twofold ticket redeem, then type a new PIN here: "
    room.administer(SetText(actor="test", key="ticket", language="", text=text, scope=Scope()))

    def elsewhere(screen: str) -> str:
        (ticket,) = TICKETS.findall(screen)
        return redeemed(room.site, ticket).pin(1)

    entered = room.visit("bob", (r"then type a new PIN here: ?$", elsewhere))
    assert entered.who == "bob", entered.screen
    assert room.reasons()[-1] == "passcode-right"


# --- what is on the wire ----------------------------------------------------------------------------------------


def test_each_challenge_holds_a_state_and_a_text_whatever_texts_are_set(room: Room) -> None:
    """R03: without either of them pam_radius gives up. An empty text brings the default back."""
    alice = room.alice()
    for key in ("ask-pin", "ask-pin-again"):
        room.administer(SetText(actor="test", key=key, language="", text="", scope=Scope()))
    with Wiretap(room.server.address, TWO_STEPS) as wire:
        room.asks(f"{wire.address} {SECRET.decode()}")
        assert room.visit("alice", (PIN, "000000"), (AGAIN, pin(alice))).who == "alice"
        challenges = [reply for reply in map(Reply, wire.replies()) if reply.code == CHALLENGE]
        requests = [Reply(sent.data) for sent in wire.requests()]
        ports = {sent.port for sent in wire.requests()}
    assert len(challenges) == 2
    for challenge in challenges:
        assert [len(state) for state in challenge.values(STATE)] == [32]
        assert all(challenge.values(REPLY_MESSAGE))
        assert challenge.text.strip()
    assert [request.values(STATE) for request in requests] == [[], *([c.state] for c in challenges)]
    assert not any(request.values(MESSAGE_AUTHENTICATOR) for request in requests), "it never signs"
    assert len(ports) == 1


def test_a_lost_first_reply_is_asked_for_again(room: Room) -> None:
    """With `retry=1` the same packet goes out anew after the time-out, and gets the same reply."""
    alice = room.alice()
    with Wiretap(room.server.address, TWO_STEPS, lose=1) as wire:
        room.asks(f"{wire.address} {SECRET.decode()}", options="retry=1")
        entered = room.visit("alice", (PIN, pin(alice)))
        requests, replies = [sent.data for sent in wire.requests()], wire.replies()
    assert entered.who == "alice", entered.screen
    assert (requests[0], replies[0]) == (requests[1], replies[1])
    assert room.reasons()[-2:] == ["password-right", "passcode-right"]


def test_a_lost_answer_to_the_pin_refuses_and_the_pin_is_used(room: Room) -> None:
    """Whatever `retry` says, the answer to a challenge is sent once. Documented: the next login takes the next PIN."""
    alice = room.alice()
    with Wiretap(room.server.address, TWO_STEPS) as wire:
        room.asks(f"{wire.address} {SECRET.decode()}", options="retry=2")

        def typed_while_the_wire_fails(_: str) -> str:
            wire.lose = 1
            return pin(alice)

        refused = room.visit("alice", (PIN, typed_while_the_wire_fails))
        assert (refused.who, len(wire.requests())) == (None, 2), refused.screen
    room.asks(room.line(TWO_STEPS))
    assert room.visit("alice", (PIN, pin(alice)), (AGAIN, pin(alice, 1))).who == "alice"


# --- a server that is gone --------------------------------------------------------------------------------------


def test_nobody_gets_in_while_the_server_is_stopped_and_everybody_after(room: Room) -> None:
    """The second half is a second server: the first line of the file leads to the dead one, and is passed over."""
    alice = room.alice()
    with room.site.server() as other:
        dead = "{}:{}".format(*other.address)
    room.asks(room.line(TWO_STEPS, dead))
    assert room.visit("alice").who is None
    room.asks(room.line(TWO_STEPS, dead), room.line(TWO_STEPS))
    assert room.visit("alice", (PIN, pin(alice))).who == "alice"


def test_localifdown_lets_in_who_knows_the_password_of_the_host_while_no_server_answers(room: Room) -> None:
    """What the page warns of: the module answers PAM_IGNORE, and the rest of the stack decides."""
    room.somebody()
    before = "auth required pam_unix.so nodelay\n"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        line = room.line(TWO_STEPS, f"127.0.0.1:{silent.getsockname()[1]}")
        room.asks(line, options="use_first_pass localifdown", before=before)
        assert room.visit("alice", password="pw-alice").who == "alice"
        room.asks(line, options="use_first_pass", before=before)
        assert room.visit("alice", password="pw-alice").who is None


def test_no_password_or_pin_is_in_the_logs(room: Room) -> None:
    alice = room.alice()
    room.visit("alice", (PIN, pin(alice)))
    eventually(lambda: "accept user=alice" in room.server.log, what="the line of the accept")
    said = room.server.log + "\n".join(room.world.log())
    assert not re.search(rf"\b({PASSWORD}|{pin(alice)}|{SECRET.decode()})\b", said)
