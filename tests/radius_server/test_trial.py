"""`twofold radius test` against a running server: what it prints, its exit status, and where it sends from."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from radius_client.client import Reply
from radius_client.wire import Code
from radius_server.telling import lines
from tests.peers.terminal import Terminal
from tests.site import PASSWORD, SECRET, TWOFOLD, ServerProcess, Site, eventually, pin
from validation.model import MessageAuthenticatorRule, Mode, Token

PIN_ASKED = (
    "    Reply-Message           PIN from your authenticator app: \n"
    "    State                   32 octets\n"
    "    Prompt                  No-Echo\n"
)


class House:
    def __init__(self, site: Site, server: ServerProcess) -> None:
        self.site = site
        self.server = server
        self.at = f"127.0.0.1:{server.address[1]}"

    def newcomer(self, name: str) -> Token:
        self.site.add_user(name)
        return self.site.enroll(name)

    def test(self, *arguments: str, typed: str = "") -> tuple[int, str, str]:
        done = self.site.command("radius", "test", *arguments, "--server", self.at, stdin=typed)
        return done.returncode, re.sub(r"\d+\.\d ms", "… ms", done.stdout), done.stderr


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    site = Site(tmp_path_factory.mktemp("house"))
    site.add_client("vpn", "127.0.0.1/32")
    site.add_client("pins", "127.0.0.2/32", mode=Mode.PASSCODE_ONLY)
    site.add_client("lax", "127.0.0.3/32", rule=MessageAuthenticatorRule.OFF)
    site.add_client("net", "127.0.4.0/24", mode=Mode.APPEND)
    site.add_client("far", "192.0.2.10/32")
    site.add_client("six", "2001:db8::/32")
    with site.server() as server:
        yield House(site, server)


def test_a_login_in_two_steps_is_told_step_by_step(house: House) -> None:
    token = house.newcomer("alice")
    status, said, errors = house.test("vpn", "alice", typed=f"{PASSWORD}\n{pin(token)}\n")
    assert (status, errors) == (0, "")
    assert said == (
        f"Access-Request    alice, as client vpn from 127.0.0.1 to {house.at}\n"
        f"Access-Challenge  … ms, Message-Authenticator right and first\n{PIN_ASKED}"
        "Access-Accept     … ms, Message-Authenticator right and first\n"
    )


def test_a_refusal_is_exit_status_1(house: House) -> None:
    house.newcomer("bob")
    status, said, _ = house.test("vpn", "bob", typed="wrong\n")
    assert status == 1
    assert said.endswith(
        "Access-Reject     … ms, Message-Authenticator right and first\n"
        "    Reply-Message           The login was refused.\n"
    )


def test_a_challenge_without_an_answer_is_no_accept(house: House) -> None:
    house.newcomer("carol")
    status, said, errors = house.test("vpn", "carol", typed=f"{PASSWORD}\n")
    assert (status, "Access-Accept" in said) == (1, False)
    assert "standard input has no more lines" in errors


def test_a_password_is_sent_as_the_client_would_write_it(house: House) -> None:
    command = ["client", "add", "old", "127.0.0.9", "--secret-stdin", "--mode", "append", "--encoding", "latin-1"]
    done = house.site.command(*command, stdin=SECRET)
    assert done.returncode == 0, done.stderr
    house.site.add_user("jürgen", "pässwörd")
    token = house.site.enroll("jürgen")
    eventually(lambda: house.test("old", "--status")[0] == 0, what="the client")
    assert house.test("old", "jürgen", typed=f"pässwörd{pin(token)}\n")[0] == 0
    status, _, errors = house.test("old", "jürgen", typed="\u20ac\n")
    assert (status, "cannot be written in latin-1" in errors) == (2, True)
    done = house.site.command("radius", "test", "old", "x", "--server", house.at, stdin=b"\xff\n")
    assert (done.returncode, "is not UTF-8" in done.stderr) == (2, True)


def test_wrong_pins_are_asked_again(house: House) -> None:
    token = house.newcomer("dave")
    status, said, _ = house.test("vpn", "dave", typed=f"{PASSWORD}\nnone\n{pin(token)}\n")
    assert (status, said.count("Access-Challenge")) == (0, 2)


@pytest.mark.parametrize(
    ("client", "source", "typed"),
    [
        ("pins", "127.0.0.2", "{pin}"),
        ("lax", "127.0.0.3", PASSWORD + "\n{pin}"),
        ("net", "127.0.4.0", PASSWORD + "{pin}"),
    ],
)
def test_it_sends_from_an_address_of_the_client(house: House, client: str, source: str, typed: str) -> None:
    token = house.newcomer(f"user-of-{client}")
    status, said, errors = house.test(client, f"user-of-{client}", typed=typed.format(pin=pin(token)) + "\n")
    assert (status, errors) == (0, "")
    assert f"as client {client} from {source} to" in said


def test_a_chosen_source_is_used(house: House) -> None:
    status, said, _ = house.test("net", "--status", "--source", "127.0.4.77")
    assert status == 0
    assert said == (
        f"Status-Server     as client net from 127.0.4.77 to {house.at}\n"
        "Access-Accept     … ms, Message-Authenticator right and first\n"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("far", "alice"), "this host has none of client far (192.0.2.10/32)"),
        (("far", "alice"), "twofold client add this-host 127.0.0.1 --generate-secret"),
        (("six", "alice"), "this host has none of client six (2001:db8::/32)"),
        (("vpn", "alice", "--source", "127.0.0.2"), "would take requests from 127.0.0.2 for those of client pins"),
        (
            ("vpn", "alice", "--source", "127.0.0.99"),
            "for those of nobody, and stay silent; client vpn is 127.0.0.1/32",
        ),
        (("far", "alice", "--source", "192.0.2.10"), "--source: 192.0.2.10 is no address of this host"),
        (("vpn", "alice", "--source", "here"), "--source: 'here' is not an address"),
        (("vpn",), "name a USER to log in, or --status, and not both"),
        (("vpn", "alice", "--status"), "name a USER to log in, or --status, and not both"),
        (("vpn", "x" * 254), "a user name has 1 to 253 octets in RADIUS"),
    ],
)
def test_what_cannot_work_is_said_beforehand(house: House, arguments: tuple[str, ...], sentence: str) -> None:
    """The server would only be silent."""
    status, _, errors = house.test(*arguments, typed="x\n")
    assert status == 2
    assert sentence in " ".join(errors.split())


@pytest.mark.parametrize("typed", ["", "\n", "x" * 129 + "\n", "a\0b\n"])
def test_what_is_no_password_is_not_sent(house: House, typed: str) -> None:
    status, said, errors = house.test("vpn", "alice", typed=typed)
    assert status == 2
    assert "Access-" not in said.replace("Access-Request", "")
    assert "xxxx" not in errors


def test_an_unknown_client_is_exit_status_1(house: House) -> None:
    assert house.test("nobody", "alice")[::2] == (
        1,
        "twofold: there is no client 'nobody'; twofold client list shows all\n",
    )


def test_a_closed_port_is_no_answer(house: House) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    done = house.site.command("radius", "test", "vpn", "--status", "--server", f"127.0.0.1:{port}")
    assert done.returncode == 3
    assert "nothing listens there" in done.stderr
    assert "Is `twofold radius serve` running" in done.stderr


def test_the_configured_address_is_asked(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    site = Site(tmp_path / "site", f'[radius]\nlisten = ["0.0.0.0:{port}"]\n')
    site.add_client("vpn")
    site.add_client("six", "::1/128")
    with site.server():
        assert site.command("radius", "test", "vpn", "--status").returncode == 0
    six = site.command("radius", "test", "six", "--status")
    assert (six.returncode, "[radius] listen names no IPv6 address" in six.stderr) == (2, True)


def test_what_is_typed_at_a_terminal_is_not_shown(house: House) -> None:
    token = house.newcomer("erin")
    command = [*TWOFOLD, "--config", str(house.site.config_file), "radius", "test", "vpn", "erin", "--server", house.at]
    with Terminal(command) as terminal:
        terminal.wait_for("Password: ")
        terminal.type(PASSWORD)
        terminal.wait_for("Answer: ")
        secret = pin(token)
        terminal.type(secret)
        assert terminal.status() == 0
    assert "Access-Accept" in terminal.shown
    assert PASSWORD not in terminal.shown
    assert secret not in terminal.shown
    assert SECRET.decode() not in terminal.shown


# --- a reply as it is read


def test_attributes_are_told_by_name_and_cannot_steer_the_terminal() -> None:
    attributes = (
        (80, bytes(16)),
        (18, b"Hello\x1b[2J"),
        (27, b"\0\0\x0e\x10"),
        (6, b"\0\0\0\x06"),
        (8, bytes([10, 10, 1, 44])),
        (25, b"\xff\0"),
        (11, "stäff".encode()),
        (26, b"\0\0\0\x09\x01\x07hello\x02\x03x"),
        (26, b"\0\0\0\x09\x01\xff"),
        (200, b"x"),
    )
    reply = Reply(Code.ACCESS_ACCEPT, attributes, 0.0125, False)
    assert [re.sub(" {2,}", " | ", line.strip()) for line in lines(reply)] == [
        "Access-Accept | 12.5 ms, Message-Authenticator right but not first",
        "Reply-Message | 0x48656c6c6f1b5b324a",
        "Session-Timeout | 3600",
        "Service-Type | Administrative-User",
        "Framed-IP-Address | 10.10.1.44",
        "Class | 0xff00",
        "Filter-Id | stäff",
        "Cisco-AVPair | hello",
        "26.9.2 | x",
        "attribute 26 | 0x0000000901ff",
        "attribute 200 | x",
    ]
