"""CTAPHID on the key's side (CTAP 2.1, 11.2), over a socket that carries one packet in each message.

Rules: a packet has 64 octets, or 65 with the report number that Linux wants in front of it. What the key says while it
works goes out at once when it changes and every 80 ms otherwise. A key that is at work answers "busy" to every other
channel, on every connection. Locking is not supported.
"""

import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from fido2.ctap import STATUS, CtapError
from fido2.hid import CAPABILITY, CTAPHID, CtapHidDevice
from fido2.hid.base import CtapHidConnection, HidDescriptor

from tests.software_key import u2f
from tests.software_key.authenticator import SoftwareKey, seen_of
from tests.software_key.call import Call
from tests.software_key.knobs import Fault
from tests.software_key.log import Command, Seen

PACKET = 64
FIRST, NEXT = PACKET - 7, PACKET - 5
LONGEST = FIRST + 128 * NEXT
BROADCAST = 0xFFFFFFFF
START = 0x80
KEEPALIVE_EVERY = 0.08
VENDOR, PRODUCT = 0x1209, 0xF1D0
ERR = CtapError.ERR


def packets(channel: int, command: int, payload: bytes) -> Iterator[bytes]:
    first = struct.pack(">IBH", channel, START | command, len(payload)) + payload[:FIRST]
    yield first.ljust(PACKET, b"\0")
    for number, at in enumerate(range(FIRST, len(payload), NEXT)):
        yield (struct.pack(">IB", channel, number) + payload[at : at + NEXT]).ljust(PACKET, b"\0")


@dataclass
class Incoming:
    """A message of which not all packets are here yet."""

    channel: int
    command: int
    length: int
    payload: bytes
    until: float
    packets: int = 0

    @property
    def complete(self) -> bool:
        return len(self.payload) >= self.length


class Session:
    """One connection to a key: what one opened /dev/hidraw file is. `run` returns when either side closes it."""

    def __init__(self, key: SoftwareKey, wire: socket.socket, vanish: Callable[[], None] | None = None) -> None:
        self._key = key
        self._wire = wire
        self._vanish = vanish
        self._sending = threading.Lock()
        self._closed = threading.Event()
        self._channels: set[int] = set()
        self._incoming: Incoming | None = None
        self._call: Call | None = None
        self._call_channel = 0

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self.run, name="software-key", daemon=True)
        thread.start()
        return thread

    def run(self) -> None:
        self._wire.settimeout(KEEPALIVE_EVERY)
        try:
            while packet := self._read():
                self._take(packet)
        except OSError:
            pass  # the other side, or `hang_up`, closed it
        finally:
            self._close()

    def hang_up(self) -> None:
        with self._sending, suppress(OSError):  # closed already
            self._wire.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        with self._sending:
            if self._call is not None:
                self._call.abandon()
            self._wire.close()
        self._closed.set()

    def _read(self) -> bytes:
        while True:
            try:
                packet = self._wire.recv(PACKET + 1)
            except TimeoutError:
                self._tick()
                continue
            return packet[1:] if len(packet) == PACKET + 1 else packet

    def _tick(self) -> None:
        """What is due when nothing comes in."""
        if self._call is not None:
            self._say(self._call, self._call.status)
        if self._incoming is not None and time.monotonic() > self._incoming.until:
            channel, self._incoming = self._incoming.channel, None
            self._refuse(channel, ERR.TIMEOUT)

    # --- Packets into messages

    def _take(self, packet: bytes) -> None:
        if len(packet) != PACKET:
            return
        channel, head = struct.unpack_from(">IB", packet)
        if head & START:
            self._take_first(channel, head & ~START, packet)
        else:
            self._take_next(channel, head, packet)
        if self._incoming is not None and self._incoming.complete:
            message, self._incoming = self._incoming, None
            self._take_message(message)

    def _take_first(self, channel: int, command: int, packet: bytes) -> None:
        (length,) = struct.unpack_from(">H", packet, 5)
        known = channel in self._channels
        if command == CTAPHID.CANCEL:
            self._cancel(channel)
        elif not known and not (channel == BROADCAST and command == CTAPHID.INIT):
            self._refuse(channel, ERR.INVALID_CHANNEL)
        elif self._incoming is not None and self._incoming.channel != channel:
            self._refuse(channel, ERR.CHANNEL_BUSY)
        elif length > LONGEST:
            self._refuse(channel, ERR.INVALID_LENGTH)
        elif self._incoming is not None and command != CTAPHID.INIT:
            self._incoming = None
            self._refuse(channel, ERR.INVALID_SEQ)
        else:
            self._incoming = Incoming(
                channel, command, length, packet[7 : 7 + length], until=time.monotonic() + self._key.knobs.rest_within
            )

    def _take_next(self, channel: int, number: int, packet: bytes) -> None:
        incoming = self._incoming
        if incoming is None or incoming.channel != channel:
            return  # stray ones are ignored
        if number != incoming.packets:
            self._incoming = None
            self._refuse(channel, ERR.INVALID_SEQ)
            return
        incoming.packets += 1
        incoming.payload += packet[5 : 5 + incoming.length - len(incoming.payload)]

    def _cancel(self, channel: int) -> None:
        call = self._call
        if call is not None and channel == self._call_channel and not call.cancelled.is_set():
            call.cancelled.set()
            self._key.log.cancel()

    # --- Messages

    def _take_message(self, message: Incoming) -> None:
        seen = _seen(message)
        self._key.log.note(seen)
        fault = self._key.knobs.fault_for(seen.command)
        if fault is Fault.MUTE:
            return
        match message.command:
            case CTAPHID.INIT:
                self._answer(message, self._init(message), fault)
            case CTAPHID.PING | CTAPHID.WINK:
                self._answer(message, message.payload, fault)
            case CTAPHID.CBOR if self._key.speaks_ctap2:
                self._begin(message, fault, self._key.ctap2)
            case CTAPHID.MSG if self._key.speaks_u2f:
                self._begin(message, fault, lambda payload, _: self._key.u2f(payload))
            case _:
                self._refuse(message.channel, ERR.INVALID_COMMAND)

    def _init(self, message: Incoming) -> bytes:
        channel = message.channel
        if channel == BROADCAST:
            channel = int.from_bytes(os.urandom(4), "big") % (BROADCAST - 1) + 1
            self._channels.add(channel)
        elif self._call is not None and self._call_channel == channel:
            self._call.abandon()  # INIT puts a channel back to its beginning
        capabilities = CAPABILITY.WINK
        capabilities |= CAPABILITY.CBOR if self._key.speaks_ctap2 else CAPABILITY(0)
        capabilities |= CAPABILITY(0) if self._key.speaks_u2f else CAPABILITY.NMSG
        return message.payload[:8] + struct.pack(">IBBBBB", channel, 2, 1, 0, 0, capabilities)

    def _begin(self, message: Incoming, fault: Fault, work: Callable[[bytes, Call], bytes]) -> None:
        if not self._key.in_use.acquire(blocking=False):
            self._refuse(message.channel, ERR.CHANNEL_BUSY)
            return
        call = Call(lambda status: self._say(call, status))
        self._call, self._call_channel = call, message.channel
        target = self._never_finish if fault is Fault.ENDLESS_KEEPALIVE else self._finish
        threading.Thread(target=target, args=(message, fault, work, call), name="software-key", daemon=True).start()

    def _finish(self, message: Incoming, fault: Fault, work: Callable[[bytes, Call], bytes], call: Call) -> None:
        try:
            answer = work(message.payload, call)
        finally:
            with self._sending:
                self._call = None
            self._key.in_use.release()
        if not call.abandoned:
            with suppress(OSError):  # nobody is there any more
                self._answer(message, answer, fault)

    def _never_finish(self, message: Incoming, fault: Fault, work: Callable[[bytes, Call], bytes], call: Call) -> None:
        """The keepalives come from `_tick`."""
        self._closed.wait()
        self._key.in_use.release()

    # --- Out

    def _answer(self, message: Incoming, payload: bytes, fault: Fault) -> None:
        channel = message.channel ^ 1 if fault is Fault.WRONG_CHANNEL else message.channel
        if fault is Fault.GARBAGE_CBOR:
            payload = b"\0\xff\xff\xff"
        out = list(packets(channel, message.command, payload))
        if fault is Fault.GARBAGE:
            out = [struct.pack(">I", channel) + bytes([0xA5]) * (PACKET - 4)] * len(out)
        if fault is Fault.VANISH:
            out = out[:-1][:1]
        self._send(*out)
        if fault is Fault.VANISH:
            (self._vanish or self.hang_up)()

    def _refuse(self, channel: int, error: int) -> None:
        self._send(*packets(channel, CTAPHID.ERROR, bytes([error])))

    def _say(self, call: Call, status: STATUS) -> None:
        with self._sending, suppress(OSError):  # nobody is there any more; the read says so
            if self._call is call:
                self._put(*packets(self._call_channel, CTAPHID.KEEPALIVE, bytes([status])))

    def _send(self, *out: bytes) -> None:
        with self._sending:
            self._put(*out)

    def _put(self, *out: bytes) -> None:
        for packet in out:
            self._wire.send(packet)


def _seen(message: Incoming) -> Seen:
    match message.command:
        case CTAPHID.CBOR:
            return seen_of(message.payload)
        case CTAPHID.MSG:
            return u2f.seen(message.payload)
        case CTAPHID.INIT:
            return Seen(Command.INIT)
        case CTAPHID.PING:
            return Seen(Command.PING)
        case CTAPHID.WINK:
            return Seen(Command.WINK)
        case _:
            return Seen(Command.UNKNOWN)


# --- Plugged into this process


class SocketConnection(CtapHidConnection):
    """python-fido2's end of a socket. A key that is gone gives the error that Linux gives."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire

    def fileno(self) -> int:
        return self._wire.fileno()

    def read_packet(self) -> bytes:
        with suppress(ConnectionResetError):
            if packet := self._wire.recv(PACKET):
                return packet
        raise OSError(errno.EIO, "the key is gone")

    def write_packet(self, data: bytes) -> None:
        try:
            self._wire.send(data)
        except (BrokenPipeError, ConnectionResetError):
            raise OSError(errno.ENODEV, "the key is gone") from None

    def close(self) -> None:
        self._wire.close()


def connect(key: SoftwareKey) -> SocketConnection:
    """A connection alone, for a key that answers no INIT."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    Session(key, theirs).start()
    return SocketConnection(ours)


def descriptor(key: SoftwareKey, path: str = "/dev/hidraw-in-process") -> HidDescriptor:
    return HidDescriptor(path, VENDOR, PRODUCT, PACKET, PACKET, key.name, key.serial)


def plug(key: SoftwareKey) -> CtapHidDevice:
    """The key, plugged in. The device has to be closed. With a key that is mute from the start this never returns:
    python-fido2 waits for its INIT."""
    key.power_cycle()
    return CtapHidDevice(descriptor(key), connect(key))


@contextmanager
def plugged(key: SoftwareKey) -> Iterator[CtapHidDevice]:
    device = plug(key)
    try:
        yield device
    finally:
        device.close()
