"""Login programs at a terminal: somebody types answers to questions, and the screen says what became of it.

Rules: nothing is typed before its question is on the screen. Whoever got in proves it by running `id -un` there.
"""

import contextlib
import os
import pty
import re
import select
import socket
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers import peers
from tests.peers.world import ENVIRONMENT, USERS, Running, World
from tests.site import eventually

INTERRUPT = b"\x03"
WAIT = 60.0  # seconds for the next thing on a screen
PASSWORD = "[Pp]assword[^:\n]*: ?$"
PROOF = "echo IN-$(id -un)"  # the terminal echoes it as it is typed, which is no proof
_ENTERED = r"IN-(?P<who>\w+)\s"
_REFUSED = "Login incorrect|Authentication failure|Permission denied|Sorry, try again|incorrect password attempt"
_SHELL = r"\$ $"

# What a question looks like, as a pattern; what is typed, or how it follows from what is on the screen.
Answers = tuple[tuple[str, str | Callable[[str], str]], ...]


@dataclass(frozen=True)
class Visit:
    """The whole screen, and as whom the person got in; None: he did not."""

    screen: str
    who: str | None


class Screen:
    """A program on a terminal of its own, which controls it."""

    def __init__(self, world: World, *command: str | Path, user: str | None = None) -> None:
        self._side, side = pty.openpty()
        self.process = subprocess.Popen(
            world.inside("setsid", "--ctty", "--wait", *command, user=user),
            stdin=side,
            stdout=side,
            stderr=side,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        os.close(side)
        self._octets = b""
        self._looked_at = 0

    @property
    def text(self) -> str:
        return self._octets.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, pattern: str) -> re.Match[str] | None:
        """In what has come since the last match. None if the program ends without it."""
        until = time.monotonic() + WAIT
        while True:
            text = self.text
            if found := re.compile(pattern).search(text, self._looked_at):
                self._looked_at = found.end()
                return found
            ready, _, _ = select.select([self._side], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"{pattern!r} did not come within {WAIT} s:\n{text}"
            if not (piece := self._piece()):
                return None
            self._octets += piece

    def _piece(self) -> bytes:
        try:
            return os.read(self._side, 65_536)
        except OSError:  # how Linux tells that nobody is at the other side
            return b""

    def type(self, text: str) -> None:
        self.press(f"{text}\n".encode())

    def press(self, keys: bytes) -> None:
        os.write(self._side, keys)

    def end(self) -> None:
        """Presses Ctrl-C until the program has ended. One might come where it is only noted, just before a read that
        then goes on."""
        until = time.monotonic() + WAIT
        while True:
            with contextlib.suppress(OSError):  # it has ended
                self.press(INTERRUPT)
            if not self._more(1.0):
                return
            assert time.monotonic() < until, f"Ctrl-C did not end it within {WAIT} s:\n{self.text}"

    def _more(self, seconds: float) -> bool:
        """Takes what comes within this time. False if the program has ended."""
        ready, _, _ = select.select([self._side], [], [], seconds)
        if not ready:
            return True
        piece = self._piece()
        self._octets += piece
        return bool(piece)

    @property
    def hides(self) -> bool:
        """Whether what is typed now stays unseen."""
        return not termios.tcgetattr(self._side)[3] & termios.ECHO

    def close(self) -> None:
        """Hangs up; the program in the world is ended by that."""
        os.close(self._side)
        self.process.wait(30)


@contextmanager
def screen(world: World, *command: str | Path, user: str | None = None) -> Iterator[Screen]:
    opened = Screen(world, *command, user=user)
    try:
        yield opened
    finally:
        opened.close()


def visit(world: World, command: tuple[str | Path, ...], answers: Answers, user: str | None = None) -> Visit:
    """Types each answer after its question, until one is in, refused, or the program ends."""
    with screen(world, *command, user=user) as shown:
        who = None
        for question, typed in answers:
            found = shown.wait_for(f"(?P<question>{question})|{_ENTERED}|{_REFUSED}")
            if found is None or found["question"] is None:
                who = found["who"] if found is not None else None
                break
            shown.type(typed if isinstance(typed, str) else typed(shown.text))
        else:
            found = shown.wait_for(f"{_ENTERED}|{_REFUSED}")
            who = found["who"] if found is not None else None
        return Visit(shown.text, who)


def _with_password(password: str | Answers) -> Answers:
    return ((PASSWORD, password),) if isinstance(password, str) else password


def login(world: World, name: str, password: str | Answers) -> Visit:
    """`login NAME` as a getty runs it."""
    answers = (*_with_password(password), (_SHELL, f"{PROOF}; exit"))
    return visit(world, (peers.require("login"), name), answers)


def su(world: World, name: str, password: str | Answers, by: str = "bob", shell: bool = False) -> Visit:
    """`su NAME` by another user; with `shell` as `su - NAME`, whose PAM service is su-l."""
    command = (peers.require("su"), *(["-"] if shell else []), name, "-c", PROOF)
    return visit(world, command, _with_password(password), user=by)


def sudo(world: World, name: str, password: str | Answers) -> Visit:
    """By NAME, who proves himself and becomes root. `-k`: never by an earlier proof."""
    return visit(world, (peers.require("sudo"), "-k", "sh", "-c", PROOF), _with_password(password), user=name)


# --- ssh --------------------------------------------------------------------------------------------------------

KEYBOARD = "keyboard-interactive"
KEY_AND_KEYBOARD = "publickey,keyboard-interactive"


@dataclass
class Sshd:
    """One sshd in a world, on a loopback port of its own. alice and bob have a key, `client_key`."""

    world: World
    port: int
    running: Running

    def visit(
        self, name: str, password: str | Answers, methods: str = KEYBOARD, options: dict[str, str] | None = None
    ) -> Visit:
        """`methods` is what the client offers; `options` are its own (-o)."""
        given = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "PreferredAuthentications": methods,
            "PubkeyAuthentication": "yes" if "publickey" in methods else "no",
            "NumberOfPasswordPrompts": "1",
            "LogLevel": "ERROR",
            **(options or {}),
        }
        command = [peers.require("ssh"), "-F", "/dev/null", "-p", str(self.port), "-i", str(_client_key(self.world))]
        command += [part for key, value in given.items() for part in ("-o", f"{key}={value}")]
        return visit(self.world, (*command, f"{name}@127.0.0.1", PROOF), _with_password(password))

    def stop(self) -> None:
        self.running.stop()


def sshd(world: World, methods: str = KEYBOARD, **settings: str) -> Sshd:
    """Started and answering. `settings` are further lines of sshd_config; what stands there first wins."""
    _make_keys(world)
    for _ in range(5):  # a free port may be taken by another test before sshd has it
        port = _free_port()
        running = _start_sshd(world, port, methods, settings)
        if _answers(running, port):
            return Sshd(world, port, running)
    raise AssertionError(world.read(world.path / f"sshd.{port}.log"))


def _start_sshd(world: World, port: int, methods: str, settings: dict[str, str]) -> Running:
    lines = [
        *(f"{key} {value}" for key, value in settings.items()),
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {world.path / 'host_key'}",
        f"PidFile {world.path / f'sshd.{port}.pid'}",
        "UsePAM yes",
        "KbdInteractiveAuthentication yes",
        "PasswordAuthentication no",
        f"AuthenticationMethods {methods}",
        "PrintMotd no",
    ]
    file = world.path / f"sshd_config.{port}"
    world.write(file, "\n".join(lines) + "\n")
    return world.start(peers.require("sshd"), "-D", "-f", file, log=f"sshd.{port}.log")


def _answers(running: Running, port: int) -> bool:
    """False if it has ended."""
    eventually(lambda: _greets(port) or running.process.poll() is not None, what="sshd")
    return running.process.poll() is None


def _client_key(world: World) -> Path:
    return world.path / "client_key"


def _make_keys(world: World) -> None:
    if world.run("test", "-e", _client_key(world), check=False).returncode == 0:
        return
    for file in (world.path / "host_key", _client_key(world)):
        world.run(peers.require("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", file)
    public = world.read(f"{_client_key(world)}.pub")
    for name in USERS:
        world.write(world.path / "home" / name / ".ssh" / "authorized_keys", public)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
