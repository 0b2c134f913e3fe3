"""docs/pam is followed to the letter, from `make install` to a login, in a private copy of this system.

What cannot be had there is stood in for: `apt` and `systemctl` do nothing, and the test starts helper and sshd itself.
"""

import base64
import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.peers.installing import PrivateSystem, helper, private_system
from tests.peers.oathtool import oathtool
from tests.peers.terminal import Terminal
from tests.site import eventually
from tests.software_key.authenticator import SoftwareKey
from tests.software_key.ports import Ports

PAGES = ROOT / "docs/pam"
PASSWORD = "correct horse"
ASKED = "PIN from your authenticator app: "
STAND_INS = "/usr/local/sbin"
AS_ALICE = ("setpriv", "--reuid=alice", "--regid=alice", "--init-groups", "--reset-env", "--")
AS_BOB = ("setpriv", "--reuid=bob", "--regid=bob", "--init-groups", "--reset-env", "--")

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.peer("make", "gcc", "pam_modules.h", "unshare", "mount", "useradd", "chpasswd", "setpriv", "oathtool"),
]


def commands(page: str, heading: str = "") -> list[str]:
    """What root types on a page, or below one heading of it; a here-document belongs to its command."""
    text = (PAGES / page).read_text()
    if heading:
        (text,) = re.findall(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [command.removeprefix("# ") for block in blocks for command in re.split(r"\n(?=# )", block.strip("\n"))]


class Host:
    """A host on which everything under "Install" has been done, with two people who have accounts."""

    def __init__(self, system: PrivateSystem, build: Path, ports: Ports) -> None:
        self.system = system
        self.ports = ports
        self._build = build
        for stand_in in ("apt", "systemctl"):
            system.run("sh", "-c", f"printf '#!/bin/sh\n' > {STAND_INS}/{stand_in}; chmod 755 {STAND_INS}/{stand_in}")
        system.try_("sh", "-c", "mkdir -p /run/sshd; ssh-keygen -A")  # as Debian does when sshd is installed
        for name in ("alice", "bob"):
            system.run("useradd", "--create-home", "--home-dir", f"/var/lib/{name}", "--shell", "/bin/bash", name)
            system.run("chpasswd", stdin=f"{name}:{PASSWORD}\n")

    def follow(self, page: str, heading: str = "") -> list[str]:
        """Type what stands there; what `twofold doctor` says that is serious."""
        found: list[str] = []
        typed = commands(page, heading)
        assert typed
        for command in typed:
            # A test must not leave root's files in the source: `make install` builds elsewhere.
            settings = (
                f"export PATH={STAND_INS}:/usr/local/bin:/usr/sbin:/usr/bin MAKEFLAGS='-s -- BUILD={self._build}'"
            )
            done = self.system.try_("sh", "-e", "-c", f"cd {ROOT}; {settings}; {command}\n")
            if command == "twofold doctor":
                found = [line for line in done.stdout.splitlines() if line.startswith("!!")]
            else:
                assert done.returncode == 0, (command, done.stdout, done.stderr)
        return found

    def new_phone(self) -> None:
        """Whatever alice had is lost, so the next login pairs an app."""
        self.system.try_("/usr/local/bin/twofold", "token", "revoke", "--user", "alice", "--all", "--reason", "lost")

    def terminal(self, *command: str) -> Terminal:
        return Terminal(self.system.space.inside(*command))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("system")
    with private_system(folder) as system, Ports(tmp_path_factory.mktemp("keys")) as ports:
        made = Host(system, tmp_path_factory.mktemp("build"), ports)
        made.follow("README.md", "Install")
        with helper(system, ports.environment):
            yield made


def shown_by_app(key: str, ahead: int = 0) -> str:
    (pin,) = oathtool(base64.b32decode(key), "--totp", "--now", f"@{int(time.time()) + 30 * ahead}")
    return pin


def pair(person: Terminal) -> str:
    """Everything a first login asks after the password. The key."""
    person.wait_for("Set up your second factor")
    person.type("s")
    person.wait_for("First PIN from the app: ")
    person.type(shown_by_app(person.key))
    person.wait_for("From now on each login asks for a PIN.")
    return person.key


def check_first_and_second_login(host: Host, command: tuple[str, ...], ends_with: str, password: str | None) -> None:
    """The first pairs an app; the second asks for its PIN; a third with a wrong one is refused."""
    host.new_phone()
    with host.terminal(*command) as first:
        if password is not None:
            first.wait_for(password)
            first.type(PASSWORD)
        key = pair(first)
        first.wait_for(ends_with)
    with host.terminal(*command) as second:
        if password is not None:
            second.wait_for(password)
            second.type(PASSWORD)
        second.wait_for(ASKED)
        second.type(shown_by_app(key, ahead=1))
        second.wait_for(ends_with)
    with host.terminal(*command) as third:
        if password is not None:
            third.wait_for(password)
            third.type(PASSWORD)
        third.wait_for(ASKED)
        third.type("000000")
        third.wait_for("That PIN was not accepted")
        assert ends_with not in third.shown
    host.system.run("/usr/local/bin/twofold", "user", "unlock", "alice")


@pytest.mark.peer("su")
def test_su(host: Host) -> None:
    assert not [line for line in host.follow("su.md") if "pam su" in line]
    command = (*AS_BOB, "su", "-", "alice", "-c", "echo in as $(id -un)")
    check_first_and_second_login(host, command, "in as alice", "Password: ")


@pytest.mark.peer("sudo")
def test_sudo(host: Host) -> None:
    host.system.run("sh", "-c", "echo 'alice ALL=(ALL) ALL' > /etc/sudoers.d/alice; chmod 440 /etc/sudoers.d/alice")
    assert not [line for line in host.follow("sudo.md") if "pam sudo" in line]
    command = (*AS_ALICE, "sudo", "-k", "sh", "-c", "echo in as $(id -un)")
    check_first_and_second_login(host, command, "in as root", "password for alice: ")


@pytest.mark.peer("login")
def test_console(host: Host) -> None:
    assert not [line for line in host.follow("console.md") if "login" in line]
    check_first_and_second_login(host, ("login", "alice"), "alice@", "Password: ")


# --- ssh


@contextlib.contextmanager
def sshd(system: PrivateSystem) -> Iterator[int]:
    """The host's own sshd, with the host's own settings, on a port of its own."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = int(free.getsockname()[1])
    command = ["/usr/sbin/sshd", "-D", "-e", "-p", str(port), "-o", "ListenAddress=127.0.0.1"]
    process = subprocess.Popen(system.space.inside(*command), stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: _answers(port) or process.poll() is not None, what="an sshd that listens")
        assert process.poll() is None
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _answers(port: int) -> bool:
    with contextlib.closing(socket.socket()) as trying:
        return trying.connect_ex(("127.0.0.1", port)) == 0


def ssh(port: int, *options: str) -> tuple[str, ...]:
    known = ("-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
    return ("ssh", *known, "-o", "LogLevel=ERROR", "-p", str(port), *options, "alice@127.0.0.1")


def with_key(host: Host) -> Path:
    """alice's ssh key, which the host knows."""
    key = Path("/var/lib/alice/.ssh/id")
    make = f"mkdir -p -m 700 {key.parent}; rm -f {key}*; ssh-keygen -q -t ed25519 -N '' -f {key}"
    host.system.run("sh", "-c", f"{make}; cp {key}.pub {key.parent}/authorized_keys; chown -R alice: {key.parent}")
    host.system.run("sh", "-c", f"chown root {key}; chmod 600 {key}")
    return key


@pytest.mark.peer("sshd", "ssh", "ssh-keygen")
def test_ssh_with_password_and_pin(host: Host) -> None:
    found = host.follow("ssh.md", "Password and PIN")
    assert not [line for line in found if "sshd" in line]
    with sshd(host.system) as port:
        check_first_and_second_login(host, ssh(port), ":~$ ", "Password: ")
        key = with_key(host)
        options = ("-i", str(key), "-o", "BatchMode=yes")
        refused = host.system.try_(*ssh(port, *options))
        assert (refused.returncode, refused.stdout) == (255, "")


@pytest.mark.peer("sshd", "ssh", "ssh-keygen")
def test_ssh_with_key_and_pin(host: Host) -> None:
    found = host.follow("ssh.md", "Key and PIN")
    assert not [line for line in found if "sshd" in line]
    key = with_key(host)
    with sshd(host.system) as port:
        check_first_and_second_login(host, ssh(port, "-i", str(key)), ":~$ ", None)
        refused = host.system.try_(*ssh(port, "-o", "BatchMode=yes"))
        assert (refused.returncode, refused.stdout) == (255, "")


# --- security keys


def typed_by_alice(page: str, heading: str) -> list[tuple[str, list[str]]]:
    """What alice types below a heading, and what the page says that she sees."""
    text = (PAGES / page).read_text()
    (text,) = re.findall(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^alice@host:~\$ (.*)\n((?:(?!alice@|```).*\n)*)", text, re.MULTILINE)
    return [(command, shown.splitlines()) for command, shown in found]


def put_at_the_seat(host: Host, pid: str) -> None:
    """As logind does when alice logs in on a console."""
    uid = host.system.run("id", "-u", "alice").strip()
    scope = f"/user.slice/user-{uid}.slice/session-7.scope"
    session = f"UID={uid}\nUSER=alice\nACTIVE=1\nSTATE=active\nREMOTE=0\nSEAT=seat0\n"
    host.system.run("mkdir", "-p", "/run/systemd/sessions")
    host.system.run("tee", "/run/systemd/sessions/7", stdin=session)
    host.system.run("tee", "/run/cgroup", stdin=f"1:name=systemd:{scope}\n0::{scope}\n")
    host.system.run("mount", "--bind", "/run/cgroup", f"/proc/{pid}/cgroup")


@contextlib.contextmanager
def at_the_seat(host: Host, command: str) -> Iterator[Terminal]:
    with host.terminal(
        *AS_ALICE, "sh", "-c", f"PATH=/usr/local/bin:$PATH; echo at $$.; read go; exec {command}"
    ) as here:
        pid = here.wait_for(".").rpartition("at ")[2].rstrip(".")
        put_at_the_seat(host, pid)
        here.type("")
        yield here


def same(line: str) -> str:
    """Of a line of the page what is the same on every host: up to a serial, a date or a host's name."""
    return re.split(r"TF-|  totp|\d{4}-|\(twofold|\(login", line)[0].strip()


def test_security_keys(host: Host) -> None:
    page = "security-keys.md"
    host.follow(page, "Say who may")
    host.follow(page, "The key's own PIN")
    host.new_phone()
    enrolled = host.system.run("/usr/local/bin/twofold", "token", "enroll", "alice")
    (app,) = re.findall(r"secret=([A-Z2-7]+)", enrolled)
    host.ports.plug(key := SoftwareKey("blue"))
    steps = [*typed_by_alice(page, "Register a key"), *typed_by_alice(page, "A key is lost, or may be copied")]
    assert [command for command, _ in steps] == [
        "twofold profile device add --name blue",
        "twofold profile device test",
        "twofold profile",
        "twofold profile device revoke blue --reason lost",
    ]
    for ahead, (command, lines) in zip((0, 0, 0, 1), steps, strict=True):
        if command.endswith("lost"):
            host.ports.unplug(key)
        with at_the_seat(host, command) as here:
            for line in lines:
                here.wait_for(same(line))
                if line == ASKED.strip():
                    here.type(shown_by_app(app, ahead))
            assert here.status() == 0, here.shown
    assert key.blinks == 2  # registered and tested
    host.follow(page, "A key is lost, or may be copied")


# --- the way back


@pytest.mark.peer("su")
def test_the_way_back_in_and_forth_again(host: Host) -> None:
    host.follow("su.md")
    out, back = commands("lockout.md")[0], commands("lockout.md")[1]
    command = (*AS_BOB, "su", "-", "alice", "-c", "echo in as $(id -un)")
    host.new_phone()
    host.system.run("sh", "-c", out)
    with host.terminal(*command) as without:
        without.wait_for("Password: ")
        without.type(PASSWORD)
        without.wait_for("in as alice")
        assert "second factor" not in without.shown
    host.system.run("sh", "-c", back)
    with host.terminal(*command) as again:
        again.wait_for("Password: ")
        again.type(PASSWORD)
        pair(again)
