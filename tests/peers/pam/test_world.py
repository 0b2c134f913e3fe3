"""The world itself: it is apart from the host, it ends whole, and real programs tell right passwords from wrong."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.peers.pam import programs
from tests.peers.pam.programs import KEY_AND_KEYBOARD, Sshd, Visit
from tests.peers.world import PLAIN, USERS, World, world_or_skip
from tests.site import eventually

pytestmark = pytest.mark.peer("login", "su", "sudo", "ssh", "sshd", "ssh-keygen", "nsenter", "unshare")

RIGHT = USERS["alice"]
TOUCHED = ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/sudoers", "/etc/pam.d/login", "/etc/pam.d/sshd")


@pytest.fixture(scope="module", autouse=True)
def plain_stacks(world: World) -> None:
    """Others write stacks of their own into the same world."""
    for service in ("login", "su", "su-l", "sudo", "sshd"):
        world.pam_service(service, PLAIN)


@pytest.fixture(scope="module")
def by_password(world: World) -> Iterator[Sshd]:
    server = programs.sshd(world)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def by_key_and_password(world: World) -> Iterator[Sshd]:
    server = programs.sshd(world, KEY_AND_KEYBOARD)
    yield server
    server.stop()


def host_state() -> dict[str, str]:
    files = [*map(Path, TOUCHED), *Path("/etc/pam.d").iterdir()]
    state = {str(file): sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}
    return state | {place: str(Path(place).exists()) for place in ("/run/world", "/run/.etc", "/dev/log")}


STRAY = "86399.731"  # seconds; nobody else sleeps that long


def strays() -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found += [file.parent.name] if STRAY.encode() in file.read_bytes() else []
    return found


def test_the_host_sees_nothing_of_it_and_nothing_is_left() -> None:
    before = host_state()
    with world_or_skip() as made:
        daemon = made.start("sleep", "1000")
        made.run("sh", "-c", f"setsid sleep {STRAY} >/dev/null 2>&1 </dev/null &")
        eventually(strays, what="a process that left its session")
        made.pam_service("made-here", "auth required pam_deny.so\n")
        assert "alice" in made.read("/etc/passwd")
        assert host_state() == before
    assert host_state() == before
    assert not Path(f"/proc/{daemon.pid}").exists()
    assert not Path(f"/proc/{made._first}").exists()
    assert strays() == []


def test_files_are_written_and_read_inside(world: World) -> None:
    world.write(world.path / "a folder" / "note", "Grüße\n", 0o640)
    assert world.read(world.path / "a folder" / "note") == "Grüße\n"
    assert world.outside(world.path / "a folder" / "note").read_text() == "Grüße\n"
    assert world.run("stat", "-c", "%a %U", world.path / "a folder" / "note").stdout == "640 root\n"
    assert not (world.path / "a folder").exists()


def test_the_log_of_a_daemon_can_be_read_as_soon_as_it_is_started(world: World) -> None:
    for number in range(20):
        daemon = world.start("sleep", "1000", log=f"new-{number}.log")
        assert world.outside(world.path / f"new-{number}.log").read_text() == ""
        daemon.stop()


def test_a_user_has_his_own_rights_alone(world: World) -> None:
    assert world.run("id", "-un", user="bob").stdout == "bob\n"
    assert world.run("cat", "/etc/shadow", user="bob", check=False).returncode != 0


def test_what_a_program_says_to_syslog_is_there_when_it_ends(world: World) -> None:
    """Also more than its queue holds."""
    world.run(sys.executable, "-c", "import syslog\nfor n in range(2000): syslog.syslog(f'probe {n}.')")
    said = [line.rpartition("probe ")[2] for line in world.log() if "probe " in line]
    assert said == [f"{number}." for number in range(2000)]


def test_a_daemon_is_stopped_by_itself(world: World) -> None:
    daemon = world.start("sleep", "1000")
    eventually(lambda: Path(f"/proc/{daemon.pid}/comm").read_text() == "sleep\n")
    assert daemon.stop() != 0
    assert not Path(f"/proc/{daemon.pid}").exists()


PROGRAMS: dict[str, Callable[[World, str], Visit]] = {
    "login": lambda world, typed: programs.login(world, "alice", typed),
    "su": lambda world, typed: programs.su(world, "alice", typed),
    "su -": lambda world, typed: programs.su(world, "alice", typed, shell=True),
    "sudo": lambda world, typed: programs.sudo(world, "alice", typed),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_lets_in_with_the_right_password_alone(world: World, program: str) -> None:
    expected = "root" if program == "sudo" else "alice"
    right, wrong = (PROGRAMS[program](world, typed) for typed in (RIGHT, USERS["bob"]))
    assert (right.who, wrong.who) == (expected, None), right.screen + wrong.screen
    assert RIGHT not in right.screen


def test_ssh_lets_in_with_the_right_password_alone(by_password: Sshd) -> None:
    right, wrong = (by_password.visit("alice", typed) for typed in (RIGHT, USERS["bob"]))
    assert (right.who, wrong.who) == ("alice", None), right.screen + wrong.screen


def test_ssh_may_ask_for_a_key_and_a_password(by_key_and_password: Sshd) -> None:
    both = by_key_and_password.visit("alice", RIGHT, KEY_AND_KEYBOARD)
    key_alone = by_key_and_password.visit("alice", "wrong", KEY_AND_KEYBOARD)
    password_alone = by_key_and_password.visit("alice", RIGHT)
    assert (both.who, key_alone.who, password_alone.who) == ("alice", None, None), both.screen


def test_what_pam_says_of_a_refusal_is_in_the_log(world: World) -> None:
    programs.su(world, "alice", "wrong")
    assert [
        line for line in world.log() if "pam_unix(su:auth): authentication failure" in line and "user=alice" in line
    ]


def test_each_service_file_counts(world: World) -> None:
    """The stack is the one that was written, not the host's."""
    world.pam_service("su-l", "auth required pam_deny.so\naccount required pam_permit.so\n")
    try:
        refused = programs.su(world, "alice", (), shell=True)
    finally:
        world.pam_service("su-l", world.read("/etc/pam.d/su"))
    assert refused.who is None, refused.screen


def test_a_world_ends_though_a_daemon_in_it_stands_still() -> None:
    with world_or_skip() as made:
        daemon = made.start("sleep", "1000")
        eventually(lambda: Path(f"/proc/{daemon.pid}/comm").read_text() == "sleep\n")
        daemon.send(signal.SIGSTOP)
        eventually(lambda: state(daemon.process.pid) == "T", what="nsenter, which stops with it")
    assert not Path(f"/proc/{daemon.pid}").exists()


def test_a_daemon_that_was_stopped_goes_on(world: World) -> None:
    daemon = world.start("sleep", "1000")
    daemon.send(signal.SIGSTOP)
    eventually(lambda: state(daemon.pid) == "T")
    daemon.send(signal.SIGCONT)
    eventually(lambda: state(daemon.pid) == "S")
    daemon.stop()
    assert daemon.process.returncode is not None


def state(pid: int) -> str:
    """R, S, T for stopped, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
