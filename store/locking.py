"""One writer at a time, fairly, over processes and threads.

SQLite's own busy timeout lets a busy writer starve another for seconds. Before BEGIN IMMEDIATE a writer therefore
takes two lock files: `.queue`, held by the one who is next, then `.lock`, held by the one who writes. Whoever holds
the queue meets no competitor for the lock, so a writer that has just finished cannot push in front of him.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from validation.errors import StoreUnavailable

_POLL = 0.001  # seconds


class WriteLock:
    """`with lock.held():` around every writing transaction. Raises StoreUnavailable after `deadline` seconds."""

    def __init__(self, database: Path, deadline: float) -> None:
        self._deadline = deadline
        self._threads = threading.Lock()
        self._queue = _open(database.with_name(database.name + ".queue"), database)
        self._lock = _open(database.with_name(database.name + ".lock"), database)

    @contextmanager
    def held(self) -> Iterator[None]:
        until = time.monotonic() + self._deadline
        if not self._threads.acquire(timeout=self._deadline):
            raise _busy(self._deadline)
        try:
            with _locked(self._queue, until, self._deadline):
                _wait(self._lock, until, self._deadline)
            try:
                yield
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def close(self) -> None:
        os.close(self._queue)
        os.close(self._lock)


@contextmanager
def _locked(descriptor: int, until: float, deadline: float) -> Iterator[None]:
    _wait(descriptor, until, deadline)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _wait(descriptor: int, until: float, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise _busy(deadline) from None
            time.sleep(_POLL)


def _open(path: Path, database: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.geteuid() == 0:  # a command of root's must not lock the server's own user out
            owner = os.stat(database)
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        return descriptor
    except OSError as error:
        raise StoreUnavailable(f"the lock file {path} cannot be opened: {error.strerror}") from None


def _busy(deadline: float) -> StoreUnavailable:
    return StoreUnavailable(f"another process has been writing to the store for {deadline:g} s; try again")
