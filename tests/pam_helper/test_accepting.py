"""Threads at a listener: who waits, who serves, and what nobody is left with."""

import errno
import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pam_helper import accepting
from pam_helper.accepting import KEPT, Guest, Waiters
from pam_helper.owner import has_rights_of_this_process, rights_of_owner
from store import serving
from tests.pam_helper.host import needs_root, until
from tests.site import PATIENCE

DAEMON = 1


class House:
    """Whoever is let in is served until he hangs up, by a thread that notes its name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open = True
        self.threads: list[threading.Thread] = []
        self.turned_away: list[str] = []
        self.callers: list[socket.socket] = []
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(100)
        self.waiters = Waiters(listener, self._let_in)

    def _let_in(self, connection: socket.socket) -> Guest | None:
        if not self.open:
            connection.close()
            return None

        def serve() -> None:
            self.threads.append(threading.current_thread())
            with connection:
                connection.sendall(b"!")
                connection.recv(1)

        def turn_away(why: str) -> None:
            self.turned_away.append(why)
            connection.close()

        return Guest(serve, turn_away)

    def call(self) -> bytes:
        """What is said to a caller, who stays."""
        caller = socket.socket(socket.AF_UNIX)
        self.callers.append(caller)
        caller.settimeout(PATIENCE)
        caller.connect(str(self.path))
        return caller.recv(1)

    def hang_up(self) -> None:
        for each in self.callers:
            each.close()
        self.callers = []
        until(lambda: not named("twofold-pam"), "nobody is served")


def named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


@pytest.fixture
def house(folder: Path) -> Iterator[House]:
    made = House(folder / "door")
    made.waiters.start()
    yield made
    made.waiters.stop()
    made.hang_up()
    assert not named("twofold-accept")


def test_one_caller_after_the_other_is_served_by_threads_that_are_there(house: House) -> None:
    house.call()
    house.hang_up()
    there = set(named("twofold-accept"))
    for _ in range(20):
        assert house.call() == b"!"
        house.hang_up()
    assert set(named("twofold-accept")) == there
    assert set(house.threads) <= there


def test_who_comes_while_all_serve_is_served_too_and_afterwards_few_are_left(house: House) -> None:
    assert [house.call() for _ in range(20)] == [b"!"] * 20
    assert len(set(house.threads)) == 20
    assert len(named("twofold-accept")) >= 1, "somebody waits for the next"
    house.hang_up()
    assert len(named("twofold-accept")) == KEPT


def test_who_is_not_let_in_costs_no_thread(house: House) -> None:
    house.open = False
    assert [house.call() for _ in range(20)] == [b""] * 20
    assert len(named("twofold-accept")) == 1
    house.open = True
    assert house.call() == b"!"


def test_without_another_thread_a_caller_is_turned_away_and_the_next_is_served(house: House) -> None:
    before = threading.stack_size()
    threading.stack_size(1 << 47)  # more than there is to be had
    try:
        assert house.call() == b""
    finally:
        threading.stack_size(before)
    assert house.turned_away == ["no thread can be started"]
    assert house.call() == b"!"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_thread_that_finds_no_memory_to_begin_with_costs_its_caller_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python waits for it for ever, and whoever comes next would wait with it."""

    class Poor(threading.Thread):
        def _bootstrap(self) -> None:
            raise MemoryError

    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)
    monkeypatch.setattr(serving, "BEGINS_WITHIN", 1)
    serving.let_threads_begin_or_fail()
    monkeypatch.setattr(threading, "Thread", Poor)
    assert house.call() == b""
    monkeypatch.undo()
    assert house.turned_away == ["no thread can be started"]
    assert house.call() == b"!"
    assert len(named("twofold-accept")) == 1, "none stands there that does not run"


@pytest.mark.parametrize("trouble", [OSError(errno.EMFILE, "Too many open files"), MemoryError()])
def test_out_of_descriptors_or_memory_it_goes_on_when_there_are_some_again(
    house: House, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    failed = threading.Event()

    class Listener:
        def accept(self) -> tuple[socket.socket, object]:
            if not failed.is_set():
                failed.set()
                raise trouble
            return real.accept()

        def fileno(self) -> int:
            return real.fileno()

        def close(self) -> None:
            real.close()

    real = house.waiters._listener
    monkeypatch.setattr(house.waiters, "_listener", Listener())
    assert house.call() == b"!"
    assert failed.is_set()


def test_it_tells_whether_a_caller_would_be_heard_and_does_not_wait_for_that_itself(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert house.call() == b"!"
    assert house.waiters.somebody_waits(PATIENCE)
    with house.waiters._guard:  # somebody holds it for ever
        assert not house.waiters.somebody_waits(0.01)
    with monkeypatch.context() as patch:
        patch.setattr(house.waiters, "_waiting", set())
        assert not house.waiters.somebody_waits(PATIENCE), "the last one that waited has ended"
    assert house.waiters.somebody_waits(PATIENCE)


def test_when_it_has_stopped_nobody_is_let_in_and_who_is_served_is_served_on(house: House) -> None:
    assert house.call() == b"!"
    house.waiters.stop()
    with pytest.raises(ConnectionRefusedError):
        house.call()
    house.waiters.join(0.0)
    assert named("twofold-pam"), "it is not waited for"
    house.hang_up()


@needs_root
@pytest.mark.statement("P-015")
def test_a_thread_that_could_not_give_rights_back_serves_nobody_else(
    house: House, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.call()
    (first,) = house.threads
    monkeypatch.setattr(accepting, "has_rights_of_this_process", lambda: threading.current_thread() is not first)
    house.hang_up()
    until(lambda: not first.is_alive(), "it ends")
    assert house.call() == b"!"


@needs_root
@pytest.mark.statement("P-015")
def test_whether_a_thread_has_the_rights_of_the_process(folder: Path) -> None:
    (folder / "store").touch()
    os.chown(folder / "store", DAEMON, DAEMON)
    assert has_rights_of_this_process()
    with rights_of_owner(folder / "store"):
        assert not has_rights_of_this_process()
    assert has_rights_of_this_process()
    os.chown(folder / "store", 0, DAEMON)
    with rights_of_owner(folder / "store"):
        assert not has_rights_of_this_process(), "the group counts, too"


def test_a_waiter_without_a_descriptor_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who calls when the last is taken is turned away, and the next is served as ever, with others behind him."""
    house = House(folder / "door")
    house.waiters.start()
    epoll, missing = select.epoll, OSError(errno.EMFILE, "Too many open files")

    def none() -> select.epoll:
        raise missing

    try:
        monkeypatch.setattr(select, "epoll", none)
        assert house.call() == b""
        assert house.turned_away == ["no thread can be started"]
        monkeypatch.setattr(select, "epoll", epoll)
        assert [house.call(), house.call(), house.call()] == [b"!"] * 3
    finally:
        house.waiters.stop()
        house.hang_up()
