"""Decisions by a gate in a process of its own: the event loop asks it, and replies when its answer is there.

Why no thread: one would be woken for each batch and once more for its answer, and fight the loop for the interpreter's
lock meanwhile.

Rules: two batches are on their way, so that the gate never waits for the next. What waits while there is no process is
given up when it and that have lasted for `WAITS` seconds. A batch leaves the queue once, and is answered or silent.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from radius_server.batches import MOST
from radius_server.deciding import Deciding, companions_of, request_of, sorted_out
from radius_server.gate_frames import TooLate
from radius_server.gate_process import GateProcess, not_running
from radius_server.jobs import Job, Post
from radius_server.patience import PatientQueue
from radius_server.replying import Replies
from validation.errors import StoreUnavailable
from validation.gate import Outcome

AT_ONCE = 2  # batches on their way
WAITS = 2.0  # seconds that a request waits for a process that is being started
AGAIN = 0.5  # seconds
BEHIND = 4.0  # seconds that a batch may wait for the one before it, and still be decided; less than a store is given


class DecidingAfar(Deciding):
    """All but `close` in the event loop."""

    def __init__(self, gate: GateProcess, replies: Replies, post: Post) -> None:
        self._queue: PatientQueue[Job] = PatientQueue(companions_of)
        super().__init__(self._queue, replies, self._at_once)
        self._gate = gate
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._gathers = False
        self._on_way = 0
        self._giving_up: asyncio.TimerHandle | None = None
        self._closed: threading.Event | None = None  # set when all is done
        gate.changed = self._changed
        self._changed()

    def submit(self, job: Job) -> None:
        self._queue.put(job, job.place)
        if len(self._queue) % MOST == 0:  # a long reading must not keep the next batch from leaving
            self._gate.hear()
        self._send()

    @contextmanager
    def gathering(self) -> Iterator[None]:
        self._gathers = True
        try:
            yield
        finally:
            self._gathers = False
            self._send()
            self._end_if_done()  # all that was left may have been too late for a batch

    # --- a batch ------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        while self._on_way < AT_ONCE and self._gate.is_there and len(self._queue) >= (MOST if self._gathers else 1):
            self._begin(self._in_time(self._queue.take(MOST)))

    def _begin(self, jobs: list[Job]) -> None:
        probes, logins = sorted_out(jobs)
        until = time.monotonic() + BEHIND
        if jobs:
            self._on_way += 1
        if probes:
            self._gate.check(partial(self._checked, probes, logins, until))
        elif logins:
            self._ask(logins, until)

    def _checked(self, probes: list[Job], logins: list[Job], until: float, trouble: StoreUnavailable | None) -> None:
        if logins := self._probed(probes, logins, trouble):
            self._ask(logins, until)
        else:
            self._done()

    def _ask(self, logins: list[Job], until: float) -> None:
        try:
            self._gate.login([request_of(job) for job in logins], until, partial(self._answered, logins))
        except Exception as error:  # one that cannot be written
            self._replies.no_answer(logins, error)
            self._done()

    def _answered(self, logins: list[Job], outcomes: Sequence[Outcome]) -> None:
        self._on_way -= 1
        self._send()  # before the replies, which take longer
        if isinstance(outcomes[0], TooLate):
            self._tell(self._replies.too_late, logins)
        else:
            self._decided(logins, outcomes)
        self._end_if_done()

    def _done(self) -> None:
        self._on_way -= 1
        self._send()
        self._end_if_done()

    def _at_once(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            function(*arguments)
        except Exception as error:  # what is wrong with one batch must not keep the next from leaving
            self._replies.failed("gate", error)

    # --- without a process --------------------------------------------------------------------------------------

    def _changed(self) -> None:
        """There is one, or there is none any more."""
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        if self._gate.is_there:
            self._send()
        else:
            self._giving_up = self._loop.call_later(WAITS, self._give_up)
        self._end_if_done()  # all that waited may have been too late for a batch

    def _give_up(self) -> None:
        now = time.monotonic()
        if given_up := self._queue.take_while(lambda job: job.arrival <= now - WAITS):
            self._replies.no_answer(given_up, not_running())
        self._giving_up = self._loop.call_later(AGAIN, self._give_up)
        self._end_if_done()

    def busy_for(self) -> float:
        return self._gate.busy_for()

    # --- its end ------------------------------------------------------------------------------------------------

    def close(self, within: float | None) -> None:
        """From another thread than the event loop's."""
        closed = threading.Event()
        self._post(self._close, within is not None, closed)
        closed.wait(within)

    def _close(self, drop: bool, closed: threading.Event) -> None:
        if drop:
            self._queue.clear()
        self._closed = closed
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._closed is not None and not self._on_way and not len(self._queue):
            self._closed.set()
