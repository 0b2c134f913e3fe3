"""The States that this process has handed out, so that their answers can go before new logins. Pure.

Rules: it says who goes first, never who comes in: the State is looked for in the store, as ever. A State counts for
the client it was given to, and no more once it has been answered. One that we do not know, of another server or made
up, merely stands behind with the new logins: nobody gets ahead by writing something into a State (RFC 5080 2.2.3
would have any State go first).
"""

from collections import OrderedDict

MOST = 65_536


class States:
    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._until: OrderedDict[tuple[str, str], float] = OrderedDict()  # oldest first

    def remember(self, client: str, state: str, until: float, now: float) -> None:
        self._until[client, state] = until
        while self._until and (len(self._until) > self._most or next(iter(self._until.values())) <= now):
            self._until.popitem(last=False)

    def knows(self, client: str, state: str, now: float) -> bool:
        return self._until.get((client, state), now) > now

    def forget(self, client: str, state: str) -> None:
        self._until.pop((client, state), None)

    def __len__(self) -> int:
        return len(self._until)
