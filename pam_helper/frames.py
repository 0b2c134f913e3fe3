"""The messages between the PAM module and the helper, as octets.

Rules: one octet of type, four of length (big endian), the payload, at most 64 KiB. What is cut, too long or of an
unknown type is an error and ends the connection; nothing is guessed. One connection is one conversation. The two take
turns but in a wait, where the person may type while the helper waits for something else. The RADIUS server uses the
same sockets for its own question (`first_factor/asking.py`).
"""

from dataclasses import dataclass, field
from enum import IntEnum

MOST = 65_536  # octets of one payload
LINE_MOST = 512  # octets of a line that was typed in a wait
WAIT_MOST = 300.0  # seconds
_HEADER = 5


class Type(IntEnum):
    """The first octet of a frame."""

    # to the helper
    HELLO = ord("H")
    REPLY = ord("R")
    FAILED = ord("X")  # the conversation failed, or was cancelled
    LINE = ord("L")  # typed in a wait, without its line end: the one answer to WAIT
    STOPPED = ord("N")  # or this: the wait was stopped, and nothing was typed
    PASSWORD = ord("Q")  # of the RADIUS server, instead of HELLO; its answer ends the connection
    # to the module
    INFO = ord("I")
    ERROR = ord("E")
    PROMPT_HIDDEN = ord("P")
    PROMPT = ord("p")
    AUTHTOK = ord("A")
    FAIL_DELAY = ord("W")
    WAIT = ord("T")  # for so many milliseconds at most; only INFO, ERROR and STOP may follow before its answer
    STOP = ord("t")  # the wait is over; it may cross a LINE, which is the answer then
    FINAL = ord("F")


TO_HELPER = frozenset({Type.HELLO, Type.REPLY, Type.FAILED, Type.LINE, Type.STOPPED, Type.PASSWORD})
TO_MODULE = frozenset(Type) - TO_HELPER


class BadFrame(Exception):
    """What came is no frame. The text is for the log."""


@dataclass(frozen=True, slots=True)
class Frame:
    type: Type
    payload: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        if len(self.payload) > MOST:
            raise ValueError(f"{len(self.payload)} octets do not fit into a frame")
        return bytes([self.type]) + len(self.payload).to_bytes(4, "big") + self.payload


class Parser:
    """Frames out of a stream of octets that may be cut anywhere."""

    def __init__(self, expected: frozenset[Type]) -> None:
        self._expected = expected
        self._buffer = bytearray()

    def feed(self, octets: bytes) -> None:
        self._buffer += octets

    def take(self) -> Frame | None:
        """The next whole frame; None if more octets are needed. Raises BadFrame, as early as it can be told."""
        if not self._buffer:
            return None
        kind = self._buffer[0]
        if kind not in self._expected:
            raise BadFrame(f"frame type {kind:#04x} is not expected here")
        if len(self._buffer) < _HEADER:
            return None
        length = int.from_bytes(self._buffer[1:_HEADER], "big")
        if length > MOST:
            raise BadFrame(f"a frame of {length} octets; {MOST} are possible")
        if len(self._buffer) < _HEADER + length:
            return None
        payload = bytes(self._buffer[_HEADER : _HEADER + length])
        del self._buffer[: _HEADER + length]
        return Frame(Type(kind), payload)

    @property
    def empty(self) -> bool:
        return not self._buffer
