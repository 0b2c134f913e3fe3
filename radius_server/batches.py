"""One thread that takes everything that is waiting and works on it together.

Rule: a batch shares one transaction, so the busier the server, the larger the batches and the cheaper each login.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from radius_server.log import line, log

T = TypeVar("T")

MOST = 64  # items a batch may hold


class Batches(Generic[T]):
    """`submit` from any thread; `work` is called with 1 to `most` items in the thread of this object."""

    def __init__(self, name: str, work: Callable[[list[T]], None], most: int = MOST) -> None:
        self._work = work
        self._most = most
        self._waiting: deque[T] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: T) -> None:
        with self._wake:
            self._waiting.append(item)
            self._wake.notify()

    def close(self) -> None:
        """Work off what is waiting, then end the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closed:
                    self._wake.wait()
                if not self._waiting:
                    return
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most))]
            try:
                self._work(batch)
            except Exception as error:  # this thread serves every login: it must not end
                log.error(line("batch-failed", thread=self._thread.name, error=type(error).__name__))
                log.debug("batch failed, where it happened", exc_info=error)
