"""What was typed and what went over the line stands nowhere in memory afterwards, on any way out."""

import pytest

from tests.pam_helper.module.harness import Stack, hidden
from tests.pam_helper.module.hostile import Connection, Hostile, Script, asks, frame, says, verdict
from tests.pam_helper.module.screen import STOP, Screen, begin, screen

PIN, PASSWORD = "mark-of-the-pin-8362", "mark-of-the-password-5917"
FILLER = "." * 64  # stands before the mark: free() itself overwrites the first octets, which would hide a copy
PROMPT = frame("P", "PIN: ")
YES = verdict("S", "alice")

WAYS_OUT: dict[str, Script] = {
    "accepted": asks(PROMPT, then=YES),
    "refused": asks(PROMPT, then=verdict("D", "alice")),
    "wrong name": asks(PROMPT, then=verdict("S", "bob")),
    "garbled": asks(PROMPT, then=b"\0\0\0"),
    "left at the prompt": says(PROMPT),
    "verdict at the prompt": says(PROMPT, YES),
    "left before the prompt": says(),
}


@pytest.mark.statement("P-012")
@pytest.mark.parametrize("way_out", WAYS_OUT)
def test_the_pin_is_gone_when_the_call_returns(stack: Stack, way_out: str) -> None:
    with Hostile(stack.socket, [WAYS_OUT[way_out]]):
        run = stack.login(answer=hidden(FILLER + PIN), search=hidden(PIN))
    assert run.in_memory == (0, 0)


@pytest.mark.statement("P-012")
@pytest.mark.parametrize("way_out", WAYS_OUT)
def test_of_the_password_only_libpams_copy_stays_until_its_end(stack: Stack, way_out: str) -> None:
    stack.service(f"auth optional @probe authtok_xor={hidden(FILLER + PASSWORD)}", "auth required @us")
    with Hostile(stack.socket, [WAYS_OUT[way_out]]) as helper:
        run = stack.login(answer=hidden("1"), search=hidden(PASSWORD))
    assert f"authtok={FILLER}{PASSWORD}\0".encode() in helper.connections[0].heard[0][1]
    assert run.in_memory[0] <= 1
    assert run.in_memory[1] == 0


@pytest.mark.statement("P-012")
@pytest.mark.parametrize("last", [YES, verdict("D", "alice"), b"F"], ids=["accepted", "refused", "cut"])
def test_a_password_from_the_daemon_is_gone_too(stack: Stack, last: bytes) -> None:
    stack.service("auth required @us combined")
    with Hostile(stack.socket, [asks(PROMPT, then=frame("A", FILLER + PASSWORD) + last)]):
        run = stack.login(answer=hidden(FILLER + PASSWORD + "123456"), search=hidden(PASSWORD))
    assert run.in_memory[0] <= 1
    assert run.in_memory[1] == 0


@pytest.mark.statement("P-012")
def test_a_cut_password_frame_is_gone_too(stack: Stack) -> None:
    stack.service("auth required @us combined")
    cut = b"A" + (1000).to_bytes(4, "big") + (FILLER + PASSWORD).encode()
    with Hostile(stack.socket, [says(cut)]):
        assert stack.login(search=hidden(PASSWORD)).in_memory == (0, 0)


IN_A_WAIT: dict[str, tuple[str, bytes]] = {
    "accepted": ("\n", YES),
    "refused": ("\n", verdict("D", "alice")),
    "garbled": ("\n", b"\0\0\0"),
    "too long": ("1" * 600 + "\n", YES),
    "with a NUL": ("\x16\0\n", YES),
    "not finished": ("", STOP + YES),
    "left": ("", b""),
}


@pytest.mark.statement("P-012")
@pytest.mark.parametrize("way_out", IN_A_WAIT)
def test_what_was_typed_in_a_wait_is_gone_too(stack: Stack, way_out: str) -> None:
    line_end, then = IN_A_WAIT[way_out]

    def script(connection: Connection, terminal: Screen) -> None:
        begin(connection, terminal)
        terminal.type((FILLER + PIN + line_end).encode())
        if line_end:
            connection.hear()
        connection.send(then)

    with screen() as terminal, Hostile(stack.socket, [lambda connection: script(connection, terminal)]) as helper:
        run = stack.login(search=hidden(PIN), ctty=terminal.path)
        assert PIN.encode() not in terminal.left()
    if way_out == "accepted":
        assert helper.connections[0].heard[-1] == ("L", (FILLER + PIN).encode())
    assert run.in_memory == (0, 0)


def test_the_search_finds_a_copy_that_is_kept(stack: Stack) -> None:
    """Without this the tests above would prove nothing."""
    with Hostile(stack.socket, [WAYS_OUT["accepted"]]):
        run = stack.login(answer=hidden(PIN), search=hidden(PIN), keep=1)
    assert run.in_memory == (1, 1)
