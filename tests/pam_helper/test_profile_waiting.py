"""`twofold profile` while the helper waits for a key: typed at a real terminal, and without one."""

import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.pam_helper.host import WITHIN, Host, frame, needs_root, until
from tests.pam_helper.waits import Key, Waits
from tests.peers.terminal import Terminal
from tests.site import TWOFOLD

pytestmark = needs_root

WAIT, STOP, YES = frame("T", (60_000).to_bytes(4, "big")), frame("t"), frame("F", b"S")


@pytest.fixture
def terminal(host: Host, waits: Waits) -> Iterator[Terminal]:
    """The command runs there, and is waiting."""
    with Terminal([*TWOFOLD, "profile", "show", "--socket", str(host.path)]) as made:
        made.wait_for("Touch it")
        waiting_at(made, waits)
        yield made


def waiting_at(terminal: Terminal, waits: Waits) -> Key:
    """What a key says is shown in the wait alone."""
    until(lambda: waits.keys and waits.keys[-1].running.is_set(), "a key that waits")
    waits.keys[-1].say("now")
    terminal.wait_for("now")
    return waits.keys[-1]


def test_a_key_that_is_touched_ends_it(terminal: Terminal, waits: Waits) -> None:
    waits.keys[0].touch()
    assert terminal.status() == 0
    assert waits.answers == [None]


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        (b"\n", ""),
        (b"123456\n", "123456"),
        (b"\x04", ""),
        (b"1" * 512 + b"\n", "1" * 512),
        (b"1" * 513 + b"\n", ""),
        (b"1" * 5000 + b"\n", ""),
        (b"1\x16\0\n", ""),
        (b"\xff\n", "\udcff"),
    ],
)
def test_a_line_ends_it_and_the_pin_is_asked_for(terminal: Terminal, waits: Waits, keys: bytes, answer: str) -> None:
    terminal.press(keys)
    terminal.wait_for("PIN")
    terminal.type("123456")
    assert terminal.status() == 0
    assert (waits.answers, waits.keys[0].cancelled) == ([answer], True)


def test_half_a_line_is_not_left_to_the_shell_when_the_key_was_touched(host: Host, waits: Waits) -> None:
    command = f"{shlex.join(TWOFOLD)} profile show --socket {host.path}; read line; echo got=$line"
    with Terminal(["sh", "-c", command]) as terminal:
        key = waiting_at(terminal, waits)
        terminal.press(b"123")
        key.touch()
        until(lambda: waits.answers == [None] and host.helper.open == 0, "the end of the conversation")
        terminal.type("id")
        assert terminal.wait_for("got=").endswith("got=")
        assert terminal.wait_for("\n") == "id\n"


@pytest.mark.statement("P-017")
@pytest.mark.parametrize("keys", [b"\x03", b"\x1c"], ids=["Ctrl-C", "Ctrl-backslash"])
def test_whoever_ends_the_command_ends_the_wait(terminal: Terminal, host: Host, waits: Waits, keys: bytes) -> None:
    terminal.press(keys)
    assert terminal.status() in (1, -signal.SIGQUIT)
    assert waits.keys[0].ended.wait(WITHIN)
    assert (waits.keys[0].cancelled, waits.answers) == (True, [])
    assert "Traceback" not in terminal.shown
    host.until_idle()


def test_without_a_terminal_nothing_is_read_and_the_key_alone_ends_it(host: Host, waits: Waits) -> None:
    command = [*TWOFOLD, "profile", "show", "--socket", str(host.path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin is not None
        process.stdin.write("654321\n123456\n")
        process.stdin.flush()
        until(lambda: waits.keys and waits.keys[0].running.is_set(), "a key that waits")
        waits.keys[0].touch()
        out, err = process.communicate(timeout=WITHIN)
    assert (process.returncode, waits.answers, err) == (0, [None], "")
    assert out == "Touch it\n"


ODD = {
    "a wait and its end": (WAIT + frame("I", b"x") + STOP + YES, 0, frame("N")),
    "a wait without a length": (frame("T") + YES, 3, b""),
    "a wait of 49 days": (frame("T", b"\xff" * 4) + YES, 3, b""),
    "an end without a wait": (STOP + YES, 3, b""),
    "two ends": (WAIT + STOP + STOP + YES, 3, frame("N")),
    "a verdict in a wait": (WAIT + YES, 3, b""),
    "a prompt in a wait": (WAIT + frame("P", b"PIN: ") + YES, 3, b""),
    "a wait in a wait": (WAIT + WAIT + STOP + YES, 3, b""),
    "hung up": (WAIT, 3, b""),
    "cut": (WAIT + STOP[:-1], 3, b""),
}


@pytest.mark.statement("P-001", "P-020")
@pytest.mark.parametrize("what", ODD)
def test_a_helper_that_is_wrong_about_a_wait_is_no_yes(host: Host, what: str) -> None:
    said, status, answer = ODD[what]
    path = host.folder / "odd"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(WITHIN)
        command = [*TWOFOLD, "profile", "show", "--socket", str(path)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            heard = b""
            while more := connection.recv(1000):
                heard += more
        _, trouble = process.communicate(timeout=WITHIN)
    assert (process.returncode, heard) == (status, answer), trouble
    assert b"Traceback" not in trouble


@pytest.mark.statement("P-001")
@pytest.mark.parametrize(("said", "status"), [(frame("I", b"x") + STOP + YES, 0), (YES, 0), (STOP + STOP + YES, 3)])
def test_an_end_may_cross_a_line_and_one_alone(host: Host, said: bytes, status: int) -> None:
    path = host.folder / "odd"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(WITHIN)
        with Terminal([*TWOFOLD, "profile", "show", "--socket", str(path)]) as terminal:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(WITHIN)
                connection.recv(1000)
                connection.sendall(WAIT + frame("I", b"now"))
                terminal.wait_for("now")
                terminal.type("123456")
                assert connection.recv(1000) == frame("L", b"123456")
                connection.sendall(said)
            assert terminal.status() == status
