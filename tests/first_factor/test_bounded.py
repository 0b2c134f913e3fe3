"""Calls that hang take a bounded number of places, and nobody waits for them for ever."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from first_factor.bounded import Bounded, NoAnswer
from tests.site import eventually

LONG = 60.0  # never waited for in these tests
SHORT = 0.05


class Door:
    """Calls stand before it until it opens."""

    def __init__(self) -> None:
        self.opens = threading.Event()
        self.came = threading.Semaphore(0)

    def call(self) -> str:
        self.came.release()
        self.opens.wait(LONG)
        return "through"

    def wait_for(self, number: int) -> None:
        for _ in range(number):
            assert self.came.acquire(timeout=60)


def waiting(bounded: Bounded, number: int) -> Callable[[], bool]:
    return lambda: bounded._waiting == number


def test_it_returns_what_the_call_returns_and_raises_what_it_raises() -> None:
    bounded = Bounded(1, LONG)
    assert bounded.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        bounded.run(lambda: 1 // 0)
    assert bounded.run(lambda: "after an error") == "after an error"


def test_as_many_wait_as_are_on_their_way_and_more_get_no_answer_at_once() -> None:
    door, bounded = Door(), Bounded(2, LONG)
    with ThreadPoolExecutor(4) as pool:
        inside = [pool.submit(bounded.run, door.call) for _ in range(2)]
        door.wait_for(2)
        queue: list[Future[str]] = [pool.submit(bounded.run, door.call) for _ in range(2)]
        eventually(waiting(bounded, 2))
        with pytest.raises(NoAnswer, match="too many wait"):
            bounded.run(door.call)
        assert not door.came.acquire(blocking=False), "more than two were on their way"
        door.opens.set()
        assert [future.result(15) for future in inside + queue] == ["through"] * 4


def test_a_call_that_hangs_is_left_alone_and_keeps_its_place() -> None:
    door, bounded = Door(), Bounded(2, SHORT)
    with pytest.raises(NoAnswer, match=r"no answer within 0\.05 s; 1 of 2 calls hang"):
        bounded.run(door.call)
    assert bounded.hanging == 1
    assert bounded.run(lambda: "beside it") == "beside it"
    door.opens.set()
    eventually(lambda: bounded.hanging == 0)
    assert bounded._running == 0


def test_when_every_call_hangs_nobody_waits() -> None:
    door, bounded = Door(), Bounded(2, SHORT)
    for _ in range(2):
        with pytest.raises(NoAnswer, match="no answer within"):
            bounded.run(door.call)
    bounded._time_limit = LONG  # whoever waited now would wait for a minute
    with pytest.raises(NoAnswer, match="every call hangs"):
        bounded.run(lambda: "never")
    door.opens.set()
    eventually(lambda: bounded.hanging == 0)
    assert bounded.run(lambda: "again") == "again"


def test_who_waits_is_told_when_the_last_call_hangs() -> None:
    door, bounded = Door(), Bounded(1, LONG)
    bounded._time_limit = 1.0
    with ThreadPoolExecutor(2) as pool:
        hangs = pool.submit(bounded.run, door.call)
        door.wait_for(1)
        bounded._time_limit = LONG
        waits = pool.submit(bounded.run, lambda: "never")
        eventually(lambda: bounded._waiting == 1 or waits.done())
        with pytest.raises(NoAnswer, match="no answer within"):
            hangs.result(15)
        with pytest.raises(NoAnswer, match="every call hangs"):
            waits.result(15)
        door.opens.set()


def test_the_time_limit_counts_the_waiting() -> None:
    door, bounded = Door(), Bounded(1, LONG)
    with ThreadPoolExecutor(1) as pool:
        inside = pool.submit(bounded.run, door.call)
        door.wait_for(1)
        bounded._time_limit = SHORT
        with pytest.raises(NoAnswer, match="waited too long"):
            bounded.run(lambda: "never")
        door.opens.set()
        assert inside.result(15) == "through"
    assert bounded._waiting == 0
