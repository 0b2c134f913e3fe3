"""`twofold-openvpn`, as OpenVPN runs it: the built program, its file and environment, its exit status, what it leaves.

OpenVPN takes exit status 0 for "let in", and a 1 in auth_control_file; so each way to end is looked at from outside.
"""

import os
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateways.openvpn import BUSY, UNCHECKED
from gateways.openvpn_login import LONGEST_TEXT, cut, question, settings_in, source, text_of
from gateways.settings import SettingsError
from radius_client.client import Reply as OurReply
from radius_client.wire import Code
from tests.first_factor.upstream import (
    SECRET,
    Answers,
    Upstream,
    accept,
    reject,
    reply,
    silence,
    unhidden,
    upstream,
)
from tests.gateways.programs import built
from tests.site import eventually
from tests.wire import CALLING_STATION_ID, REPLY_MESSAGE, STATE, Attributes, Reply

LET_IN, REFUSED, DEFERRED = 0, 1, 2
NAS_PORT_TYPE, PROMPT = 61, 76
PROMPT_ECHO, PROMPT_NO_ECHO = (PROMPT, b"\0\0\0\1"), (PROMPT, b"\0\0\0\0")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("openvpn", tmp_path_factory.mktemp("program"))


@dataclass
class Login:
    """One login as OpenVPN sets it up: files that it has made, and the program's settings."""

    folder: Path
    program: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.control, self.reason = self.folder / "acf.tmp", self.folder / "afr.tmp"
        self.typed, self.settings = self.folder / "up.tmp", self.folder / "openvpn.toml"
        for path in (self.control, self.reason):
            path.touch(0o600)
        self.environment |= {
            "auth_control_file": str(self.control),
            "auth_failed_reason_file": str(self.reason),
            "untrusted_ip": "198.51.100.7",
        }

    def asks(self, *servers: Upstream, secret: str = SECRET.decode()) -> "Login":
        listed = ", ".join(f'"127.0.0.1:{server.address[1]}"' for server in servers)
        self.settings.touch(0o640)
        self.settings.write_text(
            f'servers = [{listed}]\nsecret = "{secret}"\nnas_identifier = "openvpn"\ntimeout = 2\n'
        )
        return self

    def run(self, name: str = "alice", password: str = "geheim") -> tuple[str, str]:
        """What OpenVPN finds: the verdict, and the text."""
        self.typed.write_bytes(f"{name}\n{password}\n".encode("utf-8", "surrogateescape"))
        done = self.start(self.settings, self.typed)
        assert (done.returncode, done.stdout, done.stderr) == (DEFERRED, "", "")
        self.typed.unlink()  # as OpenVPN does
        eventually(self.control.read_text, what="a verdict")
        return self.control.read_text(), self.reason.read_text()

    def start(self, *words: Path) -> "subprocess.CompletedProcess[str]":
        return run([self.program, *words], self.environment)


def run(command: list[Path | str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def login(tmp_path: Path, program: Path) -> Login:
    return Login(tmp_path, program)


def answering(code: int, *attributes: tuple[int, bytes]) -> Answers:
    return lambda request: [reply(request, code, list(attributes))]


# --- the verdict ------------------------------------------------------------------------------------------------


def test_an_accept_and_nothing_else_lets_in(login: Login) -> None:
    with upstream(accept) as server:
        assert login.asks(server).run() == ("1", "")
        (request,) = server.requests
    assert unhidden(request).rstrip(b"\0") == b"geheim"
    said = {kind: Reply(request).values(kind) for kind in (1, 32, CALLING_STATION_ID, NAS_PORT_TYPE, STATE)}
    assert said == {
        1: [b"alice"],
        32: [b"openvpn"],
        CALLING_STATION_ID: [b"198.51.100.7"],
        NAS_PORT_TYPE: [b"\0\0\0\5"],
        STATE: [],
    }


def test_a_refusal_comes_with_its_text(login: Login) -> None:
    with upstream(answering(3, (REPLY_MESSAGE, b"No."), (REPLY_MESSAGE, "Später.".encode()))) as server:
        assert login.asks(server).run() == ("0", "No. Später.")


def test_a_refusal_without_a_text_has_none(login: Login) -> None:
    with upstream(reject) as server:
        assert login.asks(server).run() == ("0", "")


def test_a_question_is_a_refusal_that_asks(login: Login) -> None:
    asked = (REPLY_MESSAGE, b"PIN: "), (STATE, b"\0a:b"), PROMPT_NO_ECHO
    with upstream(answering(11, *asked)) as server:
        assert login.asks(server).run() == ("0", "CRV1:R:00613a62:YWxpY2U=:PIN:")


def test_its_answer_goes_back_with_its_state(login: Login) -> None:
    with upstream(accept) as server:
        assert login.asks(server).run(password="CRV1::00613a62::755224") == ("1", "")
        (request,) = server.requests
    assert Reply(request).values(STATE) == [b"\0a:b"]
    assert unhidden(request).rstrip(b"\0") == b"755224"


def test_an_answer_may_be_empty_and_may_hold_colons(login: Login) -> None:
    for answer in ("", "::a::"):
        with upstream(accept) as server:
            assert login.asks(server).run(password=f"CRV1::61::{answer}")[0] == "1"
            (request,) = server.requests
        assert unhidden(request).rstrip(b"\0").decode() == answer
        login.control.write_text("")


@pytest.mark.parametrize(
    "typed",
    ["", "::755224", "61", "6::1", "6 1::1", "6A::1", "xy::1", "61" * 254 + "::1"],
    ids=range(8),
)
def test_r35_what_is_no_answer_is_asked_of_nobody(login: Login, typed: str) -> None:
    with upstream(accept) as server:
        verdict, text = login.asks(server).run(password=f"CRV1::{typed}")
        assert server.requests == []
    assert (verdict, text) == ("0", "The login was refused: the answer to a question came without the question.")


@pytest.mark.parametrize("typed", ["SCRV1:Z2VoZWlt:NzU1MjI0", "SCRV1:!!:x", "SCRV1:Z2VoZWlt"])
def test_r35_a_static_challenge_goes_to_twofold_as_it_is(login: Login, typed: str) -> None:
    with upstream(reject) as server:
        assert login.asks(server).run(password=typed) == ("0", "")
        (request,) = server.requests
    assert unhidden(request).rstrip(b"\0").decode() == typed


# --- whatever goes wrong refuses --------------------------------------------------------------------------------


def test_no_reply_lets_nobody_in(login: Login) -> None:
    with upstream(silence) as server:
        assert login.asks(server).run() == ("0", UNCHECKED)


def test_a_forged_reply_lets_nobody_in(login: Login) -> None:
    with upstream(lambda request: [reply(request, signature="none"), reply(request, secret=b"x" * 24)]) as server:
        assert login.asks(server).run() == ("0", UNCHECKED)


def test_settings_that_others_may_read_ask_nobody(login: Login) -> None:
    with upstream(accept) as server:
        login.asks(server).settings.chmod(0o644)
        assert login.run() == ("0", UNCHECKED)
        assert server.requests == []


def test_a_challenge_without_state_cannot_be_answered(login: Login) -> None:
    with upstream(answering(11, (REPLY_MESSAGE, b"PIN: "))) as server:
        assert login.asks(server).run() == ("0", UNCHECKED)


@pytest.mark.parametrize("password", ["", "x" * 129, "a\0b"], ids=["none", "too long", "with NUL"])
def test_what_radius_cannot_carry_is_asked_of_nobody(login: Login, password: str) -> None:
    with upstream(accept) as server:
        verdict, text = login.asks(server).run(password=password)
        assert server.requests == []
    assert verdict == "0"
    assert text.startswith("The login was refused: ")


def test_a_name_that_is_no_text_is_asked_of_nobody(login: Login) -> None:
    with upstream(accept) as server:
        assert login.asks(server).run(name="\udcff")[0] == "0"
        assert server.requests == []


@pytest.mark.parametrize("content", ["", "alice\n", "alice\ngeheim", "alice\ngeheim\nmore\n"], ids=range(4))
def test_a_file_of_other_than_two_lines_is_refused_at_once(login: Login, content: str) -> None:
    with upstream(accept) as server:
        login.asks(server).typed.write_text(content)
        assert login.start(login.settings, login.typed).returncode == REFUSED
        assert server.requests == []


@pytest.mark.parametrize("count", [0, 1, 3])
def test_other_than_two_arguments_are_refused_at_once(login: Login, count: int) -> None:
    login.typed.write_text("alice\ngeheim\n")
    with upstream(accept) as server:
        words = [login.asks(server).settings, login.typed, login.typed][:count]
        assert login.start(*words).returncode == REFUSED
        assert server.requests == []


def test_a_file_that_is_not_there_is_refused_at_once(login: Login) -> None:
    assert login.start(login.settings, login.folder / "nothing").returncode == REFUSED


@pytest.mark.parametrize("name", ["auth_control_file", "auth_failed_reason_file"])
def test_an_openvpn_without_deferred_scripts_is_refused_at_once(login: Login, name: str) -> None:
    del login.environment[name]
    login.typed.write_text("alice\ngeheim\n")
    with upstream(accept) as server:
        assert login.asks(server).start(login.settings, login.typed).returncode == REFUSED
        assert server.requests == []


def test_a_fault_of_ours_lets_nobody_in(login: Login) -> None:
    planted = (
        "import sys, gateways.openvpn_login as ours, gateways.openvpn as program\n"
        "ours.login = lambda *_: 1 / 0\n"
        "program.main()\n"
    )
    login.typed.write_text("alice\ngeheim\n")
    here = {**login.environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = run([sys.executable, "-c", planted, login.settings, login.typed], here)
    assert done.returncode == DEFERRED, done.stderr
    eventually(login.control.read_text, what="a verdict")
    assert (login.control.read_text(), login.reason.read_text()) == ("0", UNCHECKED)


def test_no_process_to_be_had_is_refused_at_once_and_said(login: Login) -> None:
    planted = (
        "import os, gateways.openvpn as program\n"
        "def none_left(): raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
        "os.fork = none_left\n"
        "program.main()\n"
    )
    login.typed.write_text("alice\ngeheim\n")
    here = {**login.environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = run([sys.executable, "-c", planted, login.settings, login.typed], here)
    assert done.returncode == REFUSED, done.stderr
    assert (login.control.read_text(), login.reason.read_text()) == ("", BUSY)


def test_what_comes_too_late_makes_no_file(login: Login) -> None:
    """OpenVPN has given up and removed its files: an accept goes nowhere, and nobody finds a file with a 1 in it."""

    def late(request: bytes) -> list[bytes]:
        login.control.unlink()
        login.reason.unlink()
        return accept(request)

    login.typed.write_text("alice\ngeheim\n")
    with upstream(late) as server:
        assert login.asks(server).start(login.settings, login.typed).returncode == DEFERRED
        eventually(lambda: server.requests, what="a request")
        eventually(lambda: not asking(login.settings), what="the end of the one who asked")
    assert not login.control.exists()
    assert not login.reason.exists()


def asking(settings: Path) -> list[str]:
    """Processes with these settings among their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes()
        except OSError:  # it has ended
            continue
        if str(settings).encode() in arguments:
            found.append(path.parent.name)
    return found


def test_a_link_in_place_of_a_file_is_not_followed(login: Login) -> None:
    target = login.folder / "target"
    target.write_text("untouched")
    login.reason.unlink()
    login.reason.symlink_to(target)
    with upstream(answering(3, (REPLY_MESSAGE, b"No."))) as server:
        assert login.asks(server).run() == ("0", "untouched")


def test_servers_that_take_longer_than_openvpn_waits_are_named(tmp_path: Path) -> None:
    file = tmp_path / "openvpn.toml"
    file.touch(0o600)
    text = 'servers = ["192.0.2.1", "192.0.2.2"]\nsecret = "a-secret-of-24-characters"\nnas_identifier = "vpn"\n'
    file.write_text(f"{text}timeout = 25\n")
    assert settings_in(file).timeout == 25
    file.write_text(f"{text}timeout = 25.1\n")
    with pytest.raises(SettingsError, match="set timeout = 25 or less"):
        settings_in(file)


# --- texts ------------------------------------------------------------------------------------------------------


def replied(code: Code, attributes: Attributes) -> OurReply:
    return OurReply(code, tuple(attributes), 0.1, signed_first=True)


@pytest.mark.parametrize("prompt", [(), (PROMPT_NO_ECHO,), (PROMPT_ECHO,)], ids=["none", "no echo", "echo"])
def test_an_answer_is_echoed_only_where_twofold_says_so(prompt: Attributes) -> None:
    asked = question(replied(Code.ACCESS_CHALLENGE, [(STATE, b"a"), *prompt]), "alice")
    flags = "R,E" if list(prompt) == [PROMPT_ECHO] else "R"
    assert asked == f"CRV1:{flags}:61:YWxpY2U=:PIN"


@pytest.mark.parametrize("name", ["al:ice", "a" * 253, "ü b"], ids=["colon", "long", "text"])
def test_names_and_states_cannot_break_a_question_and_leave_room_for_its_text(name: str) -> None:
    asked = question(replied(Code.ACCESS_CHALLENGE, [(STATE, b":" * 253), (REPLY_MESSAGE, b"x" * 253)]), name)
    head, flags, state, user, text = asked.split(":")
    assert (head, flags, state, user) == ("CRV1", "R", "3a" * 253, b64encode(name.encode()).decode())
    assert len(asked) <= LONGEST_TEXT
    assert re.fullmatch("x{100,}", text)


@pytest.mark.parametrize("text", ["CRV1:R:61:Ym9i:Password?", "TEMP[backoff 0]", "SESSION: expired"])
def test_no_text_of_a_refusal_is_taken_for_more(login: Login, text: str) -> None:
    with upstream(answering(3, (REPLY_MESSAGE, text.encode()))) as server:
        assert login.asks(server).run() == ("0", f"- {text}")


def test_texts_are_one_line_that_can_be_printed(login: Login) -> None:
    """A client drops a message with a control character, and then nobody is asked."""
    text = "Enter\r\nthe\tPIN\x00\x1b[2J \u202egnp\u200b".encode()
    with upstream(answering(11, (STATE, b"a"), (REPLY_MESSAGE, text), (REPLY_MESSAGE, b"\xff"))) as server:
        assert login.asks(server).run() == ("0", "CRV1:R:61:YWxpY2U=:Enter the PIN [2J gnp \ufffd")


def test_a_line_over_several_attributes_stays_a_line() -> None:
    pieces = ["x" * 253, "ü" * 126, "y", "z"]  # 253, 252, 1, 1 octets
    text = text_of(replied(Code.ACCESS_REJECT, [(REPLY_MESSAGE, one.encode()) for one in pieces]))
    assert text == f"{pieces[0]}{pieces[1]}y z "


def test_cutting_halves_no_character() -> None:
    assert [cut("aü€𝄞", octets) for octets in range(11)] == [
        *["", "a", "a", "aü", "aü", "aü", "aü€", "aü€", "aü€", "aü€", "aü€𝄞"]
    ]


# --- where the person is ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({"untrusted_ip": "198.51.100.7", "untrusted_port": "40000"}, "198.51.100.7"),
        ({"untrusted_ip6": "2001:DB8:0::7"}, "2001:db8::7"),
        ({"untrusted_ip6": "fe80::1%eth0"}, "fe80::1"),
        ({"untrusted_ip": "198.51.100.7", "untrusted_ip6": "2001:db8::7"}, ""),
        ({"untrusted_ip": "somewhere"}, ""),
        ({"trusted_ip": "198.51.100.7", "UV_untrusted_ip": "198.51.100.8"}, ""),
    ],
    ids=["v4", "v6", "with a scope", "both", "junk", "others"],
)
def test_the_persons_address_is_what_openvpn_saw(environment: dict[str, str], address: str) -> None:
    assert source(environment) == address
