"""How long a request may wait in a queue: long in a rush, short under a load that does not end. Pure.

Rule: a queue that has not been empty for `RUSH` seconds gets longer, or stays as long, however much is done. Then it is
of no use to anybody that all wait: whoever has waited for `SHORT` seconds is dropped, those that are fresh are answered
at once, and when the load ends everything is as usual a second later.
"""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from radius_server.jobs import DECIDE_WITHIN
from radius_server.queues import ANYWHERE, FairQueue, Marks, Place, unmarked

T = TypeVar("T")

RUSH = 8.0  # seconds
SHORT = 1.0  # seconds


class Patience:
    def __init__(self) -> None:
        self._empty_at = float("-inf")

    def note(self, waiting: int, now: float) -> None:
        """So many wait; to be told before one more is put into the queue, and after one was taken out."""
        if not waiting:
            self._empty_at = now

    def is_tried(self, now: float) -> bool:
        """Whether the load does not end."""
        return now > self._empty_at + RUSH

    def is_over(self, arrival: float, now: float) -> bool:
        """Whether a request that came at `arrival` has waited too long."""
        longest = SHORT if self.is_tried(now) else DECIDE_WITHIN
        return arrival < now - longest


class PatientQueue(Generic[T]):
    """A fair queue that knows how long it has been full. For one thread at a time."""

    def __init__(self, marks: Marks[T] = unmarked) -> None:
        self.patience = Patience()
        self._marks = marks
        self._items = FairQueue(marks)

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, place: Place = ANYWHERE) -> None:
        self._note()
        self._items.put(item, place)

    def take(self, most: int) -> list[T]:
        """As `FairQueue.take`."""
        taken = self._items.take(most)
        self._note()
        return taken

    def take_while(self, condition: Callable[[T], bool]) -> list[T]:
        """As `FairQueue.take_while`."""
        return self._items.take_while(condition)

    def is_tried(self) -> bool:
        """Whether more comes in than can be done, for longer than a rush."""
        self._note()
        return self.patience.is_tried(time.monotonic())

    def clear(self) -> None:
        self._items = FairQueue(self._marks)

    def _note(self) -> None:
        self.patience.note(len(self._items), time.monotonic())
