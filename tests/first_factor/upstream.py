"""A RADIUS server that says what a test wants, right or forged. Written from the RFCs, with nothing of the product."""

import hashlib
import hmac
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.wire import MESSAGE_AUTHENTICATOR, STATE, Attributes, Reply, encode

SECRET = b"a-secret-shared-with-the-other"

Answers = Callable[[bytes], list[bytes]]


def reply(
    request: bytes,
    code: int = 2,
    attributes: Attributes = (),
    secret: bytes = SECRET,
    signature: str = "first",  # first | last | none | wrong | twice | long
    identifier: int | None = None,
) -> bytes:
    """The reply to `request`, with a right Response Authenticator for `secret`."""
    zero = (MESSAGE_AUTHENTICATOR, bytes(17 if signature == "long" else 16))
    before = [] if signature in ("none", "last") else [zero] * (2 if signature == "twice" else 1)
    body = encode([*before, *attributes, *([zero] if signature == "last" else [])])
    number = request[1] if identifier is None else identifier
    head = bytes([code, number]) + (20 + len(body)).to_bytes(2, "big")
    mac = hmac.new(secret, head + request[4:20] + body, "md5").digest()
    if signature == "wrong":
        mac = bytes([mac[0] ^ 1]) + mac[1:]
    if signature == "last":
        body = body[:-16] + mac
    elif signature != "none":
        body = body[:2] + mac + body[18:]
    return head + hashlib.md5(head + request[4:20] + body + secret).digest() + body


def accept(request: bytes) -> list[bytes]:
    return [reply(request)]


def reject(request: bytes) -> list[bytes]:
    return [reply(request, 3)]


def challenge(request: bytes) -> list[bytes]:
    return [reply(request, 11, [(STATE, b"its-own")])]


def silence(request: bytes) -> list[bytes]:
    return []


def unhidden(request: bytes) -> bytes:
    """The password in a request, padding and all (RFC 2865 5.2)."""
    (hidden,) = Reply(request).values(2)
    clear, previous = b"", request[4:20]
    for at in range(0, len(hidden), 16):
        pad = hashlib.md5(SECRET + previous).digest()
        previous = hidden[at : at + 16]
        clear += bytes(a ^ b for a, b in zip(previous, pad, strict=True))
    return clear


class Upstream:
    """Answers each datagram with what `answers` makes of it, and keeps what came and from where."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.requests: list[bytes] = []
        self.sources: list[tuple[str, int]] = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        address, port = self.sock.getsockname()
        return str(address), int(port)

    @property
    def users(self) -> list[str]:
        """Who was asked about, once for each request that was sent."""
        return [Reply(request).values(1)[0].decode() for request in dict.fromkeys(self.requests) if request[0] == 1]

    @property
    def probes(self) -> int:
        return sum(request[0] == 12 for request in self.requests)

    def _serve(self) -> None:
        while True:
            request, source = self.sock.recvfrom(65_535)
            if not request:  # `end`
                return
            self.requests.append(request)
            self.sources.append(source)
            for octets in self.answers(request):
                self.sock.sendto(octets, source)

    def end(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self.address)
        self._thread.join(60)
        self.sock.close()


@contextmanager
def upstream(answers: Answers = accept) -> Iterator[Upstream]:
    server = Upstream(answers)
    try:
        yield server
    finally:
        server.end()
