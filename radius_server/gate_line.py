"""The server's end of the line to a gate in a process of its own: questions, and what is done with their answers.

Rules: it lives in the event loop, which waits for neither: what finds no room leaves when there is some, and what comes
in pieces is put together. Answers come in the order of the questions. Each question gets one, or what became of it.
A line that is spoiled, ended or silent for `HUNG` seconds is lost, with all that was asked. Once it `is_ending`, what
came before the end is still heard, and nothing more should be asked.
"""

import asyncio
import contextlib
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from radius_server import gate_frames as frames
from validation.errors import StoreUnavailable

T = TypeVar("T")

HUNG = 12.0  # seconds; a transaction waits for five at most, and a watchdog of 30 s looks away after 15
_OCTETS_AT_ONCE = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Question(Generic[T]):
    since: float
    read: Callable[[int, bytes], T]
    answered: Callable[[T | StoreUnavailable], object]


class Line:
    def __init__(
        self, number: int, sock: socket.socket, lost: Callable[[Exception], StoreUnavailable], hung: float = HUNG
    ) -> None:
        """`lost` is called once, before those who wait are told what it returns."""
        self.number = number  # of the gate
        self.is_ending = False
        self._sock = sock
        self._lost = lost
        self._hung = hung
        self._asked: deque[_Question[Any]] = deque()
        self._heard = 0.0  # when the last answer came
        self._come = bytearray()
        self._to_go = bytearray()
        self._silence: asyncio.TimerHandle | None = None
        self._is_over = False
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._loop.add_reader(sock, self.hear)

    # --- questions ----------------------------------------------------------------------------------------------

    def ask(
        self,
        kind: int,
        body: bytes,
        read: Callable[[int, bytes], T],
        answered: Callable[[T | StoreUnavailable], object],
    ) -> None:
        """`read` raises StoreUnavailable or Spoiled; `answered` is called once, and never from here."""
        self._asked.append(_Question(time.monotonic(), read, answered))
        if self._silence is None:
            self._silence = self._loop.call_later(self._hung, self._listen)
        self.tell(kind, body)

    def tell(self, kind: int, body: bytes) -> None:
        """What is not answered."""
        waits = bool(self._to_go)
        self._to_go += frames.frame(kind, body)
        if not waits and self._send():
            self._loop.add_writer(self._sock, self._go_on)

    def _send(self) -> bool:
        """Whether something is left."""
        try:
            del self._to_go[: self._sock.send(self._to_go)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:  # half a frame may have left. What was answered before is still read, and then the end
            self.is_ending = True
            self._to_go.clear()
            _shut(self._sock)
        return bool(self._to_go)

    def _go_on(self) -> None:
        if not self._send():
            self._loop.remove_writer(self._sock)

    # --- answers ------------------------------------------------------------------------------------------------

    def hear(self) -> bool:
        """What is there now; whether there was something."""
        if self._is_over:
            return False
        try:
            octets = self._sock.recv(_OCTETS_AT_ONCE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._lose(error)
            return False
        if not octets:
            self._lose(frames.Spoiled("half a frame") if self._come else ConnectionResetError())
            return False
        self._come += octets
        self._cut()
        return True

    def _cut(self) -> None:
        try:
            for kind, body in frames.cut(self._come):
                self._answer(kind, body)
                if self._is_over:
                    return
        except frames.Spoiled as error:
            self._lose(error)

    def _answer(self, kind: int, body: bytes) -> None:
        """Raises Spoiled; then the question is still there."""
        if not self._asked:
            raise frames.Spoiled("an answer to nothing")
        question = self._asked[0]
        try:
            said = question.read(kind, body)
        except StoreUnavailable as trouble:
            said = trouble
        self._asked.popleft()
        self._heard = time.monotonic()
        question.answered(said)

    def busy_for(self) -> float:
        """How many seconds the oldest question has had no answer."""
        return time.monotonic() - self._asked[0].since if self._asked else 0.0

    def _listen(self) -> None:
        """One timer, however many questions there are."""
        self._silence = None
        if not self._asked:
            return
        left = max(self._heard, self._asked[0].since) + self._hung - time.monotonic()
        if left > 0:
            self._silence = self._loop.call_later(left, self._listen)
        else:
            self._lose(TimeoutError())

    # --- its end ------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """The gate has ended: what it has answered is there."""
        self.is_ending = True
        while self.hear():
            pass
        if not self._is_over:
            self._lose(ConnectionResetError())

    def _lose(self, error: Exception) -> None:
        if self._is_over:
            return
        self.end()
        trouble = self._lost(error)
        while self._asked:
            self._asked.popleft().answered(trouble)

    def end(self) -> None:
        """Nothing is heard any more, and the gate ends when it has done what it has begun."""
        if self._is_over:
            return
        self._is_over = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        if self._silence is not None:
            self._silence.cancel()
        _shut(self._sock)
        self._sock.close()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
