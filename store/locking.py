"""One writer at a time, fairly, over processes and threads.

SQLite's own busy timeout lets a busy writer starve another for seconds. Before BEGIN IMMEDIATE a writer therefore
takes two lock files: `.queue`, held by the one who is next, then `.lock`, held by the one who writes. Whoever holds
the queue meets no competitor for the lock, so a writer that has just finished cannot push in front of him.
"""

import contextlib
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
        self._database = database
        self._deadline = deadline
        self._threads = threading.Lock()
        self._files: tuple[int, int] | None = None  # opened by the first write: reading leaves nothing behind

    @contextmanager
    def held(self) -> Iterator[None]:
        until = time.monotonic() + self._deadline
        if not self._threads.acquire(timeout=self._deadline):
            raise _busy(self._deadline)
        try:
            queue, lock = self._opened()
            with _locked(queue, until, self._deadline):
                _wait(lock, until, self._deadline)
            try:
                yield
            finally:
                fcntl.flock(lock, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def _opened(self) -> tuple[int, int]:
        if self._files is None:
            queue_file, lock_file = lock_files(self._database)
            queue = _open(queue_file, self._database)
            try:
                self._files = queue, _open(lock_file, self._database)
            except StoreUnavailable:
                os.close(queue)
                raise
        return self._files

    def close(self) -> None:
        for descriptor in self._files or ():
            os.close(descriptor)
        self._files = None


def lock_files(database: Path) -> tuple[Path, Path]:
    """`.queue` and `.lock` of a store. Whoever may open them can stop all writers."""
    return database.with_name(database.name + ".queue"), database.with_name(database.name + ".lock")


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
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            if os.geteuid() == 0:  # a command of root's must not lock the server's own user out
                owner = os.stat(database)
                os.fchown(descriptor, owner.st_uid, owner.st_gid)  # made just now, so nobody else's file
            return descriptor
        return os.open(path, flags)
    except OSError as error:
        raise StoreUnavailable(f"the lock file {path} cannot be opened: {error.strerror}") from None


def _busy(deadline: float) -> StoreUnavailable:
    return StoreUnavailable(f"another process has been writing to the store for {deadline:g} s; try again")
