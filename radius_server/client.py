"""A small RADIUS client: one request, one checked reply. The demo uses it to log in like a gateway does.

Rules: requests carry Message-Authenticator; a reply counts only with a right Response Authenticator and a right
Message-Authenticator (CVE-2024-3596); a password over 128 octets is refused, never cut (CVE-2015-9542).
"""

import secrets
import socket
import time
from dataclasses import dataclass, field

from pyrad.packet import AccessRequest, AuthPacket, PacketError

from radius_server.attributes import Attribute, Code
from radius_server.packet import MAX_LENGTH


@dataclass(frozen=True, slots=True)
class Reply:
    code: Code
    text: str  # all Reply-Messages, joined
    state: bytes | None = field(repr=False)


class NoReply(Exception):
    """Nothing valid came back in time."""


def login(
    server: tuple[str, int], secret: bytes, user: str, password: str, state: bytes | None = None, timeout: float = 5.0
) -> Reply:
    """Send one Access-Request and wait for its reply. Raises NoReply, ValueError for an impossible password."""
    packet = AuthPacket(
        AccessRequest, secrets.randbelow(256), secret, secrets.token_bytes(16), message_authenticator=True
    )
    packet[int(Attribute.USER_NAME)] = [user.encode()]
    packet[int(Attribute.USER_PASSWORD)] = [packet.PwCrypt(password)]
    if state is not None:
        packet[int(Attribute.STATE)] = [state]
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect(server)  # so that a closed port is noticed at once
        sock.send(packet.RequestPacket())
        return _receive(sock, packet, time.monotonic() + timeout)


def _receive(sock: socket.socket, request: AuthPacket, until: float) -> Reply:
    while (left := until - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            data = sock.recv(MAX_LENGTH)
            reply = request.CreateReply(packet=data)
        except (OSError, PacketError) as error:
            if isinstance(error, PacketError):
                continue
            raise NoReply(f"no reply: {error}") from None
        if request.VerifyReply(reply, data, enforce_ma=True):
            return _reply(reply)
    raise NoReply("no reply in time")


def _reply(packet: AuthPacket) -> Reply:
    messages = packet.get(int(Attribute.REPLY_MESSAGE), [])
    states = packet.get(int(Attribute.STATE), [])
    text = b"".join(messages).decode("utf-8", "replace")
    return Reply(Code(packet.code), text, states[0] if states else None)
