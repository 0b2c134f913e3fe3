"""Each call that can fail is made to, limits are drawn tight, signals rain: no login by error, and nothing is lost."""

import errno

import pytest

from tests.pam_helper.module.harness import (
    AUTH_ERR,
    AUTHINFO_UNAVAIL,
    BUF_ERR,
    CONV_ERR,
    IGNORED,
    SUCCESS,
    SYSTEM_ERR,
    Run,
    Stack,
    hidden,
)
from tests.pam_helper.module.hostile import Connection, Hostile, Script, asks, frame, verdict
from tests.pam_helper.module.screen import screen, types

PIN = frame("P", "PIN: ")
TEXTS = frame("I", "hello") + frame("W", bytes(4)) + frame("A", "geheim")


def dialogue(which: str) -> Script:
    return asks(TEXTS + PIN, frame("p", "again: "), then=frame("E", "so") + verdict(which, "alice"))


@pytest.fixture
def full(stack: Stack) -> Stack:
    """A stack that uses everything the module can do."""
    stack.service("auth [success=done default=die] @us combined")
    stack.options = {"answer": hidden("123456"), "rhost": "192.0.2.7", "tty": "tty1", "ruser": "bob"}
    return stack


def with_each_call_failing(stack: Stack, script: Script, error: int) -> list[Run]:
    """One run per call of the login; the last one has none that fails."""
    with Hostile(stack.socket, [script]):
        return stack.run(preload=True, faults=error)


MODULE_CALLS = {
    "calloc", "clock_gettime", "connect", "getsockopt", "malloc", "pam_fail_delay", "pam_get_item", "pam_get_user",
    "pam_set_item", "poll", "recv", "send", "shutdown", "socket",
}  # fmt: skip
# Leaving first is a courtesy to the daemon, and what it makes of it changes nothing.
HARMLESS = {"shutdown"}


@pytest.mark.statement("P-002", "P-001", "P-003", "P-015", "P-016")
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOMEM, errno.EMFILE])
@pytest.mark.parametrize("which", ["S", "I"])
def test_whichever_call_fails_it_is_no_success_and_no_ignore(full: Stack, which: str, error: int) -> None:
    *failing, last = with_each_call_failing(full, dialogue(which), error)
    assert {run.failed for run in failing} == MODULE_CALLS
    refused = {AUTHINFO_UNAVAIL, BUF_ERR, CONV_ERR, AUTH_ERR}
    wrong = [(n, run.failed, run.code) for n, run in enumerate(failing, 1) if run.code not in refused]
    assert {failed for _, failed, _ in wrong} <= HARMLESS, wrong
    assert last.code == (SUCCESS if which == "S" else IGNORED)


@pytest.mark.statement("P-016", "P-012")
@pytest.mark.parametrize("error", [errno.EIO, errno.EINTR])
def test_whichever_call_fails_nothing_is_leaked(full: Stack, error: int) -> None:
    runs = with_each_call_failing(full, dialogue("S"), error)
    assert [(n, run.failed, run.leaked) for n, run in enumerate(runs, 1) if run.leaked != 0] == []
    assert {run.files for run in runs} == {(3, 3)}
    assert {run.ids_kept and run.signals_kept for run in runs} == {True}


TERMINAL_CALLS = {"open", "read", "tcflush", "tcgetattr", "tcgetpgrp"}
# What was typed before stays a line then; and whether the terminal is ours is asked again half a second later.
MADE_GOOD = {"tcflush", "tcgetattr", "tcgetpgrp"}


@pytest.mark.statement("P-002", "P-001", "P-016")
@pytest.mark.parametrize("error", [errno.EIO, errno.EMFILE])
@pytest.mark.parametrize("which", ["S", "I"])
def test_whichever_call_fails_in_a_wait_it_is_no_success_and_no_ignore(stack: Stack, which: str, error: int) -> None:
    """The daemon says yes to the line alone that is typed; a terminal that fails is none, and nobody can type."""
    stack.service("auth [success=done default=die] @us timeout=5")
    with screen() as terminal:
        stack.options = {"ctty": terminal.path}
        *failing, last = with_each_call_failing(
            stack, types(terminal, b"123456\n", ("L", b"123456"), verdict(which, "alice"), milliseconds=100), error
        )
    assert {run.failed for run in failing} >= TERMINAL_CALLS | {"poll", "recv", "send", "calloc"}
    refused = {AUTHINFO_UNAVAIL, BUF_ERR, CONV_ERR, AUTH_ERR}
    wrong = {run.failed for run in failing if run.code not in refused}
    assert wrong <= HARMLESS | MADE_GOOD, [(n, run.failed, run.code) for n, run in enumerate(failing, 1)]
    assert {(run.leaked, run.files) for run in failing} == {(0, (3, 3))}
    assert last.code == (SUCCESS if which == "S" else IGNORED)


@pytest.mark.statement("P-017")
def test_an_interrupted_call_in_a_wait_is_tried_again(stack: Stack) -> None:
    with screen() as terminal:
        stack.options = {"ctty": terminal.path}
        runs = with_each_call_failing(stack, types(terminal, b"1\n", ("L", b"1"), verdict("S", "alice")), errno.EINTR)
    tried_again = [run for run in runs if run.failed in ("connect", "poll", "send", "recv", "read")]
    assert ({run.failed for run in tried_again}, {run.code for run in tried_again}) == (
        {"connect", "poll", "send", "recv", "read"},
        {SUCCESS},
    )


@pytest.mark.statement("P-003")
def test_no_memory_has_a_code_and_a_level_of_its_own(full: Stack) -> None:
    runs = with_each_call_failing(full, dialogue("S"), errno.ENOMEM)
    hungry = [run for run in runs if run.failed == "calloc"]
    assert {run.code for run in hungry} == {BUF_ERR}
    assert {level & 7 for run in hungry for level, text in run.logs if "pam_twofold" in text} == {2}


@pytest.mark.statement("P-017")
@pytest.mark.parametrize(("name", "error"), [(call, errno.EINTR) for call in ("connect", "poll", "send", "recv")])
def test_an_interrupted_call_is_tried_again(full: Stack, name: str, error: int) -> None:
    runs = with_each_call_failing(full, dialogue("S"), error)
    assert {run.code for run in runs if run.failed == name} == {SUCCESS}


@pytest.mark.statement("P-017")
@pytest.mark.parametrize("name", ["connect", "send", "recv"])
def test_a_call_that_would_wait_is_tried_again(full: Stack, name: str) -> None:
    runs = with_each_call_failing(full, dialogue("S"), errno.EAGAIN)
    assert {run.code for run in runs if run.failed == name} == {SUCCESS}


@pytest.mark.statement("P-017")
def test_in_a_rain_of_signals_the_login_goes_on_and_handlers_stay(either: Stack) -> None:
    def slow(connection: Connection) -> None:
        connection.hello()
        connection.trickle(frame("I", "x" * 500) + PIN)
        connection.hear()
        connection.trickle(verdict("S", "alice"))

    with Hostile(either.socket, [slow]):
        runs = either.run(runs=20, timer=300, answer=hidden("123456"))
    assert {(run.code, run.signals_kept) for run in runs} == {(SUCCESS, True)}


@pytest.mark.statement("P-028", "P-002")
def test_with_few_descriptors_it_fails_closed_or_works(full: Stack) -> None:
    """Three are open; a login takes one more, and so does libpam for its audit record, without which it refuses."""
    with Hostile(full.socket, [dialogue("S")]) as helper:
        runs = [full.login(nofile=files) for files in range(9)]
    assert {run.code for run in runs[:4]} <= {AUTHINFO_UNAVAIL, SYSTEM_ERR}
    assert [
        level & 7 for run in runs[:4] for level, text in run.logs if "pam_twofold" in text and "socket" in text
    ] == [2] * 4
    assert ({run.code for run in runs[4:]}, len(helper.connections)) == ({SUCCESS}, 5)


@pytest.mark.statement("P-028", "P-002")
def test_with_little_memory_it_fails_closed_or_works(full: Stack) -> None:
    with Hostile(full.socket, [dialogue("S")]):
        codes = [full.login(memory=kib).code for kib in (0, 16, 64, 128, 256, 512, 4096)]
    assert set(codes) <= {SUCCESS, SYSTEM_ERR, BUF_ERR, CONV_ERR, AUTHINFO_UNAVAIL}
    assert codes[-1] == SUCCESS
