"""A private mount namespace: what is mounted in it, the host never sees, and it is gone when the test ends."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.site import TWOFOLD, eventually


class Namespace:
    """Kept open by a process that waits for its input to end. Entering it needs root."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "cat"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        eventually(lambda: self._entered or self._keeper.poll() is not None, what="a mount namespace")

    @property
    def _entered(self) -> bool:
        mine, its = (os.readlink(f"/proc/{pid}/ns/mnt") for pid in ("self", self._keeper.pid))
        return mine != its

    @property
    def allowed(self) -> bool:
        return self._keeper.poll() is None

    def inside(self, *command: str | Path) -> list[str]:
        """A command line that runs `command` in the namespace."""
        return ["nsenter", f"--mount=/proc/{self._keeper.pid}/ns/mnt", "--", *map(str, command)]

    def run(self, *command: str | Path) -> None:
        subprocess.run(self.inside(*command), check=True, stdin=subprocess.DEVNULL)

    @property
    def twofold(self) -> list[str]:
        """For `Site.server(program=...)`."""
        return self.inside(*TWOFOLD)

    def path(self, path: Path) -> Path:
        """`path` as it is seen in the namespace, for plain reading and writing from outside."""
        return Path(f"/proc/{self._keeper.pid}/root{path}")

    def end(self) -> None:
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(15)


@contextmanager
def mount_namespace() -> Iterator[Namespace]:
    """Skips the test where none may be made; where peers are required, that is a failure."""
    namespace = Namespace()
    try:
        if not namespace.allowed:
            complain = pytest.fail if os.environ.get("TWOFOLD_REQUIRE_PEERS") == "1" else pytest.skip
            complain("no private mount namespace may be made here: unshare --mount was refused")
        yield namespace
    finally:
        namespace.end()
