"""`twofold profile` and `twofold ticket redeem` against a running helper, from a shell: root's own, and another's."""

import base64
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.pam_helper.host import WITHIN, Host, needs_root
from tests.site import PASSWORD, TWOFOLD, pin
from tests.vectors import reference
from validation.model import Token
from validation.requests import IssueTicket

pytestmark = needs_root

DAEMON = 1

_AS = """
import os, sys
import pam_helper.client, pam_helper.profile
from store.cli.main import main
uid = int(sys.argv[1])
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
main(sys.argv[2:])
"""


@pytest.fixture
def root(host: Host) -> Token:
    """Root is a user as well, with a token."""
    host.site.add_user("root")
    return host.site.enroll("root")


def twofold(host: Host, *arguments: str, typed: str = "", uid: int | None = None) -> "subprocess.CompletedProcess[str]":
    """`twofold ARGUMENTS --socket`, with `typed` on standard input."""
    with_socket = [*arguments, "--socket", str(host.path)]
    if uid is None:
        return host.site.command(*with_socket, stdin=typed)
    command = [sys.executable, "-c", _AS, str(uid), *with_socket]
    return subprocess.run(command, input=typed, capture_output=True, text=True, cwd=host.folder, timeout=60)


def key_on(screen: str) -> bytes:
    (uri,) = [line for line in screen.splitlines() if line.startswith("otpauth:")]
    secret = uri.partition("secret=")[2].partition("&")[0]
    return base64.b32decode(secret + "=" * (-len(secret) % 8))


class Talking:
    """`twofold profile …` whose answers depend on what it prints."""

    def __init__(self, host: Host, *arguments: str) -> None:
        command = [*TWOFOLD, *arguments, "--socket", str(host.path)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1)
        self.screen = ""

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def until(self, beginning: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.screen += line
            if line.startswith(beginning):
                return
        raise AssertionError(f"no {beginning} in {self.screen}")

    def end(self) -> tuple[int, str]:
        out, err = self.process.communicate(timeout=WITHIN)
        self.screen += out
        return self.process.returncode, err


@pytest.fixture
def talking(host: Host) -> Iterator[list[Talking]]:
    started: list[Talking] = []
    yield started
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def test_the_list_is_that_of_the_account_that_runs_it(host: Host, root: Token) -> None:
    done = twofold(host, "profile", "show")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("root, 1 registration\n")
    assert root.serial in done.stdout
    host.site.add_user("daemon")
    assert twofold(host, "profile", "show", uid=DAEMON).stdout.startswith("daemon, 0 registrations\n")


def test_an_app_is_added_from_a_shell(host: Host, root: Token, talking: list[Talking]) -> None:
    adding = Talking(host, "profile", "add")
    talking.append(adding)
    adding.type(pin(root))
    adding.until("otpauth:")
    adding.type(reference.hotp(key_on(adding.screen), int(time.time()) // 30))
    assert adding.end() == (0, "")
    assert "▀" in adding.screen
    assert "Done. From now on" in adding.screen
    assert twofold(host, "profile", "show").stdout.startswith("root, 2 registrations\n")


def test_the_last_one_is_revoked_and_what_comes_next_is_said(host: Host, root: Token) -> None:
    done = twofold(host, "profile", "revoke", root.serial, "--reason", "lost", typed=pin(root) + "\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == f"Revoked: {root.serial}."
    assert "root has no registration left" in done.stdout
    assert host.site.token_row(root.serial)["state"] == "revoked"


def test_a_wrong_pin_revokes_nothing_and_the_command_says_so(host: Host, root: Token) -> None:
    done = twofold(host, "profile", "revoke", root.serial, typed="000000\n111111\n222222\n")
    assert done.returncode == 1
    assert "twofold: refused" in done.stderr
    assert host.site.token_row(root.serial)["state"] == "active"


def test_standard_input_that_ends_is_no_answer(host: Host, root: Token) -> None:
    done = twofold(host, "profile", "revoke", root.serial)
    assert done.returncode == 2
    assert "standard input ended" in done.stderr
    host.until_idle()
    assert host.site.token_row(root.serial)["state"] == "active"


@pytest.mark.statement("P-013")
def test_what_is_typed_is_not_shown(host: Host, root: Token) -> None:
    typed = pin(root)
    done = twofold(host, "profile", "revoke", root.serial, typed=typed + "\n")
    assert done.returncode == 0
    assert typed not in done.stdout + done.stderr


def test_a_key_is_shown_again_only_where_it_may_be(host: Host, root: Token) -> None:
    assert twofold(host, "profile", "show", "--key", typed=pin(root) + "\n").returncode == 1
    host.site.command("policy", "set", "show_key", "on")
    done = twofold(host, "profile", "show", "--key", root.serial, typed=pin(root, 1) + "\n")
    assert done.returncode == 0, done.stderr
    assert "Key  " in done.stdout


def test_a_ticket_is_redeemed_by_any_account_without_a_login(host: Host) -> None:
    (ticket,) = host.site.gate.administer(IssueTicket(actor="test", name="alice")).shown_once
    refused = twofold(host, "ticket", "redeem", typed=f"{ticket}\nwrong\n", uid=DAEMON)
    assert refused.returncode == 1
    done = twofold(host, "ticket", "redeem", typed=f"{ticket}\n{PASSWORD}\n000000\n", uid=DAEMON)
    assert "otpauth://totp/Twofold:alice" in done.stdout
    assert done.returncode == 2, "the first PIN was wrong, and there was no other"


def test_without_a_helper_it_says_what_to_start(host: Host) -> None:
    done = host.site.command("profile", "show", "--socket", str(host.folder / "nothing"))
    assert done.returncode == 3
    assert "twofold pam serve" in done.stderr


_IMPOSTOR = """
import os, socket, sys
os.setresgid(1, 1, 1); os.setresuid(1, 1, 1)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1]); listener.listen()
print("ready", flush=True)
connection, _ = listener.accept()
sys.exit(len(connection.recv(1000)))
"""


@pytest.mark.statement("P-019")
def test_a_helper_that_is_not_roots_is_told_nothing(host: Host) -> None:
    theirs = host.folder / "theirs"
    theirs.mkdir()
    os.chown(theirs, DAEMON, DAEMON)
    command = [sys.executable, "-I", "-S", "-c", _IMPOSTOR, str(theirs / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as impostor:
        assert impostor.stdout is not None
        assert impostor.stdout.readline() == "ready\n"
        done = host.site.command("profile", "show", "--socket", str(theirs / "s"))
        assert done.returncode == 1
        assert "is not root's; nothing was told to it" in done.stderr
        assert impostor.wait(WITHIN) == 0, "so many octets were said"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"", 3),
        (b"F\0\0", 3),
        (b"X\0\0\0\0", 3),
        (b"F\xff\xff\xff\xff", 3),
        (b"F\0\0\0\0", 1),
        (b"F\0\0\0\x01D", 1),
        (b"F\0\0\0\x01I", 1),
        (b"F\0\0\0\x01s", 1),
        (b"F\0\0\0\x01U", 3),
        (b"F\0\0\0\x01S", 0),
    ],
)
@pytest.mark.statement("P-001")
def test_only_a_whole_final_frame_that_says_yes_is_a_yes(host: Host, said: bytes, status: int) -> None:
    path = host.folder / "odd"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(WITHIN)
        process = subprocess.Popen(
            [*TWOFOLD, "profile", "show", "--socket", str(path)], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(said)
        _, trouble = process.communicate(timeout=WITHIN)
    assert process.returncode == status, trouble
    assert b"Traceback" not in trouble


def test_what_a_helper_shows_cannot_steer_the_terminal(host: Host) -> None:
    path = host.folder / "odd"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(WITHIN)
        process = subprocess.Popen([*TWOFOLD, "profile", "show", "--socket", str(path)], stdout=subprocess.PIPE)
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            text = b"one\x1b[2J\x07two\xff"
            connection.sendall(b"I" + len(text).to_bytes(4, "big") + text + b"F\0\0\0\x01S")
        shown, _ = process.communicate(timeout=WITHIN)
    assert shown.decode() == "one[2Jtwo\ufffd\n"
