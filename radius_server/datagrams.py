"""Many datagrams by one system call: recvmmsg(2), which Python does not know.

Why: while a thread decides logins, each call that lets go of the interpreter's lock may wait for it for milliseconds,
and a call for each datagram would let the socket run over. This one call never waits and does not let go of it.
"""

import ctypes
import errno
import os
import socket
import struct
from typing import NamedTuple

AT_ONCE = 64
MOST = 65_535  # octets of a datagram
_ROOM_FOR_NAME = 28  # sockaddr_in6
_ROOM_FOR_CONTROL = 64
_V4_LENGTH = 16
_V4 = struct.Struct("!HH4s")  # sockaddr_in: the family in the host's order is not looked at
_V6 = struct.Struct("!HHI16s")  # sockaddr_in6, and then the interface in the host's order
_LIBC = ctypes.PyDLL(None, use_errno=True)


class Received(NamedTuple):
    data: bytes
    name: bytes  # who sent it, for `peer_in`
    control: bytes  # what the system says of it, for `control_in`


class _Vector(ctypes.Structure):  # struct iovec
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):  # struct msghdr, recvmsg(2)
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):  # struct mmsghdr
    _fields_ = (("header", _Header), ("length", ctypes.c_uint))


_UINTS, _SIZES = (ctypes.sizeof(_Message) // ctypes.sizeof(kind) for kind in (ctypes.c_uint, ctypes.c_size_t))
_LENGTH = _Message.length.offset // ctypes.sizeof(ctypes.c_uint)
_NAME_LENGTH = _Header.name_length.offset // ctypes.sizeof(ctypes.c_uint)
_CONTROL_LENGTH = _Header.control_length.offset // ctypes.sizeof(ctypes.c_size_t)
_UINT = struct.Struct("@I")
_CONTROL = struct.Struct("@Nii")  # struct cmsghdr, cmsg(3)


class Reader:
    """Reads one socket. Its memory is used again by each call, so what it hands out is copied."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._data = ctypes.create_string_buffer(AT_ONCE * MOST)
        self._names = ctypes.create_string_buffer(AT_ONCE * _ROOM_FOR_NAME)
        self._controls = ctypes.create_string_buffer(AT_ONCE * _ROOM_FOR_CONTROL)
        self._vectors = (_Vector * AT_ONCE)()
        self._messages = (_Message * AT_ONCE)()
        for number in range(AT_ONCE):
            self._prepare(number)
        self._fresh = bytes(self._messages)
        self._octets = memoryview(self._data).cast("B")
        self._name_octets = memoryview(self._names).cast("B")
        self._control_octets = memoryview(self._controls).cast("B")
        seen = memoryview(self._messages).cast("B")
        self._uints, self._sizes = seen.cast("I"), seen.cast("L")  # a size_t of Linux

    def _prepare(self, number: int) -> None:
        vector, header = self._vectors[number], self._messages[number].header
        vector.base, vector.length = ctypes.addressof(self._data) + number * MOST, MOST
        header.name = ctypes.addressof(self._names) + number * _ROOM_FOR_NAME
        header.name_length = _ROOM_FOR_NAME
        header.vectors, header.vector_count = ctypes.pointer(vector), 1
        header.control = ctypes.addressof(self._controls) + number * _ROOM_FOR_CONTROL
        header.control_length = _ROOM_FOR_CONTROL

    def read(self) -> list[Received]:
        """What is there now, at most AT_ONCE. Raises OSError."""
        ctypes.memmove(self._messages, self._fresh, len(self._fresh))  # the lengths say what there is room for
        count = _LIBC.recvmmsg(self._sock.fileno(), self._messages, AT_ONCE, socket.MSG_DONTWAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            if number in (errno.EAGAIN, errno.EINTR):
                return []
            raise OSError(number, os.strerror(number))
        return [self._received(number) for number in range(count)]

    def _received(self, number: int) -> Received:
        data, name, control = number * MOST, number * _ROOM_FOR_NAME, number * _ROOM_FOR_CONTROL
        at = number * _UINTS
        return Received(
            self._octets[data : data + self._uints[at + _LENGTH]].tobytes(),
            self._name_octets[name : name + self._uints[at + _NAME_LENGTH]].tobytes(),
            self._control_octets[control : control + self._sizes[number * _SIZES + _CONTROL_LENGTH]].tobytes(),
        )


def peer_in(name: bytes) -> tuple[str | int, ...]:
    """The address of a sender, as the socket module writes it."""
    if len(name) == _V4_LENGTH:
        _, port, address = _V4.unpack_from(name)
        return socket.inet_ntop(socket.AF_INET, address), port
    _, port, flow, address = _V6.unpack_from(name)
    (scope,) = _UINT.unpack_from(name, _V6.size)
    return socket.inet_ntop(socket.AF_INET6, address), port, flow, scope


def control_in(control: bytes) -> tuple[int, int, bytes] | None:
    """Level, kind and value of the first control message."""
    if len(control) < _CONTROL.size:
        return None
    length, level, kind = _CONTROL.unpack_from(control)
    return level, kind, control[_CONTROL.size : length]
