"""A RADIUS server that does what a test needs of it: answers, lies, is silent, or answers the second copy.

Rule: written from the RFCs like `tests/wire.py`, so that a mistake of the load generator cannot hide. What is wrong
with a request is written down (`complaints`).
"""

import hashlib
import hmac
import socket
import threading
from collections import Counter
from collections.abc import Callable

from tests.wire import (
    ACCEPT,
    CHALLENGE,
    MESSAGE_AUTHENTICATOR,
    STATE,
    USER_NAME,
    USER_PASSWORD,
    Reply,
    find_message_authenticator,
    hide,
    packet,
)

SECRET = b"a-secret-of-24-characters"


def reply_to(request: bytes, code: int, *attributes: tuple[int, bytes]) -> bytes:
    """Signed: Message-Authenticator first (RFC 3579 3.2), then the Response Authenticator (RFC 2865 3)."""
    made = packet(code, request[1], request[4:20], [(MESSAGE_AUTHENTICATOR, bytes(16)), *attributes])
    mac = hmac.new(SECRET, made, "md5").digest()
    return with_response_authenticator(made[:22] + mac + made[38:], request)


def with_response_authenticator(made: bytes, request: bytes) -> bytes:
    digest = hashlib.md5(made[:4] + request[4:20] + made[20:] + SECRET).digest()
    return made[:4] + digest + made[20:]


def unsigned_reply(request: bytes, code: int) -> bytes:
    """Without a Message-Authenticator."""
    return with_response_authenticator(packet(code, request[1], request[4:20], []), request)


class AnsweringServer:
    """`answer(user, password, state, request, copy)` gives the datagrams to send back; `copy` counts from 1."""

    def __init__(self, answer: "Callable[[str, str, bytes, bytes, int], list[bytes]]") -> None:
        self._answer = answer
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._copies: Counter[bytes] = Counter()
        self._thread = threading.Thread(target=self._serve)
        self.complaints: list[str] = []

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._sock.getsockname()
        return host, port

    def __enter__(self) -> "AnsweringServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self.address)
        self._thread.join(60)
        self._sock.close()

    def _serve(self) -> None:
        while True:
            request, peer = self._sock.recvfrom(4096)
            if not request:
                return
            self._copies[request] += 1
            for datagram in self._answer(*self._taken_apart(request), request, self._copies[request]):
                self._sock.sendto(datagram, peer)

    def _taken_apart(self, request: bytes) -> tuple[str, str, bytes]:
        """User, password and State; what is wrong is written down."""
        values = dict(Reply(request).attributes)
        at = find_message_authenticator(request)
        mac = hmac.new(SECRET, request[:at] + bytes(16) + request[at + 16 :], "md5").digest()
        if mac != request[at : at + 16]:
            self.complaints.append("a request with a wrong Message-Authenticator")
        if int.from_bytes(request[2:4], "big") != len(request):
            self.complaints.append("a request with a wrong Length")
        password = _unhidden(values[USER_PASSWORD], request[4:20])
        if hide(password, SECRET, request[4:20]) != values[USER_PASSWORD]:
            self.complaints.append("a User-Password that is hidden or padded wrongly")
        return values[USER_NAME].decode(), password.decode(), values.get(STATE, b"")


def _unhidden(hidden: bytes, authenticator: bytes) -> bytes:
    """RFC 2865 5.2, backwards."""
    plain, previous = b"", authenticator
    for at in range(0, len(hidden), 16):
        pad = hashlib.md5(SECRET + previous).digest()
        previous = hidden[at : at + 16]
        plain += bytes(a ^ b for a, b in zip(previous, pad, strict=True))
    return plain.rstrip(b"\0")


def with_state(request: bytes, state: bytes) -> bytes:
    return reply_to(request, CHALLENGE, (STATE, state))


def accepted(request: bytes) -> bytes:
    return reply_to(request, ACCEPT)
