"""The server's end of the line to a gate in a process of its own: a question and its answer, from any thread.

Rule: answers come in the order of the questions, so each thread waits for the one before it.
"""

import contextlib
import socket
import struct
import threading

from radius_server import gate_frames as frames


class Line:
    def __init__(self, number: int, sock: socket.socket, patience: float) -> None:
        self.number = number  # of the gate
        self._sock = sock
        self._sending = threading.Lock()
        self._last = threading.Lock()  # of who sent last: held until he has read his answer

        self.set_patience(patience)

    def set_patience(self, seconds: float) -> None:
        """How long to wait for one answer, and for room for a question."""
        limit = struct.pack("@ll", int(seconds), 0)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._sock.setsockopt(socket.SOL_SOCKET, option, limit)

    def ask(self, kind: int, body: bytes = b"") -> tuple[int, bytes]:
        """The answer. Raises OSError, also if there is none in time, or Spoiled."""
        mine = threading.Lock()
        mine.acquire()
        with self._sending:
            before, self._last = self._last, mine
            try:
                frames.send(self._sock, kind, body)
            except OSError:
                self.end()  # half a frame may have left
        with before:
            try:
                return self.read()
            finally:
                mine.release()

    def read(self) -> tuple[int, bytes]:
        frame = frames.receive(self._sock)
        if frame is None:
            raise ConnectionResetError
        return frame

    def tell(self, kind: int, body: bytes) -> None:
        """What is not answered."""
        with self._sending, contextlib.suppress(OSError):
            frames.send(self._sock, kind, body)

    def end(self) -> None:
        """Whoever waits for an answer gets none, and the gate ends when it has done what it has begun."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
