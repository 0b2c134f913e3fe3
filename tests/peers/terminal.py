"""A person at a terminal: a program on a pty of its own, what it has shown so far, and what is typed."""

import os
import pty
import re
import select
import signal
import time
from collections.abc import Sequence
from types import TracebackType


class Terminal:
    """Use it as a context; the program is hung up on at its end."""

    def __init__(self, command: Sequence[str]) -> None:
        self._pid, self._screen = pty.fork()
        if self._pid == 0:
            # Under nohup, or with & in a script, they are ignored; then nothing here would end when it is hung up on.
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            os.execvp(command[0], list(command))
        self.shown = ""
        self._seen = 0
        self._status: int | None = None

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        os.close(self._screen)
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def wait_for(self, text: str, seconds: float = 60.0) -> str:
        """What has been shown since the last time, up to and with `text`."""
        until = time.monotonic() + seconds
        while (at := self.shown.find(text, self._seen)) < 0:
            assert self._read(until), f"{text!r} was not shown; shown was: {self.shown}"
        fresh = self.shown[self._seen : at + len(text)]
        self._seen = at + len(text)
        return fresh

    def type(self, line: str) -> None:
        self.press(line.encode() + b"\n")

    def press(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def status(self, seconds: float = 60.0) -> int:
        """The exit status, once the program has ended."""
        until = time.monotonic() + seconds
        while self._read(until):
            pass
        assert time.monotonic() < until, f"it did not end; shown was: {self.shown}"
        self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._status

    def _read(self, until: float) -> bool:
        ready, _, _ = select.select([self._screen], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return False
        try:
            octets = os.read(self._screen, 65_536)
        except OSError:  # EIO: the other end is closed
            return False
        self.shown += octets.decode(errors="replace").replace("\r", "")
        return bool(octets)

    @property
    def key(self) -> str:
        """The key that was shown for typing into an app, in Base32."""
        (found,) = re.findall(r"^((?:[A-Z2-7]{4} ){7}[A-Z2-7]{4})$", self.shown, re.MULTILINE)
        return str(found).replace(" ", "")
