"""Accounting-Request -> one line of JSON -> Accounting-Response (RFC 2866). Translation only.

Rules: only attributes of this list are written down, each by its name, so that no password or key gets into the file;
of vendor attributes the octets, but for Microsoft's, which hold keys. An attribute whose length cannot be right makes
the whole packet be dropped (RFC 2866 5), also where the same would be overlooked in an Access-Request.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, NamedTuple

from radius_client.wire import AUTHENTICATOR_OCTETS, HEADER
from radius_server.attributes import MICROSOFT, Attribute, Code
from radius_server.clients import Signature, possible_secrets
from radius_server.packet import Malformed, Packet
from validation.model import Client


class _Form(NamedTuple):
    """What an attribute's value looks like: how many octets it may have, and how it is written down."""

    least: int
    most: int
    shown: Callable[[bytes], Any]


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _octets(value: bytes) -> str:
    return "0x" + value.hex()


TEXT = _Form(1, 253, _text)
OCTETS = _Form(1, 253, _octets)
NUMBER = _Form(4, 4, lambda value: int.from_bytes(value, "big"))
IPV4 = _Form(4, 4, lambda value: str(ip_address(value)))
IPV6 = _Form(16, 16, lambda value: str(ip_address(value)))
PREFIX = _Form(2, 18, _octets)
STATUS = {1: "Start", 2: "Stop", 3: "Interim-Update", 7: "Accounting-On", 8: "Accounting-Off"}
STATUS_TYPE = _Form(4, 4, lambda value: STATUS.get(int.from_bytes(value, "big"), int.from_bytes(value, "big")))

# RFC 2865 5, 2866 5, 2867 4, 2868 3, 2869 5, 3162 2, 4818 3, 6911 3.
WRITTEN: dict[int, tuple[str, _Form]] = {
    1: ("User-Name", TEXT),
    4: ("NAS-IP-Address", IPV4),
    5: ("NAS-Port", NUMBER),
    6: ("Service-Type", NUMBER),
    7: ("Framed-Protocol", NUMBER),
    8: ("Framed-IP-Address", IPV4),
    9: ("Framed-IP-Netmask", IPV4),
    11: ("Filter-Id", TEXT),
    12: ("Framed-MTU", NUMBER),
    14: ("Login-IP-Host", IPV4),
    15: ("Login-Service", NUMBER),
    25: ("Class", OCTETS),
    27: ("Session-Timeout", NUMBER),
    28: ("Idle-Timeout", NUMBER),
    30: ("Called-Station-Id", TEXT),
    31: ("Calling-Station-Id", TEXT),
    32: ("NAS-Identifier", TEXT),
    40: ("Acct-Status-Type", STATUS_TYPE),
    41: ("Acct-Delay-Time", NUMBER),
    42: ("Acct-Input-Octets", NUMBER),
    43: ("Acct-Output-Octets", NUMBER),
    44: ("Acct-Session-Id", TEXT),
    45: ("Acct-Authentic", NUMBER),
    46: ("Acct-Session-Time", NUMBER),
    47: ("Acct-Input-Packets", NUMBER),
    48: ("Acct-Output-Packets", NUMBER),
    49: ("Acct-Terminate-Cause", NUMBER),
    50: ("Acct-Multi-Session-Id", TEXT),
    51: ("Acct-Link-Count", NUMBER),
    52: ("Acct-Input-Gigawords", NUMBER),
    53: ("Acct-Output-Gigawords", NUMBER),
    55: ("Event-Timestamp", NUMBER),
    61: ("NAS-Port-Type", NUMBER),
    62: ("Port-Limit", NUMBER),
    64: ("Tunnel-Type", NUMBER),
    65: ("Tunnel-Medium-Type", NUMBER),
    66: ("Tunnel-Client-Endpoint", TEXT),
    67: ("Tunnel-Server-Endpoint", TEXT),
    68: ("Acct-Tunnel-Connection", TEXT),
    77: ("Connect-Info", TEXT),
    85: ("Acct-Interim-Interval", NUMBER),
    86: ("Acct-Tunnel-Packets-Lost", NUMBER),
    87: ("NAS-Port-Id", TEXT),
    88: ("Framed-Pool", TEXT),
    95: ("NAS-IPv6-Address", IPV6),
    96: ("Framed-Interface-Id", _Form(8, 8, _octets)),
    97: ("Framed-IPv6-Prefix", PREFIX),
    123: ("Delegated-IPv6-Prefix", PREFIX),
    168: ("Framed-IPv6-Address", IPV6),
}
_VENDOR_OCTETS = 4


def signature_of(packet: Packet, client: Client, now: float) -> Signature:
    """Under which secret the packet was made; `now` in epoch seconds. Raises Malformed for one that was made under
    none, and for a length that is not possible.

    RFC 2866 3: the Request Authenticator is MD5 over the packet, with 16 zero octets in its place, and the secret. The
    client's rule for Message-Authenticator is for Access-Request alone; one that is there must be right, computed over
    the same zeroes.
    """
    zeroed = packet.data[:4] + bytes(AUTHENTICATOR_OCTETS) + packet.data[HEADER:]
    secret = _secret(packet, zeroed, possible_secrets(client, now))
    _check_message_authenticator(packet, zeroed, secret)
    _check_lengths(packet)
    return Signature(True, (secret,))


def _secret(packet: Packet, zeroed: bytes, secrets: Iterable[bytes]) -> bytes:
    for secret in secrets:
        expected = hashlib.md5(zeroed + secret, usedforsecurity=False).digest()
        if hmac.compare_digest(expected, packet.authenticator):
            return secret
    raise Malformed("request-authenticator-wrong")


def _check_lengths(packet: Packet) -> None:
    for kind, _, value in packet.attributes:
        least, most, _ = WRITTEN[kind][1] if kind in WRITTEN else (1, 253, None)
        if not least <= len(value) <= most:
            raise Malformed("attribute-length")


def _check_message_authenticator(packet: Packet, zeroed: bytes, secret: bytes) -> None:
    for kind, at, value in packet.attributes:
        if kind != Attribute.MESSAGE_AUTHENTICATOR:
            continue
        data = zeroed[:at] + bytes(len(value)) + zeroed[at + len(value) :]
        if not hmac.compare_digest(hmac.digest(secret, data, "md5"), value):
            raise Malformed("message-authenticator-wrong")


def record(packet: Packet, client: Client, source: str, now: float) -> bytes:
    """The line for the file. An attribute that stands there more than once is a list."""
    attributes: dict[str, Any] = {}
    for kind, _, value in packet.attributes:
        name, shown = _written(kind, value)
        if not name:
            continue
        attributes[name] = [*_as_list(attributes[name]), shown] if name in attributes else shown
    when = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": when, "client": client.name, "from": source, "attributes": attributes}).encode() + b"\n"


def _written(kind: int, value: bytes) -> tuple[str, Any]:
    if kind in WRITTEN:
        name, form = WRITTEN[kind]
        return name, form.shown(value)
    vendor = int.from_bytes(value[:_VENDOR_OCTETS], "big")
    if kind == Attribute.VENDOR_SPECIFIC and len(value) > _VENDOR_OCTETS and vendor != MICROSOFT:
        return f"Vendor-{vendor}", _octets(value[_VENDOR_OCTETS:])
    return "", None


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def response(packet: Packet, secret: bytes) -> bytes:
    """The Accounting-Response: the request's Proxy-States in their order, and nothing else (RFC 2866 5.13).

    The reply to a Status-Server is signed by Message-Authenticator, too (RFC 5997 3); the table of RFC 2866 has none,
    and old clients do not know it here.
    """
    body = b""
    if packet.code == Code.STATUS_SERVER:
        body += bytes([Attribute.MESSAGE_AUTHENTICATOR, 2 + AUTHENTICATOR_OCTETS]) + bytes(AUTHENTICATOR_OCTETS)
    for value in packet.values(Attribute.PROXY_STATE):
        body += bytes([Attribute.PROXY_STATE, 2 + len(value)]) + value
    head = bytes([Code.ACCOUNTING_RESPONSE, packet.identifier]) + (HEADER + len(body)).to_bytes(2, "big")
    if packet.code == Code.STATUS_SERVER:
        mac = hmac.digest(secret, head + packet.authenticator + body, "md5")
        body = body[:2] + mac + body[2 + AUTHENTICATOR_OCTETS :]
    signature = hashlib.md5(head + packet.authenticator + body + secret, usedforsecurity=False).digest()
    return head + signature + body
