"""RADIUS on the wire: codes, attributes, the shape of a packet, its signature. The server and our own client share it.

Rules: a datagram is checked raw, in linear time, before any library sees it; what is malformed raises `Malformed` and
is treated as if it had never come. A wrong value inside a well-formed attribute is never a reason to drop (RFC 6929
2.8).
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache

HEADER = 20
MAX_LENGTH = 4096  # RFC 2865 3
MAX_VALUE = 253  # RFC 2865 5
AUTHENTICATOR_OCTETS = 16
_SECRETS = 256  # whose keyed hashes are kept


class Code(IntEnum):
    """Packet codes (RFC 2865 3, RFC 2866 3, RFC 5997 3)."""

    ACCESS_REQUEST = 1
    ACCESS_ACCEPT = 2
    ACCESS_REJECT = 3
    ACCOUNTING_REQUEST = 4
    ACCOUNTING_RESPONSE = 5
    ACCESS_CHALLENGE = 11
    STATUS_SERVER = 12


class Attribute(IntEnum):
    """Attribute types (RFC 2865 5, RFC 2869 5, RFC 3579 3)."""

    USER_NAME = 1
    USER_PASSWORD = 2
    CHAP_PASSWORD = 3
    NAS_IP_ADDRESS = 4
    SERVICE_TYPE = 6
    REPLY_MESSAGE = 18
    STATE = 24
    VENDOR_SPECIFIC = 26
    SESSION_TIMEOUT = 27
    IDLE_TIMEOUT = 28
    CALLED_STATION_ID = 30
    CALLING_STATION_ID = 31
    NAS_IDENTIFIER = 32
    PROXY_STATE = 33
    ARAP_PASSWORD = 70
    PROMPT = 76
    EAP_MESSAGE = 79
    MESSAGE_AUTHENTICATOR = 80
    NAS_IPV6_ADDRESS = 95
    ERROR_CAUSE = 101


SIGNATURE_TYPE = int(Attribute.MESSAGE_AUTHENTICATOR)  # compared with the type of each attribute
MICROSOFT = 311  # vendor id, RFC 2548
MS_CHAP_RESPONSE = 1
MS_CHAP2_RESPONSE = 25


class Malformed(Exception):
    """The datagram is no RADIUS packet that counts. `reason` is a word for counters and log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)  # frozen, it would take three times as long to make, and one is made of each datagram
class Packet:
    """A well-formed packet: header and attributes as they came, nothing interpreted, and nobody changes it."""

    code: int
    identifier: int
    authenticator: bytes = field(repr=False)
    data: bytes = field(repr=False)  # cut to its Length field
    attributes: tuple[tuple[int, int, bytes], ...] = field(repr=False)  # type, offset of the value, value

    _by_type: dict[int, list[bytes]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found: dict[int, list[bytes]] = {}
        for kind, _, value in self.attributes:
            if not value:
                continue
            if kind in found:
                found[kind].append(value)
            else:
                found[kind] = [value]
        self._by_type = found

    def values(self, attribute: int) -> list[bytes]:
        """All non-empty values of an attribute, in order. An empty one counts as absent (RFC 2865 5, R-013)."""
        return self._by_type.get(attribute, [])

    def has_any(self, attributes: frozenset[int]) -> bool:
        """Whether one of these is there, and not empty."""
        return not attributes.isdisjoint(self._by_type)

    def vendor_types(self, vendor: int) -> set[int]:
        """The vendor's sub-attribute types that occur; a VSA whose inner lengths do not add up has none."""
        prefix = vendor.to_bytes(4, "big")
        found: set[int] = set()
        for value in self.values(Attribute.VENDOR_SPECIFIC):
            if value[:4] == prefix:
                found |= {kind for kind, _ in sub_attributes(value[4:])}
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


def _attributes(data: bytes) -> list[tuple[int, int, bytes]]:
    found: list[tuple[int, int, bytes]] = []
    at, end = HEADER, len(data)
    while at < end:
        if at + 2 > end:
            raise Malformed("lone-octet")
        length = data[at + 1]
        if length < 2:  # RFC 6613 2.6.4; RFC 2865 5 would allow a Reject
            raise Malformed("attribute-length")
        behind = at + length
        if behind > end:
            raise Malformed("attribute-overrun")
        found.append((data[at], at + 2, data[at + 2 : behind]))
        at = behind
    return found


def sub_attributes(data: bytes) -> tuple[tuple[int, bytes], ...]:
    """What a VSA holds after its vendor (RFC 2865 5.26): types and values; nothing if their lengths do not add up."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        length = data[at + 1] if at + 1 < len(data) else 0
        if length < 2 or at + length > len(data):
            return ()
        found.append((data[at], data[at + 2 : at + length]))
        at += length
    return tuple(found)


def signed(packet: Packet, secret: bytes) -> bool:
    """Whether the packet carries a Message-Authenticator, which then is right.

    Raises Malformed if it is wrong, of another length than 16, or there are two (RFC 3579 3.2, R-030, R-031). Computed
    over the octets as they came, with the 16 octets zeroed; its position does not matter.
    """
    found = [(at, value) for kind, at, value in packet.attributes if kind == SIGNATURE_TYPE]
    if not found:
        return False
    if len(found) > 1:
        raise Malformed("message-authenticator-doubled")
    at, value = found[0]
    if len(value) != AUTHENTICATOR_OCTETS:
        raise Malformed("message-authenticator-length")
    zeroed = packet.data[:at] + bytes(AUTHENTICATOR_OCTETS) + packet.data[at + AUTHENTICATOR_OCTETS :]
    if not hmac.compare_digest(keyed(secret, zeroed), value):
        raise Malformed("message-authenticator-wrong")
    return True


def keyed(secret: bytes, data: bytes) -> bytes:
    """HMAC-MD5, which signs packets (RFC 3579 3.2)."""
    signing = _signing(secret).copy()
    signing.update(data)
    return signing.digest()


@lru_cache(maxsize=_SECRETS)
def _signing(secret: bytes) -> hmac.HMAC:
    """To copy: setting a key up takes longer than signing with it."""
    return hmac.new(secret, digestmod="md5")


def digest(data: bytes) -> bytes:
    """MD5, which RADIUS hides passwords and marks replies with (RFC 2865 3 and 5.2)."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def request(
    code: Code, identifier: int, authenticator: bytes, attributes: Iterable[tuple[int, bytes]], secret: bytes
) -> bytes:
    """A request with Message-Authenticator, which comes first, and these attributes. Raises ValueError for one that is
    too long, and for too many."""
    body = b"".join([encoded(kind, value) for kind, value in attributes])
    length = HEADER + len(NO_SIGNATURE) + len(body)
    if length > MAX_LENGTH:
        raise ValueError(f"a packet of {length} octets; RADIUS carries {MAX_LENGTH} at most")
    head = bytes([code, identifier]) + length.to_bytes(2, "big") + authenticator
    signature = keyed(secret, head + NO_SIGNATURE + body)
    return head + encoded(Attribute.MESSAGE_AUTHENTICATOR, signature) + body


def encoded(kind: int, value: bytes) -> bytes:
    """An attribute as it stands in a packet (RFC 2865 5). Raises ValueError for a value that is too long."""
    if len(value) > MAX_VALUE:
        raise ValueError(f"attribute {int(kind)} has {len(value)} octets; RADIUS carries {MAX_VALUE} at most")
    return bytes([kind, len(value) + 2]) + value


NO_SIGNATURE = encoded(Attribute.MESSAGE_AUTHENTICATOR, bytes(AUTHENTICATOR_OCTETS))  # as it is signed over


def hidden(password: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """A password as User-Password carries it (RFC 2865 5.2); an empty one takes a block, too."""
    padded = password + bytes(-len(password) % AUTHENTICATOR_OCTETS or (0 if password else AUTHENTICATOR_OCTETS))
    found, last = b"", authenticator
    for at in range(0, len(padded), AUTHENTICATOR_OCTETS):
        pad = digest(secret + last)
        last = bytes(a ^ b for a, b in zip(padded[at : at + AUTHENTICATOR_OCTETS], pad, strict=True))
        found += last
    return found
