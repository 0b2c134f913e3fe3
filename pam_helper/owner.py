"""Root's helper touches the store with the rights of the store's owner.

Rules: the file-system user of a thread (setfsuid(2)) is that owner while it works on the store, so that files SQLite
makes belong to the one who must open them next, and a link in that directory leads root nowhere. What needs root
(checking passwords of the system, looking at a terminal) takes root's rights for that moment alone.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from first_factor import Checker
from validation.decisions import Look
from validation.errors import StoreUnavailable
from validation.requests import FirstFactorResult

_libc = ctypes.CDLL(None, use_errno=True)
_libc.setfsuid.restype = _libc.setfsgid.restype = ctypes.c_uint
_ASK = ctypes.c_uint(-1)  # changes nothing and returns what is


@contextmanager
def rights_of_owner(path: Path) -> Iterator[None]:
    """For this thread and this block. Raises StoreUnavailable if the owner cannot be told or become."""
    if os.geteuid() != 0:
        yield
        return
    status = _status(path)
    with _rights_of(status.st_uid, status.st_gid):
        yield


def owner_of(path: Path) -> int:
    """The uid of the store's owner, as who the server runs. Raises StoreUnavailable if it cannot be told."""
    return _status(path).st_uid


def _status(path: Path) -> os.stat_result:
    try:
        return os.lstat(path)
    except OSError as error:
        raise StoreUnavailable(f"the store {path} cannot be opened: {error.strerror}") from None


@contextmanager
def rights_of_this_process() -> Iterator[None]:
    """For a moment inside `rights_of_owner`: what has nothing to do with the store."""
    if os.geteuid() != 0:
        yield
        return
    with _rights_of(0, os.getegid()):
        yield


def has_rights_of_this_process() -> bool:
    """This thread, which could not give back others."""
    return (_libc.setfsuid(_ASK), _libc.setfsgid(_ASK)) == (os.geteuid(), os.getegid())


class AsRoot:
    """Checks passwords with the rights of this process: a thread has those of the one that starts it, and the accounts
    of the system are root's to read."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker

    def check(self, look: Look, password: str) -> FirstFactorResult:
        with rights_of_this_process():
            return self._checker.check(look, password)


@contextmanager
def _rights_of(uid: int, gid: int) -> Iterator[None]:
    before = _libc.setfsuid(_ASK), _libc.setfsgid(_ASK)
    _become(uid, gid)
    try:
        yield
    finally:
        _become(*before)


def _become(uid: int, gid: int) -> None:
    """As root for a moment: only root may take another group, and then another user."""
    _libc.setfsuid(ctypes.c_uint(0))
    _libc.setfsgid(ctypes.c_uint(gid))
    _libc.setfsuid(ctypes.c_uint(uid))
    if (_libc.setfsuid(_ASK), _libc.setfsgid(_ASK)) != (uid, gid):
        raise StoreUnavailable(f"this process cannot take the rights of uid {uid}, the store's owner")
