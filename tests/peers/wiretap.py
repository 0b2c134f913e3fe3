"""A wire between a RADIUS client and a server: it passes every packet on, remembers it, and loses those it is told to.

Rule: it looks at nothing and changes nothing, so what it remembers is what either side sent.
"""

import select
import socket
import threading
from dataclasses import dataclass, field
from types import TracebackType


@dataclass(frozen=True)
class Sent:
    """One packet. `port` is the client's, of both directions."""

    to_server: bool
    port: int
    data: bytes


@dataclass
class Wiretap:
    """`with Wiretap(server, "127.0.0.2") as wire`: clients send to `wire.address`, and the server sees them all coming
    from the given address. `lose` is how many of the next replies get lost."""

    server: tuple[str, int]
    source: str
    lose: int = 0
    sent: list[Sent] = field(default_factory=list)
    _upstream: dict[tuple[str, int], socket.socket] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._listening = _bound("127.0.0.1")
        self._end, self._ending = socket.socketpair()
        self._thread = threading.Thread(target=self._carry, name="wiretap", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        host, port = self._listening.getsockname()
        return f"{host}:{port}"

    def requests(self) -> list[Sent]:
        return [each for each in list(self.sent) if each.to_server]

    def replies(self) -> list[bytes]:
        return [each.data for each in list(self.sent) if not each.to_server]

    def __enter__(self) -> "Wiretap":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.close()
        self._thread.join(60)
        for each in (self._listening, self._ending, *self._upstream.values()):
            each.close()

    def _carry(self) -> None:
        while True:
            ready, _, _ = select.select([self._listening, self._ending, *self._upstream.values()], [], [])
            if self._ending in ready:
                return
            for each in ready:
                if each is self._listening:
                    self._to_server()
                else:
                    self._to_client(each)

    def _to_server(self) -> None:
        data, client = self._listening.recvfrom(65_535)
        if client not in self._upstream:
            self._upstream[client] = _bound(self.source)
        self.sent.append(Sent(True, client[1], data))
        self._upstream[client].sendto(data, self.server)

    def _to_client(self, upstream: socket.socket) -> None:
        data = upstream.recv(65_535)
        (client,) = [client for client, each in self._upstream.items() if each is upstream]
        self.sent.append(Sent(False, client[1], data))
        if self.lose:
            self.lose -= 1
        else:
            self._listening.sendto(data, client)


def _bound(address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, 0))
    return made
