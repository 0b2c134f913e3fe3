"""The file of accounting records: a line is on the disk, or nothing of it is there.

Rules: a regular file, made with mode 0640 whatever the umask, never reached through a link. It is opened anew when
told to (SIGHUP, after logrotate has moved it) and when it has been removed. One process writes
it, one thread at a time.
"""

import contextlib
import os
import stat
from pathlib import Path

from validation.errors import BadInput

MODE = 0o640
_FLAGS = (
    os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
)  # no pipe without a reader holds us up


class RecordFile:
    def __init__(self, path: Path) -> None:
        """Opens `path`, or makes it. Raises BadInput."""
        self.path = path
        self._file = _open(path)

    def append(self, lines: bytes) -> None:
        """Write `lines` and wait until they are on the disk. Raises OSError or BadInput, and then none is there."""
        if os.fstat(self._file).st_nlink == 0:
            self._open_anew()
        before = os.fstat(self._file).st_size
        try:
            _write(self._file, lines)
            os.fdatasync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, before)
            raise

    def _open_anew(self) -> None:
        new = _open(self.path)
        os.close(self._file)
        self._file = new

    def has_room(self) -> bool:
        """Whether its disk has."""
        return os.fstatvfs(self._file).f_bavail > 0

    def close(self) -> None:
        os.close(self._file)


def _open(path: Path) -> int:
    where = f"[radius] accounting: {path}"
    try:
        file = _opened(path)
    except OSError as error:
        raise BadInput(f"{where} cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise BadInput(f"{where} is no regular file")
    return file


def _opened(path: Path) -> int:
    with contextlib.suppress(FileExistsError):
        made = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, MODE)
        os.fchmod(made, MODE)
        return made
    return os.open(path, _FLAGS)


def _write(file: int, lines: bytes) -> None:
    left = memoryview(lines)
    while left:
        left = left[os.write(file, left) :]
