"""Who is next: first what goes first, and within a rank each line in turn. Pure, for one thread at a time.

Rule: a line is a client. However many requests one of them sends, the next of each other client waits for one of each
line before it, and not for all of them.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

RANKS = 3


class Place(NamedTuple):
    """Where to stand: rank 0 goes first."""

    rank: int = RANKS - 1
    line: Hashable = None


ANYWHERE = Place()


class FairQueue(Generic[T]):
    def __init__(self) -> None:
        self._ranks: tuple[OrderedDict[Hashable, deque[T]], ...] = tuple(OrderedDict() for _ in range(RANKS))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, item: T, place: Place = ANYWHERE) -> None:
        self._ranks[place.rank].setdefault(place.line, deque()).append(item)
        self._count += 1

    def take(self, most: int) -> list[T]:
        """At most `most` items: the first of each line, then the second of each, one rank before the next."""
        taken: list[T] = []
        for lines in self._ranks:
            while lines and len(taken) < most:
                line, waiting = lines.popitem(last=False)
                taken.append(waiting.popleft())
                if waiting:
                    lines[line] = waiting  # at the end: the others are next
        self._count -= len(taken)
        return taken

    def take_while(self, condition: Callable[[T], bool]) -> list[T]:
        """From the head of each line, the oldest in it, as long as `condition` holds."""
        taken: list[T] = []
        for lines in self._ranks:
            for line, waiting in list(lines.items()):
                while waiting and condition(waiting[0]):
                    taken.append(waiting.popleft())
                if not waiting:
                    del lines[line]
        self._count -= len(taken)
        return taken
