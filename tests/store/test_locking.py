"""One writer at a time, over processes: nobody starves, and a holder that dies or hangs stops nobody for ever."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store.locking import WriteLock, lock_files
from store.sqlite import SqliteFile
from tests.site import Site
from tests.store import raw
from validation.errors import StoreUnavailable

LONGEST_WAIT = 1.0  # seconds; what the design promises to every writer
SOON = 10.0  # seconds; a bound for what must not wait, generous enough for a busy machine

HOLDER = """
import sys
from pathlib import Path
from store.locking import WriteLock
with WriteLock(Path(sys.argv[1]), 30).held():
    print("held", flush=True)
    sys.stdin.read()
"""

WRITER = """
import sys, time
from pathlib import Path
from sqlalchemy import text
from store.sqlite import SqliteFile
connections = SqliteFile(Path(sys.argv[1]))
with connections.reading():
    print("ready", flush=True)
sys.stdin.readline()
longest, rounds, until = 0.0, 0, time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    asked = time.monotonic()
    with connections.writing() as connection:
        longest = max(longest, time.monotonic() - asked)
        connection.execute(text("UPDATE meta SET value = value + 1 WHERE name = 'clients_generation'"))
    rounds += 1
print(rounds, longest)
"""


@contextmanager
def program(source: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", source, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def started(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.fixture
def held(site: Site) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the write lock."""
    with program(HOLDER, site.config.database) as holder:
        assert said(holder) == "held\n"
        yield holder


@contextmanager
def connected(site: Site, deadline: float) -> Iterator[SqliteFile]:
    connections = SqliteFile(site.config.database, deadline)
    try:
        yield connections
    finally:
        connections.close()


def test_no_writer_waits_longer_than_a_second(site: Site) -> None:
    """Three processes that do nothing but write, for 3 seconds. With SQLite's busy timeout alone one starves."""
    raw.tamper(site.config.database, "UPDATE meta SET value = '0' WHERE name = 'clients_generation'")
    with (
        program(WRITER, site.config.database, 3) as one,
        program(WRITER, site.config.database, 3) as two,
        program(WRITER, site.config.database, 3) as three,
    ):
        writers = (one, two, three)
        assert [said(writer) for writer in writers] == ["ready\n"] * 3
        for writer in writers:
            started(writer)
        results = [said(writer).split() for writer in writers]
    rounds, longest = [int(r) for r, _ in results], [float(wait) for _, wait in results]
    assert max(longest) < LONGEST_WAIT, f"rounds {rounds}, longest waits {longest}"
    assert min(rounds) > 0
    ((written,),) = raw.rows(site.config.database, "SELECT value FROM meta WHERE name = 'clients_generation'")
    assert int(written) == sum(rounds), "an update was lost"


def test_a_second_writer_waits_and_then_writes(site: Site, held: "subprocess.Popen[str]") -> None:
    entered = threading.Event()

    def write() -> None:
        with connected(site, 30) as connections, connections.writing():
            entered.set()

    writer = threading.Thread(target=write)
    writer.start()
    # The holder has the lock, so the writer can only have come in if the lock does not lock.
    with pytest.raises(StoreUnavailable), connected(site, 0.2) as connections, connections.writing():
        pass
    assert not entered.is_set()
    assert held.stdin is not None
    held.stdin.close()
    assert entered.wait(SOON)
    writer.join(SOON)


def test_a_killed_holder_frees_the_lock(site: Site, held: "subprocess.Popen[str]") -> None:
    held.kill()
    held.wait()
    asked = time.monotonic()
    with connected(site, SOON) as connections, connections.writing():
        assert time.monotonic() - asked < SOON


@pytest.mark.parametrize("sent", [None, signal.SIGSTOP], ids=["busy", "stopped"])
def test_a_holder_that_never_ends_is_waited_for_until_the_deadline(
    site: Site, held: "subprocess.Popen[str]", sent: signal.Signals | None
) -> None:
    if sent is not None:
        held.send_signal(sent)
    before = raw.contents(site.config.database)
    asked = time.monotonic()
    with (
        connected(site, 0.3) as connections,
        pytest.raises(StoreUnavailable, match=re.escape("another process has been writing to the store for 0.3 s")),
        connections.writing(),
    ):
        pytest.fail("entered a lock that another process holds")
    assert 0.3 <= time.monotonic() - asked < SOON
    assert raw.contents(site.config.database) == before


def test_reading_does_not_wait_for_a_writer(site: Site, held: "subprocess.Popen[str]") -> None:
    assert held.poll() is None
    with connected(site, 0.1) as connections, connections.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM meta").scalar_one() > 0


def test_a_program_that_goes_past_the_lock_still_cannot_be_overwritten(site: Site) -> None:
    """Somebody's sqlite3 shell with an open transaction takes no lock file; SQLite's own lock is the second wall."""
    with raw.opened(site.config.database) as shell:
        shell.execute("BEGIN IMMEDIATE")
        with (
            connected(site, 0.2) as connections,
            pytest.raises(StoreUnavailable, match="locked"),
            connections.writing(),
        ):
            pytest.fail("two writers at once")
        shell.execute("ROLLBACK")
        with connected(site, SOON) as connections, connections.writing() as connection:
            assert connection.in_transaction()


def test_threads_of_one_process_exclude_each_other(site: Site) -> None:
    """flock belongs to the open file, which threads share: without a lock between them both would come in."""
    inside, most = 0, 0
    lock = WriteLock(site.config.database, SOON)

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with lock.held():
                inside += 1
                most = max(most, inside)
                os.sched_yield()
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    lock.close()
    assert (inside, most) == (0, 1)


def test_an_error_inside_frees_the_lock(site: Site) -> None:
    with connected(site, 0.5) as connections:
        with pytest.raises(ZeroDivisionError), connections.writing():
            _ = 1 / 0
        with connections.writing() as connection:
            assert connection.in_transaction()


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    database = tmp_path / "t.db"
    database.touch(mode=0o600)
    (tmp_path / "victim").write_text("precious")
    queue, _ = lock_files(database)
    queue.symlink_to(tmp_path / "victim")
    lock = WriteLock(database, 0.1)
    with pytest.raises(StoreUnavailable, match=r"t\.db\.queue cannot be opened"), lock.held():
        pytest.fail("held a lock on somebody else's file")
    assert (tmp_path / "victim").read_text() == "precious"


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can open a store that is another user's")
NOBODY = 65_534


@root_only
def test_roots_lock_files_are_the_owners_of_the_store(tmp_path: Path) -> None:
    """`sudo twofold user add` must not keep the server, which runs as another user, from writing."""
    database = tmp_path / "t.db"
    database.touch(mode=0o600)
    os.chown(database, NOBODY, NOBODY)
    lock = WriteLock(database, 0.1)
    with lock.held():
        owners = [(path.stat().st_uid, path.stat().st_gid) for path in lock_files(database)]
    lock.close()
    assert owners == [(NOBODY, NOBODY)] * 2


@root_only
def test_root_gives_no_file_away_that_was_linked_to_a_lock_files_name(tmp_path: Path) -> None:
    """The owner of the store may write in its folder, and there could link to a file of root's."""
    database = tmp_path / "t.db"
    database.touch(mode=0o600)
    os.chown(database, NOBODY, NOBODY)
    victims = [tmp_path / "one", tmp_path / "two"]
    for victim, path in zip(victims, lock_files(database), strict=True):
        victim.write_text("precious")
        os.link(victim, path)
    lock = WriteLock(database, 0.1)
    with lock.held():
        assert [(victim.stat().st_uid, victim.read_text()) for victim in victims] == [(0, "precious")] * 2
    lock.close()
