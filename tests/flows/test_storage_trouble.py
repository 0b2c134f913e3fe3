"""The store locked, read-only, full or failing: nobody gets in, the wait is bounded, and it ends by itself.

In each case the server is up and its store is in trouble; then the trouble is over, and the same server, without a
restart, lets in exactly those who could not be let in before.
"""

import contextlib
import fcntl
import os
import re
import resource
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.flows.crowd import answered, ask_all, numbered, replies, send_all, wrong_pins
from tests.flows.namespace import mount_namespace
from tests.site import PASSWORD, SECRET, ServerProcess, Site, eventually, pin
from tests.wire import ACCEPT, REJECT, Nas, Request, access_request, status_server
from validation.model import Mode, Token

DEADLINE = 5.0  # what a transaction may wait for others, store/connections.py


# --- What can be wrong with a store -----------------------------------------------------------------------------


@contextmanager
def transaction_held(site: Site) -> Iterator[None]:
    """Another process is writing, and does not finish."""
    with contextlib.closing(sqlite3.connect(site.config.database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextmanager
def lock_file_held(site: Site) -> Iterator[None]:
    """A command has been stopped (Ctrl-Z) in the middle of a write."""
    path = site.config.database
    with open(path.with_name(path.name + ".lock"), "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def moved_away(site: Site) -> Iterator[None]:
    """A disk that was unmounted, or an admin in the middle of something."""
    database = site.config.database
    elsewhere = database.rename(database.with_suffix(".elsewhere"))
    yield
    elsewhere.rename(database)


@contextmanager
def writes_fail(server: ServerProcess) -> Iterator[None]:
    """Every write to a file fails in the kernel, as on a broken disk."""
    pids = server.pids
    soft, hard = resource.prlimit(pids[0], resource.RLIMIT_FSIZE)
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    yield
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def free_octets(disk: Path) -> int:
    about = os.statvfs(disk)
    return about.f_bavail * about.f_frsize


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, free_octets(disk))
    assert free_octets(disk) == 0
    yield
    ballast.unlink()


# --- Locked by somebody else ------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [transaction_held, lock_file_held])
def test_locked_for_3_seconds_30_logins_are_all_answered_right_though_late(
    site: Site, held: Callable[[Site], contextlib.AbstractContextManager[None]]
) -> None:
    """S01. 3 s of them waiting."""
    site.add_client(mode=Mode.APPEND)
    logins, expected = [], []
    for n in range(30):
        site.add_user(f"user{n}")
        token = site.enroll(f"user{n}", kind="hotp")
        right = n % 3 > 0
        logins.append((f"user{n}", PASSWORD + (pin(token) if right else wrong_pins(token)[0])))
        expected.append(ACCEPT if right else REJECT)
    with site.server() as server, server.nas() as nas:
        requests = numbered(SECRET, logins)
        with held(site):
            send_all(nas, requests)
            assert nas.receive(3.0) is None, "answered though nothing could be recorded"
        assert [reply.code for reply in answered(nas, requests)] == expected
    assert Counter(site.logins()) == {("accept", "passcode-right"): 20, ("reject", "passcode-wrong"): 10}
    assert [site.failures(f"user{n}") for n in range(30)] == [{} if n % 3 else {"passcode": 1} for n in range(30)]


@dataclass
class Trouble:
    """A login that would be right, one that is wrong, and a question whether the server can work."""

    nas: Nas
    probe: Request
    right: Request
    wrong: Request

    def check_silence(self, seconds: float, others: Sequence[Request] = ()) -> None:
        """Longer than a refusal would take."""
        sent = [self.right, self.wrong, self.probe, *others]
        send_all(self.nas, sent)
        assert replies(self.nas, sent, seconds) == [None] * len(sent)

    def check_recovery(self) -> None:
        """The gateway goes on asking, as gateways do, and soon is answered as if nothing had happened."""
        for request, code in ((self.probe, ACCEPT), (self.right, ACCEPT), (self.wrong, REJECT)):
            eventually(partial(self._answers, request, code), what=f"an answer with code {code}")

    def _answers(self, request: Request, code: int) -> bool:
        self.nas.send(request.data)
        (reply,) = replies(self.nas, [request], 1.5)
        return reply is not None and reply.code == code


def prepare(site: Site) -> tuple[Token, Token]:
    """alice with the right PIN and bob with a wrong one, behind a client whose field is the PIN."""
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", password=None)
    site.add_user("bob", password=None)
    return site.enroll("alice", kind="hotp"), site.enroll("bob", kind="hotp")


def trouble(nas: Nas, tokens: tuple[Token, Token]) -> Trouble:
    alice, bob = tokens
    return Trouble(
        nas,
        status_server(SECRET, identifier=0),
        access_request(SECRET, "alice", pin(alice), identifier=1),
        access_request(SECRET, "bob", wrong_pins(bob)[0], identifier=2),
    )


def check_exact(site: Site, tokens: tuple[Token, Token], accepts: int = 1) -> None:
    """Only what was answered has been counted, once, and the trail is whole."""
    assert Counter(site.logins()) == {("accept", "passcode-right"): accepts, ("reject", "passcode-wrong"): 1}
    assert [site.token_row(token.serial)["moving_factor"] for token in tokens] == [1, 0]
    assert [site.failures(user) for user in ("alice", "bob")] == [{}, {"passcode": 1}]
    verified = site.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.statement("C-010", "R-136")
def test_locked_for_longer_than_the_deadline_nobody_is_answered_and_nothing_is_lost(site: Site) -> None:
    """S01. 17 s of waiting, in which three transactions give up. What then is left in the queue is no longer decided.

    The third is begun by what came a moment after the rest. There are more requests than three batches hold, so
    something is left even if all are full.
    """
    tokens = prepare(site)
    others = []
    for number in range(3, 253):
        site.add_user(f"user{number}", password=None)
        passcode = pin(site.enroll(f"user{number}", kind="hotp"))
        others.append(access_request(SECRET, f"user{number}", passcode, identifier=number))
    with site.server() as server, server.nas() as nas:
        case = trouble(nas, tokens)
        with transaction_held(site):
            case.check_silence(3 * DEADLINE + 2, others)
            assert re.search("store-unavailable .*database is locked", server.log)
        assert replies(nas, others, 1.0) == [None] * 250, "answered when the gateway has long given up"
        eventually(lambda: "reason=too-late" in server.log, what="a line about what is too late")
        case.check_recovery()
        assert [reply.code for reply in ask_all(nas, others)] == [ACCEPT] * 250
        assert "store-back" in server.log
        assert "Traceback" not in server.log
    check_exact(site, tokens, accepts=251)


def test_a_server_that_waits_for_a_locked_store_can_be_stopped(site: Site) -> None:
    """Each of 100 logins of one user needs a transaction of its own, and each would wait for 5 s.

    8 s of waiting: what is in work gets its chance first.
    """
    site.add_client(mode=Mode.PASSCODE_ONLY)
    with transaction_held(site), site.server() as server, server.nas() as nas:
        send_all(nas, numbered(SECRET, [("alice", "123456")] * 100))
        assert nas.receive(0.5) is None  # by then all are in work
        server.process.terminate()
        assert server.process.wait(60) == 0
    assert "stopped" in server.log


def test_a_command_gives_up_at_a_locked_store_and_says_why(site: Site) -> None:
    """5 s of waiting for the deadline."""
    site.add_user("alice", password=None)
    with transaction_held(site):
        done = site.command("user", "lock", "alice")
    assert done.returncode == 3
    assert done.stderr == f"twofold: the store {site.config.database} cannot be used: database is locked\n"
    assert "user-lock" not in [row["event"] for row in site.audit()]


@pytest.mark.statement("C-010", "R-064", "R-136")
def test_while_the_store_is_gone_nobody_is_answered_and_nothing_is_lost(site: Site) -> None:
    tokens = prepare(site)
    with site.server() as server, server.nas() as nas:
        case = trouble(nas, tokens)
        with moved_away(site):
            case.check_silence(1.5)
            assert re.search("store-unavailable .*cannot be opened: No such file or directory", server.log)
        case.check_recovery()
    check_exact(site, tokens)


# --- Read-only, full, failing -----------------------------------------------------------------------------------


@pytest.mark.statement("C-011")
def test_when_writes_fail_nobody_is_answered_and_nothing_is_lost(site: Site) -> None:
    tokens = prepare(site)
    with site.server() as server, server.nas() as nas:
        case = trouble(nas, tokens)
        with writes_fail(server):
            case.check_silence(1.5)
            assert re.search("store-unavailable .*disk I/O error", server.log)
        case.check_recovery()
    check_exact(site, tokens)


@pytest.mark.statement("C-011")
@pytest.mark.peer("mount", "unshare")
@pytest.mark.parametrize("what", ["folder", "file"])
def test_on_a_read_only_store_nobody_is_answered_and_nothing_is_lost(site: Site, what: str) -> None:
    """The store is read-only when the server starts, and the admin mounts it for writing while the server runs."""
    tokens = prepare(site)
    place = site.folder if what == "folder" else site.config.database
    with mount_namespace() as namespace:
        namespace.run("mount", "--bind", place, place)
        namespace.run("mount", "-o", "remount,bind,ro", place)
        with site.server(program=namespace.twofold) as server, server.nas() as nas:
            case = trouble(nas, tokens)
            case.check_silence(1.5)
            assert re.search("store-unavailable .*(Read-only file system|readonly database)", server.log)
            namespace.run("mount", "-o", "remount,bind,rw", place)
            case.check_recovery()
    check_exact(site, tokens)


@pytest.mark.statement("C-011")
@pytest.mark.peer("mount", "unshare")
def test_on_a_full_disk_nobody_is_answered_and_nothing_is_lost(site: Site, tmp_path: Path) -> None:
    """The disk is a small one of its own, in a namespace of its own; it is filled and emptied while the server runs.

    Too small for a ballast, with which logins would go on (test_full_disk.py).
    """
    tokens = prepare(site)
    site.database.close()
    disk, after = tmp_path / "disk", tmp_path / "after"
    disk.mkdir()
    with mount_namespace() as namespace:
        namespace.run("mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", disk)
        namespace.run("cp", "-a", f"{site.folder}/.", disk)
        namespace.run("mount", "--bind", disk, site.folder)
        with site.server(program=namespace.twofold) as server, server.nas() as nas:
            case = trouble(nas, tokens)
            with filled(namespace.path(disk)):
                case.check_silence(1.5)
                assert re.search("store-unavailable .*database or disk is full", server.log)
            case.check_recovery()
        namespace.run("cp", "-a", disk, after)
    assert not list(disk.iterdir())
    check_exact(Site(after), tokens)
