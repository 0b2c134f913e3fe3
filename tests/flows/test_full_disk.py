"""A full disk, and a store with a ballast: logins go on, then nobody gets in, then there is room and all is as before.

Each on a small disk of its own in a namespace of its own, which is filled and emptied while programs use the store.
"""

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from store.ballast import SIZE
from tests.faults.disk import disk_holding
from tests.flows.crowd import replies, send_all
from tests.flows.namespace import Namespace, mount_namespace
from tests.site import SECRET, TWOFOLD, Site, eventually, pin
from tests.wire import ACCEPT, Nas, access_request, status_server
from validation.model import Mode, Token

pytestmark = pytest.mark.peer("mount", "unshare", "nsenter")

BIG_ENOUGH = 64 << 20  # of a disk: several times what a ballast wants to see free
LOGINS = 100  # on a full disk; each takes more than a page of SQLite's log
GIVEN_UP = "twofold.db.ballast was given up"


@dataclass
class Small:
    """A store on a small disk, which only the namespace sees. `folder` is how that calls it, `here` how we do."""

    namespace: Namespace
    site: Site
    token: Token
    counter: int = 0
    _fillers: list[Path] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.site.folder

    @property
    def here(self) -> Path:
        return self.namespace.path(self.folder)

    @property
    def ballast(self) -> Path:
        return self.here / "twofold.db.ballast"

    def program(self, *arguments: str) -> list[str]:
        return self.namespace.inside(*TWOFOLD, "--config", self.site.config_file, *arguments)

    def run(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(self.program(*arguments), input=stdin, capture_output=True, text=True, timeout=60)

    def fill(self) -> None:
        """To the last octet, with a file more."""
        self._fillers.append(self.here / f"filler{len(self._fillers)}")
        with open(self._fillers[-1], "wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(NoSpace), no_space():
                    while True:
                        file.write(bytes(size))

    def empty(self) -> None:
        while self._fillers:
            self._fillers.pop().unlink()

    def log_in(self, nas: Nas) -> bool:
        """Whether alice's next PIN lets her in. It stays her next if nobody answers."""
        request = access_request(SECRET, "alice", pin(self.token, self.counter), identifier=self.counter % 200)
        nas.send(request.data)
        (reply,) = replies(nas, [request], 1.5)
        if reply is None:
            return False
        assert reply.code == ACCEPT
        self.counter += 1
        return True


class NoSpace(Exception):
    pass


@contextmanager
def no_space() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        assert error.errno == errno.ENOSPC
        raise NoSpace from None


@contextmanager
def on_tmpfs(folder: Path, beside: Path) -> Iterator[Namespace]:
    with mount_namespace() as namespace:
        source = beside / "source"
        namespace.run("cp", "-a", folder, source)
        namespace.run("mount", "-t", "tmpfs", "-o", f"size={BIG_ENOUGH},mode=0700", "tmpfs", folder)
        namespace.run("cp", "-a", f"{source}/.", folder)
        yield namespace


@contextmanager
def on_ext4(folder: Path, beside: Path) -> Iterator[Namespace]:
    with disk_holding(folder, beside, BIG_ENOUGH) as disk:
        yield disk.namespace


Disk = Callable[[Path, Path], AbstractContextManager[Namespace]]


@contextmanager
def small_disk(disk: Disk, site: Site, beside: Path) -> Iterator[Small]:
    """With alice in the store, and nothing open."""
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", password=None)
    token = site.enroll("alice", kind="hotp")
    site.database.close()
    with disk(site.folder, beside) as namespace:
        small = Small(namespace, site, token)
        made = small.run("init")
        assert made.stdout.splitlines() == [f"ballast  {small.folder}/twofold.db.ballast", "ready"], made
        yield small


every_disk = pytest.mark.parametrize("disk", [on_tmpfs, on_ext4])


@pytest.mark.statement("C-011")
@pytest.mark.peer("mkfs.ext4")
@every_disk
def test_on_a_full_disk_logins_go_on_until_the_ballast_is_used_up_and_heal_without_a_restart(
    disk: Disk, site: Site, tmp_path: Path
) -> None:
    with small_disk(disk, site, tmp_path) as small:
        assert os.stat(small.ballast).st_blocks * 512 >= SIZE
        with small.site.server(program=small.namespace.twofold) as server, server.nas() as nas:
            small.fill()
            for _ in range(LOGINS):
                assert small.log_in(nas), server.log
            assert server.log.count(GIVEN_UP) == 1, server.log
            assert "store-unavailable" not in server.log
            assert not small.ballast.exists()

            small.fill()  # whoever filled it goes on
            used_up = small.counter
            while small.log_in(nas):  # what SQLite has of its own
                assert small.counter < used_up + 1000
            probe = status_server(SECRET, identifier=255)
            send_all(nas, [probe])
            assert replies(nas, [probe], 1.5) == [None], "healthy, though nothing can be recorded"
            assert "database or disk is full" in server.log
            assert server.log.count(GIVEN_UP) == 1
            assert not small.ballast.exists()

            small.empty()
            eventually(lambda: small.log_in(nas), what="a login when there is room again")
            eventually(lambda: "twofold.db.ballast was made" in server.log, what="a ballast as before")
            assert os.stat(small.ballast).st_blocks * 512 >= SIZE
            assert "Traceback" not in server.log
        check_exact(small)


def check_exact(small: Small) -> None:
    """Only what was answered is in the trail, and each once."""
    listed = small.run("audit", "list", "--user", "alice", "--limit", "5000")
    assert listed.stdout.count(" login ") == listed.stdout.count("passcode-right") == small.counter, listed
    verified = small.run("audit", "verify")
    assert verified.returncode == 0, verified
