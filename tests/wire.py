"""RADIUS on the wire, written from the RFCs and independent of the product: requests out, replies checked.

Rule: nothing here imports the product or pyrad, so that a shared mistake cannot hide.
"""

import hashlib
import hmac
import secrets
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ACCEPT, REJECT, CHALLENGE = 2, 3, 11
USER_NAME, USER_PASSWORD, CHAP_PASSWORD = 1, 2, 3
REPLY_MESSAGE, STATE, PROXY_STATE, CALLING_STATION_ID, MESSAGE_AUTHENTICATOR = 18, 24, 33, 31, 80

Attributes = Sequence[tuple[int, bytes]]


def hide(password: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """User-Password of RFC 2865 5.2."""
    padded = password + bytes(-len(password) % 16) if password else bytes(16)
    hidden, previous = b"", authenticator
    for at in range(0, len(padded), 16):
        pad = hashlib.md5(secret + previous).digest()
        previous = bytes(a ^ b for a, b in zip(padded[at : at + 16], pad, strict=True))
        hidden += previous
    return hidden


def encode(attributes: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes([kind, len(value) + 2]) + value for kind, value in attributes)


def packet(code: int, identifier: int, authenticator: bytes, attributes: Iterable[tuple[int, bytes]]) -> bytes:
    body = encode(attributes)
    return bytes([code, identifier]) + (20 + len(body)).to_bytes(2, "big") + authenticator + body


def sign(data: bytes, secret: bytes) -> bytes:
    """Fill in the Message-Authenticator (RFC 3579 3.2) whose 16 octets are zero."""
    at = find_message_authenticator(data)
    mac = hmac.new(secret, data, "md5").digest()
    return data[:at] + mac + data[at + 16 :]


def find_message_authenticator(data: bytes) -> int:
    at = 20
    while at + 2 <= len(data):
        if data[at] == MESSAGE_AUTHENTICATOR:
            return at + 2
        at += data[at + 1]
    raise ValueError("no Message-Authenticator")


@dataclass(frozen=True)
class Request:
    """One request and what is needed to check its reply."""

    data: bytes
    secret: bytes

    @property
    def authenticator(self) -> bytes:
        return self.data[4:20]


def access_request(
    secret: bytes,
    user: str | bytes | None,
    password: str | bytes | None,
    *,
    state: bytes | None = None,
    extra: Attributes = (),
    identifier: int | None = None,
    authenticator: bytes | None = None,
    message_authenticator: str = "first",  # first | last | none
    code: int = 1,
) -> Request:
    authenticator = authenticator or secrets.token_bytes(16)
    identifier = secrets.randbelow(256) if identifier is None else identifier
    attributes: list[tuple[int, bytes]] = []
    if user is not None:
        attributes.append((USER_NAME, user.encode() if isinstance(user, str) else user))
    if password is not None:
        octets = password.encode() if isinstance(password, str) else password
        attributes.append((USER_PASSWORD, hide(octets, secret, authenticator)))
    if state is not None:
        attributes.append((STATE, state))
    attributes += list(extra)
    if message_authenticator == "first":
        attributes.insert(0, (MESSAGE_AUTHENTICATOR, bytes(16)))
    elif message_authenticator == "last":
        attributes.append((MESSAGE_AUTHENTICATOR, bytes(16)))
    data = packet(code, identifier, authenticator, attributes)
    return Request(sign(data, secret) if message_authenticator != "none" else data, secret)


def status_server(secret: bytes, **options: object) -> Request:
    return access_request(secret, None, None, code=12, **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Reply:
    """A reply taken apart; `check` proves that it answers the request."""

    data: bytes

    @property
    def code(self) -> int:
        return self.data[0]

    @property
    def identifier(self) -> int:
        return self.data[1]

    @property
    def attributes(self) -> list[tuple[int, bytes]]:
        found, at = [], 20
        while at < len(self.data):
            length = self.data[at + 1]
            assert length >= 3, "an empty attribute was sent"
            assert at + length <= len(self.data)
            found.append((self.data[at], self.data[at + 2 : at + length]))
            at += length
        return found

    def values(self, kind: int) -> list[bytes]:
        return [value for found, value in self.attributes if found == kind]

    @property
    def state(self) -> bytes:
        (value,) = self.values(STATE)
        return value

    @property
    def text(self) -> str:
        return b"".join(self.values(REPLY_MESSAGE)).decode()

    def check(self, request: Request) -> "Reply":
        """Identifier, Length, Response Authenticator (RFC 2865 3), and Message-Authenticator as first attribute,
        computed over the Request Authenticator (RFC 3579 3.2)."""
        assert self.identifier == request.data[1]
        assert int.from_bytes(self.data[2:4], "big") == len(self.data) <= 4096
        head, body = self.data[:4], self.data[20:]
        expected = hashlib.md5(head + request.authenticator + body + request.secret).digest()
        assert self.data[4:20] == expected, "wrong Response Authenticator"
        assert self.data[20:22] == bytes([80, 18]), "Message-Authenticator is not the first attribute"
        zeroed = head + request.authenticator + body[:2] + bytes(16) + body[18:]
        assert hmac.new(request.secret, zeroed, "md5").digest() == body[2:18], "wrong Message-Authenticator"
        assert len(self.values(80)) == 1
        return self


class Nas:
    """A client socket: `ask` sends and returns the checked reply, `silent` proves that nothing comes back."""

    def __init__(self, server: tuple[str, int], secret: bytes, source: str | None = None) -> None:
        self.secret = secret
        self.server = server
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        if source is not None:
            self.sock.bind((source, 0))

    def __enter__(self) -> "Nas":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendto(data, self.server)

    def receive(self, timeout: float = 30.0) -> Reply | None:
        self.sock.settimeout(timeout)
        try:
            return Reply(self.sock.recv(65_535))
        except TimeoutError:
            return None

    def ask(self, request: Request, timeout: float = 10.0) -> Reply:
        """The reply. Without one after `timeout` seconds the same packet is sent again, as gateways do, four times in
        all: a server whose disk stands still for seconds has given it up."""
        reply = None
        for _ in range(4):
            self.send(request.data)
            if (reply := self.receive(timeout)) is not None:
                break
        assert reply is not None, "no reply"
        return reply.check(request)

    def login(self, user: str, password: str, **options: object) -> Reply:
        return self.ask(access_request(self.secret, user, password, **options))  # type: ignore[arg-type]

    def answered_before(self, data: bytes, probe: Request) -> Reply | None:
        """Send `data`, then a Status-Server `probe`; the reply that came before the probe's, or None for silence.

        Proves silence without waiting for a time-out: whatever the server does at once with `data` comes before the
        answer to the probe. Only for requests that are dropped before the gate.
        """
        self.send(data)
        self.send(probe.data)
        first = self.receive()
        assert first is not None, "the probe was not answered"
        if first.identifier == probe.data[1] and first.code == ACCEPT:
            first.check(probe)
            return None
        return first


# --- accounting (RFC 2866)

ACCT_STATUS_TYPE, ACCT_SESSION_ID = 40, 44
ACCOUNTING_RESPONSE = 5
START, STOP = 1, 2


def accounting_request(
    secret: bytes,
    attributes: Attributes,
    *,
    code: int = 4,
    identifier: int | None = None,
) -> Request:
    """The Request Authenticator is MD5 over the packet with zeroes in its place, and the secret (RFC 2866 3)."""
    identifier = secrets.randbelow(256) if identifier is None else identifier
    zeroed = packet(code, identifier, bytes(16), attributes)
    return Request(zeroed[:4] + hashlib.md5(zeroed + secret).digest() + zeroed[20:], secret)


def session(user: str = "alice", status: int = START, number: str = "s1", extra: Attributes = ()) -> Attributes:
    """What a client says at the begin or end of a session."""
    return [
        (USER_NAME, user.encode()),
        (ACCT_STATUS_TYPE, status.to_bytes(4, "big")),
        (ACCT_SESSION_ID, number.encode()),
        *extra,
    ]


def check_accounting(reply: Reply, request: Request) -> Reply:
    """Code, Identifier, Length and Response Authenticator of an Accounting-Response (RFC 2866 3 and 4.2)."""
    assert (reply.code, reply.identifier) == (ACCOUNTING_RESPONSE, request.data[1])
    assert int.from_bytes(reply.data[2:4], "big") == len(reply.data)
    expected = hashlib.md5(reply.data[:4] + request.authenticator + reply.data[20:] + request.secret).digest()
    assert reply.data[4:20] == expected, "wrong Response Authenticator"
    return reply
