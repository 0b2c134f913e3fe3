"""A terminal for the driver: its other side, what has been shown on it, what is typed, and how it is set.

Rule: a test types when it has read on the screen that the module is waiting, never before by chance.
"""

import contextlib
import itertools
import os
import select
import socket
import termios
import time
from collections.abc import Iterator

from tests.pam_helper.module.hostile import PATIENCE, Connection, Script, frame, verdict

LOCAL_FLAGS = 3  # of the list that termios.tcgetattr gives
YES, NO = verdict("S", "alice"), verdict("D", "alice")
STOP = frame("t")

_numbers = itertools.count()


class Screen:
    """As somebody who sits there sees it."""

    def __init__(self) -> None:
        self._side, self._other = os.openpty()
        os.set_blocking(self._other, False)
        self.path = os.ttyname(self._other)
        self._shown = b""

    def close(self) -> None:
        self.hang_up()
        os.close(self._other)

    def hang_up(self) -> None:
        if self._side >= 0:
            os.close(self._side)
        self._side = -1

    def type(self, octets: bytes) -> None:
        os.write(self._side, octets)

    def shows(self, text: str, unless_gone: socket.socket) -> bool:
        """Waits for it. False if the module hangs up before."""
        until = time.monotonic() + PATIENCE
        either = select.poll()
        either.register(self._side, select.POLLIN)
        either.register(unless_gone, select.POLLRDHUP)
        while text.encode() not in self._shown:
            ready = dict(either.poll(1000))
            if self._side in ready:
                self._shown += os.read(self._side, 65_536)
            elif ready:
                return False
            assert time.monotonic() < until, f"{text} was not shown"
        return True

    def left(self) -> bytes:
        """What whoever reads next would get."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self._other, 65_536)
        return b""

    @property
    def settings(self) -> list[object]:
        return list(termios.tcgetattr(self._other))

    def without(self, flag: int) -> None:
        """Sets it as a program does that reads key by key, or hides what is typed."""
        settings = termios.tcgetattr(self._other)
        settings[LOCAL_FLAGS] &= ~flag
        termios.tcsetattr(self._other, termios.TCSANOW, settings)


@contextlib.contextmanager
def screen() -> Iterator[Screen]:
    made = Screen()
    try:
        yield made
    finally:
        made.close()


# --- Scripts of a daemon that waits


def wait(milliseconds: int = 60_000) -> bytes:
    return frame("T", milliseconds.to_bytes(4, "big"))


def begin(connection: Connection, terminal: Screen, milliseconds: int = 60_000) -> bool:
    """Until the module is waiting: what is shown in the wait is on the screen. False if it has left."""
    cue = f"Touch it ({next(_numbers)})"
    connection.hello()
    connection.send(wait(milliseconds) + frame("I", cue))
    return terminal.shows(cue, connection.socket)


def types(
    terminal: Screen, typed: bytes, heard: tuple[str, bytes], yes: bytes = YES, milliseconds: int = 60_000
) -> Script:
    """Says yes if the module says what it should."""

    def script(connection: Connection) -> None:
        if begin(connection, terminal, milliseconds):
            terminal.type(typed)
            connection.send(yes if connection.hear() == heard else NO)

    return script
