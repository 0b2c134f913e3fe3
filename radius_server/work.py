"""How much is being worked on: in all, of one kind, for one client and for one user. Pure.

Rules: every request that enters leaves once, also when a newer one has taken its place or its reply is held back; it
holds a place in its lane until it is decided. Each lane has room of its own, so that no flood of new logins takes the
room of those that answer a challenge. Within a lane one client gets at most as much as is then left for the others:
one alone half, two a third each, and there is always room for a client that has nothing in work. Logins of one user
are decided one after the other, so without a bound of his own at each client a flood of them would make everybody
there wait. Under a load that does not end a lane holds no more than is done in two seconds.
"""

import os
from collections import Counter
from collections.abc import Hashable
from enum import StrEnum
from typing import NamedTuple

MOST_OCTETS = 64 * 1024 * 1024  # kept for requests in work, some 1 KiB for a usual one
KEPT_SECONDS = 2.0  # under a load that does not end; one client gets half of it
LEAST = 32
SHARE_OF_A_USER = 8  # one user gets at most this part of a lane, at each client


class Lane(StrEnum):
    """Kinds of requests."""

    PROBE = "probe"  # Status-Server
    ANSWER = "answer"  # answers a challenge that this process has sent
    PASSWORD = "password"  # needs a password check
    LOGIN = "login"  # asks for access in another way
    ACCOUNTING = "accounting"


# How many of each may wait to be decided; more are dropped, and the client sends them again. A core checks some 45
# passwords a second, so at the half of the lane, which one client may take, the last waits for about three seconds.
MOST = {
    Lane.PROBE: 1024,
    Lane.ANSWER: 4096,
    Lane.PASSWORD: 256 * (os.cpu_count() or 1),
    Lane.LOGIN: 4096,
    Lane.ACCOUNTING: 4096,
}


class Load(NamedTuple):
    """What one request takes up."""

    lane: Lane
    client: Hashable
    user: Hashable = None  # None: of no user
    octets: int = 0


class Work:
    def __init__(self, most: dict[Lane, int] = MOST, most_octets: int = MOST_OCTETS) -> None:
        self._usual = most
        self._most = dict(most)
        self._most_octets = most_octets
        self._by_lane = dict.fromkeys(Lane, 0)
        self._by_client: dict[Hashable, int] = {}  # by lane, too
        self._by_user: dict[Hashable, int] = {}  # by lane and client, too
        self._decided: Counter[Lane] = Counter()
        self._octets = 0
        self.count = 0

    def refusal(self, load: Load) -> str | None:
        """Why one more request must be dropped; None if there is room."""
        lane, client, user, octets = load
        left = self._most[lane] - self._by_lane[lane]
        if left <= 0 or self._octets + octets > self._most_octets:
            return "overload"
        if self._by_client.get((lane, client), 0) >= left:
            return "overload-client"
        if user is None:
            return None
        most_per_user = max(1, self._usual[lane] // SHARE_OF_A_USER)
        return "overload-user" if self._by_user.get((lane, client, user), 0) >= most_per_user else None

    def enter(self, load: Load) -> None:
        lane, client, user, octets = load
        self.count += 1
        self._octets += octets
        self._by_lane[lane] += 1
        _add_one(self._by_client, (lane, client))
        _add_one(self._by_user, (lane, client, user))

    def decided(self, load: Load) -> None:
        """It waits for nothing but its reply."""
        self._decided[load.lane] += 1
        self._give_place_back(load)

    def leave(self, load: Load, decided: bool) -> None:
        """It is done with; whether it was `decided`."""
        self.count -= 1
        self._octets -= load.octets
        if not decided:
            self._give_place_back(load)

    def _give_place_back(self, load: Load) -> None:
        lane, client, user, _ = load
        self._by_lane[lane] -= 1
        _take_one(self._by_client, (lane, client))
        _take_one(self._by_user, (lane, client, user))

    def of(self, lane: Lane) -> int:
        """How many of this kind wait to be decided."""
        return self._by_lane[lane]

    def adapt(self, lane: Lane, seconds: float, endless: bool) -> None:
        """To be told every few `seconds`. `endless`: the load does not end, so only what is done soon is let in."""
        done = self._decided.pop(lane, 0) / seconds
        usual = self._usual[lane]
        self._most[lane] = min(usual, max(LEAST, int(done * KEPT_SECONDS))) if endless else usual


def _add_one(counts: dict[Hashable, int], key: Hashable) -> None:
    counts[key] = counts.get(key, 0) + 1


def _take_one(counts: dict[Hashable, int], key: Hashable) -> None:
    """None is kept that counts nothing: names of users can be made up."""
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
