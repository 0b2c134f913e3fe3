"""A real helper on a real store and a real socket, in this process; and peers that speak frames, as whom they like.

Rules: what peers send and read is written here again, from the description of the frames. Who a peer is, the kernel
says: `connect_as` has a process of another account connect, and is handed the connection.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from first_factor import Checker, checker, system
from pam_helper import sockets, terminal
from pam_helper.dialogue import Desk
from pam_helper.passwords import Passwords
from pam_helper.seats import Logind
from pam_helper.security_key import keys_here
from pam_helper.service import USUAL, Helper, Limits, hold
from store.config import PamSection
from tests.site import Site, eventually

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="a peer of another account, and one that is root, can be had by root alone"
)

WITHIN = 60.0  # seconds that a test waits for what must come

_CONNECT = """
import os, socket, sys
uid, path, many, back = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), socket.socket(fileno=int(sys.argv[4]))
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
for _ in range(many):
    one = socket.socket(socket.AF_UNIX); one.connect(path)
    socket.send_fds(back, [b"."], [one.fileno()])
"""


def connect(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(WITHIN)
    try:
        made.connect(str(path))
    except OSError:
        made.close()
        raise
    return made


def connect_as(uid: int, path: Path, many: int = 1) -> list[socket.socket]:
    """Connections that a process of `uid` has made."""
    here, there = socket.socketpair()
    with here, there:
        number = str(there.fileno())
        command = [sys.executable, "-I", "-S", "-c", _CONNECT, str(uid), str(path), str(many), number]
        subprocess.run(command, pass_fds=[there.fileno()], check=True, timeout=WITHIN)
        found = []
        for _ in range(many):
            _, (descriptor,), _, _ = socket.recv_fds(here, 1, 1)
            found.append(socket.socket(fileno=descriptor))
            found[-1].settimeout(WITHIN)
    return found


def frame(kind: str, payload: bytes = b"") -> bytes:
    return kind.encode() + len(payload).to_bytes(4, "big") + payload


def hello(**pairs: str | bytes) -> bytes:
    said = {"version": b"1", **{k: v.encode() if isinstance(v, str) else v for k, v in pairs.items()}}
    return frame("H", b"".join(key.encode() + b"=" + value + b"\0" for key, value in said.items()))


class Peer:
    """One end of a conversation."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._held = b""

    def send(self, octets: bytes) -> None:
        self.connection.sendall(octets)

    def take(self) -> tuple[str, bytes] | None:
        """The next frame; None if the helper has hung up between two."""
        header = self._read(5)
        if not header:
            return None
        payload = self._read(int.from_bytes(header[1:5], "big"))
        return chr(header[0]), payload

    def _read(self, count: int) -> bytes:
        while len(self._held) < count:
            try:
                octets = self.connection.recv(65_536)
            except ConnectionResetError:
                octets = b""
            if not octets:
                assert not self._held, "the helper hung up within a frame"
                return b""
            self._held += octets
        octets, self._held = self._held[:count], self._held[count:]
        return octets

    def until_asked(self) -> list[tuple[str, bytes]]:
        """Frames up to a question, an end, or a hang-up."""
        found = []
        while (one := self.take()) is not None:
            found.append(one)
            if one[0] in "PpF":
                break
        return found

    def reply(self, text: str | bytes) -> list[tuple[str, bytes]]:
        self.send(frame("R", text.encode() if isinstance(text, str) else text))
        return self.until_asked()

    def close(self) -> None:
        self.connection.close()


class Host:
    """`with Host(folder) as host:` a helper that serves, with a Site beside it."""

    def __init__(self, folder: Path, limits: Limits = USUAL, **pam: Any) -> None:
        self.folder = folder
        self.path = folder / "pam.sock"
        self.site = Site(folder / "site")
        self._limits = limits
        self._pam = PamSection(**pam)
        self._peers: list[Peer] = []
        self.columns: Callable[[str | None], int] = terminal.columns
        self.accounts: Checker | None = None  # asked for the server, instead of PAM

    def __enter__(self) -> "Host":
        config = self.site.config
        desk = Desk(
            self.site.gate,
            checker(config),
            config.names,
            config.chain,
            config.issuer,
            self._columns,
            hold,
            keys_here(config.security_key.wait),
        )
        listeners = sockets.listening(self._pam, (str(self.path),))
        passwords = Passwords(self.accounts or system.for_asking_server(config.system_passwords), config.database)
        self.helper = Helper(
            desk, self._pam, config.security_key, config.database, listeners, Logind(), passwords, self._limits
        )
        self.helper.start()
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self._peers:
            peer.close()
        self.helper.stop(WITHIN)
        self.site.database.close()

    def _columns(self, tty: str | None) -> int:
        return self.columns(tty)

    def peer(self, uid: int | None = None) -> Peer:
        """A connection of ours, or of the account `uid`."""
        (peer,) = self.peers(uid)
        return peer

    def peers(self, uid: int | None = None, many: int = 1) -> list[Peer]:
        connections = [connect(self.path) for _ in range(many)] if uid is None else connect_as(uid, self.path, many)
        made = [Peer(connection) for connection in connections]
        self._peers += made
        return made

    def ask(self, uid: int | None = None, /, **pairs: Any) -> tuple[Peer, list[tuple[str, bytes]]]:
        """Say hello; the frames up to the first question or the end."""
        peer = self.peer(uid)
        peer.send(hello(**pairs))
        return peer, peer.until_asked()

    def until_idle(self) -> None:
        eventually(lambda: self.helper.open == 0 and not conversations(), WITHIN, "the end of all conversations")


def conversations() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "twofold-pam"]


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every account can look into, with a short path: sockets stand there."""
    folder = Path(tempfile.mkdtemp(prefix="twofold-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def until(true: Callable[[], object], what: str) -> None:
    eventually(true, WITHIN, what)


def kinds(frames: Sequence[tuple[str, bytes]]) -> str:
    return "".join(kind for kind, _ in frames)
