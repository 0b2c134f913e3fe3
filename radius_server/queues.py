"""Who is next: first what goes first, and within a rank each line in turn. Pure, for one thread at a time.

Rule: a line is a client. However many requests one of them sends, the next of each other client waits for one of each
line before it, and not for all of them. Items may have marks, and of those with the same one at most `ALIKE` are taken
at once: a line whose next item would be one more waits, in its order, and is the first the next time.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

RANKS = 3
ALIKE = 4


class Place(NamedTuple):
    """Where to stand: rank 0 goes first."""

    rank: int = RANKS - 1
    line: Hashable = None


ANYWHERE = Place()
Marks = Callable[[T], Sequence[Hashable]]


def unmarked(item: object) -> tuple[()]:
    return ()


_Lines = OrderedDict[Hashable, deque[T]]


class FairQueue(Generic[T]):
    def __init__(self, marks: Marks[T] = unmarked) -> None:
        self._marks = marks
        self._ranks: tuple[_Lines[T], ...] = tuple(OrderedDict() for _ in range(RANKS))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, item: T, place: Place = ANYWHERE) -> None:
        self._ranks[place.rank].setdefault(place.line, deque()).append(item)
        self._count += 1

    def take(self, most: int) -> list[T]:
        """At most `most` items: the first of each line, then the second of each, one rank before the next."""
        taken: list[T] = []
        alike: Counter[Hashable] = Counter()
        for lines in self._ranks:
            taken += self._taken(lines, most - len(taken), alike)
        self._count -= len(taken)
        return taken

    def _taken(self, lines: _Lines[T], most: int, alike: Counter[Hashable]) -> list[T]:
        """`alike`: how many with each mark have been taken."""
        taken: list[T] = []
        held: _Lines[T] = OrderedDict()
        while lines and len(taken) < most:
            line, waiting = lines.popitem(last=False)
            marks = self._marks(waiting[0])
            if any(alike[mark] >= ALIKE for mark in marks):
                held[line] = waiting
                continue
            alike.update(marks)
            taken.append(waiting.popleft())
            if waiting:
                lines[line] = waiting  # at the end: the others are next
        for line in reversed(held):
            lines[line] = held[line]
            lines.move_to_end(line, last=False)
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
