"""The helper's sockets: made here, or handed over by systemd.

Rules: a socket stands in a directory that root (or who runs the helper) alone can write, so that nobody puts another
in its place. Its mode says who may connect; what a peer may ask is decided by who it is, at every socket alike.
"""

import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from store.config import PamSection
from validation.errors import BadInput

BACKLOG = 128
_FIRST_DESCRIPTOR = 3  # sd_listen_fds(3)


@dataclass(frozen=True, slots=True)
class Peer:
    """SO_PEERCRED: who was at the other end when it connected."""

    pid: int
    uid: int
    gid: int


def peer_of(connection: socket.socket) -> Peer:
    return Peer(*struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))


def listening(pam: PamSection, chosen: tuple[str, ...]) -> list[socket.socket]:
    """The sockets of systemd, else `chosen`, else the configured two. Raises BadInput."""
    if not chosen and (handed := _from_systemd()):
        return handed
    if chosen:
        return [_bound(Path(path), 0o666) for path in chosen]
    root = Path(pam.root_socket)
    _make_directory(root.parent.parent, 0o755)
    _make_directory(root.parent, 0o700)
    _make_directory(Path(pam.socket).parent, 0o755)
    return [_bound(root, 0o600), _bound(Path(pam.socket), 0o666)]


def _from_systemd() -> list[socket.socket]:
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    found = [socket.socket(fileno=number) for number in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + count)]
    for one in found:
        one.set_inheritable(False)
        if one.family != socket.AF_UNIX:  # of no other does the kernel say who is at the other end
            raise BadInput("systemd handed over a socket that is no Unix socket; see ListenStream= in the socket unit")
    return found


def _make_directory(path: Path, mode: int) -> None:
    try:
        path.mkdir(mode=mode)
        path.chmod(mode)
    except FileExistsError:
        return
    except OSError as error:
        raise BadInput(f"the directory {path} cannot be made: {error.strerror}") from None


def _bound(path: Path, mode: int) -> socket.socket:
    _check_directory(path.parent)
    _remove_old(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        made.bind(str(path))
        path.chmod(mode)
    except OSError as error:
        made.close()
        raise BadInput(f"the socket {path} cannot be made: {error.strerror or error}") from None
    finally:
        os.umask(before)
    made.listen(BACKLOG)
    return made


def _check_directory(path: Path) -> None:
    try:
        status = os.stat(path)
    except OSError as error:
        raise BadInput(f"the directory {path} of the socket cannot be used: {error.strerror}") from None
    writable = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    if status.st_uid not in (0, os.geteuid()) or writable:
        raise BadInput(f"the directory {path} must belong to root, and nobody else may write there")


def _remove_old(path: Path) -> None:
    """A socket that a helper before us left behind; anything else stays, and is in the way."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise BadInput(f"{path} is no socket; remove it, or name another place")
        if _answers(path):
            raise BadInput(f"a helper is listening at {path} already; stop it, or name another place")
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise BadInput(f"the old socket {path} cannot be removed: {error.strerror}") from None


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trying:
        trying.setblocking(False)
        try:
            trying.connect(str(path))
        except BlockingIOError:  # it has more callers than it can take
            return True
        except OSError:
            return False
    return True
