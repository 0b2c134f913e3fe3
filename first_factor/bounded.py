"""Blocking calls to a back end that may hang: only so many at once, and nobody waits for one for ever.

Rules: at most `threads` calls are on their way and as many wait for one of them to end; more get no answer at once.
`time_limit` counts from the question, waiting included. A call that hangs cannot be ended: it is left alone, keeps its
place and is counted until it comes back, and then nobody looks at what it says. When every place hangs, nobody waits
any more. The threads are daemons, so that a call that hangs does not hold up the end of the program.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


class NoAnswer(Exception):
    """The call was not begun, or did not end in time. The text says which."""


@dataclass(slots=True, eq=False)
class _Call(Generic[T]):
    work: Callable[[], T] = field(repr=False)
    results: list[T] = field(default_factory=list, repr=False)
    error: Exception | None = None
    done: bool = False
    left_alone: bool = False


class Bounded:
    def __init__(self, threads: int, time_limit: float) -> None:
        self._threads = threads
        self._time_limit = time_limit
        self._changed = threading.Condition()
        self._running = 0
        self._waiting = 0
        self.hanging = 0

    def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Raises NoAnswer."""
        until = time.monotonic() + self._time_limit
        call = _Call(work)
        with self._changed:
            self._take_place(until)
            self._start(call)
            if not self._changed.wait_for(lambda: call.done, until - time.monotonic()):
                call.left_alone = True
                self.hanging += 1
                self._changed.notify_all()
                raise NoAnswer(f"no answer within {self._time_limit:g} s; {self.hanging} of {self._threads} calls hang")
        if call.error is not None:
            raise call.error
        return call.results[0]

    def _take_place(self, until: float) -> None:
        if self._running >= self._threads:
            if self._waiting >= self._threads:
                raise NoAnswer("too many wait already")
            self._waiting += 1
            self._changed.wait_for(lambda: self._running < self._threads or self._all_hang, until - time.monotonic())
            self._waiting -= 1
            if self._running >= self._threads or time.monotonic() >= until:
                raise NoAnswer("every call hangs" if self._all_hang else "waited too long")
        self._running += 1

    @property
    def _all_hang(self) -> bool:
        return self.hanging >= self._threads

    def _start(self, call: _Call[T]) -> None:
        thread = threading.Thread(target=self._do, args=(call,), name="twofold-bounded", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._running -= 1
            raise NoAnswer("no thread can be started") from None

    def _do(self, call: _Call[T]) -> None:
        try:
            call.results.append(call.work())
        except Exception as error:
            call.error = error
        with self._changed:
            call.done = True
            self._running -= 1
            self.hanging -= call.left_alone
            self._changed.notify_all()
