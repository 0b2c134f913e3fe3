"""The real libpam, asked for its verdict on a stack: `pam_debug.so` says whatever a line tells it to."""

import ctypes
from pathlib import Path

import pytest

_PAM_SUCCESS = 0
_PAM_ABORT = 26  # how pam_start refuses a file that it cannot read to the end
_CONVERSATION = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p
)


class _Conv(ctypes.Structure):
    _fields_ = (("conv", _CONVERSATION), ("appdata_ptr", ctypes.c_void_p))


_silent = _CONVERSATION(lambda _count, _messages, _replies, _data: 0)


def lets_in(folder: Path, service: str) -> bool:
    """Whether pam_authenticate succeeds with the stacks in `folder`. Skips where libpam or pam_debug is missing."""
    try:
        libpam = ctypes.CDLL("libpam.so.0")
        start = libpam.pam_start_confdir
    except (OSError, AttributeError):
        pytest.skip("libpam.so.0 with pam_start_confdir is not here (Debian package libpam0g)")
    handle, conv = ctypes.c_void_p(), _Conv(_silent, None)
    begun = start(service.encode(), b"nobody", ctypes.byref(conv), str(folder).encode(), ctypes.byref(handle))
    if begun == _PAM_ABORT:
        return False
    assert begun == _PAM_SUCCESS, begun
    verdict = int(libpam.pam_authenticate(handle, 0))
    libpam.pam_end(handle, verdict)
    return verdict == _PAM_SUCCESS


def says(result: str) -> str:
    """The end of a line whose module says `result`."""
    return f"pam_debug.so auth={result}"
