"""A helper daemon that does what a script tells it, right or wrong, on a real Unix socket.

A script is a function of one connection. Each connection gets the next script of the list, the last one for ever after;
it is closed when its script ends. `python -m tests.pam_helper.module.hostile SOCKET` runs one in a process of its own,
which kills itself (SIGKILL) in the middle of the dialogue.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path

FRAME_MAX = 65536
PATIENCE = 60  # seconds; a deadline for a broken test, never waited for by a good one


def frame(kind: str, payload: bytes | str = b"") -> bytes:
    octets = payload.encode() if isinstance(payload, str) else payload
    return kind.encode() + len(octets).to_bytes(4, "big") + octets


def verdict(which: str, user: bytes | str) -> bytes:
    return frame("F", which.encode() + (user.encode() if isinstance(user, str) else user))


@dataclass
class Connection:
    """The daemon's end, and what the module said on it."""

    socket: socket.socket
    heard: list[tuple[str, bytes]] = field(default_factory=list)

    def read(self, size: int) -> bytes:
        octets = b""
        while len(octets) < size and (more := self.socket.recv(size - len(octets))):
            octets += more
        return octets

    def hear(self) -> tuple[str, bytes]:
        """The next frame of the module; ("", b"") when it has gone."""
        header = self.read(5)
        if len(header) < 5:
            return "", b""
        said = header[:1].decode(), self.read(int.from_bytes(header[1:], "big"))
        self.heard.append(said)
        return said

    def hello(self) -> dict[str, str]:
        kind, payload = self.hear()
        assert kind == "H", kind
        pairs = payload.decode().removesuffix("\0").split("\0")
        return dict(pair.split("=", 1) for pair in pairs)

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def trickle(self, octets: bytes) -> None:
        for octet in octets:
            self.socket.sendall(bytes([octet]))

    def wait_until_hung_up(self) -> None:
        """Without reading."""
        hang_up = select.poll()
        hang_up.register(self.socket, 0)
        assert hang_up.poll(PATIENCE * 1000)

    def wait_until_gone(self) -> None:
        while self.socket.recv(FRAME_MAX):
            pass


Script = Callable[[Connection], object]


@contextlib.contextmanager
def acting_as(uid: int | None) -> Iterator[None]:
    """The kernel notes who listens when he begins to."""
    before = os.geteuid()
    os.seteuid(before if uid is None else uid)
    try:
        yield
    finally:
        os.seteuid(before)


class Hostile:
    """Listens until closed. `connections` are those served, in order of their arrival."""

    def __init__(self, path: Path, scripts: Sequence[Script], *, listen_as: int | None = None) -> None:
        self.path = path
        self.connections: list[Connection] = []
        self.trouble: list[BaseException] = []
        self._scripts: Iterator[Script] = chain(scripts, repeat(scripts[-1]))
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        with acting_as(listen_as):
            self._listener.listen(128)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Hostile":
        acceptor = threading.Thread(target=self._accept, daemon=True)
        self._threads.append(acceptor)
        acceptor.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the acceptor
        while self._threads:
            self._threads.pop(0).join(PATIENCE)
        self._listener.close()
        self.path.unlink()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.settimeout(PATIENCE)
            connection = Connection(accepted)
            self.connections.append(connection)
            worker = threading.Thread(target=self._serve, args=(connection, next(self._scripts)), daemon=True)
            worker.start()
            self._threads = [thread for thread in self._threads if thread.is_alive()] + [worker]

    def _serve(self, connection: Connection, script: Script) -> None:
        with connection.socket:
            try:
                script(connection)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the module left first, as it may
            except BaseException as trouble:
                self.trouble.append(trouble)


# --- Scripts


def says(*octets: bytes) -> Script:
    """Hears the hello, sends these octets at one go, and closes."""

    def script(connection: Connection) -> None:
        connection.hello()
        connection.send(b"".join(octets))

    return script


def asks(*prompts: bytes, then: bytes) -> Script:
    """Hears the hello, sends each prompt and waits for its reply, then sends the rest and closes."""

    def script(connection: Connection) -> None:
        connection.hello()
        for prompt in prompts:
            connection.send(prompt)
            if connection.hear()[0] != "R":
                return
        connection.send(then)

    return script


def is_silent(connection: Connection) -> None:
    connection.hello()
    connection.wait_until_gone()


def dies(connection: Connection) -> None:
    connection.hello()
    connection.send(frame("I", "one moment"))
    os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: list[str]) -> int:
    with Hostile(Path(arguments[0]), [dies]):
        print("ready", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait(PATIENCE)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
