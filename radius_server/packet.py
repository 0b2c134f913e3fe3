"""Bytes into requests and replies into bytes.

Rules: a datagram is checked raw, in linear time, before any library sees it; what is malformed raises `Malformed`
and gets silence. A wrong value inside a well-formed attribute is never a reason to drop (RFC 6929 2.8). Passwords
are octets until they are decoded strictly. Replies are encoded by pyrad: Message-Authenticator first, the request's
Proxy-States last and in their order.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

from pyrad.packet import AuthPacket

from radius_server.attributes import ALLOWED_IN_REPLY, Attribute, Code

HEADER = 20
MAX_LENGTH = 4096  # RFC 2865 3
MAX_VALUE = 253  # RFC 2865 5
AUTHENTICATOR_OCTETS = 16


class Malformed(Exception):
    """The datagram is no RADIUS packet we may answer. `reason` is a word for counters and log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ReplyTooLong(Exception):
    """The reply would pass 4096 octets (R-076)."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A well-formed request: header and attributes as they came, nothing interpreted."""

    code: int
    identifier: int
    authenticator: bytes = field(repr=False)
    data: bytes = field(repr=False)  # cut to its Length field
    attributes: tuple[tuple[int, int, bytes], ...] = field(repr=False)  # type, offset of the value, value

    def values(self, attribute: int) -> list[bytes]:
        """All non-empty values of an attribute, in order. An empty one counts as absent (RFC 2865 5, R-013)."""
        return [value for kind, _, value in self.attributes if kind == attribute and value]

    def vendor_types(self, vendor: int) -> set[int]:
        """The vendor's sub-attribute types that occur; a VSA whose inner lengths do not add up has none."""
        prefix = vendor.to_bytes(4, "big")
        found: set[int] = set()
        for value in self.values(Attribute.VENDOR_SPECIFIC):
            if value[:4] == prefix:
                found |= _sub_types(value[4:])
        return found


def parse(datagram: bytes) -> Packet:
    """Check the shape of a datagram (RFC 2865 3 and 5). Raises Malformed. Octets past Length are padding."""
    if len(datagram) < HEADER:
        raise Malformed("shorter-than-header")
    length = int.from_bytes(datagram[2:4], "big")
    if not HEADER <= length <= MAX_LENGTH:
        raise Malformed("length-out-of-range")
    if len(datagram) < length:
        raise Malformed("shorter-than-length")
    data = bytes(datagram[:length])
    return Packet(data[0], data[1], data[4:HEADER], data, tuple(_attributes(data)))


def _attributes(data: bytes) -> Iterable[tuple[int, int, bytes]]:
    at = HEADER
    while at < len(data):
        if at + 2 > len(data):
            raise Malformed("lone-octet")
        length = data[at + 1]
        if length < 2:  # RFC 6613 2.6.4; RFC 2865 5 would allow a Reject
            raise Malformed("attribute-length")
        if at + length > len(data):
            raise Malformed("attribute-overrun")
        yield data[at], at + 2, data[at + 2 : at + length]
        at += length


def _sub_types(data: bytes) -> set[int]:
    found: set[int] = set()
    at = 0
    while at < len(data):
        length = data[at + 1] if at + 1 < len(data) else 0
        if length < 2 or at + length > len(data):
            return set()
        found.add(data[at])
        at += length
    return found


def signed(packet: Packet, secret: bytes) -> bool:
    """Whether the packet carries a Message-Authenticator, which then is right.

    Raises Malformed if it is wrong, of another length than 16, or there are two (RFC 3579 3.2, R-030, R-031). Computed
    over the octets as they came, with the 16 octets zeroed; its position does not matter.
    """
    found = [(at, value) for kind, at, value in packet.attributes if kind == Attribute.MESSAGE_AUTHENTICATOR]
    if not found:
        return False
    if len(found) > 1:
        raise Malformed("message-authenticator-doubled")
    at, value = found[0]
    if len(value) != AUTHENTICATOR_OCTETS:
        raise Malformed("message-authenticator-length")
    zeroed = packet.data[:at] + bytes(AUTHENTICATOR_OCTETS) + packet.data[at + AUTHENTICATOR_OCTETS :]
    if not hmac.compare_digest(hmac.digest(secret, zeroed, "md5"), value):
        raise Malformed("message-authenticator-wrong")
    return True


class BadPassword(Exception):
    """A User-Password that cannot be one. `reason` is a phrase for the log, without the password."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def unhide(hidden: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """The password in a User-Password value, without its NUL padding (RFC 2865 5.2). Raises BadPassword.

    Each 16-octet block was XORed with MD5(secret + previous hidden block), the first with MD5(secret + authenticator).
    A NUL that is not padding stays, so that `abc` and `abc\\0def` differ.
    """
    if not 16 <= len(hidden) <= 128 or len(hidden) % 16:
        raise BadPassword(f"User-Password of {len(hidden)} octets; 16 to 128 in steps of 16 are possible")
    clear = bytearray()
    previous = authenticator
    for at in range(0, len(hidden), 16):
        block = hidden[at : at + 16]
        pad = hashlib.md5(secret + previous, usedforsecurity=False).digest()
        clear += bytes(a ^ b for a, b in zip(block, pad, strict=True))
        previous = block
    return bytes(clear).rstrip(b"\0")


def encode_reply(packet: Packet, secret: bytes, code: Code, attributes: Iterable[tuple[int, bytes]]) -> bytes:
    """The reply to `packet`: Message-Authenticator first, then `attributes`, then the request's Proxy-States.

    Raises ReplyTooLong; ValueError for an attribute that may not stand in this reply, is empty or too long.
    """
    # Not pyrad's CreateReply: it decodes the request a second time, in quadratic time, and copies empty Proxy-States.
    reply = AuthPacket(int(code), packet.identifier, secret, packet.authenticator, message_authenticator=True)
    for kind, value in attributes:
        if kind not in ALLOWED_IN_REPLY[code]:
            raise ValueError(f"attribute {kind} may not stand in a reply of code {code}")
        if not 1 <= len(value) <= MAX_VALUE:
            raise ValueError(f"attribute {kind}: {len(value)} octets; 1 to {MAX_VALUE} are possible")
        reply[int(kind)] = [*reply.get(int(kind), []), value]
    if proxy_states := packet.values(Attribute.PROXY_STATE):
        reply[int(Attribute.PROXY_STATE)] = proxy_states
    data: bytes = reply.ReplyPacket()
    if len(data) > MAX_LENGTH:
        raise ReplyTooLong(f"the reply would have {len(data)} octets")
    return data
