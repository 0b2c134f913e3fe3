"""Sockets: where datagrams come in, and how a reply leaves from the address that was asked.

Rules: the kernel says for each datagram which of our addresses it was sent to, and a reply leaves from there, also
where one socket is bound to all addresses (RFC 2865 3: the ports and addresses are reversed). IPv4 and IPv6 are always
two sockets: `[::]` means IPv6 alone. No socket can be shared by another user.
"""

import contextlib
import socket
import struct
from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple

from radius_server.datagrams import Reader, control_in, peer_in
from store.config import Listen
from validation.errors import BadInput

# Some 2,500 requests. More would not be answered sooner: under a load that does not end the buffer is always full, and
# everybody would wait in it.
RECEIVE_BUFFER = 1024 * 1024
WAYS = 4096  # that a door keeps: most datagrams come by one that others have come by
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_IP_PKTINFO = 8  # linux/in.h; Python names it from 3.14 on
_V4 = struct.Struct("=i4s4s")  # ip(7): interface, local address, destination in the header
_V6 = struct.Struct("=16si")  # ipv6(7): destination, interface


class Role(StrEnum):
    """What a port is for (RFC 2865 3, RFC 2866 3)."""

    AUTHENTICATION = "authentication"
    ACCOUNTING = "accounting"


class Way(NamedTuple):
    """The way of one datagram: the reply takes it back."""

    door: "Door"
    peer: tuple[str | int, ...]
    local: bytes = b""  # the address of ours it was sent to; empty where the door has only one
    interface: int = 0

    @property
    def flow(self) -> tuple[object, ...]:
        """Tells flows apart (RFC 5080 2.2.2); a door that is bound anew is the same one."""
        return self.door.name, self.local, *self.peer


class Door:
    """A bound socket. Raises BadInput if `listen` cannot be bound."""

    def __init__(self, listen: Listen, role: Role = Role.AUTHENTICATION, beside: "Sequence[Door]" = ()) -> None:
        """`beside`: doors of ours that may stay open at an address of this one until it has taken their place."""
        self.listen = listen
        self.role = role
        self._v6 = ":" in listen.address
        family = socket.AF_INET6 if self._v6 else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._prepare()
            with _shared([self.sock, *(door.sock for door in beside if not door.closed)]):
                self.sock.bind((listen.address, listen.port))
        except OSError as error:
            self.sock.close()
            raise BadInput(f"cannot listen on {listen}: {error.strerror}; choose another with --listen") from None
        self.bound = Listen(*self.sock.getsockname()[:2])
        self.name = str(self.bound)
        self._reader = Reader(self.sock)
        self._way = lru_cache(maxsize=WAYS)(self._new_way)
        self._all = self.bound.address in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
        if self._all:
            self._ask_for_addresses()

    def _prepare(self) -> None:
        if self._v6:
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        with contextlib.suppress(OSError):  # past net.core.rmem_max, if we may
            self.sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)

    def _ask_for_addresses(self) -> None:
        if self._v6:
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            self.sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)

    def receive(self) -> list[tuple[bytes, Way]]:
        """The datagrams that are there now, or the first of many, each with its way. Raises OSError."""
        return [(data, self._way(name, control)) for data, name, control in self._reader.read()]

    def _new_way(self, name: bytes, control: bytes) -> Way:
        peer, told = peer_in(name), control_in(control)
        if told is None:
            return Way(self, peer)
        level, kind, value = told
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            return Way(self, peer, _V4.unpack(value)[1])
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return Way(self, peer, *_V6.unpack(value))
        return Way(self, peer)

    def send(self, data: bytes, way: Way) -> None:
        """Back along `way`. Raises OSError."""
        if way.local:
            self.sock.sendmsg([data], _from(way.local, way.interface), 0, way.peer)
        else:
            self.sock.sendto(data, way.peer)

    def covers(self, other: "Door") -> bool:
        """Whether this one gets what is sent to `other` when that is closed."""
        same = (self.role, self.bound.port, self.sock.family) == (other.role, other.bound.port, other.sock.family)
        return same and self._all

    def close(self) -> None:
        self.sock.close()

    @property
    def is_for_accounting(self) -> bool:
        return self.role is Role.ACCOUNTING

    @property
    def closed(self) -> bool:
        return self.sock.fileno() < 0


@lru_cache(maxsize=64)  # a host has few addresses
def _from(local: bytes, interface: int) -> list[tuple[int, int, bytes]]:
    """The control message that chooses the address a reply leaves from."""
    if len(local) == 4:  # no interface: the way back may be another one
        return [(socket.IPPROTO_IP, _IP_PKTINFO, _V4.pack(0, local, bytes(4)))]
    address = IPv6Address(local)
    if address.is_multicast:  # cannot be left from; the system chooses
        return []
    interface = interface if address.is_link_local else 0
    return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _V6.pack(local, interface))]


@contextlib.contextmanager
def _shared(socks: Sequence[socket.socket]) -> Iterator[None]:
    """For this moment `socks` may be bound to addresses that overlap: all of them to one that has been one of all.

    SO_REUSEPORT lets sockets of this user alone come in between. SO_REUSEADDR would let any local user take our
    datagrams (measured), so it is never set.
    """
    if len(socks) == 1:
        yield
        return
    _reuse(socks, 1)
    try:
        yield
    finally:
        _reuse(socks, 0)


def _reuse(socks: Sequence[socket.socket], value: int) -> None:
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, value)
