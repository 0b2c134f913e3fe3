"""A daemon that is cut off, garbled, slow, silent or wrong: never a success, never an ignore."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pam_helper.module.harness import AUTHINFO_UNAVAIL, LOG_AUTHPRIV, LOG_ERR, ROOT, SUCCESS, Stack, hidden
from tests.pam_helper.module.hostile import (
    FRAME_MAX,
    PATIENCE,
    Connection,
    Hostile,
    Script,
    asks,
    frame,
    is_silent,
    says,
    verdict,
)

PIN = frame("P", "PIN: ")
YES = verdict("S", "alice")


def replies_to(stream: bytes, *, cut: int, slowly: bool = False) -> Script:
    """Sends the first `cut` octets of info, prompt and verdict, waiting for the reply where it is due, then closes."""

    def script(connection: Connection) -> None:
        send = connection.trickle if slowly else connection.send
        connection.hello()
        until_reply = stream.index(PIN) + len(PIN)
        send(stream[: min(cut, until_reply)])
        if cut >= until_reply:
            connection.hear()
            send(stream[until_reply:cut])

    return script


DIALOGUE = frame("I", "Hello") + frame("W", bytes(4)) + PIN + YES


@pytest.mark.statement("P-001", "P-020")
def test_cut_at_every_octet_it_is_unavailable(either: Stack) -> None:
    cuts = range(len(DIALOGUE))
    with Hostile(either.socket, [replies_to(DIALOGUE, cut=cut) for cut in cuts]) as helper:
        runs = either.run(runs=len(cuts), answer=hidden("123456"))
    assert [run.code for run in runs] == [AUTHINFO_UNAVAIL] * len(cuts)
    assert all(run.logs[-1][0] == LOG_AUTHPRIV | LOG_ERR for run in runs)
    assert (helper.trouble, len(helper.connections)) == ([], len(cuts))


@pytest.mark.statement("P-001", "P-020")
@pytest.mark.parametrize("slowly", [False, True])
def test_the_whole_dialogue_is_a_success_also_octet_by_octet(either: Stack, slowly: bool) -> None:
    with Hostile(either.socket, [replies_to(DIALOGUE, cut=len(DIALOGUE), slowly=slowly)]):
        assert either.login(answer=hidden("123456")).code == SUCCESS


def header(kind: str, length: int) -> bytes:
    return kind.encode() + length.to_bytes(4, "big")


WRONG = {
    "nothing": b"",
    "a header of zeros": bytes(5),
    "4 GiB of text": header("I", 2**32 - 1) + b"x" * 1000,
    "2 GiB of text": header("I", 2**31) + b"x" * 1000,
    "64 KiB and 1": frame("I", b"x" * (FRAME_MAX + 1)) + YES,
    "a verdict of 4 GiB": header("F", 2**32 - 1) + b"Salice",
    "a verdict longer than it says": header("F", 5) + b"Salice",
    "a verdict shorter than it says": header("F", 7) + b"Salice",
    "an empty verdict": frame("F"),
    "a verdict of another kind": verdict("s", "alice"),
    "a verdict of NUL": verdict("\0", "alice"),
    "yes, then an octet": YES + b"x",
    "yes, then no": YES + verdict("D", "alice"),
    "ignore, then yes": verdict("I", "alice") + YES,
    "yes, then a text": YES + frame("I", "welcome"),
    "a text with a NUL": frame("I", "a\0b") + YES,
    "an error with a NUL": frame("E", "\0") + YES,
    "a prompt with a NUL": frame("P", "PIN\0") + YES,
    "a visible prompt with a NUL": frame("p", "\0PIN") + YES,
    "a password with a NUL": frame("A", "a\0b") + YES,
    "a password for a stack that wants none": frame("A", "geheim") + YES,
    "a delay of 3 octets": frame("W", bytes(3)) + YES,
    "a delay of 5 octets": frame("W", bytes(5)) + YES,
    "no delay": frame("W") + YES,
    "a delay of over an hour": frame("W", b"\xff" * 4) + YES,
    "a prompt, and the verdict at once": PIN + YES,
    "a prompt, and half a frame at once": PIN + b"F",
    "two prompts at once": PIN + PIN + YES,
    "a prompt, and the end": PIN,
    **{f"type {kind!r}": frame(kind) + YES for kind in "HRXSDUaw\0"},
    "our own hello": frame("H", "version=1\0user=alice\0") + YES,
    "text without a frame": b"Salice\n" * 100,
    "HTTP": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.statement("P-001", "P-002", "P-020")
@pytest.mark.parametrize("octets", WRONG.values(), ids=WRONG.keys())
def test_what_is_not_the_protocol_is_unavailable_with_one_line_in_the_log(either: Stack, octets: bytes) -> None:
    with Hostile(either.socket, [says(octets)]):
        run = either.login(answer=hidden("123456"))
    assert run.code == AUTHINFO_UNAVAIL
    assert [level for level, text in run.logs if "pam_twofold" in text] == [LOG_AUTHPRIV | LOG_ERR]


@pytest.mark.statement("P-001")
@pytest.mark.parametrize("kind", ["P", "p"])
def test_a_verdict_on_an_answer_not_yet_given_is_unavailable(either: Stack, kind: str) -> None:
    """The daemon stays and would take the reply, so that nothing else fails."""

    def script(connection: Connection) -> None:
        connection.hello()
        connection.send(frame(kind, "PIN: ") + YES)
        connection.hear()

    with Hostile(either.socket, [script]) as helper:
        run = either.login(answer=hidden("123456"))
    assert (run.code, "out of turn" in run.logs[-1][1]) == (AUTHINFO_UNAVAIL, True)
    assert helper.connections[0].heard[1:] == []


@pytest.mark.statement("P-020")
def test_a_frame_of_exactly_64_kib_is_good_both_ways(either: Stack) -> None:
    with Hostile(either.socket, [asks(frame("P", b"x" * FRAME_MAX), then=YES)]):
        run = either.login(answer=hidden("123456"))
    assert (run.code, len(run.shown[0][1])) == (SUCCESS, FRAME_MAX)


@pytest.mark.statement("P-018", "P-001")
@pytest.mark.parametrize(
    "before", [b"", b"F", YES[:-1], frame("I", "one moment")], ids=["", "a type", "half", "a text"]
)
def test_a_silent_daemon_ends_the_login_at_the_time_limit(stack: Stack, before: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.hello()
        connection.send(before)
        connection.wait_until_gone()

    stack.service("auth [success=done default=die] @us timeout=1")
    with Hostile(stack.socket, [script]):
        run = stack.login(timeout=30)  # a deadline for a broken module
    assert (run.code, "no answer in time" in run.logs[-1][1]) == (AUTHINFO_UNAVAIL, True)


@pytest.mark.statement("P-018")
def test_a_verdict_that_keeps_the_line_open_counts_only_when_the_daemon_has_left(stack: Stack) -> None:
    def script(connection: Connection) -> None:
        connection.hello()
        connection.send(YES)
        connection.wait_until_gone()  # as a daemon does that lets the module leave first

    with Hostile(stack.socket, [script]):
        assert stack.login().code == SUCCESS


@pytest.mark.statement("P-018")
def test_nobody_accepts(stack: Stack) -> None:
    """The backlog is full: connecting is tried again until the limit."""
    stack.service("auth [success=done default=die] @us timeout=1")
    with Unaccepted(stack.socket):
        run = stack.login(timeout=30)
    assert (run.code, "no answer in time" in run.logs[-1][1]) == (AUTHINFO_UNAVAIL, True)


class Unaccepted:
    """A socket with a backlog that is full and never emptied."""

    def __init__(self, path: Path) -> None:
        self._sockets = [socket.socket(socket.AF_UNIX) for _ in range(8)]
        self._sockets[0].bind(str(path))
        self._sockets[0].listen(0)
        for waiting in self._sockets[1:]:
            waiting.setblocking(False)
            waiting.connect_ex(str(path))

    def __enter__(self) -> None: ...

    def __exit__(self, *exc_info: object) -> None:
        for each in self._sockets:
            each.close()


@pytest.mark.statement("P-018")
def test_the_time_a_user_takes_is_his_own(stack: Stack) -> None:
    """The clock stands 1000 seconds later after each prompt and text, and the limit is 10 seconds."""
    with Hostile(stack.socket, [asks(frame("I", "look") + PIN, then=YES)]):
        run = stack.login(preload=True, jump=1000, answer=hidden("1"))
    assert (run.code, [text for _, text in run.shown]) == (SUCCESS, ["look", "PIN: "])


@pytest.mark.statement("P-017")
def test_a_daemon_killed_in_the_middle_does_no_harm(either: Stack) -> None:
    command = [sys.executable, "-m", "tests.pam_helper.module.hostile", str(either.socket)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "ready\n"
        run = either.login()
        assert daemon.wait(PATIENCE) == -9
    assert (run.code, run.shown) == (AUTHINFO_UNAVAIL, [(4, "one moment")])


def asks_but_hears_no_more(connection: Connection) -> None:
    connection.hello()
    connection.socket.shutdown(socket.SHUT_RD)
    connection.send(PIN)
    connection.wait_until_hung_up()


@pytest.mark.statement("P-017")
@pytest.mark.parametrize("script", [says(PIN), asks_but_hears_no_more], ids=["leaves", "hears no more"])
def test_a_reply_that_cannot_be_sent_does_no_harm(either: Stack, script: Script) -> None:
    """Sending it would raise SIGPIPE, whose action in the driver is to kill it."""
    with Hostile(either.socket, [script]):
        runs = either.run(runs=50, answer=hidden("123456"))
    assert {(run.code, run.signals_kept) for run in runs} == {(AUTHINFO_UNAVAIL, True)}


def nothing_there(path: Path) -> None:
    assert not path.exists()


def a_file(path: Path) -> None:
    path.write_bytes(YES)


def a_dead_socket(path: Path) -> None:
    with Hostile(path, [is_silent]):
        path.rename(path.with_suffix(".old"))
        path.touch()
    path.with_suffix(".old").rename(path)


@pytest.mark.statement("P-026", "P-003")
@pytest.mark.parametrize("there", [nothing_there, a_file, a_dead_socket])
def test_no_daemon_is_no_login(either: Stack, there: Callable[[Path], None]) -> None:
    there(either.socket)
    run = either.login()
    assert run.code == AUTHINFO_UNAVAIL
    assert [level for level, text in run.logs if "pam_twofold" in text] == [LOG_AUTHPRIV | LOG_ERR]


@pytest.mark.statement("P-019")
@pytest.mark.skipif(os.getuid() != 0, reason="only root can listen as somebody else")
def test_a_daemon_that_is_not_roots_hears_nothing(either: Stack) -> None:
    with Hostile(either.socket, [says(YES)], listen_as=65534) as helper:
        run = either.login()
    assert run.code == AUTHINFO_UNAVAIL
    assert "not root's" in run.logs[-1][1]
    assert helper.connections[0].heard == []
