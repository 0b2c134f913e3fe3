"""A full disk, and a store with a ballast: logins go on, then nobody gets in, then there is room and all is as before.

Each on a small disk of its own in a namespace of its own, which is filled and emptied while programs use the store.
"""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from io import FileIO
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
COMMANDED = ["bob", "carol", "dave"]  # users whom commands lock
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
                while room_for(file, size):
                    pass

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


def room_for(file: FileIO, octets: int) -> bool:
    try:
        return file.write(bytes(octets)) == octets
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


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


@pytest.mark.statement("C-011")
def test_of_many_programs_that_meet_the_full_disk_one_gives_the_ballast_up_and_none_fails(
    site: Site, tmp_path: Path
) -> None:
    """Two servers and commands, all at once."""
    for name in COMMANDED:
        site.add_user(name, password=None)
    with small_disk(on_tmpfs, site, tmp_path) as small:
        twofold = small.namespace.twofold
        with site.server(program=twofold) as here, site.server(program=twofold) as there, here.nas() as nas:
            small.fill()
            with ThreadPoolExecutor(len(COMMANDED)) as pool:
                commands = [pool.submit(small.run, "user", "lock", name) for name in COMMANDED]
                for _ in range(LOGINS):
                    assert small.log_in(nas), here.log
                done = [command.result() for command in commands]
            with there.nas() as other:
                assert small.log_in(other)
            said = [here.log, there.log, *(one.stderr for one in done)]
            assert [one.returncode for one in done] == [0] * len(done), done
            assert sum(text.count(GIVEN_UP) for text in said) == 1, said
        check_exact(small)


@pytest.mark.statement("C-011")
def test_a_command_alone_on_a_full_disk_can_open_the_store(site: Site, tmp_path: Path) -> None:
    """SQLite's `-shm`, which it needs even for reading, goes when the last program does."""
    with small_disk(on_tmpfs, site, tmp_path) as small:
        assert not small.here.joinpath("twofold.db-shm").exists()
        small.fill()
        locked = small.run("user", "lock", "alice")
        assert locked.returncode == 0, locked
        assert locked.stderr == (
            f"the disk of {small.folder}/twofold.db is full: {small.folder}/{GIVEN_UP}, "
            "so that some more logins can be recorded. Make room now\n"
        )
        small.fill()
        assert small.run("user", "unlock", "alice").returncode == 3, "this test has not seen a full disk"


@pytest.mark.statement("C-011")
def test_a_boxful_of_tokens_does_not_use_the_ballast_up(site: Site, tmp_path: Path) -> None:
    """It is for logins. What fills the disk by itself is refused, and changes nothing."""
    box = tmp_path / "box.csv"
    box.write_text("".join(f"S{number:05},{number:040x},hotp,6\n" for number in range(3000)))
    with small_disk(on_tmpfs, site, tmp_path) as small, site.server(program=small.namespace.twofold) as server:
        small.fill()
        refused = small.run("token", "import", str(box), "--format", "oath-csv")
        assert refused.returncode == 3, refused
        assert "database or disk is full" in refused.stderr
        assert small.ballast.exists()
        with server.nas() as nas:
            assert small.log_in(nas)
