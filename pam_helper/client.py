"""Talking to the helper from a terminal: what it shows is printed, what it asks is read.

Rules: a terminal is asked as the helper says, with or without echo; standard input that is no terminal gives a line
for each question. While the helper waits for something else than typing, a line may be typed at a terminal; Ctrl-C ends
the command and, by that, the wait. Only a whole final frame is an end.
"""

import contextlib
import os
import select
import socket
import sys
import termios
import time
from pathlib import Path

import click

from pam_helper import hello as greeting
from pam_helper.frames import LINE_MOST, TO_MODULE, WAIT_MOST, BadFrame, Frame, Parser, Type
from pam_helper.hello import Hello
from pam_helper.sockets import peer_of
from validation.errors import BadInput, Refused, StoreUnavailable
from validation.messages import without_controls

_WITHIN = 30.0  # seconds for the helper's part
_CHUNK = 65_536


def converse(path: Path, hello: Hello, trusted: tuple[int, ...] = (0,)) -> None:
    """Begin with `hello` and go on to the verdict. Raises Refused, or StoreUnavailable if there is no helper.

    `trusted` are the uids that the helper may run as: it is told passwords.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_WITHIN)
            connection.connect(str(path))
            if peer_of(connection).uid not in trusted:
                raise Refused(f"{path} is not root's; nothing was told to it")
            connection.sendall(Frame(Type.HELLO, greeting.encode(hello)).encode())
            _Conversation(connection).to_the_end()
    except BadFrame as error:
        raise StoreUnavailable(f"the helper at {path} speaks otherwise than this command: {error}") from None
    except OSError as error:
        why = error.strerror or "no answer in time"
        raise StoreUnavailable(f"no helper answers at {path} ({why}); is it running? twofold pam serve") from None


class _Conversation:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._parser = Parser(TO_MODULE)
        self._stop_may_come = False  # it may cross a line that was sent

    def to_the_end(self) -> None:
        while (frame := self._next()).type is not Type.FINAL:
            self._obey(frame)
        _judge(frame.payload[:1])

    def _next(self) -> Frame:
        while (frame := self._parser.take()) is None:
            octets = self._connection.recv(_CHUNK)
            if not octets:
                raise StoreUnavailable("the helper hung up")
            self._parser.feed(octets)
        return frame

    def _say(self, kind: Type, payload: bytes = b"") -> None:
        self._connection.sendall(Frame(kind, payload).encode())

    def _obey(self, frame: Frame) -> None:
        crossed, self._stop_may_come = self._stop_may_come, False
        match frame.type:
            case Type.INFO | Type.ERROR:
                _show(frame)
                self._stop_may_come = crossed
            case Type.PROMPT | Type.PROMPT_HIDDEN:
                self._say(Type.REPLY, _read(_text(frame), hidden=frame.type is Type.PROMPT_HIDDEN))
            case Type.WAIT:
                self._wait(frame.payload)
            case Type.STOP if not crossed:
                raise BadFrame("the end of a wait, without a wait")
            case _:  # a stop that crossed our line, or what is for PAM alone
                return

    # --- a wait

    def _wait(self, payload: bytes) -> None:
        seconds = int.from_bytes(payload, "big") / 1000
        if len(payload) != 4 or seconds > WAIT_MOST:
            raise BadFrame("a wait without an end")
        until = time.monotonic() + seconds + _WITHIN
        _forget_typed()
        while (frame := self._in_wait(until)) is not None:
            if frame.type is Type.STOP:
                _forget_typed()
                self._say(Type.STOPPED)
                return
            if frame.type not in (Type.INFO, Type.ERROR):
                raise BadFrame(f"frame {frame.type.name} is not expected in a wait")
            _show(frame)
        self._say(Type.LINE, _typed_line())
        self._stop_may_come = True

    def _in_wait(self, until: float) -> Frame | None:
        """What the helper says; None if a line was typed before that."""
        frame = self._parser.take()
        return frame if frame is not None or self._is_typed_first(until) else self._next()

    def _is_typed_first(self, until: float) -> bool:
        either = select.poll()
        either.register(self._connection, select.POLLIN)
        if sys.stdin.isatty():
            either.register(sys.stdin, select.POLLIN)
        ready = either.poll(max(0.0, until - time.monotonic()) * 1000)
        if not ready:
            raise StoreUnavailable("the helper has not ended its wait in time")
        return all(descriptor != self._connection.fileno() for descriptor, _ in ready)


def _typed_line() -> bytes:
    """Ctrl-D, a NUL, and what is longer than a line may be, count as an empty one."""
    octets = os.read(sys.stdin.fileno(), _CHUNK).removesuffix(b"\n")
    return b"" if b"\0" in octets or len(octets) > LINE_MOST else octets


def _forget_typed() -> None:
    """What was typed before a wait, or begun when it ends, is nobody's."""
    if sys.stdin.isatty():
        with contextlib.suppress(termios.error):
            termios.tcflush(sys.stdin, termios.TCIFLUSH)


def _judge(verdict: bytes) -> None:
    if verdict == b"U":
        raise StoreUnavailable("no answer now; nothing was changed")
    if verdict != b"S":
        raise Refused("refused")


def _text(frame: Frame) -> str:
    return without_controls(frame.payload.decode("utf-8", "replace"))


def _show(frame: Frame) -> None:
    click.echo(_text(frame), err=frame.type is Type.ERROR)


def _read(question: str, hidden: bool) -> bytes:
    if sys.stdin.isatty():
        typed = click.prompt(question.rstrip().rstrip(":"), default="", show_default=False, hide_input=hidden, err=True)
        return str(typed).encode("utf-8", "surrogateescape")
    octets = sys.stdin.buffer.readline(_CHUNK)
    if not octets:
        raise BadInput(f"{question.strip()}: standard input ended")
    return octets.removesuffix(b"\n").removesuffix(b"\r")
