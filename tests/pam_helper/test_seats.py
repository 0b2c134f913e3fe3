"""Who sits at this machine: the table, the kernel's word about terminals, and logind's about sessions."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pam_helper.hello import Hello
from pam_helper.seats import Session, is_local
from pam_helper.sockets import Peer
from store.config import SecurityKeySection
from tests.peers import peers
from tests.site import eventually

KEYS = SecurityKeySection(services=("login", "gdm-password"), ttys=("/dev/tty[0-9]*", "/dev/pts/*", ":[0-9]*"))
AT_SEAT = Session(1000, remote=False, active=True, seat="seat0")
OVER_SSH = Session(1000, remote=True, active=True, seat="")
ROOT, ALICE = 0, 1000


class Told:
    """What logind would say of everybody."""

    def __init__(self, session: Session | None) -> None:
        self.session = session

    def of(self, pid: int) -> Session | None:
        return self.session


def local(
    session: Session | None,
    uid: int = ROOT,
    service: str = "sudo",
    tty: str | None = None,
    rhost: str | None = None,
    relay: bool = False,
    pid: int = 1,
) -> bool:
    hello = Hello("alice", service, rhost=rhost, tty=tty)
    return is_local(hello, Peer(pid, uid, uid), relay, KEYS, Told(session))


@pytest.fixture
def at_terminal() -> Iterator[tuple[int, str]]:
    """A process with a controlling terminal of its own: its pid and the terminal's name."""
    master, slave = pty.openpty()
    with subprocess.Popen([peers.require("setsid"), "--ctty", "cat"], stdin=slave) as there:
        eventually(lambda: _terminal_of(there.pid) != 0, what="its terminal")
        yield there.pid, os.ttyname(slave)
        there.kill()
    os.close(master)
    os.close(slave)


def _terminal_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4])


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        (AT_SEAT, True),
        (OVER_SSH, False),
        (Session(1000, remote=True, active=True, seat="seat0"), False),
        (Session(1000, remote=False, active=False, seat="seat0"), False),
        (Session(1000, remote=False, active=True, seat=""), False),
        (None, False),
    ],
    ids=["at a seat", "ssh", "remote with a seat", "switched away", "no seat", "no session"],
)
@pytest.mark.parametrize("uid", [ROOT, ALICE])
def test_a_session_must_be_one_of_somebody_who_sits_here(session: Session | None, uid: int, expected: bool) -> None:
    assert local(session, uid) is expected


def test_what_logind_says_goes_before_what_a_program_says(at_terminal: tuple[int, str]) -> None:
    """`login` typed inside ssh, at a terminal that is configured."""
    pid, name = at_terminal
    assert local(None, service="login", tty=name, pid=pid)
    assert not local(OVER_SSH, service="login", tty=name, pid=pid)


@pytest.mark.statement("W-021")
@pytest.mark.parametrize("rhost", ["192.0.2.7", "localhost", "x"])
@pytest.mark.parametrize("uid", [ROOT, ALICE])
def test_never_with_an_rhost(rhost: str, uid: int) -> None:
    assert not local(AT_SEAT, uid, rhost=rhost)
    assert not local(None, ROOT, "login", ":0", rhost=rhost)


def test_a_stranger_must_be_in_a_session_of_his_own_account() -> None:
    assert not local(AT_SEAT, uid=1001)
    assert not local(None, ALICE, service="login", tty=":0")


def test_a_relay_is_never_local() -> None:
    assert not local(Session(33, remote=False, active=True, seat="seat0"), 33, relay=True)


def test_without_a_session_service_and_terminal_must_be_configured(at_terminal: tuple[int, str]) -> None:
    pid, name = at_terminal
    assert local(None, service="login", tty=name, pid=pid)
    assert local(None, service="login", tty=name.removeprefix("/dev/"), pid=pid)
    assert local(None, service="gdm-password", tty=":0", pid=pid)
    assert not local(None, service="sudo", tty=name, pid=pid)
    assert not local(None, service="login", tty="/dev/null", pid=pid)
    assert not local(None, service="login", tty="", pid=pid)


def test_a_terminal_must_be_the_one_the_kernel_knows(at_terminal: tuple[int, str]) -> None:
    """Standard input can come from anywhere; the controlling terminal cannot."""
    pid, name = at_terminal
    master, other = pty.openpty()
    assert not local(None, service="login", tty=os.ttyname(other), pid=pid)
    assert not local(None, service="login", tty="/dev/pts/99999", pid=pid)
    os.close(master)
    os.close(other)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as without:
        assert not local(None, service="login", tty=name, pid=without.pid)
        without.kill()
    assert not local(None, service="login", tty=name, pid=without.pid)


# --- logind itself

IN_A_SESSION = """\
set -eu
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/sessions
printf 'UID=1000\\nUSER=alice\\nACTIVE=%s\\nSTATE=active\\nREMOTE=%s\\nSEAT=%s\\n' "$1" "$2" "$3" \
    > /run/systemd/sessions/7
sleep 60 & pid=$!
scope=/user.slice/user-1000.slice/session-7.scope
printf '1:name=systemd:%s\\n0::%s\\n' $scope $scope > /run/cgroup
mount --bind /run/cgroup /proc/$pid/cgroup
"$4" -c "from pam_helper.seats import Logind; print(Logind().of($pid)); print(Logind().of(1))"
kill $pid
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.peer("unshare", "mount")
@pytest.mark.parametrize(
    ("active", "remote", "seat", "expected"),
    [("1", "0", "seat0", AT_SEAT), ("1", "1", "", OVER_SSH), ("0", "0", "seat0", Session(1000, False, False, "seat0"))],
)
def test_logind_is_asked_through_its_own_library(active: str, remote: str, seat: str, expected: Session) -> None:
    for program in ("unshare", "mount"):
        peers.require(program)
    apart = ["unshare", "--mount", "--pid", "--fork", "--propagation", "private"]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [*apart, "bash", "-c", IN_A_SESSION, "bash", active, remote, seat, sys.executable],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=root,
    )
    assert done.stdout.splitlines() == [str(expected), "None"], done.stderr
