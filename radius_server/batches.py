"""Threads that take what is waiting and work on it together.

Rules: a batch shares one transaction, so the busier the server, the larger the batches and the cheaper each login.
What is read from a socket at once is submitted at once (`gathering`), or the first would always go alone.
Who is next says `queues`. A thread never ends by an error: it serves every login.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from radius_server.log import line, log
from radius_server.patience import Patience, PatientQueue
from radius_server.queues import ANYWHERE, Marks, Place, unmarked

T = TypeVar("T")

MOST = 64  # items a batch may hold


class Batches(Generic[T]):
    """`submit` from any thread; `work` is called with 1 to `most` items in one of the threads of this object."""

    def __init__(
        self,
        name: str,
        work: Callable[[list[T]], None],
        most: int = MOST,
        threads: int = 1,
        marks: Marks[T] = unmarked,
    ) -> None:
        self._work = work
        self._most = most
        self._waiting = PatientQueue(marks)
        self._wake = threading.Condition()
        self._closed = False
        self._gathering = False
        self._busy_since: dict[threading.Thread, float] = {}
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, item: T, place: Place = ANYWHERE) -> None:
        with self._wake:
            self._waiting.put(item, place)
            if self._is_due():
                self._wake.notify()

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """For who submits several in a row: they are worked on together, not the first of them alone. A full batch does
        not wait."""
        self._gathering = True
        try:
            yield
        finally:
            with self._wake:
                self._gathering = False
                self._wake.notify_all()

    def take_while(self, condition: Callable[[T], bool]) -> list[T]:
        """Out of the queue again: the oldest of each line as long as `condition` holds."""
        with self._wake:
            return self._waiting.take_while(condition)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def patience(self) -> Patience:
        return self._waiting.patience

    def busy_for(self) -> float:
        """How many seconds the longest of the batches now worked on has taken; for ever if a thread has ended."""
        if not all(thread.is_alive() for thread in self._threads):
            return float("inf")
        return max((time.monotonic() - since for since in list(self._busy_since.values())), default=0.0)

    def close(self, drop: bool = False, within: float | None = None) -> None:
        """Work off what is waiting, or `drop` it, then end the threads; `within` so many seconds, or leave them."""
        with self._wake:
            self._closed = True
            if drop:
                self._waiting.clear()
            self._wake.notify_all()
        until = None if within is None else time.monotonic() + within
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        me = threading.current_thread()
        while batch := self._next():
            self._busy_since[me] = time.monotonic()
            try:
                self._work(batch)
            except Exception as error:
                log.error(line("batch-failed", thread=me.name, error=type(error).__name__))
                log.debug("batch failed, where it happened", exc_info=error)
            finally:
                self._busy_since.pop(me, None)

    def _next(self) -> list[T]:
        """Waits for the next batch; none when there is nothing left to do."""
        with self._wake:
            while not (self._closed or self._is_due()):
                self._wake.wait()
            return self._waiting.take(self._most)

    def _is_due(self) -> bool:
        return len(self._waiting) >= (self._most if self._gathering else 1)

    def is_tried(self) -> bool:
        """Whether more comes in than can be done, for longer than a rush."""
        with self._wake:
            return self._waiting.is_tried()
