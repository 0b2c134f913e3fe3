"""Builds the module and the test programs beside it, writes PAM stacks, and runs the driver on them.

The sources are C files beside this one; each says what it is for. Everything is built into a folder of the test run.
"""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent
C_FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror"]

# PAM's codes, by its headers.
SUCCESS, SERVICE_ERR, SYSTEM_ERR, BUF_ERR, PERM_DENIED, AUTH_ERR, AUTHINFO_UNAVAIL = 0, 3, 4, 5, 6, 7, 9
CONV_ERR = 19
ECHO_OFF, ECHO_ON, ERROR_MSG, TEXT_INFO = 1, 2, 3, 4
LOG_CRIT, LOG_ERR, LOG_NOTICE, LOG_DEBUG, LOG_AUTHPRIV = 2, 3, 5, 7, 10 << 3


# A stack that answers with whatever our module answered. PAM_IGNORE alone it shows as PAM_PERM_DENIED, which the module
# never answers by itself, because libpam gives no PAM_IGNORE to programs.
IGNORED = PERM_DENIED
ALONE = "auth [success=done default=die] @us"


@dataclass(frozen=True)
class Run:
    """What the driver saw of one login."""

    code: int
    number: int
    shown: list[tuple[int, str]]
    logs: list[tuple[int, str]]
    delay: int
    inheritable: int
    files: tuple[int, int]
    signals_kept: bool
    ids_kept: bool
    in_memory: tuple[int, int]
    leaked: int
    failed: str


def _run(told: dict[str, Any]) -> Run:
    for key in ("shown", "logs"):
        told[key] = [(kind, bytes.fromhex(text).decode(errors="replace")) for kind, text in told[key]]
    return Run(**{**told, "files": tuple(told["files"]), "in_memory": tuple(told["in_memory"])})


def hidden(secret: str | bytes) -> str:
    """A secret as the driver takes it, so that no plain copy stands in its memory."""
    octets = secret.encode() if isinstance(secret, str) else secret
    return bytes(octet ^ 0x55 for octet in octets).hex()


@dataclass(frozen=True)
class Built:
    """The module and the programs, built with one set of flags."""

    folder: Path
    flags: tuple[str, ...] = ()

    @property
    def module(self) -> Path:
        return self.folder / "pam_twofold.so"

    @property
    def probe(self) -> Path:
        return self.folder / "probe.so"


def build(folder: Path, *flags: str) -> Built:
    folder.mkdir(parents=True)
    built = Built(folder, flags)
    cc = ["cc", *C_FLAGS, *flags]
    commands: list[list[str | Path]] = [
        ["make", "-s", "-C", ROOT, "module", f"BUILD={folder}", f"CFLAGS={' '.join([*flags, *peer_flags()])}"],
        [*cc, "-rdynamic", HERE / "driver.c", "-o", folder / "driver", "-lpam", "-pthread", "-ldl"],
        [*cc, "-fPIC", "-shared", HERE / "probe.c", "-o", built.probe, "-lpam"],
        [*cc, "-fPIC", "-shared", HERE / "faults.c", "-o", folder / "faults.so", "-lpam", "-ldl"],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    return built


def peer_flags() -> list[str]:
    """The module talks to root's daemon alone; for a developer who is not root it is built to talk to his."""
    return [] if os.getuid() == 0 else [f"-DTWOFOLD_TEST_PEER_UID={os.getuid()}"]


@dataclass
class Stack:
    """A folder of PAM services, and a socket for the daemon they lead to."""

    built: Built
    folder: Path
    options: dict[str, str] = field(default_factory=dict)

    @property
    def socket(self) -> Path:
        return self.folder / "pam.sock"

    @property
    def services(self) -> Path:
        return self.folder / "services"

    def ours(self, options: str = "") -> str:
        """Our module with its options, for a line of a service."""
        return f"{self.built.module} socket={self.socket} {options}".rstrip()

    def service(self, *lines: str, name: str = "login") -> None:
        """In each line @us stands for our module on this socket, @probe for the probe, @services for their folder.

        The folder is named because libpam 1.5 looks for what is included in /etc/pam.d alone.
        """
        self.services.mkdir(exist_ok=True)
        text = "".join(f"{line}\n" for line in lines)
        text = text.replace("@us", self.ours()).replace("@probe", str(self.built.probe))
        text = text.replace("@services", str(self.services))
        (self.services / name).write_text(text)

    def run(self, *, preload: bool = False, timeout: float = 60, **options: object) -> list[Run]:
        """All the runs of one driver process, which must end by itself and well."""
        done = self.start(preload=preload, timeout=timeout, **options)
        assert done.returncode == 0, (done.returncode, done.stdout[-2000:], done.stderr[-4000:])
        assert done.stderr == "", done.stderr[-4000:]
        return [_run(json.loads(line)) for line in done.stdout.splitlines()]

    def login(self, **options: Any) -> Run:
        (run,) = self.run(**options)
        return run

    def start(self, *, preload: bool, timeout: float, **options: object) -> "subprocess.CompletedProcess[str]":
        given = {"confdir": self.services, "service": "login", "user": "alice", **self.options, **options}
        words = [f"{key}={value}" for key, value in given.items() if value is not None]
        environment = {"TSAN_OPTIONS": f"suppressions={HERE / 'libaudit.supp'}"}
        if preload:
            environment["LD_PRELOAD"] = str(self.built.folder / "faults.so")
        return subprocess.run(
            [self.built.folder / "driver", *words], capture_output=True, text=True, timeout=timeout, env=environment
        )
