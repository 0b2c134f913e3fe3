"""One thread that works on everything that is waiting."""

import threading

import pytest

from radius_server.batches import Batches


class Worker:
    """Collects batches; the first one is held until `go`."""

    def __init__(self, most: int) -> None:
        self.started = threading.Event()
        self.go = threading.Event()
        self.seen: list[list[int]] = []
        self.threads: set[str] = set()
        self.batches: Batches[int] = Batches("worker", self._work, most)

    def _work(self, items: list[int]) -> None:
        self.threads.add(threading.current_thread().name)
        self.seen.append(items)
        self.started.set()
        assert self.go.wait(60)


def test_what_comes_while_a_batch_is_worked_on_is_taken_together_up_to_the_limit() -> None:
    worker = Worker(most=4)
    worker.batches.submit(0)
    assert worker.started.wait(60)
    for number in range(1, 10):
        worker.batches.submit(number)
    worker.go.set()
    worker.batches.close()
    assert worker.seen == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]]
    assert worker.threads == {"worker"}


def test_what_is_submitted_in_a_row_is_worked_on_together() -> None:
    worker = Worker(most=64)
    worker.go.set()
    with worker.batches.gathering():
        for number in range(40):
            worker.batches.submit(number)
    worker.batches.close()
    assert worker.seen == [list(range(40))]


def test_a_full_batch_does_not_wait_for_more() -> None:
    worker = Worker(most=4)
    worker.go.set()
    with worker.batches.gathering():
        for number in range(4):
            worker.batches.submit(number)
        assert worker.started.wait(60)
    worker.batches.close()
    assert worker.seen == [[0, 1, 2, 3]]


def test_nothing_is_lost_between_threads() -> None:
    worker = Worker(most=64)
    worker.go.set()

    def send_500(first: int) -> None:
        for number in range(first, first + 500):
            worker.batches.submit(number)

    senders = [threading.Thread(target=send_500, args=(first,)) for first in range(0, 2000, 500)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    worker.batches.close()
    taken = [item for batch in worker.seen for item in batch]
    assert sorted(taken) == list(range(2000))
    assert [item for item in taken if item < 500] == list(range(500)), "the order of one sender is kept"
    assert all(1 <= len(batch) <= 64 for batch in worker.seen)


def test_closing_without_work_ends_the_thread() -> None:
    worker = Worker(most=4)
    worker.batches.close()
    assert worker.seen == []
    assert not [thread for thread in threading.enumerate() if thread.name == "worker"]


def test_work_that_fails_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()

    def work(items: list[int]) -> None:
        if items == [0]:
            raise ValueError("a secret")
        done.set()

    batches = Batches("worker", work, most=1)
    batches.submit(0)
    batches.submit(1)
    assert done.wait(60)
    batches.close()
    assert caplog.messages == ["batch-failed thread=worker error=ValueError"]
