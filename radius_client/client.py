"""A RADIUS client: a request goes out, and the one reply that answers it comes back.

Rules: requests carry Message-Authenticator first, and NAS-Identifier (RFC 2865 4.1 wants a name). A reply counts only
if it comes from the address that was asked, answers this request (Identifier, Response Authenticator), and is signed
with a right Message-Authenticator (CVE-2024-3596); any other is counted and treated as if it had never come, since
somebody else may have sent it before the true one. The same packet is sent again from the same port until an answer
comes or the time is up (RFC 5080 2.2.1). A password that RADIUS cannot carry is refused, never cut (CVE-2015-9542).
No Proxy-State is made up, and no name is looked up: servers are addresses.
"""

import hashlib
import hmac
import logging
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from radius_client.wire import (
    AUTHENTICATOR_OCTETS,
    HEADER,
    MAX_VALUE,
    Attribute,
    Code,
    Malformed,
    Packet,
    hidden,
    parse,
    request,
    signed,
)

_log = logging.getLogger("twofold.first_factor")

LONGEST_PASSWORD = 128  # octets; RFC 2865 5.2
_LARGEST_DATAGRAM = 65_535
_JITTER = 0.1  # of a wait, to either side: RAND of RFC 5080 2.2.1
_dice = secrets.SystemRandom()

_ANSWERS = {
    Code.ACCESS_REQUEST: frozenset({Code.ACCESS_ACCEPT, Code.ACCESS_REJECT, Code.ACCESS_CHALLENGE}),
    Code.STATUS_SERVER: frozenset({Code.ACCESS_ACCEPT}),  # RFC 5997 3
}
_HINTS = {
    "message-authenticator-missing": "the server must sign its replies (CVE-2024-3596): update it, or have it add "
    "Message-Authenticator",
    "response-authenticator-wrong": "the shared secrets differ, or somebody forges replies",
}


class NoReply(Exception):
    """No reply that counts came in time. `ignored` says why others did not count."""

    def __init__(self, text: str, ignored: "Counter[str] | None" = None) -> None:
        self.ignored = ignored or Counter()
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.ignored.items()))
        super().__init__(f"{text}; ignored: {reasons}" if reasons else text)


class CannotAsk(Exception):
    """RADIUS cannot carry such a name or password. The text does not repeat it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that was checked. `seconds` passed since the request was first sent."""

    code: Code
    attributes: tuple[tuple[int, bytes], ...] = field(repr=False)  # type and value, in order, without empty ones
    seconds: float
    signed_first: bool  # whether the Message-Authenticator, which is always there, came first

    def values(self, attribute: int) -> list[bytes]:
        return [value for kind, value in self.attributes if kind == attribute]

    @property
    def text(self) -> str:
        """All Reply-Messages, joined."""
        return b"".join(self.values(Attribute.REPLY_MESSAGE)).decode("utf-8", "replace")

    @property
    def state(self) -> bytes | None:
        return next(iter(self.values(Attribute.STATE)), None)


class RadiusClient:
    """Asks one server. Threads may share it: each request has a socket of its own."""

    def __init__(
        self,
        server: tuple[str, int],
        secret: bytes,
        nas_identifier: str = "twofold",
        source: str = "",
        retries: int = 2,
    ) -> None:
        self.server = server
        self.ignored: Counter[str] = Counter()  # replies that did not count, by reason
        self._secret = secret
        self._nas_identifier = nas_identifier
        self._source = source
        self._retries = retries
        self._counting = threading.Lock()

    def __str__(self) -> str:
        address, port = self.server
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

    def login(
        self,
        user: str,
        password: bytes,
        state: bytes | None = None,
        within: float = 5.0,
        attributes: Iterable[tuple[int, bytes]] = (),
    ) -> Reply:
        """Ask whether this is the user's password. `attributes` say more of the login, for example where it comes from.
        Raises CannotAsk, and NoReply after `within` seconds."""
        return self.exchange(self.packet(user, password, state, attributes), within)

    def packet(
        self,
        user: str,
        password: bytes,
        state: bytes | None = None,
        attributes: Iterable[tuple[int, bytes]] = (),
    ) -> Packet:
        """What `login` sends. Raises CannotAsk. Servers that share the secret and what they know can be handed the same
        one (`exchange`): they then know it for one login (RFC 2865 2.5)."""
        check_askable(user, password, answers=state is not None)
        authenticator = secrets.token_bytes(AUTHENTICATOR_OCTETS)
        asked = [
            (Attribute.USER_NAME, user.encode()),
            (Attribute.USER_PASSWORD, hidden(password, self._secret, authenticator)),
            *([] if state is None else [(Attribute.STATE, state)]),
            *attributes,
        ]
        return self._request(Code.ACCESS_REQUEST, authenticator, asked)

    def status(self, within: float = 5.0) -> Reply:
        """Ask whether the server is there (Status-Server, RFC 5997). Raises NoReply."""
        return self.exchange(self._request(Code.STATUS_SERVER, secrets.token_bytes(AUTHENTICATOR_OCTETS)), within)

    def _request(self, code: Code, authenticator: bytes, attributes: Iterable[tuple[int, bytes]] = ()) -> Packet:
        named = [*attributes, (Attribute.NAS_IDENTIFIER, self._nas_identifier.encode())]
        return parse(request(code, secrets.randbelow(256), authenticator, named, self._secret))

    def exchange(self, asked: Packet, within: float) -> Reply:
        """Send it until it is answered. Raises NoReply."""
        ignored: Counter[str] = Counter()
        began = until = time.monotonic()
        try:
            with self._connected() as sock:
                for wait in waits(within, self._retries):
                    sock.send(asked.data)
                    until += wait
                    if (packet := self._receive(sock, asked, until, ignored)) is not None:
                        return _reply(packet, time.monotonic() - began)
        except ConnectionRefusedError:
            raise NoReply("nothing listens there", ignored) from None
        except OSError as error:
            raise NoReply(str(error.strerror or error), ignored) from None
        raise NoReply(f"no reply within {within:.3g} s", ignored)

    def _connected(self) -> socket.socket:
        """Connected, so that the system drops datagrams from elsewhere and tells of a closed port. The system chooses a
        random port for each request: that is one thing more to guess for whoever forges replies."""
        sock = socket.socket(socket.AF_INET6 if ":" in self.server[0] else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            if self._source:
                sock.bind((self._source, 0))
            sock.connect(self.server)
        except BaseException:
            sock.close()
            raise
        return sock

    def _receive(self, sock: socket.socket, asked: Packet, until: float, ignored: "Counter[str]") -> Packet | None:
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                datagram = sock.recv(_LARGEST_DATAGRAM)
            except TimeoutError:
                break
            try:
                return answer(datagram, asked.code, asked.identifier, asked.authenticator, self._secret)
            except Malformed as error:
                ignored[error.reason] += 1
                self._ignore(error.reason)
        return None

    def _ignore(self, reason: str) -> None:
        with self._counting:
            self.ignored[reason] += 1
            first = self.ignored[reason] == 1
        if first:
            hint = _HINTS.get(reason, "it is damaged, late, or forged")
            _log.warning("a reply of RADIUS server %s is ignored: %s; %s (said once)", self, reason, hint)


def check_askable(user: str, password: bytes, answers: bool = False) -> None:
    """Raises CannotAsk. Only the answer to a challenge may be empty."""
    if not password and not answers:
        raise CannotAsk("an empty password proves nothing")
    try:
        name = user.encode()
    except UnicodeEncodeError:
        raise CannotAsk("the user name is not text") from None
    if not 1 <= len(name) <= MAX_VALUE:
        raise CannotAsk(f"a user name has 1 to {MAX_VALUE} octets in RADIUS")
    if len(password) > LONGEST_PASSWORD:
        raise CannotAsk(f"the password has {len(password)} octets; RADIUS carries {LONGEST_PASSWORD} at most")
    if b"\0" in password:
        raise CannotAsk("the password holds a NUL octet, which RADIUS would take for its end")


def waits(budget: float, retries: int, roll: Callable[[float, float], float] = _dice.uniform) -> list[float]:
    """How many seconds to wait after each sending. Each wait is twice the one before, more or less a little, so that
    many clients do not send in step; the last lasts until `budget` is used up (RFC 5080 2.2.1)."""
    first = budget / (2 ** (retries + 1) - 1)
    planned = [first * 2**number * (1 + roll(-_JITTER, _JITTER)) for number in range(retries)]
    return [*planned, budget - sum(planned)]


def answer(datagram: bytes, code: int, identifier: int, authenticator: bytes, secret: bytes) -> Packet:
    """The reply in `datagram` to the request with this code, Identifier and Request Authenticator. Raises Malformed."""
    packet = parse(datagram)
    if packet.identifier != identifier:
        raise Malformed("identifier-of-another")
    head, body = packet.data[:4], packet.data[HEADER:]
    expected = hashlib.md5(head + authenticator + body + secret, usedforsecurity=False).digest()  # RFC 2865 3
    if not hmac.compare_digest(expected, packet.authenticator):
        raise Malformed("response-authenticator-wrong")
    # RFC 3579 3.2: the signature of a reply is computed with the Request Authenticator in its place.
    if not signed(replace(packet, data=head + authenticator + body), secret):
        raise Malformed("message-authenticator-missing")
    if packet.code not in _ANSWERS[Code(code)]:
        raise Malformed("code-unexpected")
    return packet


def _reply(packet: Packet, seconds: float) -> Reply:
    kinds = [kind for kind, _, _ in packet.attributes]
    return Reply(
        code=Code(packet.code),
        attributes=tuple(_pairs(packet)),
        seconds=seconds,
        signed_first=kinds[:1] == [Attribute.MESSAGE_AUTHENTICATOR],
    )


def _pairs(packet: Packet) -> Iterable[tuple[int, bytes]]:
    return ((kind, value) for kind, _, value in packet.attributes if value)
