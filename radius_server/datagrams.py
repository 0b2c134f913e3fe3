"""Many datagrams by one system call: recvmmsg(2), which Python does not know.

Why: while a thread decides logins, each call that lets go of the interpreter's lock may wait for it for milliseconds,
and a call for each datagram would let the socket run over. This one call never waits and does not let go of it.
"""

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator
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
    peer: tuple[str | int, ...]  # as of the socket module
    control: tuple[int, int, bytes] | None  # level, kind, value of the first control message


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


_SIZE = ctypes.sizeof(_Message)
_LENGTH = _Message.length.offset
_NAME_LENGTH = _Header.name_length.offset
_CONTROL_LENGTH = _Header.control_length.offset
_UINT = struct.Struct("@I")
_SIZE_T = struct.Struct("@N")
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
        self._control_octets = memoryview(self._controls).cast("B")
        self._seen = memoryview(self._messages).cast("B")

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
        return list(self._received(count))

    def _received(self, count: int) -> Iterator[Received]:
        for number in range(count):
            at = number * _SIZE
            (length,) = _UINT.unpack_from(self._seen, at + _LENGTH)
            (name_length,) = _UINT.unpack_from(self._seen, at + _NAME_LENGTH)
            data = self._octets[number * MOST : number * MOST + length].tobytes()
            yield Received(data, self._peer(number * _ROOM_FOR_NAME, name_length), self._control(number, at))

    def _peer(self, at: int, length: int) -> tuple[str | int, ...]:
        if length == _V4_LENGTH:
            _, port, address = _V4.unpack_from(self._names, at)
            return socket.inet_ntop(socket.AF_INET, address), port
        _, port, flow, address = _V6.unpack_from(self._names, at)
        (scope,) = _UINT.unpack_from(self._names, at + _V6.size)
        return socket.inet_ntop(socket.AF_INET6, address), port, flow, scope

    def _control(self, number: int, at: int) -> tuple[int, int, bytes] | None:
        (room,) = _SIZE_T.unpack_from(self._seen, at + _CONTROL_LENGTH)
        if room < _CONTROL.size:
            return None
        start = number * _ROOM_FOR_CONTROL
        length, level, kind = _CONTROL.unpack_from(self._controls, start)
        return level, kind, bytes(self._control_octets[start + _CONTROL.size : start + min(length, room)])
