"""Frames over one connection, each with a time limit of its own.

Rules: one thread alone touches the connection; another may hang it up. Whatever ends it early is Gone; what is no
frame, or not the frame that is due, is BadFrame.
"""

import contextlib
import select
import socket
import time

from pam_helper.frames import LINE_MOST, TO_HELPER, BadFrame, Frame, Parser, Type
from pam_helper.steps import End, Prompt, SetAuthtok, Show, Step, Verdict, Waiting

_CHUNK = 65_536


class Gone(Exception):
    """The peer hung up, took too long, or gave up."""


class Line:
    """`sent` and `answer` are seconds: for a program to take or send a frame, and for a human to answer."""

    def __init__(self, connection: socket.socket, sent: float, answer: float) -> None:
        self._connection = connection
        self._sent = sent
        self._answer = answer
        self._parser = Parser(TO_HELPER)

    def take(self, wanted: Type, within: float) -> bytes:
        """The payload of the next frame. Raises Gone, or BadFrame if it is another one than `wanted`."""
        return self.take_one(frozenset({wanted}), within).payload

    def take_one(self, wanted: frozenset[Type], within: float) -> Frame:
        """The next frame. Raises Gone, or BadFrame if it is none of the wanted."""
        frame = self._next(within)
        if frame.type not in wanted:
            raise BadFrame(f"frame {frame.type.name} is not expected here")
        return frame

    def _next(self, within: float) -> Frame:
        until = time.monotonic() + within
        while (frame := self._taken()) is None:
            self._parser.feed(self._received(until))
        return frame

    def _taken(self) -> Frame | None:
        frame = self._parser.take()
        if frame is not None and frame.type is Type.FAILED:
            raise Gone("it was given up")
        return frame

    def _received(self, until: float) -> bytes:
        left = until - time.monotonic()
        if left <= 0:
            raise Gone("nothing came in time")
        self._connection.settimeout(left)
        try:
            octets = self._connection.recv(_CHUNK)
        except TimeoutError:
            raise Gone("nothing came in time") from None
        except OSError as error:
            raise Gone(error.strerror or "the connection broke") from None
        if not octets:
            raise Gone("the other end hung up")
        return octets

    def show(self, step: Step) -> str | None:
        """Show it; the answer, where one is asked for."""
        match step:
            case Show():
                self._send(Type.ERROR if step.error else Type.INFO, step.text)
            case SetAuthtok():
                self._send(Type.AUTHTOK, step.text)
            case Prompt():
                self._send(Type.PROMPT_HIDDEN if step.hidden else Type.PROMPT, step.text)
                return _text(self.take(Type.REPLY, self._answer))
            case Waiting() | End():
                raise BadFrame("this step is not shown")
        return None

    # --- a wait

    def begin_wait(self, within: float) -> None:
        """From now on the person may type, until there is a line or `end_wait`."""
        self._send_octets(Type.WAIT, int(within * 1000).to_bytes(4, "big"))

    def look(self, bell: socket.socket, within: float) -> str | None:
        """The line that was typed. None if none was yet: the bell rang, or the time is over."""
        frame = self._taken()
        if frame is None and self._comes_before(bell, within):
            self._parser.feed(self._received(time.monotonic() + self._sent))
            frame = self._taken()
        return None if frame is None else _line(frame)

    def _comes_before(self, bell: socket.socket, within: float) -> bool:
        either = select.poll()
        either.register(self._connection, select.POLLIN)
        either.register(bell, select.POLLIN)
        ready = either.poll(max(0.0, within * 1000))
        return any(descriptor == self._connection.fileno() for descriptor, _ in ready)

    def end_wait(self) -> None:
        """A line that was typed at the last moment comes too late."""
        self._send_octets(Type.STOP, b"")
        frame = self._next(self._sent)
        if frame != Frame(Type.STOPPED):
            _line(frame)

    # --- the end

    def hang_up(self) -> None:
        """From any thread, while this line is open: the one that waits for the other end sees it gone."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def answer(self, octets: bytes) -> None:
        """The one frame that answers a question of the server. Raises Gone."""
        self._send_whole(octets)

    def finish(self, end: End, user: str) -> None:
        """Raises Gone if the verdict was not taken."""
        if end.verdict is Verdict.DENIED and end.delay:
            self._send_octets(Type.FAIL_DELAY, int(end.delay * 1_000_000).to_bytes(4, "big"))
        self._send_octets(Type.FINAL, end.verdict.value + user.encode("utf-8", "surrogateescape"))

    def _send(self, kind: Type, text: str) -> None:
        self._send_octets(kind, text.encode("utf-8", "surrogateescape"))

    def _send_octets(self, kind: Type, payload: bytes) -> None:
        self._send_whole(Frame(kind, payload).encode())

    def _send_whole(self, octets: bytes) -> None:
        self._connection.settimeout(self._sent)
        try:
            self._connection.sendall(octets)
        except OSError as error:
            raise Gone(error.strerror or "the connection broke") from None


def _line(frame: Frame) -> str:
    if frame.type is not Type.LINE:
        raise BadFrame(f"frame {frame.type.name} is not expected in a wait")
    if len(frame.payload) > LINE_MOST or b"\0" in frame.payload:
        raise BadFrame("a line that cannot have been typed")
    return _text(frame.payload)


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")
