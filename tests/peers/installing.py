"""`make install` and `make uninstall` in a place where they harm nobody, and what a tree looks like before and after.

The module that is installed is a real one of this system, pam_deny.so: it is of the right architecture, and if anything
went wrong it would let nobody in.
"""

import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.flows.namespace import Namespace, mount_namespace
from tests.site import eventually

SECURITY = ("/usr/lib/*/security", "/usr/lib64/security", "/usr/lib/security")
CHANGED = ("/etc", "/opt", "/usr/local", "/var/lib")  # and where PAM modules are

# What root has who logged in: a `twofold` of whoever runs the tests must not come before the installed one.
ROOTS = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


def pam_directory() -> Path:
    """Where this system's PAM modules are."""
    found = [path.parent for pattern in SECURITY for path in Path("/").glob(f"{pattern.lstrip('/')}/pam_unix.so")]
    if not found:
        pytest.skip("pam_unix.so is not here (Debian package libpam-modules)")
    return found[0]


def module() -> Path:
    return pam_directory() / "pam_deny.so"


def make(
    target: str, *settings: str, within: Sequence[str] = (), status: int = 0, umask: int = -1
) -> "subprocess.CompletedProcess[str]":
    """`make TARGET SETTING...` in the source, which must end with `status`."""
    command = [*within, "make", "--silent", "-C", str(ROOT), target, f"PAM_MODULE={module()}", *settings]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240, umask=umask)
    assert (done.returncode != 0) == (status != 0), done.stdout + done.stderr
    return done


def tree(root: Path) -> dict[str, str]:
    """Each path below `root` with its kind, mode, owner and content."""
    return {str(path.relative_to(root)): _look(path) for path in [root, *root.rglob("*")]}


def _look(path: Path) -> str:
    status = path.lstat()
    what = f"{status.st_mode:o} {status.st_uid}:{status.st_gid}"
    if path.is_symlink():
        return f"{what} -> {os.readlink(path)}"
    return f"{what} {hashlib.sha256(path.read_bytes()).hexdigest()}" if path.is_file() else what


class PrivateSystem:
    """This system, in which everything may be changed: nobody outside sees it, and it is gone at the end.

    `folder` is in its memory, for whatever a test wants to keep.
    """

    def __init__(self, space: Namespace, folder: Path, like: "Kept | None" = None) -> None:
        self.space = space
        self.folder = folder
        self._layers = {place: folder / f"upper{n}" for n, place in enumerate([*CHANGED, str(pam_directory())])}
        space.run("mount", "-t", "tmpfs", "tmpfs", folder)
        for place, upper in self._layers.items():
            work = upper.with_suffix(".work")
            space.run("mkdir", upper, work)
            if like is not None:
                space.run("cp", "-a", f"{like.path / upper.name}/.", upper)
            layers = f"lowerdir={place},upperdir={upper},workdir={work}"
            space.run("mount", "-t", "overlay", "overlay", "-o", layers, place)
        space.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")  # no systemd that could be told anything

    def make(self, target: str, *settings: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
        return make(target, *settings, within=self.space.inside(), status=status)

    def keep(self) -> "Kept":
        """All that differs from this system by now, for others that are to begin like it."""
        kept = self.folder / "kept"
        self.space.run("mkdir", kept)
        self.space.run("cp", "-a", *self._layers.values(), kept)
        return Kept(self.space.path(kept))

    def try_(self, *command: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.space.inside(*command), input=stdin, capture_output=True, text=True, timeout=60, cwd="/", env=ROOTS
        )

    def run(self, *command: str, stdin: str = "") -> str:
        """The output of a command that must go well."""
        done = self.try_(*command, stdin=stdin)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def changes(self) -> set[str]:
        """Every path that is not as it is outside. What useradd keeps as copies and locks is left out."""
        found: set[str] = set()
        for place, layer in self._layers.items():
            upper = self.space.path(layer)
            for path in upper.rglob("*"):
                outside = Path(place, path.relative_to(upper))
                if not os.path.lexists(outside) or _look(outside) != _look(path):
                    found.add(str(outside))
        found |= {f"/run/{path.name}" for path in self.space.path(Path("/run")).iterdir()}
        return {name for name in found if not name.endswith("-") and name != "/etc/.pwd.lock"}


@dataclass(frozen=True)
class Kept:
    """What `PrivateSystem.keep` has put aside; it is there as long as that system."""

    path: Path


@contextmanager
def private_system(folder: Path, like: Kept | None = None) -> Iterator[PrivateSystem]:
    if os.geteuid() != 0:
        pytest.skip("only root may install into the system, even a private copy of it")
    with mount_namespace() as space:
        yield PrivateSystem(space, folder, like)


def difference(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    names = sorted(before.keys() | after.keys())
    return {n: (before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)}


@contextmanager
def helper(system: PrivateSystem, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """The helper with the powers that its unit leaves it."""
    unit = (ROOT / "contrib/systemd/twofold-pam.service").read_text()
    (line,) = [line for line in unit.splitlines() if line.startswith("CapabilityBoundingSet=")]
    powers = ",".join(f"+{word.removeprefix('CAP_').lower()}" for word in line.partition("=")[2].split())
    program = ("/opt/twofold/bin/python", "-I", "/opt/twofold/bin/twofold", "pam", "serve")
    limits = ("setpriv", "--no-new-privs", f"--bounding-set=-all,{powers}", "--inh-caps=-all", "--")
    given = [f"{name}={value}" for name, value in (environment or {}).items()]
    command = system.space.inside(*limits, "env", *given, *program)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        socket = system.space.path(Path("/run/twofold/pam.sock"))
        eventually(lambda: socket.exists() or process.poll() is not None, what="a helper that listens")
        assert process.poll() is None, process.stderr.read() if process.stderr is not None else ""
        yield
    finally:
        process.terminate()
        process.communicate(timeout=60)
