"""Private namespaces: what is mounted, or which addresses there are, the host never sees, and it is gone afterwards.

`mount_namespace()` for what is mounted, `net_namespace()` for addresses and interfaces.
"""

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.site import TWOFOLD, eventually

T = TypeVar("T")

CLONE_NEWNET = 0x40000000


class Namespace:
    """Kept open by a process that waits for its input to end. Entering it needs root."""

    def __init__(self, kind: str = "mnt", *options: str) -> None:
        """`kind` as it is called in /proc; `options` of unshare(1)."""
        self._kind = kind
        self._keeper = subprocess.Popen(["unshare", *options, "cat"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        eventually(lambda: not self.allowed or self._entered, what=f"a namespace of kind {kind}")

    @property
    def file(self) -> str:
        return f"/proc/{self._keeper.pid}/ns/{self._kind}"

    @property
    def _entered(self) -> bool:
        try:
            return os.readlink(f"/proc/self/ns/{self._kind}") != os.readlink(self.file)
        except FileNotFoundError:  # it was refused just now, and has ended
            return False

    @property
    def allowed(self) -> bool:
        return self._keeper.poll() is None

    def inside(self, *command: str | Path) -> list[str]:
        """A command line that runs `command` in the namespace."""
        option = {"mnt": "--mount", "net": "--net"}[self._kind]
        return ["nsenter", f"{option}={self.file}", "--", *map(str, command)]

    def run(self, *command: str | Path) -> None:
        subprocess.run(self.inside(*command), check=True, stdin=subprocess.DEVNULL)

    @property
    def twofold(self) -> list[str]:
        """For `Site.server(program=...)`."""
        return self.inside(*TWOFOLD)

    def path(self, path: Path) -> Path:
        """`path` as it is seen in the namespace, for plain reading and writing from outside."""
        return Path(f"/proc/{self._keeper.pid}/root{path}")

    def call(self, make: Callable[[], T]) -> T:
        """What `make` returns, called in a thread inside a net namespace. A socket that it makes stays in there."""
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._call, make).result()

    def _call(self, make: Callable[[], T]) -> T:
        with open(self.file) as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        return make()

    def end(self) -> None:
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(60)


def mount_namespace() -> AbstractContextManager[Namespace]:
    return _open("mnt", "--mount", "--propagation", "private")


@contextmanager
def net_namespace(*addresses: str) -> Iterator[Namespace]:
    """With a loopback interface that has `addresses` as well."""
    with _open("net", "--net") as namespace:
        namespace.run("ip", "link", "set", "lo", "up")
        for address in addresses:
            namespace.run("ip", "address", "add", address, "dev", "lo", *(["nodad"] if ":" in address else []))
        yield namespace


@contextmanager
def _open(kind: str, *options: str) -> Iterator[Namespace]:
    """Skips the test where none may be made; where peers are required, that is a failure."""
    namespace = Namespace(kind, *options)
    try:
        if not namespace.allowed:
            complain = pytest.fail if os.environ.get("TWOFOLD_REQUIRE_PEERS") == "1" else pytest.skip
            complain(f"no private namespace may be made here: unshare {options[0]} was refused")
        yield namespace
    finally:
        namespace.end()
