"""Bytes into requests and replies into bytes.

Rules: what is malformed raises `Malformed` and gets silence; the shape and the signature of packets stand in
`radius_client.wire`, which our own client shares. Passwords are octets until they are decoded strictly. In a reply
Message-Authenticator comes first, the request's Proxy-States last and in their order. A plain reply, which holds only
what we make ourselves, is written here; one with attributes from elsewhere by pyrad. Both write the same octets.
"""

from collections.abc import Iterable
from ipaddress import ip_address

from pyrad.packet import AuthPacket

from radius_client.wire import (
    HEADER,
    MAX_LENGTH,
    MAX_VALUE,
    NO_SIGNATURE,
    Malformed,
    Packet,
    digest,
    encoded,
    keyed,
    parse,
    signed,
)
from radius_server.attributes import ALLOWED_IN_REPLY, Attribute, Code

__all__ = [
    "MAX_VALUE",
    "BadPassword",
    "Malformed",
    "Packet",
    "ReplyTooLong",
    "encode_reply",
    "names_its_nas",
    "parse",
    "signed",
    "unhide",
]


PLAIN = frozenset(
    {Attribute.USER_NAME, Attribute.REPLY_MESSAGE, Attribute.STATE, Attribute.PROMPT, Attribute.EAP_MESSAGE}
)


class ReplyTooLong(Exception):
    """The reply would pass 4096 octets (R-076)."""


def names_its_nas(packet: Packet) -> bool:
    """Whether a request says which NAS it is from, as it must (RFC 2865 4.1); a link-local address says nothing."""
    if packet.values(Attribute.NAS_IDENTIFIER):
        return True
    addresses = [*packet.values(Attribute.NAS_IP_ADDRESS), *packet.values(Attribute.NAS_IPV6_ADDRESS)]
    return any(len(octets) in (4, 16) and not ip_address(octets).is_link_local for octets in addresses)


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
        pad = digest(secret + previous)
        clear += (int.from_bytes(block, "big") ^ int.from_bytes(pad, "big")).to_bytes(16, "big")
        previous = block
    return bytes(clear).rstrip(b"\0")


def encode_reply(packet: Packet, secret: bytes, code: Code, attributes: Iterable[tuple[int, bytes]]) -> bytes:
    """The reply to `packet`: Message-Authenticator first, then `attributes`, then the request's Proxy-States. Those of
    one type stand together (RFC 2865 5 keeps the order within a type alone).

    Raises ReplyTooLong; ValueError for an attribute that may not stand in this reply, is empty or too long.
    """
    by_type: dict[int, list[bytes]] = {}
    allowed = ALLOWED_IN_REPLY[code]
    for kind, value in attributes:
        if kind not in allowed:
            raise ValueError(f"attribute {kind} may not stand in a reply of code {code}")
        if not 1 <= len(value) <= MAX_VALUE:
            raise ValueError(f"attribute {kind}: {len(value)} octets; 1 to {MAX_VALUE} are possible")
        by_type.setdefault(kind, []).append(value)
    written = written_here if by_type.keys() <= PLAIN else written_by_pyrad
    if proxy_states := packet.values(Attribute.PROXY_STATE):
        by_type[Attribute.PROXY_STATE] = proxy_states
    return written(packet, secret, code, by_type)


def written_here(packet: Packet, secret: bytes, code: Code, attributes: dict[int, list[bytes]]) -> bytes:
    """The octets of a reply. Both digests are computed with the Request Authenticator in the header: first
    Message-Authenticator, with zeroes in its own place (RFC 3579 3.2), then the Response Authenticator (RFC 2865 3).
    """
    body = b"".join([encoded(kind, value) for kind, values in attributes.items() for value in values])
    length = _fitting(HEADER + len(NO_SIGNATURE) + len(body))
    head = bytes([code, packet.identifier]) + length.to_bytes(2, "big")
    asked = head + packet.authenticator
    body = encoded(Attribute.MESSAGE_AUTHENTICATOR, keyed(secret, asked + NO_SIGNATURE + body)) + body
    return head + digest(asked + body + secret) + body


def written_by_pyrad(packet: Packet, secret: bytes, code: Code, attributes: dict[int, list[bytes]]) -> bytes:
    """The same. Not by pyrad's CreateReply, which decodes the request a second time, in quadratic time, and copies
    empty Proxy-States."""
    reply = AuthPacket(int(code), packet.identifier, secret, packet.authenticator, message_authenticator=True)
    for kind, values in attributes.items():
        reply[int(kind)] = values
    data: bytes = reply.ReplyPacket()
    _fitting(len(data))
    return data


def _fitting(length: int) -> int:
    if length > MAX_LENGTH:
        raise ReplyTooLong(f"the reply would have {length} octets")
    return length
