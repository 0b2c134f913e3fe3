"""Security keys plugged into this machine: finding them, and talking to one without ever waiting for ever.

Rules: one bad device hides no other. Every wait for a device has an end: a second without a packet for us, the time a
caller sets, or half a second after he stopped; and stopping tells the key, so that it blinks no longer. Packets for
other programs are passed over, since Linux shows each reader all of them. One conversation at a time has a key. What
cannot be opened is one line in the log, with the errno, for the admin who gets "no key" for it.
"""

import logging
import os
import select
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import ENODEV
from typing import Protocol

from fido2.hid import CTAPHID, CtapHidDevice
from fido2.hid.base import CtapHidConnection, HidDescriptor
from fido2.hid.linux import get_descriptor

from pam_helper.key_outcomes import Closed, Plugged
from pam_helper.owner import rights_of_this_process

_log = logging.getLogger("twofold.pam")
logging.getLogger("fido2").setLevel(logging.WARNING)  # below that it writes down packets, whatever we are told to say

QUIET = 1.0  # seconds; a key at work says so every 100 ms
STOPPING = 0.5
_SLICE = 0.1
_COMPLAIN_EVERY = 60.0
_PACKETS = range(8, 1025)  # sizes that make sense
_BROADCAST = b"\xff\xff\xff\xff"
_START = 0x80


class NotAKey(Exception):
    """Some other device, as most are."""


class CannotOpen(Exception):
    def __init__(self, closed: Closed) -> None:
        super().__init__(closed)
        self.closed = closed


class Mute(Exception):
    """No packet for us in time."""


class InUse(Exception):
    """Another conversation had the key until our time was over."""


class Bus(Protocol):
    """Where keys are plugged in."""

    def plugged(self) -> list[Plugged]:
        """In the order of paths; without touching a device."""

    def describe(self, path: str) -> HidDescriptor:
        """ValueError: it is no security key."""

    def open(self, path: str) -> int:
        """A descriptor to read and write packets."""


class Hidraw:
    """Linux."""

    def plugged(self) -> list[Plugged]:
        try:
            with os.scandir("/dev") as entries:
                found = [Plugged(entry.path, entry.inode()) for entry in entries if entry.name.startswith("hidraw")]
        except OSError:
            return []
        return sorted(found, key=lambda one: (len(one.path), one.path))

    def describe(self, path: str) -> HidDescriptor:
        described: HidDescriptor = get_descriptor(path)
        return described

    def open(self, path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


HIDRAW = Hidraw()


class Connection(CtapHidConnection):
    """python-fido2's way to a device, which never waits past `until` (by the monotonic clock)."""

    def __init__(self, handle: int, packet: int, stop: threading.Event, until: float) -> None:
        self.until = until
        self._handle = handle
        self._packet = packet
        self._stop = stop
        self._stopping = False
        self._channel = _BROADCAST
        self._nonce = b""

    def write_packet(self, data: bytes) -> None:
        self._channel = data[:4]
        if self._channel == _BROADCAST:
            self._nonce = data[7:15]
        self._await(select.POLLOUT, self.until)
        self._put(data)

    def read_packet(self) -> bytes:
        quiet = time.monotonic() + QUIET
        while True:
            try:
                self._await(select.POLLIN, quiet)
            except Mute:
                self._cancel()  # it may blink all the same
                raise
            packet = os.read(self._handle, self._packet)
            if not packet:
                raise OSError(ENODEV, os.strerror(ENODEV))
            if self._is_ours(packet):
                return packet

    def close(self) -> None:
        os.close(self._handle)

    def _put(self, data: bytes) -> None:
        # Linux wants the number of the report in front.
        if os.write(self._handle, b"\0" + data) != len(data) + 1:
            raise OSError(ENODEV, os.strerror(ENODEV))

    def _is_ours(self, packet: bytes) -> bool:
        if len(packet) < _PACKETS.start or packet[:4] != self._channel:
            return False
        return self._channel != _BROADCAST or packet[7:15] == self._nonce or packet[4] == _START | CTAPHID.ERROR

    def _await(self, event: int, quiet: float) -> None:
        poller = select.poll()
        poller.register(self._handle, event)
        while True:
            if self._stop.is_set() and not self._stopping:
                self._stopping = True
                self.until = min(self.until, time.monotonic() + STOPPING)
            left = min(quiet, self.until) - time.monotonic()
            if left <= 0:
                raise Mute
            if poller.poll(min(left, _SLICE) * 1000):
                return

    def _cancel(self) -> None:
        """python-fido2 cancels when the next packet has come; a key that says nothing is told here."""
        if self._channel != _BROADCAST:
            cancel = self._channel + bytes([_START | CTAPHID.CANCEL])
            self._put(cancel.ljust(self._packet, b"\0"))


_locks: dict[str, threading.Lock] = {}
_complained: dict[Closed, float] = {}
_guard = threading.Lock()


@contextmanager
def alone(path: str, stop: threading.Event, until: float, waiting: Callable[[], None]) -> Iterator[None]:
    """The only conversation with this key; `waiting` is called if that takes a while. Raises InUse."""
    with _guard:
        lock = _locks.setdefault(path, threading.Lock())
    if not lock.acquire(timeout=_SLICE):
        waiting()
        while not lock.acquire(timeout=_SLICE):
            if stop.is_set() or time.monotonic() > until:
                raise InUse
    try:
        yield
    finally:
        lock.release()


@contextmanager
def opened(bus: Bus, path: str, stop: threading.Event, until: float) -> Iterator[tuple[CtapHidDevice, Connection]]:
    """Raises NotAKey and CannotOpen; talking may raise Mute, OSError and what python-fido2 raises."""
    descriptor, handle = _open(bus, path)
    connection = Connection(handle, descriptor.report_size_in, stop, until)
    try:
        yield CtapHidDevice(descriptor, connection), connection
    finally:
        connection.close()


def _open(bus: Bus, path: str) -> tuple[HidDescriptor, int]:
    try:
        with rights_of_this_process():  # a key belongs to root, not to the owner of the store
            descriptor = bus.describe(path)
            if descriptor.report_size_in not in _PACKETS or descriptor.report_size_out not in _PACKETS:
                raise NotAKey
            return descriptor, bus.open(path)
    except (ValueError, struct.error):
        raise NotAKey from None
    except OSError as error:
        closed = Closed(path, error.errno or 0)
        _complain(closed)
        raise CannotOpen(closed) from None


def _complain(closed: Closed) -> None:
    now = time.monotonic()
    with _guard:
        last = _complained.get(closed)
        if last is not None and now - last < _COMPLAIN_EVERY:
            return
        _complained[closed] = now
    _log.warning("security key: cannot open %s: %s [errno %d]", closed.path, os.strerror(closed.errno), closed.errno)
