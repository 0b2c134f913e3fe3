"""How much is being worked on, in all and for one user. Pure.

Rules: every request that enters leaves once, also when a newer one has taken its place or its reply is held back.
Logins of one user are decided one after the other, so without a bound of his own a flood of them would make
everybody wait.
"""

from collections import Counter
from collections.abc import Hashable

MOST = 4096  # requests; more are dropped, and the client sends them again
MOST_PER_USER = 256


class Work:
    def __init__(self, most: int = MOST, most_per_user: int = MOST_PER_USER) -> None:
        self._most = most
        self._most_per_user = most_per_user
        self._by_user: Counter[Hashable] = Counter()
        self.count = 0

    def refusal(self, user: Hashable) -> str | None:
        """Why one more request of `user` must be dropped; None if there is room."""
        if self.count >= self._most:
            return "overload"
        return "overload-user" if self._by_user[user] >= self._most_per_user else None

    def enter(self, user: Hashable) -> None:
        self.count += 1
        self._by_user[user] += 1

    def leave(self, user: Hashable) -> None:
        self.count -= 1
        self._by_user[user] -= 1
        if not self._by_user[user]:
            del self._by_user[user]
