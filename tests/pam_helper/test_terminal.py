"""How wide a terminal is, asked of a terminal of our own; and what is no terminal is never opened."""

import fcntl
import os
import pwd
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from pam_helper.owner import rights_of_owner
from pam_helper.terminal import USUAL, columns
from tests.pam_helper.host import WITHIN, needs_root


@pytest.fixture
def pty() -> Iterator[tuple[int, str]]:
    """One end, and the name of the other."""
    ours, theirs = os.openpty()
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def set_size(descriptor: int, rows: int, width: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("4H", rows, width, 0, 0))


@pytest.mark.parametrize("width", [1, 40, 80, 132, 65_535])
def test_its_width_is_told_by_either_of_its_names(pty: tuple[int, str], width: int) -> None:
    ours, name = pty
    set_size(ours, 24, width)
    assert columns(name) == width
    assert columns(name.removeprefix("/dev/")) == width


def test_a_terminal_without_a_width_is_as_wide_as_usual(pty: tuple[int, str]) -> None:
    set_size(pty[0], 0, 0)
    assert columns(pty[1]) == USUAL


@pytest.mark.statement("P-023")
@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "ssh",
        ":0",
        "/dev/tty",
        "/dev/console",
        "/dev/null",
        "/dev/mem",
        "/dev/pts/",
        "/dev/pts/999999",
        "/dev/pts/1/../../../etc/passwd",
        "../dev/pts/0",
        "//dev/pts/0",
        "/dev/pts/0\n",
        "/dev/pts/\u0660",
        "/dev/pts/-1",
        "pts/0 ",
        "/tmp/tty1",
        "tty" + "1" * 10,
    ],
)
def test_what_is_no_terminal_of_this_host_is_as_wide_as_usual(name: str | None) -> None:
    assert columns(name) == USUAL


@pytest.mark.statement("P-024")
def test_a_pipe_in_the_place_of_a_name_is_never_opened(tmp_path: Path) -> None:
    """It would wait for somebody to write."""
    os.mkfifo(tmp_path / "tty1")
    assert columns(str(tmp_path / "tty1")) == USUAL


_BECAME = """
import os, sys
from pam_helper.terminal import columns
os.setsid()
print(columns(sys.argv[1]))
try:
    os.open("/dev/tty", os.O_RDONLY)
except OSError as error:
    print(error.strerror)
"""


def test_it_becomes_nobodys_controlling_terminal(pty: tuple[int, str]) -> None:
    set_size(pty[0], 24, 99)
    command = [sys.executable, "-c", _BECAME, pty[1]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN)
    assert done.stdout.splitlines() == ["99", "No such device or address"]


def test_no_descriptor_is_left(pty: tuple[int, str]) -> None:
    before = os.listdir("/proc/self/fd")
    for name in (pty[1], "/dev/pts/999999", "ssh"):
        columns(name)
    assert len(os.listdir("/proc/self/fd")) == len(before)


@needs_root
def test_it_is_looked_at_with_our_rights_while_the_store_is_another_accounts(
    pty: tuple[int, str], tmp_path: Path
) -> None:
    """Who sits there owns it, alone."""
    try:
        nobody, daemon = pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("daemon").pw_uid
    except KeyError:
        pytest.skip("this host has no accounts nobody and daemon")
    ours, name = pty
    set_size(ours, 24, 55)
    os.chown(name, nobody, -1)
    os.chmod(name, 0o600)
    store = tmp_path / "store"
    store.touch()
    os.chown(store, daemon, daemon)
    with rights_of_owner(store):
        assert columns(name) == 55
        with pytest.raises(PermissionError):
            os.open(name, os.O_RDONLY | os.O_NOCTTY)
