"""The questions that wait for a person, so that one can be ended where its place is needed.

Rules: whoever has most of them open loses his oldest; so nobody who is asked once loses his to somebody who has begun
many. It is ended from another thread, by shutting its connection: the thread that waits there finds that it was hung up
on. A question is forgotten before its connection is closed, so that no other connection is shut in its place.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pam_helper.line import Line


class Questions:
    """Of all conversations of a helper: of which peer, and about whom."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, str], list[Line]] = {}  # the oldest first
        self._guard = threading.Lock()

    @contextmanager
    def open(self, uid: int, user: str, line: Line) -> Iterator[None]:
        whose = uid, user
        with self._guard:
            self._open.setdefault(whose, []).append(line)
        try:
            yield
        finally:
            with self._guard:
                if line in self._open.get(whose, ()):
                    self._forget(whose, line)

    def end_one(self, uid: int) -> str | None:
        """The user who has lost one; None if none is open."""
        with self._guard:
            mine = [whose for whose in self._open if whose[0] == uid]
            if not mine:
                return None
            whose = max(mine, key=lambda one: len(self._open[one]))
            oldest = self._open[whose][0]
            self._forget(whose, oldest)
            oldest.hang_up()
        return whose[1]

    def _forget(self, whose: tuple[int, str], line: Line) -> None:
        self._open[whose].remove(line)
        if not self._open[whose]:
            del self._open[whose]
