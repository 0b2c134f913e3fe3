"""A relay for UDP that keeps what passes, to see what two programs say to each other. It changes nothing."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LARGEST = 65_535


class Relay:
    """Datagrams from one program to `server`, and back. `drop` says which of those to the server get lost."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.drop: Callable[[bytes], bool] = lambda datagram: False
        self.forth: list[bytes] = []
        self.exchanges: list[tuple[bytes, bytes]] = []  # each reply with the last request before it of its Identifier
        self._server = server
        self._front = _socket()
        self._behind = _socket()
        self._source: tuple[str, int] | None = None
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._go_forth, self._go_back)]
        for thread in self._threads:
            thread.start()

    @property
    def address(self) -> tuple[str, int]:
        address, port = self._front.getsockname()
        return str(address), int(port)

    def _go_forth(self) -> None:
        while True:
            datagram, source = self._front.recvfrom(_LARGEST)
            if not datagram:
                return
            self._source = source
            self.forth.append(datagram)
            if not self.drop(datagram):
                self._behind.sendto(datagram, self._server)

    def _go_back(self) -> None:
        while True:
            datagram, _ = self._behind.recvfrom(_LARGEST)
            if not datagram:
                return
            assert self._source is not None
            asked = next(request for request in reversed(self.forth) if request[1] == datagram[1])
            self.exchanges.append((asked, datagram))
            self._front.sendto(datagram, self._source)

    def end(self) -> None:
        with _socket() as sock:
            sock.sendto(b"", self._front.getsockname())
            sock.sendto(b"", self._behind.getsockname())
        for thread in self._threads:
            thread.join(60)
        self._front.close()
        self._behind.close()


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


@contextmanager
def relay_to(server: tuple[str, int]) -> Iterator[Relay]:
    relay = Relay(server)
    try:
        yield relay
    finally:
        relay.end()
