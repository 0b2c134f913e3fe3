"""Threads that wait at a listener, and serve whom they let in themselves.

Rules: who calls waits for no thread to begin, and is handed to none. Somebody always waits at a listener: who would
leave it alone starts another first, and turns his caller away if none is to be had. That is done before anything is
said, since a thread inherits the rights of the one that starts it. Who has served waits again, if few do and if he has
the rights of the process; else he ends.
"""

import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pam_helper.owner import has_rights_of_this_process

KEPT = 2  # that wait: while one serves, the other is left, so in quiet times no thread is started
_WAITING, _SERVING = "twofold-accept", "twofold-pam"
_SHORT = 0.05  # seconds until descriptors or memory that are in use may have come back


@dataclass(frozen=True, slots=True)
class Guest:
    """Who has been let in. One of the two is called; either closes the connection, and raises nothing."""

    serve: Callable[[], None]
    turn_away: Callable[[str], None]  # why


class Waiters:
    """At one listener. `let_in` must not wait for anything; None: it has hung up."""

    def __init__(self, listener: socket.socket, let_in: Callable[[socket.socket], Guest | None]) -> None:
        self._listener = listener
        self._let_in = let_in
        self._wake, self._woken = socket.socketpair()
        self._waiting: set[threading.Thread] = set()
        self._serving: set[threading.Thread] = set()
        self._stopping = False
        self._guard = threading.Lock()

    def start(self) -> None:
        """Raises RuntimeError if no thread is to be had."""
        self._listener.setblocking(False)
        with self._guard:
            self._start_one()

    def somebody_waits(self, within: float) -> bool:
        """Whether a caller would be heard; nothing is waited for longer than `within` seconds."""
        if not self._guard.acquire(timeout=within):
            return False
        try:
            return any(thread.is_alive() for thread in self._waiting)
        finally:
            self._guard.release()

    def stop(self) -> None:
        """When it returns, nobody is let in any more. Those who are served are served on."""
        with self._guard:
            self._stopping = True
            waiting = tuple(self._waiting)
        self._wake.close()
        for thread in waiting:
            thread.join()
        for each in (self._listener, self._woken):
            each.close()

    def join(self, until: float) -> None:
        """Until threads that have served have ended, or the clock says so."""
        with self._guard:
            serving = tuple(self._serving)
        for thread in serving:
            thread.join(max(0.0, until - time.monotonic()))

    def _start_one(self) -> None:
        """With the guard. Raises RuntimeError if no thread is to be had, or no descriptor for what it waits with."""
        either = self._either()
        try:
            thread = threading.Thread(target=self._wait, args=(either,), name=_WAITING, daemon=True)
            thread.start()
        except (RuntimeError, MemoryError) as error:
            either.close()
            raise RuntimeError("no thread can be started") from error
        self._waiting.add(thread)

    def _either(self) -> select.epoll:
        try:
            either = select.epoll()
        except OSError as error:
            raise RuntimeError(error.strerror) from None
        try:
            # EPOLLEXCLUSIVE: a caller wakes one of those that wait; to stop all of them wake.
            either.register(self._listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            either.register(self._woken, select.EPOLLIN)
        except OSError as error:
            either.close()
            raise RuntimeError(error.strerror) from None
        return either

    def _wait(self, either: select.epoll) -> None:
        me = threading.current_thread()
        try:
            with either:
                while not self._stopping and self._stays(either, me):
                    pass
        finally:  # else who is not there any more would count as waiting
            with self._guard:
                self._waiting.discard(me)
                self._serving.discard(me)

    def _stays(self, either: select.epoll, me: threading.Thread) -> bool:
        """Whether this thread waits on, after whoever comes next."""
        try:
            either.poll()
            guest = self._guest()
        except MemoryError:  # nobody would wait here any more; there may be some again
            time.sleep(_SHORT)
            return True
        return guest is None or self._received(guest, me)

    def _guest(self) -> Guest | None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:  # woken to stop, or somebody else was quicker, or the caller has gone
            return None
        except OSError:
            time.sleep(_SHORT)
            return None
        return self._let_in(connection)

    def _received(self, guest: Guest, me: threading.Thread) -> bool:
        """Serve him. Whether this thread waits again."""
        if why_not := self._leave(me):
            guest.turn_away(why_not)
            return True
        me.name = _SERVING
        guest.serve()
        if not has_rights_of_this_process() or not self._come_back(me):
            return False
        me.name = _WAITING
        return True

    def _leave(self, me: threading.Thread) -> str:
        """Why this thread may not."""
        with self._guard:
            if self._stopping:
                return "the helper is stopping"
            if self._waiting <= {me}:
                try:
                    self._start_one()
                except RuntimeError:
                    return "no thread can be started"
            self._waiting.discard(me)
            self._serving.add(me)
        return ""

    def _come_back(self, me: threading.Thread) -> bool:
        with self._guard:
            if self._stopping or len(self._waiting) >= KEPT:
                return False
            self._serving.discard(me)
            self._waiting.add(me)
        return True
