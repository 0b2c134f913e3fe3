"""Which server is asked first. One that failed is left aside for a while.

Rules: the order is the configured one. A server that failed is asked after the others until its time is over; then one
question tries it, and the others go on past it until that one has been answered. It is still asked where no other
server answers, because a server that came back must not be waited for.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

ASIDE = 30.0  # seconds


class Turns(Generic[T]):
    def __init__(self, servers: Sequence[T], clock: Callable[[], float] = time.monotonic) -> None:
        self._servers = tuple(servers)
        self._clock = clock
        self._lock = threading.Lock()
        self._aside: dict[int, float] = {}  # place in the order -> when its time is over

    def order(self) -> list[T]:
        """All servers, the one to ask first at the front."""
        with self._lock:
            now = self._clock()
            ready = [place for place in range(len(self._servers)) if self._aside.get(place, 0.0) <= now]
            for place in ready:
                if place in self._aside:
                    self._aside[place] = now + ASIDE  # this question tries it
            later = sorted(set(range(len(self._servers))) - set(ready), key=lambda place: self._aside[place])
            return [self._servers[place] for place in [*ready, *later]]

    def failed(self, server: T) -> bool:
        """Leave it aside. True if it was not aside already."""
        with self._lock:
            place = self._servers.index(server)
            news = place not in self._aside
            self._aside[place] = self._clock() + ASIDE
            return news

    def answered(self, server: T) -> bool:
        """It is well. True if it was aside."""
        with self._lock:
            return self._aside.pop(self._servers.index(server), None) is not None
