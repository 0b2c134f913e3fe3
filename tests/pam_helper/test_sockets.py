"""The helper's sockets: where they stand, who may connect, and whose place they never take."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pam_helper.sockets import listening, peer_of
from store.config import PamSection
from tests.pam_helper.host import WITHIN, connect, connect_as, needs_root
from validation.errors import BadInput

DAEMON = 1


class Opened:
    """What `listening` made, closed at the end."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def __call__(self, *chosen: Path, pam: PamSection | None = None) -> list[socket.socket]:
        made = listening(pam or PamSection(), tuple(map(str, chosen)))
        self.sockets += made
        return made


@pytest.fixture
def listen() -> Iterator[Opened]:
    opened = Opened()
    yield opened
    for each in opened.sockets:
        each.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.statement("P-019", "C-030")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_configured_two_stand_in_folders_that_only_their_owner_writes(
    folder: Path, listen: Opened, umask: int
) -> None:
    run = folder / "run"
    pam = PamSection(root_socket=str(run / "priv" / "pam.sock"), socket=str(run / "pam.sock"))
    before = os.umask(umask)
    try:
        listen(pam=pam)
        assert os.umask(umask) == umask, "it is as it was"
    finally:
        os.umask(before)
    assert [mode(run), mode(run / "priv")] == [0o755, 0o700]
    assert [mode(run / "priv" / "pam.sock"), mode(run / "pam.sock")] == [0o600, 0o666]
    for path in (pam.root_socket, pam.socket):
        connect(Path(path)).close()


@needs_root
@pytest.mark.statement("P-019")
def test_the_socket_of_root_can_be_reached_by_root_alone(folder: Path, listen: Opened) -> None:
    pam = PamSection(root_socket=str(folder / "run" / "priv" / "pam.sock"), socket=str(folder / "run" / "pam.sock"))
    listen(pam=pam)
    with pytest.raises(subprocess.CalledProcessError):
        connect_as(DAEMON, Path(pam.root_socket))
    for one in connect_as(DAEMON, Path(pam.socket)):
        one.close()


def test_chosen_ones_replace_the_configured_and_everybody_may_connect(folder: Path, listen: Opened) -> None:
    paths = [folder / "a", folder / "b"]
    made = listen(*paths, pam=PamSection(root_socket="/proc/nowhere/x/y", socket="/proc/nowhere/z"))
    assert [one.getsockname() for one in made] == [str(path) for path in paths]
    assert {mode(path) for path in paths} == {0o666}


def test_a_socket_that_was_left_behind_is_replaced(folder: Path, listen: Opened) -> None:
    path = folder / "s"
    for one in listen(path):
        one.close()
    assert path.is_socket()
    listen(path)
    connect(path).close()


def test_the_socket_of_a_running_helper_is_left_alone(folder: Path, listen: Opened) -> None:
    path = folder / "s"
    (first,) = listen(path)
    with pytest.raises(BadInput, match=r"is listening at .* already"):
        listen(path)
    connect(path).close()
    first.listen(0)  # it has more callers now than it takes
    with pytest.raises(BadInput, match=r"is listening at .* already"):
        listen(path)


@pytest.mark.statement("P-024")
@pytest.mark.parametrize("what", ["file", "folder", "link", "link to a socket", "pipe"])
def test_what_is_no_socket_stays_and_is_refused(folder: Path, listen: Opened, what: str) -> None:
    path, other = folder / "s", folder / "other"
    match what:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link":
            other.write_text("precious")
            path.symlink_to(other)
        case _:
            listen(other)
            path.symlink_to(other)
    before = path.lstat()
    with pytest.raises(BadInput, match="is no socket; remove it"):
        listen(path)
    assert path.lstat() == before
    assert not what.startswith("link") or other.exists()


@pytest.mark.statement("P-019")
@pytest.mark.parametrize("writable", [0o775, 0o757, 0o777])
def test_a_folder_where_others_may_write_is_refused_unless_they_can_replace_nothing(
    folder: Path, listen: Opened, writable: int
) -> None:
    inside = folder / "in"
    inside.mkdir()
    inside.chmod(writable)
    with pytest.raises(BadInput, match="must belong to root, and nobody else may write there"):
        listen(inside / "s")
    assert not (inside / "s").exists()
    inside.chmod(writable | stat.S_ISVTX)
    listen(inside / "s")


@needs_root
@pytest.mark.statement("P-019")
def test_a_folder_of_somebody_else_is_refused(folder: Path, listen: Opened) -> None:
    inside = folder / "in"
    inside.mkdir(mode=0o755)
    os.chown(inside, DAEMON, DAEMON)
    with pytest.raises(BadInput, match="must belong to root"):
        listen(inside / "s")


@pytest.mark.parametrize(
    ("name", "said"),
    [("missing/s", "cannot be used"), ("x" * 120, "cannot be made")],
    ids=["no folder", "too long"],
)
def test_a_place_that_cannot_be_is_named(folder: Path, listen: Opened, name: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        listen(folder / name)


def test_the_kernel_says_who_is_there(folder: Path, listen: Opened) -> None:
    (listener,) = listen(folder / "s")
    ours = connect(folder / "s")
    accepted, _ = listener.accept()
    peer = peer_of(accepted)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    accepted.close()
    ours.close()


@needs_root
@pytest.mark.parametrize("uid", [DAEMON, 2_147_483_648, 4_294_967_294])
def test_it_says_so_of_every_uid_there_is(folder: Path, listen: Opened, uid: int) -> None:
    (listener,) = listen(folder / "s")
    (theirs,) = connect_as(uid, folder / "s")
    accepted, _ = listener.accept()
    assert (peer_of(accepted).uid, peer_of(accepted).gid) == (uid, uid)
    accepted.close()
    theirs.close()


_HANDED = """
import os, socket, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_FDS"], os.environ["LISTEN_PID"] = "1", str(os.getpid() + int(sys.argv[2]))
from pam_helper.sockets import listening
from store.config import PamSection
from validation.errors import TwofoldError
try:
    found = listening(PamSection(root_socket="/proc/nowhere/x/y", socket="/proc/nowhere/z"), tuple(sys.argv[3:]))
except TwofoldError as error:
    sys.exit(str(error))
print([one.getsockname() for one in found], found[0].get_inheritable())
"""


def handed(one: socket.socket, *arguments: str, to_another: int = 0) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", _HANDED, str(one.fileno()), str(to_another), *arguments]
    return subprocess.run(command, pass_fds=[one.fileno()], capture_output=True, text=True, timeout=WITHIN)


def test_sockets_of_systemd_are_taken_unless_others_are_chosen(folder: Path, listen: Opened) -> None:
    (made,) = listen(folder / "s")
    assert handed(made).stdout == f"['{folder}/s'] False\n"
    assert handed(made, str(folder / "t")).stdout == f"['{folder}/t'] False\n"
    assert "/proc/nowhere" in handed(made, to_another=1).stderr, "they were meant for another process"


def test_only_unix_sockets_are_taken_from_systemd() -> None:
    with socket.create_server(("127.0.0.1", 0)) as made:
        done = handed(made)
    assert done.returncode == 1
    assert "no Unix socket" in done.stderr
