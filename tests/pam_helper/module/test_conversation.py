"""Programs whose conversation is broken, cancelled or empty: a failure each time, and the daemon is told."""

import pytest

from tests.pam_helper.module.harness import AUTH_ERR, CONV_ERR, SUCCESS, Stack, hidden
from tests.pam_helper.module.hostile import Connection, Hostile, Script, asks, frame, verdict

YES = verdict("S", "alice")

BROKEN_AT_A_PROMPT = ["null-function", "dangling-error", "no-array", "null-text", "again", "ignore", "huge"]


def insists_on_yes(kind: str) -> Script:
    """A daemon that says yes whatever it hears."""

    def script(connection: Connection) -> None:
        connection.hello()
        connection.send(frame(kind, "PIN: "))
        connection.hear()
        connection.send(YES)

    return script


@pytest.mark.statement("P-004", "P-002", "P-005")
@pytest.mark.parametrize("kind", ["P", "p"])
@pytest.mark.parametrize("conv", BROKEN_AT_A_PROMPT)
def test_a_broken_conversation_fails_and_the_daemon_is_told(either: Stack, conv: str, kind: str) -> None:
    with Hostile(either.socket, [insists_on_yes(kind)]) as helper:
        run = either.login(conv=conv, answer=hidden("123456"))
    assert run.code == CONV_ERR
    assert helper.connections[0].heard[1:] == [("X", b"")]


@pytest.mark.statement("P-004", "P-002")
@pytest.mark.parametrize("kind", ["I", "E"])
@pytest.mark.parametrize("conv", ["null-function", "dangling-error", "again", "ignore"])
def test_a_text_that_cannot_be_shown_fails(either: Stack, conv: str, kind: str) -> None:
    with Hostile(either.socket, [insists_on_yes(kind)]) as helper:
        run = either.login(conv=conv)
    assert run.code == CONV_ERR
    assert helper.connections[0].heard[1:] == [("X", b"")]


@pytest.mark.statement("P-004")
@pytest.mark.parametrize("conv", ["no-array", "null-text"])
def test_a_text_needs_no_reply(either: Stack, conv: str) -> None:
    with Hostile(either.socket, [asks(then=frame("I", "look") + YES)]):
        assert either.login(conv=conv).code == SUCCESS


@pytest.mark.statement("P-005")
@pytest.mark.parametrize("control", ["sufficient", "required", "requisite", "[success=ok default=bad]"])
@pytest.mark.parametrize("conv", ["null-text", "no-array", "dangling-error"])
def test_ctrl_d_is_a_failure_whatever_the_line_says(either: Stack, control: str, conv: str) -> None:
    either.service(f"auth {control} @us", "auth required pam_deny.so")
    with Hostile(either.socket, [insists_on_yes("P")]):
        assert either.login(conv=conv).code != SUCCESS


@pytest.mark.statement("P-005")
def test_an_empty_answer_is_an_answer_for_the_daemon_to_refuse(either: Stack) -> None:
    def script(connection: Connection) -> None:
        connection.hello()
        connection.send(frame("P", "PIN: "))
        connection.send(verdict("D" if connection.hear() == ("R", b"") else "S", "alice"))

    either.service("auth sufficient @us", "auth required pam_deny.so")
    with Hostile(either.socket, [script]) as helper:
        run = either.login(answer="")
    assert (run.code, helper.connections[0].heard[1:]) == (AUTH_ERR, [("R", b"")])
