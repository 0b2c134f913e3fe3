"""Which client a datagram comes from, and what its Message-Authenticator rule says. Pure.

Rules: a client is found by the source address of the datagram alone (RFC 2865 3), longest prefix first; an IPv4
address mapped into IPv6 is that IPv4 address. NAS-IP-Address and NAS-Identifier never choose a secret.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from radius_server.attributes import Attribute, Code
from radius_server.packet import Malformed, Packet, signed
from validation.model import Address, Client, MessageAuthenticatorRule

PEERS = 4096  # remembered with their client


def source_address(text: str) -> Address:
    """The address of a peer, without scope, IPv4 where it is IPv4 mapped into IPv6 (RFC 4291 2.5.5.2)."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class Sender(NamedTuple):
    address: str  # as `source_address` writes it
    client: Client | None


class ClientTable:
    """The clients of one moment, by address."""

    def __init__(self, clients: Iterable[Client] = (), generation: int = -1) -> None:
        self.generation = generation
        self._by_prefix: dict[tuple[int, int], dict[int, Client]] = {}
        for client in clients:
            network = client.network
            prefixes = self._by_prefix.setdefault((network.version, network.prefixlen), {})
            prefixes[int(network.network_address)] = client
        self._prefixes = sorted(self._by_prefix, key=lambda prefix: prefix[1], reverse=True)
        self._lately: dict[str, Sender] = {}

    def sender(self, peer: str) -> Sender:
        """Whose datagrams come from there. The last peers are remembered."""
        found = self._lately.get(peer)
        if found is None:
            if len(self._lately) >= PEERS:  # anybody can make them up
                self._lately.clear()
            address = source_address(peer)
            found = self._lately[peer] = Sender(str(address), self.find(address))
        return found

    def find(self, address: Address) -> Client | None:
        """The client with the longest prefix that holds `address`."""
        number = int(address)
        for version, length in self._prefixes:
            if version != address.version:
                continue
            client = self._by_prefix[version, length].get(number & _mask(address.max_prefixlen, length))
            if client is not None:
                return client
        return None


def _mask(bits: int, length: int) -> int:
    return ((1 << length) - 1) << (bits - length)


@dataclass(slots=True)
class Signature:
    """Whether a request carries a right Message-Authenticator, and under which secret it was written: while a client's
    secret is being changed there are two. Nobody changes it."""

    signed: bool
    possible: tuple[bytes, ...] = field(repr=False)  # one, if it is signed; else the first is the client's own

    @property
    def secret(self) -> bytes:
        return self.possible[0]


def possible_secrets(client: Client, now: float) -> tuple[bytes, ...]:
    """The client's own, and the old one until its time is over; `now` in epoch seconds."""
    overlap = client.old_secret and now < client.old_secret_until
    return (client.secret, client.old_secret) if overlap else (client.secret,)


def signature_of(packet: Packet, client: Client, now: float) -> Signature:
    """`now` in epoch seconds. Raises Malformed for a Message-Authenticator that is right under no secret."""
    secrets = possible_secrets(client, now)
    for secret in secrets[:-1]:
        try:
            if signed(packet, secret):
                return Signature(True, (secret,))
        except Malformed as error:
            if error.reason != "message-authenticator-wrong":
                raise
    return Signature(True, secrets[-1:]) if signed(packet, secrets[-1]) else Signature(False, secrets)


def check_signature_rule(packet: Packet, client: Client, signed: bool, must_sign: bool) -> None:
    """Raise Malformed if the packet lacks a Message-Authenticator that it must have.

    `must_sign`: an `auto` client has signed from this address before. Without a signature, Status-Server (RFC 5997 3),
    EAP-Message (RFC 3579 3.1) and, for `auto` clients, Proxy-State (CVE-2024-3596, `limit_proxy_state`) are dropped.
    """
    if signed:
        return
    rule = client.message_authenticator
    if rule is MessageAuthenticatorRule.REQUIRED or must_sign or packet.code == Code.STATUS_SERVER:
        raise Malformed("message-authenticator-missing")
    if packet.values(Attribute.EAP_MESSAGE):
        raise Malformed("eap-without-message-authenticator")
    if rule is MessageAuthenticatorRule.AUTO and packet.values(Attribute.PROXY_STATE):
        raise Malformed("proxy-state-without-message-authenticator")
