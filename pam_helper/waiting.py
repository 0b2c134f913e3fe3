"""Waiting for a task, a key that is to be touched, while the person may type a line instead.

Rules: a task has a thread of its own, with the rights of this process: it opens devices, and the store is none of its
business. The thread of the conversation alone touches the connection; what the task says is handed over to it. However
the wait ends, the task is told to end, and a moment is waited for that. One that does not is left behind and counted,
and while too many are, none is started for anybody: then the person types.
"""

import contextlib
import logging
import queue
import socket
import threading
import time
from collections.abc import Iterator

from pam_helper.frames import WAIT_MOST
from pam_helper.line import Line
from pam_helper.owner import rights_of_this_process
from pam_helper.steps import Task, lines
from validation.errors import StoreUnavailable

_log = logging.getLogger("twofold.pam")

GRACE = 2.0  # seconds that a task may take longer than it said
PARTING = 3.0  # seconds in which it must return when it was told to
STUCK_MOST = 8
_UNMADE = "nothing but typing is waited for"


class Tasks:
    """Those of all conversations of a helper."""

    def __init__(self) -> None:
        self._running: set[_Running] = set()
        self._stuck: set[_Running] = set()
        self._stopping = False
        self._guard = threading.Lock()

    def wait(self, task: Task, line: Line) -> str | None:
        """The line that was typed instead; None: the task has ended, or could not begin. Raises Gone and BadFrame."""
        running = self._started(task)
        if running is None:
            return None
        within = min(task.seconds + GRACE, WAIT_MOST - PARTING)
        try:
            line.begin_wait(within + PARTING)
            typed = _typed_before_its_end(running, line, time.monotonic() + within)
        finally:
            self._part_from(running)
        if typed is None:
            line.end_wait()
        return typed

    def stop(self) -> None:
        """Ends all, and lets none begin."""
        with self._guard:
            self._stopping = True
            for each in self._running:
                each.cancelled.set()

    @property
    def stuck(self) -> int:
        with self._guard:
            self._stuck = {each for each in self._stuck if each.is_alive()}
            return len(self._stuck)

    def _started(self, task: Task) -> "_Running | None":
        """None if it cannot begin: the log says why, and the conversation goes on without it."""
        if (stuck := self.stuck) > STUCK_MOST:
            _log.error("%s: %d earlier waits have not ended", _UNMADE, stuck)
            return None
        try:
            running = _Running(task)
        except OSError as error:
            _log.error("%s: %s", _UNMADE, error.strerror)
            return None
        return running if self._begun(running) else None

    def _begun(self, running: "_Running") -> bool:
        with self._guard:
            self._running.add(running)
            if self._stopping:
                running.cancelled.set()
        try:
            with rights_of_this_process():  # a thread inherits those of the one that starts it
                running.start()
        except RuntimeError:
            _log.error("%s: no thread can be started", _UNMADE)
            self._forget(running)
            return False
        except StoreUnavailable:
            running.cancelled.set()
            self._forget(running)
            raise
        return True

    def _part_from(self, running: "_Running") -> None:
        running.cancelled.set()
        running.join(PARTING)
        if running.is_alive():
            _log.error("a wait has not ended when it was told to, and is left behind")
            with self._guard:
                self._stuck.add(running)
        self._forget(running)

    def _forget(self, running: "_Running") -> None:
        with self._guard:
            self._running.discard(running)
        running.hang_up()


class _Running(threading.Thread):
    """A task in its thread. `ear` can be read when it has said something or has ended."""

    def __init__(self, task: Task) -> None:
        super().__init__(name="twofold-task", daemon=True)
        self._task = task
        self._said = queue.SimpleQueue[str]()
        self._bell, self.ear = socket.socketpair()
        self._bell.setblocking(False)
        self._guard = threading.Lock()
        self.cancelled = threading.Event()
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            self._task.run(self.cancelled, self._say)
        except Exception as error:
            _log.error("a wait failed: %s", type(error).__name__)
        finally:
            self.ended.set()
            self._ring()

    def _say(self, text: str) -> None:
        self._said.put(text)
        self._ring()

    def _ring(self) -> None:
        """Nobody listens any more when the wait is over; and when nobody has come for long, he will come."""
        with self._guard, contextlib.suppress(OSError):
            self._bell.send(b".")

    def texts(self) -> Iterator[str]:
        """What was said since the last time."""
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._said.get_nowait()

    def quiet_the_bell(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.ear.recv(4096, socket.MSG_DONTWAIT)

    def hang_up(self) -> None:
        """With the guard, so that a task that was left behind rings at no descriptor of somebody else."""
        with self._guard:
            self._bell.close()
        self.ear.close()


def _typed_before_its_end(running: _Running, line: Line, until: float) -> str | None:
    while True:
        running.quiet_the_bell()
        ended = running.ended.is_set()  # looked at before the texts, so that none is missed
        for text in running.texts():
            for each in lines(text):
                line.show(each)
        if ended or (left := until - time.monotonic()) <= 0:
            return None
        if (typed := line.look(running.ear, left)) is not None:
            return typed
