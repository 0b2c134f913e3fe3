"""The process that starts those that decide: what it and the server say to each other where something runs short."""

import os
import resource
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from radius_server import gate_frames as frames
from radius_server import gate_keeper
from radius_server.gate_keeper import Keeper, KeeperGone, fork


def serve(line: socket.socket) -> None:
    """The life of a gate that only says that it is there."""
    frames.send(line, frames.READY)
    frames.receive(line)


@contextmanager
def keeper() -> Iterator[tuple[Keeper, int]]:
    """A real one, and the number of its process."""
    before = children()
    one = fork(serve)
    one._control.settimeout(60)
    try:
        (pid,) = children() - before
        yield one, pid
    finally:
        one.close()


def children() -> set[int]:
    return _pids("/proc/thread-self/children")


def children_of(pid: int) -> set[int]:
    """Of a process that has one thread."""
    return _pids(f"/proc/{pid}/task/{pid}/children")


def _pids(file: str) -> set[int]:
    return {int(pid) for pid in Path(file).read_text().split()}


@contextmanager
def control() -> Iterator[tuple[Keeper, socket.socket]]:
    """The server's end, and the other one in the hands of the test."""
    ours, its = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with ours, its:
        yield Keeper(ours), its


def test_a_start_for_which_there_is_no_room_now_does_not_mean_that_nobody_is_left_to_start_one() -> None:
    with control() as (one, _):
        one._control.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                one._control.send(b"word")
        with pytest.raises(BlockingIOError):
            one.start(1)


def test_where_the_keeper_has_ended_nobody_is_left() -> None:
    with control() as (one, its):
        its.close()
        with pytest.raises(KeeperGone):
            one.start(1)


def test_a_start_whose_line_gets_lost_on_the_way_is_told_as_an_end_and_the_next_one_works() -> None:
    """The keeper has no descriptor left, so the system drops the one that comes."""
    with keeper() as (one, pid):
        hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
        with one.start(1) as lost:
            assert one.ended() == 1
            assert lost.recv(1) == b""
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        with one.start(2) as line:
            assert frames.receive(line) == (frames.READY, b"")
        assert one.ended() == 0


def test_the_one_that_is_named_is_killed_and_no_other() -> None:
    with keeper() as (one, _):
        with one.start(1) as line:
            assert frames.receive(line) == (frames.READY, b"")
            one.kill(2)
        assert one.ended() == 0
        with one.start(2) as line:
            assert frames.receive(line) == (frames.READY, b"")
            one.kill(2)
            assert one.ended() == -9


def test_one_whose_end_nobody_would_hear_of_does_not_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may forbid the call that makes a descriptor of a process."""

    def forbidden(pid: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "pidfd_open", forbidden)
    with keeper() as (one, pid):
        with one.start(1):
            assert one.ended() == 1
        assert children_of(pid) == set()


def test_one_that_stands_still_does_not_outlive_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_keeper, "_LAST", 0.1)
    with keeper() as (one, pid), one.start(1) as line:
        assert frames.receive(line) == (frames.READY, b"")
        (gate,) = children_of(pid)
        life = os.pidfd_open(gate)
        try:
            os.kill(gate, signal.SIGSTOP)
            one.close()
            assert select.select([life], [], [], 60)[0]
        finally:
            os.close(life)
