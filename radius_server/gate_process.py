"""The gate in a process of its own, as the server sees it: `login` and `check` as of a gate, and neither ever raises
anything but StoreUnavailable.

So packets and decisions use a core each: in one process they share Python's interpreter lock.

Rules: two batches may be on their way, so that the gate never waits for the next. What a process had that has ended is
StoreUnavailable: nobody knows whether it was committed, the gateway sends it again, and a committed one is then
answered from the store. Another process is started at once, and with a growing pause where that one ends soon, too. One
that says nothing for `HUNG` seconds is killed.
"""

import itertools
import signal
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

HUNG = 12.0  # seconds; a transaction waits for five at most, and a watchdog of 30 s looks away after 15
OPENS_WITHIN = 30.0  # seconds; a program that says the key has ten for each
PAUSES = (0.0, 0.1, 0.5, 1.0, 5.0)  # seconds between the end of a process and the next one, while none lives long
ENDS_WITHIN = 10.0  # seconds; a command line waits as long for a program that is told of an event
LONG = 10.0  # seconds
BEHIND = 5.0  # seconds that a batch may wait for the one before it, and still be decided
WAITS = 2.0  # seconds that a batch waits for a process that is being started


class GateProcess:
    def __init__(self, keeper: Keeper) -> None:
        self.is_gone = False  # nobody is left who could start another process
        self._keeper = keeper
        self._numbers = itertools.count(1)
        self._gone: Callable[[], object] = int
        self._line: Line | None = None
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._log_format = ""  # as when it was forked
        self._thread = threading.Thread(target=self._watch, name="twofold-gate-watch", daemon=True)

    # --- as a gate ----------------------------------------------------------------------------------------------

    def login(self, requests: Sequence[LoginRequest]) -> list[Outcome]:
        """As `Gate.login`."""
        try:
            return self._ask(
                (frames.LOGINS, frames.of_requests(requests, time.monotonic() + BEHIND)),
                lambda said, body: frames.outcomes_in(_expected(frames.OUTCOMES, said, body), len(requests)),
            )
        except StoreUnavailable as error:
            return [error] * len(requests)

    def check(self) -> None:
        """As `Gate.check`."""
        self._ask((frames.CHECK, b""), partial(_expected, frames.READY))

    def _ask(self, question: tuple[int, bytes], read: Callable[[int, bytes], T]) -> T:
        """Raises StoreUnavailable. `read` raises it, too, or Spoiled."""
        asked = self._in_use()
        try:
            return read(*asked.ask(*question))
        except (OSError, frames.Spoiled) as error:
            raise self._broken(asked, error) from None

    def _in_use(self) -> Line:
        with self._changed:
            if self._line is None:
                self._changed.wait_for(lambda: self._line or self._closing.is_set(), WAITS)
            if self._line is None:
                raise StoreUnavailable("the process that decides logins is not running; it is started again")
            return self._line

    def _broken(self, asked: Line, error: Exception) -> StoreUnavailable:
        """Of no use any more, whatever it is doing."""
        asked.end()
        self._keeper.kill(asked.number)
        what = "says nothing" if isinstance(error, BlockingIOError) else "has ended"
        if isinstance(error, frames.Spoiled):
            what = f"sends what cannot be read ({error})"
        return StoreUnavailable(f"the process that decides logins {what}; it is started again")

    def log_as(self, log_format: str) -> None:
        """How it writes its log from now on."""
        self._log_format = log_format
        if (used := self._line) is not None:
            used.tell(frames.LOG_FORMAT, log_format.encode())

    # --- its life -----------------------------------------------------------------------------------------------

    def start(self, gone: Callable[[], object] = int) -> None:
        """The first process. Raises StoreUnavailable. `gone` is called where it `is_gone`."""
        self._gone = gone
        self._begin()
        self._thread.start()

    def _begin(self) -> None:
        """A process that can decide. Raises StoreUnavailable."""
        number = next(self._numbers)
        begun = Line(number, self._keeper.start(number), OPENS_WITHIN)
        try:
            _expected(frames.READY, *begun.read())
        except (OSError, frames.Spoiled) as error:
            raise self._broken(begun, error) from None
        begun.set_patience(HUNG)
        if self._log_format:
            begun.tell(frames.LOG_FORMAT, self._log_format.encode())
        with self._changed:
            self._line = begun
            self._changed.notify_all()

    def _watch(self) -> None:
        pauses = list(PAUSES)
        try:
            while not self._closing.is_set():
                began = time.monotonic()
                status = self._keeper.ended()
                with self._changed:
                    self._line = None
                if self._closing.is_set():
                    return
                if time.monotonic() - began > LONG:
                    pauses = list(PAUSES)
                pause = pauses.pop(0) if len(pauses) > 1 else pauses[0]
                log.error(line("gate-ended", how=_how(status), effect=f"another one is started in {pause:g} s"))
                self._closing.wait(pause)
                self._begin_again()
        except KeeperGone:
            if not self._closing.is_set():
                log.error(line("gate-keeper-ended", effect="the server ends, to be started again"))
                self.is_gone = True
                self._gone()

    def _begin_again(self) -> None:
        """One that was begun and is of no use ends."""
        while not self._closing.is_set():
            try:
                self._begin()
                log.warning(line("gate-started"))
                return
            except StoreUnavailable as error:
                log.error(line("gate-not-started", error=error))
                return
            except OSError as error:  # there is no line for it: descriptors have run out
                log.error(line("gate-not-started", error=error.strerror))
                self._closing.wait(PAUSES[-1])

    def close(self, within: float = ENDS_WITHIN) -> None:
        """What it has begun it finishes, and tells who is to be told; that is waited for so long. Once."""
        if self._closing.is_set():
            return
        self._closing.set()
        with self._changed:
            if self._line is not None:
                self._line.end()
            self._changed.notify_all()
        if self._thread.ident:
            self._thread.join(within)
        self._keeper.close()


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
