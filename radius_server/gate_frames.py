"""The octets between the server and the process of its gate: frames of one octet kind, four octets length, and a body.

Rules: a body is MessagePack, read as the types that stand here and as nothing else: whatever does not fit them is
refused, and none of it is ever executed. Each field of a request and of an outcome travels; what can be one of several
classes has a place for each of them, since msgspec tells no dataclasses apart.
"""

import socket
import struct
from collections.abc import Iterator, Sequence

import msgspec

from validation.decisions import Accept, AskKey, AskKeyName, AskNewKey, Challenge, Provisioning, Reason, Reject
from validation.errors import RoomMade, StoreMismatch, StoreUnavailable
from validation.gate import Outcome
from validation.requests import LoginRequest

LOGINS, CHECK, LOG_FORMAT = b"LCF"  # to the gate; the first two are answered in their order
READY, OUTCOMES, TROUBLE = b"rot"  # from it
MOST_OCTETS = 64 * 1024 * 1024  # of a body; those of a batch are some 30 KiB

_HEAD = struct.Struct("!BI")


class Spoiled(Exception):
    """What came is no frame, or not what was asked for."""


class TooLate(StoreUnavailable):
    """The store took so long for the batch before that this one was not decided."""


_TROUBLES = {kind.__name__: kind for kind in (StoreUnavailable, StoreMismatch, RoomMade, TooLate)}


class _Challenge(msgspec.Struct, array_like=True):
    state: str
    texts: tuple[str, ...]
    lifetime: float
    reason: Reason
    tries_left: int
    provisioning: Provisioning | None
    key: AskKey | None
    new_key: AskNewKey | None
    key_name: AskKeyName | None


class _Outcomes(msgspec.Struct, array_like=True):
    """Each with the number of its request."""

    accepts: list[tuple[int, Accept]]
    rejects: list[tuple[int, Reject]]
    challenges: list[tuple[int, _Challenge]]
    troubles: list[tuple[int, str, str]]  # class and text


_encode = msgspec.msgpack.Encoder().encode
_read_requests = msgspec.msgpack.Decoder(tuple[float, list[LoginRequest]]).decode
_read_outcomes = msgspec.msgpack.Decoder(_Outcomes).decode
_read_trouble = msgspec.msgpack.Decoder(tuple[str, str]).decode


# --- frames -----------------------------------------------------------------------------------------------------


def frame(kind: int, body: bytes = b"") -> bytes:
    return _HEAD.pack(kind, len(body)) + body


def send(sock: socket.socket, kind: int, body: bytes = b"") -> None:
    """Raises OSError."""
    sock.sendall(frame(kind, body))


def receive(sock: socket.socket) -> tuple[int, bytes] | None:
    """None where the other side has ended. Raises OSError, or Spoiled."""
    head = _exactly(sock, _HEAD.size)
    if not head:
        return None
    kind, length = _in_head(head)
    return kind, _exactly(sock, length, begun=True)


def cut(octets: bytearray) -> Iterator[tuple[int, bytes]]:
    """The whole frames in what has come so far; what is left in it is the beginning of one. Raises Spoiled."""
    while len(octets) >= _HEAD.size:
        kind, length = _in_head(octets)
        end = _HEAD.size + length
        if len(octets) < end:
            return
        body = bytes(octets[_HEAD.size : end])
        del octets[:end]
        yield kind, body


def _in_head(octets: bytes | bytearray) -> tuple[int, int]:
    """Kind and length. Raises Spoiled."""
    kind, length = _HEAD.unpack_from(octets)
    if length > MOST_OCTETS:
        raise Spoiled(f"a frame of {length} octets")
    return kind, length


def _exactly(sock: socket.socket, count: int, begun: bool = False) -> bytes:
    """So many octets; none if the other side has ended before the first of a frame."""
    got = sock.recv(count, socket.MSG_WAITALL) if count else b""
    while len(got) < count:  # it ended, or a signal came
        more = sock.recv(count - len(got), socket.MSG_WAITALL)
        if not more:
            if got or begun:
                raise Spoiled("half a frame")
            return b""
        got += more
    return got


# --- bodies -----------------------------------------------------------------------------------------------------


def of_requests(requests: Sequence[LoginRequest], until: float) -> bytes:
    """`until`: by the monotonic clock, which all processes of a host share."""
    return _encode((until, requests))


def requests_in(body: bytes) -> tuple[float, list[LoginRequest]]:
    """Raises Spoiled."""
    try:
        return _read_requests(body)
    except msgspec.DecodeError as error:
        raise Spoiled(str(error)) from None


def of_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    sorted_ = _Outcomes([], [], [], [])
    for number, outcome in enumerate(outcomes):
        match outcome:
            case Accept():
                sorted_.accepts.append((number, outcome))
            case Reject():
                sorted_.rejects.append((number, outcome))
            case Challenge():
                sorted_.challenges.append((number, _taken_apart(outcome)))
            case StoreUnavailable():
                sorted_.troubles.append((number, *_told(outcome)))
    return _encode(sorted_)


def outcomes_in(body: bytes, count: int) -> list[Outcome]:
    """Raises Spoiled if they are not `count`, one for each request."""
    try:
        read = _read_outcomes(body)
    except msgspec.DecodeError as error:
        raise Spoiled(str(error)) from None
    found: dict[int, Outcome] = {}
    found.update(read.accepts)
    found.update(read.rejects)
    found.update((number, _put_together(one)) for number, one in read.challenges)
    found.update((number, _trouble(kind, text)) for number, kind, text in read.troubles)
    said = len(read.accepts) + len(read.rejects) + len(read.challenges) + len(read.troubles)
    if said != count or found.keys() != set(range(count)):
        raise Spoiled(f"{said} outcomes for {count} requests")
    return [found[number] for number in range(count)]


def of_trouble(error: StoreUnavailable) -> bytes:
    return _encode(_told(error))


def trouble_in(body: bytes) -> StoreUnavailable:
    """Raises Spoiled."""
    try:
        return _trouble(*_read_trouble(body))
    except msgspec.DecodeError as error:
        raise Spoiled(str(error)) from None


def _told(error: StoreUnavailable) -> tuple[str, str]:
    return type(error).__name__, str(error)


def _trouble(kind: str, text: str) -> StoreUnavailable:
    return _TROUBLES.get(kind, StoreUnavailable)(text)


def _taken_apart(one: Challenge) -> _Challenge:
    wants = one.wants
    return _Challenge(
        one.state,
        one.texts,
        one.lifetime,
        one.reason,
        one.tries_left,
        one.provisioning,
        wants if isinstance(wants, AskKey) else None,
        wants if isinstance(wants, AskNewKey) else None,
        wants if isinstance(wants, AskKeyName) else None,
    )


def _put_together(one: _Challenge) -> Challenge:
    wants = one.key or one.new_key or one.key_name
    return Challenge(one.state, one.texts, one.lifetime, one.reason, one.tries_left, one.provisioning, wants)
