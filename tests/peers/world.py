"""A host within the host, on which real login programs run with real PAM, real accounts and real setuid bits.

Rules: it has mount and PID namespaces of its own, with an overlay on /etc and fresh /run, /var/log and /dev, so the
host never sees a change; when it ends, the kernel ends every process in it and nothing is left. `World.path` is the
folder for whatever a test wants to keep in it. Files in it are written and read from inside, because an absolute link
would lead from outside into the host. With `network=True` it has a network of its own as well, with nothing in it but
loopback until `cable` joins it to another world. Everything here needs root.
"""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import pytest

from tests.peers import peers
from tests.site import eventually

PROGRAMS = ("bash", "chpasswd", "mount", "nsenter", "setpriv", "setsid", "unshare", "useradd")
APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private")
USERS = {"alice": "pw-alice", "bob": "pw-bob"}
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb"}
PLAIN = """\
auth     required  pam_unix.so nodelay
account  required  pam_unix.so
session  required  pam_permit.so
password required  pam_deny.so
"""


@dataclass
class Running:
    """A process that was started in a world. `pid` is its number outside."""

    process: "subprocess.Popen[bytes]"
    pid: int

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)
        if number == signal.SIGCONT:
            self.wake()

    def wake(self) -> None:
        """nsenter stops whenever what it started is stopped; then it reaps nothing, and the world could not end."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.send(number)
        return self.process.wait(60)


class World:
    """`with World() as world`. Raises Refused where none may be made."""

    path = Path("/run/world")

    def __init__(self, network: bool = False) -> None:
        for program in (*PROGRAMS, *(("ip",) if network else ())):
            peers.require(program)
        script = Path(__file__).with_name("world.sh")
        self._network = ["--net"] if network else []
        self._holder = subprocess.Popen(
            [*APART, *self._network, "bash", str(script), str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        self._running: list[Running] = []
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"laid out\n":
            raise Refused(self._complaint())
        self._first = _only_child(self._holder.pid)
        self._log = _Log(Path(f"/proc/{self._first}/root/dev/log"))
        self._furnish()
        if network:
            self.run("ip", "link", "set", "lo", "up")

    def _complaint(self) -> str:
        _, said = self._holder.communicate(timeout=60)
        return said.decode(errors="replace").strip() or "unshare was refused"

    def _furnish(self) -> None:
        # Numbers of its own for system accounts: tools of the host that look for an account's processes see ours.
        self.run("sh", "-c", "printf 'SYS_UID_MAX 799\\nSYS_GID_MAX 799\\n' >>/etc/login.defs")
        for name, password in USERS.items():
            self.add_user(name, password)
        for service in ("login", "su", "su-l", "sudo", "sshd"):
            self.pam_service(service, PLAIN)
        self.write("/etc/sudoers", "Defaults !lecture, passwd_tries=1\nalice, bob ALL=(ALL) ALL\n", 0o440)

    def __enter__(self) -> "World":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    # --- Programs

    def inside(self, *command: str | Path, user: str | None = None) -> list[str]:
        """A command line that runs `command` in the world: as root, or as `user` with all that root has given up."""
        entry = ["nsenter", f"--target={self._first}", "--mount", "--pid", *self._network, "--"]
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"] if user else []
        return [*entry, *become, *map(str, command)]

    def among_our_processes(self, *command: str | Path) -> list[str]:
        """The same, with the world's files and our processes: signals get through, and /proc shows nothing of it. For
        `Site.server(program=...)`."""
        return ["nsenter", f"--target={self._first}", "--mount", *self._network, "--", *map(str, command)]

    def run(
        self, *command: str | Path, user: str | None = None, stdin: str = "", check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            self.inside(*command, user=user), input=stdin, capture_output=True, text=True, env=ENVIRONMENT, timeout=60
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def start(self, *command: str | Path, user: str | None = None, log: str = "started.log") -> Running:
        """A daemon. What it writes goes to the file `log` in `World.path`, there from now on; `read` shows it."""
        self.run("touch", self.path / log, user=user)
        script = 'exec "$@" >>"$0" 2>&1 </dev/null'
        process = subprocess.Popen(
            self.inside("sh", "-c", script, self.path / log, *command, user=user),
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        running = Running(process, _only_child(process.pid))
        self._running.append(running)
        return running

    # --- The network

    def cable(self, other: "World", address: str, other_address: str, name: str = "eth0") -> None:
        """Join two worlds with networks of their own by a cable, whose ends get these addresses (with prefixes)."""
        assert self._network, "a world on the host's network gets no cable"
        assert other._network, "a world on the host's network gets no cable"
        ends = ["name", name, "netns", str(self._first)], ["name", name, "netns", str(other._first)]
        subprocess.run(["ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1]], check=True, timeout=30)
        for world, its_address in ((self, address), (other, other_address)):
            world.run("ip", "address", "add", its_address, "dev", name)
            world.run("ip", "link", "set", name, "up")

    # --- Files and accounts

    def outside(self, path: str | Path) -> Path:
        """The same file as the tests see it, to connect to a socket for example. Never through a link."""
        return Path(f"/proc/{self._first}/root{path}")

    def write(self, path: str | Path, text: str, mode: int = 0o644) -> None:
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
        self.run("sh", "-c", script, "write", path, f"{mode:o}", stdin=text)

    def read(self, path: str | Path) -> str:
        return self.run("cat", path).stdout

    def pam_service(self, name: str, text: str) -> None:
        self.write(f"/etc/pam.d/{name}", text)

    def add_user(self, name: str, password: str, *options: str) -> None:
        home = self.path / "home" / name
        self.run("useradd", "--create-home", "--home-dir", home, "--shell", "/bin/sh", *options, name)
        self.set_password(name, password)

    def set_password(self, name: str, password: str) -> None:
        self.run("chpasswd", stdin=f"{name}:{password}\n")

    # --- What was said

    def log(self) -> list[str]:
        """Every line that was sent to syslog so far."""
        return self._log.lines()

    def end(self) -> None:
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        for running in self._running:
            running.wake()
        self._holder.wait(60)
        for running in self._running:
            running.process.wait(60)
        for stream in (self._holder.stdout, self._holder.stderr):
            if stream is not None:
                stream.close()
        self._log.close()


class Refused(Exception):
    """No world can be made here."""


def _only_child(pid: int) -> int:
    """Of `unshare` or `nsenter`, which wait for it and pass nothing on."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found: list[str] = []

    def there() -> bool:
        found[:] = children.read_text().split()
        return bool(found)

    eventually(there, what=f"a child of process {pid}")
    return int(found[0])


@dataclass
class _Log:
    """The world's /dev/log. Read all the time: its queue is short, and a program that fills it stands still."""

    path: Path
    _lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self.path.chmod(0o666)
        self._asked = 0
        self._answered = 0
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="world-log", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while data := self._socket.recv(65_536):
            with self._news:
                if data.startswith(b"\0"):
                    self._answered = int(data[1:])
                    self._news.notify_all()
                else:
                    self._lines.append(data.decode(errors="replace").rstrip("\0\n"))

    def lines(self) -> list[str]:
        """A mark of ours is sent after everything else; when it has come, so has everything."""
        with self._news:
            self._asked += 1
            number = self._asked
        self._send(b"\0%d" % number)
        with self._news:
            assert self._news.wait_for(lambda: self._answered >= number, 60), "the log is not read"
            return list(self._lines)

    def _send(self, data: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(self._socket.getsockname())
            sender.send(data)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RD)
        self._thread.join(60)
        self._socket.close()


@contextmanager
def world_or_skip(network: bool = False) -> Iterator[World]:
    """Skips where none may be made; where peers are required, that is a failure."""
    try:
        world = World(network)
    except Refused as error:
        complain = pytest.fail if os.environ.get("TWOFOLD_REQUIRE_PEERS") == "1" else pytest.skip
        complain(f"no world of its own can be made here: {error}")
    with world:
        yield world
