"""The gate in a process of its own, as the server sees it: `login` and `check` as of a gate, but for the answer, which
comes later; it is the outcomes, or StoreUnavailable, and there is always one.

So packets and decisions use a core each: in one process they share Python's interpreter lock.

Rules: questions and answers belong to the event loop; a thread waits for the end of the process, and sees to another
one. What a process had that has ended is StoreUnavailable: nobody knows whether it was committed, the gateway sends it
again, and a committed one is then answered from the store. Another process is started at once, and with a growing pause
where that one ends soon, too.
"""

import asyncio
import contextlib
import itertools
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from radius_server import gate_frames as frames
from radius_server.gate_keeper import Keeper, KeeperGone
from radius_server.gate_line import Line
from radius_server.log import line, log
from validation.errors import StoreUnavailable
from validation.gate import Outcome
from validation.requests import LoginRequest

T = TypeVar("T")

OPENS_WITHIN = 30.0  # seconds; a program that says the key has ten for each
PAUSES = (0.0, 0.1, 0.5, 1.0, 5.0)  # seconds between the end of a process and the next one, while none lives long
ENDS_WITHIN = 10.0  # seconds; a command line waits as long for a program that is told of an event
LONG = 10.0  # seconds


class GateProcess:
    def __init__(self, keeper: Keeper) -> None:
        self.is_gone = False  # nobody is left who could start another process
        self.changed: Callable[[], object] = int  # called in the event loop where it `is_there`, or is not any more
        self._keeper = keeper
        self._numbers = itertools.count(1)
        self._gone: Callable[[], object] = int
        self._line: Line | None = None
        self._newest: socket.socket | None = None  # its line may not be there yet
        self._closing = threading.Event()
        self._log_format = ""  # as when it was forked
        self._thread = threading.Thread(target=self._watch, name="twofold-gate-watch", daemon=True)

    # --- as a gate, in the event loop ---------------------------------------------------------------------------

    def login(
        self, requests: Sequence[LoginRequest], until: float, answered: Callable[[list[Outcome]], object]
    ) -> None:
        """As `Gate.login`, if it comes to that before `until`, by the monotonic clock; else they are TooLate."""
        count = len(requests)
        self._ask(
            (frames.LOGINS, frames.of_requests(requests, until)),
            lambda said, body: frames.outcomes_in(_expected(frames.OUTCOMES, said, body), count),
            lambda outcomes: answered([outcomes] * count if isinstance(outcomes, StoreUnavailable) else outcomes),
        )

    def check(self, answered: Callable[[StoreUnavailable | None], object]) -> None:
        """As `Gate.check`."""
        self._ask(
            (frames.CHECK, b""),
            partial(_expected, frames.READY),
            lambda said: answered(said if isinstance(said, StoreUnavailable) else None),
        )

    def _ask(
        self,
        question: tuple[int, bytes],
        read: Callable[[int, bytes], T],
        answered: Callable[[T | StoreUnavailable], object],
    ) -> None:
        if self._line is None:
            answered(not_running())
        else:
            self._line.ask(*question, read, answered)

    @property
    def is_there(self) -> bool:
        """Also not where it has ended, and what it has said is still being heard: what is asked then is lost."""
        return self._line is not None and not self._line.is_ending

    def hear(self) -> None:
        """What it has answered by now."""
        if self._line is not None:
            self._line.hear()

    def busy_for(self) -> float:
        """How many seconds it has been at what it was asked first."""
        return self._line.busy_for() if self._line is not None else 0.0

    def log_as(self, log_format: str) -> None:
        """How it writes its log from now on."""
        self._log_format = log_format
        if self._line is not None:
            self._line.tell(frames.LOG_FORMAT, log_format.encode())

    # --- its line, in the event loop ----------------------------------------------------------------------------

    def start(self, gone: Callable[[], object] = int) -> None:
        """The first process. Raises StoreUnavailable. `gone` is called where it `is_gone`."""
        self._loop = asyncio.get_running_loop()
        self._gone = gone
        try:
            first = self._opened()
        except OSError as error:  # there is no line for it
            raise StoreUnavailable(f"no process that decides logins can be started: {error.strerror}") from None
        self._use(*first)
        self._thread.start()

    def _use(self, number: int, sock: socket.socket) -> None:
        self._line = Line(number, sock, partial(self._lost, number))
        if self._log_format:
            self.log_as(self._log_format)
        self.changed()

    def _lost(self, number: int, error: Exception) -> StoreUnavailable:
        """Of no use any more, whatever it is doing."""
        self._line = None
        trouble = self._broken(number, error)
        self.changed()
        return trouble

    def _ended(self, number: int) -> None:
        if self._line is not None and self._line.number == number:
            self._line.finish()

    # --- its life, in a thread ----------------------------------------------------------------------------------

    def _opened(self) -> tuple[int, socket.socket]:
        """A process that can decide. Raises StoreUnavailable, or OSError where there is no line for it."""
        number = next(self._numbers)
        sock = self._newest = self._keeper.start(number)
        if self._closing.is_set():
            _end(sock)
        sock.settimeout(OPENS_WITHIN)
        try:
            frame = frames.receive(sock)
            if frame is None:
                raise ConnectionResetError
            _expected(frames.READY, *frame)
        except (OSError, frames.Spoiled) as error:
            _end(sock)
            raise self._broken(number, error) from None
        return number, sock

    def _broken(self, number: int, error: Exception) -> StoreUnavailable:
        self._keeper.kill(number)
        what = "says nothing" if isinstance(error, TimeoutError) else "has ended"
        if isinstance(error, frames.Spoiled):
            what = f"sends what cannot be read ({error})"
        return StoreUnavailable(f"the process that decides logins {what}; it is started again")

    def _watch(self) -> None:
        pauses = list(PAUSES)
        number = 1
        try:
            while not self._closing.is_set():
                began = time.monotonic()
                status = self._keeper.ended()
                if self._closing.is_set():
                    return
                self._in_loop(self._ended, number)
                if time.monotonic() - began > LONG:
                    pauses = list(PAUSES)
                pause = pauses.pop(0) if len(pauses) > 1 else pauses[0]
                log.error(line("gate-ended", how=_how(status), effect=f"another one is started in {pause:g} s"))
                self._closing.wait(pause)
                number = self._begin_again()
        except KeeperGone:
            if not self._closing.is_set():
                log.error(line("gate-keeper-ended", effect="the server ends, to be started again"))
                self.is_gone = True
                self._in_loop(self._gone)

    def _begin_again(self) -> int:
        """The number of the new one, or 0. One that was begun and is of no use ends."""
        while not self._closing.is_set():
            try:
                number, sock = self._opened()
                log.warning(line("gate-started"))
                self._in_loop(self._use, number, sock)
                return number
            except StoreUnavailable as error:
                log.error(line("gate-not-started", error=error))
                return 0
            except OSError as error:  # there is no line for it: descriptors have run out
                log.error(line("gate-not-started", error=error.strerror))
                self._closing.wait(PAUSES[-1])
        return 0

    def _in_loop(self, function: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(function, *arguments)

    def close(self, within: float = ENDS_WITHIN) -> None:
        """What it has begun it finishes, and tells who is to be told; that is waited for so long. Once."""
        if self._closing.is_set():
            return
        self._closing.set()
        if self._line is not None:
            self._line.end()
            self._line = None
        if self._newest is not None:
            _end(self._newest)
        if self._thread.ident:
            self._thread.join(within)
        self._keeper.close()


def not_running() -> StoreUnavailable:
    return StoreUnavailable("the process that decides logins is not running; it is started again")


def _end(sock: socket.socket) -> None:
    """The process ends when it has done what it has begun."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _expected(kind: int, said: int, body: bytes) -> bytes:
    """Raises StoreUnavailable if that was said, or Spoiled."""
    if said == frames.TROUBLE:
        raise frames.trouble_in(body)
    if said != kind:
        raise frames.Spoiled(f"a frame of kind {said}")
    return body


def _how(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
