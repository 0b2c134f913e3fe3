"""The ballast: a file beside a SQLite store that is given up when the disk is full, so that logins are still recorded.

Rules: its blocks are really taken, and nothing is in it. Who meets the full disk gives it up, and the one that did says
so. It is made only where far more is free than it takes, so that it neither fills the disk nor comes and goes. No file
is written to that is not plainly a ballast: something else may stand under its name.
"""

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.sealing import sync_folder

_log = logging.getLogger("twofold.store")

# SQLite's log grows to 4 MB before it is used anew, and then a login costs what it adds to the database: 8 MB were good
# for 20,000 logins, 4 MB for 440 (measured).
SIZE = 8 << 20
LEAST_FREE = 4 * SIZE
_A_LITTLE = 1 << 18  # what is free in less than that, SQLite may not get
_PART = 1 << 16
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Ballast:
    """Of one store. Methods may be called by any thread and process; none raises OSError unless it says so."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".ballast")
        self._database = database
        self._complaint = ""

    @property
    def is_there(self) -> bool:
        """All of it."""
        try:
            status = os.lstat(self.path)
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_blocks * 512 >= SIZE

    @property
    def room(self) -> int:
        """Octets that whoever is not root may still take. Raises OSError."""
        about = os.statvfs(self.path.parent)
        return about.f_bavail * about.f_frsize

    @property
    def finds_no_room(self) -> bool:
        """So little is free that SQLite may fail."""
        with contextlib.suppress(OSError):
            return self.room < _A_LITTLE
        return False

    # --- the disk is full -----------------------------------------------------------------------------------------

    def give_up(self, is_full: bool) -> bool:
        """Whether this call has made room. `is_full`: that is known; else it is found out first."""
        try:
            if not (is_full or self._meets_a_full_disk()):
                return False
            self._empty()
            self.path.unlink()
        except FileNotFoundError:  # given up before
            return False
        except OSError as error:
            self._complain(f"the ballast {self.path} cannot be given up", error)
            return False
        self._complaint = ""
        with contextlib.suppress(OSError):
            sync_folder(self.path.parent)  # ext4 gives blocks out again when its journal has this
        _log.warning(
            "the disk of %s is full: %s was given up, so that some more logins can be recorded. Make room now",
            self._database,
            self.path,
        )
        return True

    def _empty(self) -> None:
        """A file that somebody has open, such as a backup program, keeps its blocks when it is removed."""
        with contextlib.suppress(PermissionError), self._opened() as descriptor, contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)  # a file system that copies on write may have no room even for that

    def _meets_a_full_disk(self) -> bool:
        """SQLite does not tell a quota, or a full disk where it grows `-shm`, from a broken disk.

        Asked of a file of the same owner in the same place. Raises OSError.
        """
        with self._opened() as descriptor:
            size = os.fstat(descriptor).st_size
            try:
                os.posix_fallocate(descriptor, size, _A_LITTLE)
            except OSError as error:
                return error.errno in _FULL
            finally:
                os.ftruncate(descriptor, size)
        return False

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Raises OSError, also for what is no ballast."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                raise OSError(errno.EINVAL, "it is no ballast, but a link or something else")
            yield descriptor
        finally:
            os.close(descriptor)

    # --- there is room --------------------------------------------------------------------------------------------

    def make(self) -> bool:
        """Unless it is there, or too little is free. Whether it was made. Raises OSError."""
        if self.is_there or self.room < LEAST_FREE:
            return False
        self.path.unlink(missing_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                self._claim(file.fileno())
                for _ in range(SIZE // _PART):
                    file.write(os.urandom(_PART))  # a file system that compresses keeps no room for zeros
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            self.path.unlink(missing_ok=True)
            raise
        return self.is_there  # unless somebody has needed it meanwhile

    def _claim(self, descriptor: int) -> None:
        owner, here = os.stat(self._database), os.fstat(descriptor)
        if os.geteuid() == 0 and (here.st_uid, here.st_gid) != (owner.st_uid, owner.st_gid):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)  # made just now, so nobody else's file
        os.posix_fallocate(descriptor, 0, LEAST_FREE)  # of a quota statvfs knows nothing
        os.ftruncate(descriptor, SIZE)

    def keep(self) -> None:
        """For servers, now and then: make it anew when there is room again."""
        try:
            if self.make():
                self._complaint = ""
                _log.info("there is room on the disk of %s: %s was made", self._database, self.path)
        except OSError as error:
            self._complain(f"the ballast {self.path} cannot be made", error)

    def _complain(self, what: str, error: OSError) -> None:
        """The same thing once, however many logins meet it."""
        complaint = f"{what}: {error.strerror}"
        if complaint != self._complaint:
            _log.error("%s", complaint)
        self._complaint = complaint
