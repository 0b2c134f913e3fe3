"""A real site for tests: a store of its own in a folder, and real server processes on it.

Rule: everything here goes through the product's own doors (gate, command line); nothing is written past them.
"""

import atexit
import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property, lru_cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from first_factor.local import hash_password
from store import config as configuration
from store import opening
from store.database import Database
from tests import warm
from tests.wire import Nas
from validation.gate import Gate
from validation.model import MessageAuthenticatorRule, Mode, Token
from validation.requests import AddClient, AddUser, EnrollToken
from validation.tokens import hotp, totp

SECRET = b"a-secret-of-24-characters"
PASSWORD = "geheim"
TWOFOLD = [sys.executable, "-c", "from store.cli.main import main; main()"]

PATIENCE = 60.0  # seconds for what another process must do first: a machine may be busy, and its disk stand still

hashed = lru_cache(hash_password)


@cache
def _warm() -> tuple[list[str], str]:
    """How `tests/warm.py` is run, and the path at which it serves."""
    folder = tempfile.mkdtemp(prefix="twofold-warm-")
    path = os.path.join(folder, "socket")
    program = [sys.executable, "-P", str(Path(__file__).with_name("warm.py"))]  # beside it stands tests/store
    devnull = subprocess.DEVNULL
    server = subprocess.Popen([*program, path], stdin=subprocess.PIPE, stdout=devnull, cwd=Path(__file__).parents[1])

    def end() -> None:
        server.communicate(timeout=30)
        shutil.rmtree(folder)

    atexit.register(end)
    eventually(lambda: os.path.exists(path) or server.poll() is not None, 60, "a process with everything imported")
    assert server.poll() is None
    return [program[0], "-IS", program[2]], path


def warm_twofold() -> list[str]:
    """Like TWOFOLD, and sooner done (`tests/warm.py`): for commands that are over in a moment."""
    program, path = _warm()
    return [*program, path]


class WarmProcess:
    """`twofold ARGUMENTS` from the process that has imported everything, in the way of a Popen."""

    def __init__(self, arguments: Sequence[str]) -> None:
        side, other = os.pipe()
        with open(other, "wb"), open(os.devnull, "rb") as nothing:
            self.pid, self._line = warm.started(_warm()[1], list(arguments), [nothing.fileno(), 1, other])
        self.stderr = os.fdopen(side)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._line], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("twofold", timeout or 0.0)
            self.returncode = warm.ended(self._line)
            self._line.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def eventually(condition: Callable[[], object], seconds: float = PATIENCE, what: str = "it") -> None:
    """Poll until `condition` holds; never a fixed sleep. Only a broken test waits for the deadline."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"{what} did not happen within {seconds} s"
        time.sleep(0.01)


class Site:
    """`Site(tmp_path)` makes configuration, key and store; methods add what a test needs."""

    def __init__(self, folder: Path, config: str | None = None, owner_url: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.config_file = folder / "twofold.toml"
        self.config_file.write_text(config or '[store]\nchain = "test"\n[radius]\nlisten = ["127.0.0.1:0"]\n')
        self.config_file.chmod(0o640)  # whatever the umask of whoever runs the tests
        opening.create(self.config, "test", owner_url)

    @property
    def config(self) -> configuration.Config:
        return configuration.load(self.config_file)

    @property
    def key_file(self) -> Path:
        file = self.config.key.file
        assert file is not None
        return file

    @cached_property
    def database(self) -> Database:
        return opening.open_store(self.config)

    @cached_property
    def gate(self) -> Gate:
        return opening.gate_on(self.database, self.config)

    def add_user(self, name: str, password: str | None = PASSWORD, groups: tuple[str, ...] = ()) -> None:
        password_hash = hashed(password) if password else None
        self.gate.administer(AddUser(actor="test", name=name, groups=groups, password_hash=password_hash))

    def enroll(self, user: str, **options: object) -> Token:
        """Give `user` a token; what comes back can compute its PINs (`pin`)."""
        command = EnrollToken(actor="test", user=user, **options)  # type: ignore[arg-type]
        done = self.gate.administer(command)
        return Token(
            id=0,
            serial=done.serials[0],
            user_id=0,
            kind=command.kind,
            key=done.key or b"",
            digits=command.digits,
            period=command.period,
            algorithm=command.algorithm,
            moving_factor=command.moving_factor,
        )

    def add_client(
        self,
        name: str = "vpn",
        network: str = "127.0.0.1/32",
        secret: bytes = SECRET,
        mode: Mode = Mode.CHALLENGE,
        rule: MessageAuthenticatorRule = MessageAuthenticatorRule.REQUIRED,
        status_server: bool = True,
        **more: Any,
    ) -> None:
        self.gate.administer(
            AddClient(
                actor="test",
                name=name,
                network=ip_network(network),
                secret=secret,
                mode=mode,
                message_authenticator=rule,
                status_server=status_server,
                **more,
            )
        )

    def audit(self) -> list[dict[str, object]]:
        from store import listings

        with self.database.connections.reading() as connection:
            return list(listings.audit_rows(connection))

    def logins(self) -> list[tuple[object, object]]:
        """(decision, reason) of every login in the trail, from old to new."""
        return [(row["decision"], row["reason"]) for row in self.audit() if row["event"] == "login"]

    def token_row(self, serial: str) -> dict[str, object]:
        from store import listings

        with self.database.connections.reading() as connection:
            (row,) = listings.token_rows(connection, serial=serial)
        return row

    def failures(self, user: str) -> dict[str, int]:
        """Failure counts of a user by factor."""
        from store import listings

        with self.database.connections.reading() as connection:
            (row,) = listings.user_rows(connection, user)
            return {r["factor"]: r["failures"] for r in listings.throttle_rows(connection, row["id"])}

    def command(
        self, *arguments: str, stdin: str | bytes = b"", env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run `twofold ARGUMENTS` as a process of its own."""
        octets = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [*warm_twofold(), "--config", str(self.config_file), *arguments],
            input=octets,
            capture_output=True,
            env=os.environ | (env or {}),
            timeout=60,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    @contextlib.contextmanager
    def server(self, *arguments: str, program: Sequence[str] = ()) -> "Iterator[ServerProcess]":
        """A real server process, ready to answer; ended on the way out. Without `program` it is soon there, because
        everything has been imported already (`tests/warm.py`). Where its memory or its command line is looked at,
        `program` is `TWOFOLD`."""
        command = [*program, "--config", str(self.config_file), "radius", "serve", *arguments]
        server = ServerProcess(command, warm=not program)
        try:
            server.wait_until_listening(max(1, arguments.count("--listen")))
            yield server
        finally:
            server.end()


def _cold(command: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def family(pid: int) -> list[int]:
    """A process and all that are below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


_LISTENING = re.compile(r'listening(?: on=|", "on": ")([^\s"]+)')  # text or JSON


class ServerProcess:
    """A `twofold radius serve` and everything it has logged so far."""

    def __init__(self, command: Sequence[str], warm: bool = False) -> None:
        """`command` with its program, or if `warm` the arguments of `twofold` alone."""
        self._lines: list[str] = []  # joined when they are asked for: a log may have a hundred thousand
        self.process = WarmProcess(command) if warm else _cold(command)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line)

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def wait_until_listening(self, addresses: int = 1) -> None:
        """Each address is a line of the log, and the lines come one by one."""
        eventually(
            lambda: len(self.addresses) >= addresses or self.process.poll() is not None,
            PATIENCE,
            f"a server that listens; its log: {self.log}",
        )
        assert self.process.poll() is None, self.log

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens, in the order of --listen."""
        found = []
        for text in _LISTENING.findall(self.log):
            address, _, port = text.rpartition(":")
            found.append((address.strip("[]"), int(port)))
        return found

    @property
    def address(self) -> tuple[str, int]:
        return self.addresses[0]

    def nas(self, secret: bytes = SECRET, source: str | None = None) -> Nas:
        return Nas(self.address, secret, source)

    @property
    def pids(self) -> list[int]:
        """Of its processes, the one that was started first."""
        return family(self.process.pid)

    @property
    def gate_pid(self) -> int:
        """Of the process that decides logins."""
        (found,) = [pid for pid in self.pids if Path(f"/proc/{pid}/comm").read_text() == "twofold-gate\n"]
        return found

    def resident_kib(self) -> int:
        """Resident memory now, of all its processes."""
        return self._memory("VmRSS")

    def peak_kib(self) -> int:
        """The most resident memory that it has had."""
        return self._memory("VmHWM")

    def _memory(self, name: str) -> int:
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in self.pids]
        return sum(int(kib) for text in texts for kib in re.findall(rf"{name}:\s+(\d+) kB", text))

    def kill(self) -> None:
        """SIGKILL: nothing gets a chance to be tidied up."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"the server did not end; its log: {self.log}") from None
        self._reader.join(60)  # its pipe has ended; a busy machine takes its time to read what is left
        if self.process.stderr is not None:
            self.process.stderr.close()


def pin(token: Token, ahead: int = 0, now: float | None = None) -> str:
    """The PIN `token` shows now, or `ahead` steps or counters later."""
    if token.kind == "totp":
        step = totp.step_at(time.time() if now is None else now, token.period)
        return hotp.value_at(token, step + ahead)
    return hotp.value_at(token, token.moving_factor + ahead)
