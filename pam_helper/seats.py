"""Whether somebody sits at this machine: only then may a security key be asked for, since it is his that would blink.

    peer                          local, if
    any, with an rhost            never
    root, in a logind session     that session is on a seat, active, and not remote
    root, in none                 service and terminal are among those configured, and the kernel says the same terminal
    anybody else                  the peer itself is in an active session of its own account, on a seat, not remote
    a relay                       never

Rules: sudo and su run in the session of whoever typed them, so inside ssh they are remote whatever they say of their
terminal. What cannot be found out is not local.
"""

import ctypes
import fnmatch
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from pam_helper.hello import Hello
from pam_helper.sockets import Peer
from store.config import SecurityKeySection


@dataclass(frozen=True, slots=True)
class Session:
    """What logind knows of a login session."""

    uid: int
    remote: bool
    active: bool
    seat: str  # "" where nobody sits, as in an ssh session

    @property
    def at_a_seat(self) -> bool:
        return self.active and not self.remote and bool(self.seat)


class Sessions(Protocol):
    def of(self, pid: int) -> Session | None:
        """The session that a process is in; None if it is in none, or nobody knows."""


def is_local(hello: Hello, peer: Peer, relay: bool, keys: SecurityKeySection, sessions: Sessions) -> bool:
    """`hello` is the peer's word as it came: an rhost that a stranger claims can only speak against him."""
    if hello.rhost or relay:
        return False
    session = sessions.of(peer.pid)
    if peer.uid != 0:
        return session is not None and session.uid == peer.uid and session.at_a_seat
    if session is not None:
        return session.at_a_seat
    return _configured(hello, keys) and _is_its_terminal(hello.tty or "", peer.pid)


def _configured(hello: Hello, keys: SecurityKeySection) -> bool:
    tty = _whole(hello.tty or "")
    return hello.service in keys.services and any(fnmatch.fnmatchcase(tty, pattern) for pattern in keys.ttys)


def _whole(tty: str) -> str:
    """`tty1` as `/dev/tty1`; the display of a graphical login stays as it is."""
    return tty if tty.startswith(("/", ":")) or not tty else f"/dev/{tty}"


def _is_its_terminal(tty: str, pid: int) -> bool:
    """PAM_TTY may be what a caller left on its standard input; the kernel knows the terminal a process is at. A
    graphical login has none."""
    if tty.startswith(":"):
        return True
    try:
        device = os.stat(_whole(tty)).st_rdev
        # Field 7 of proc(5); the name in parentheses before it may hold blanks.
        at = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4])
    except (OSError, ValueError, IndexError):
        return False
    return at != 0 and at == _as_the_kernel_counts(os.major(device), os.minor(device))


def _as_the_kernel_counts(major: int, minor: int) -> int:
    """The minor in bits 31 to 20 and 7 to 0, the major in bits 15 to 8 (proc(5), tty_nr)."""
    return (minor & 0xFF) | major << 8 | (minor & ~0xFF) << 12


class Logind:
    """sd-login(3), from the library of systemd. Without it there are no sessions."""

    def of(self, pid: int) -> Session | None:
        library = _library()
        if library is None:
            return None
        name = _text(library.sd_pid_get_session, pid)
        if name is None:
            return None
        session = name.encode()
        uid = ctypes.c_uint32()
        if library.sd_session_get_uid(session, ctypes.byref(uid)) < 0:
            return None
        return Session(
            uid.value,
            remote=library.sd_session_is_remote(session) != 0,  # an error counts as remote
            active=library.sd_session_is_active(session) > 0,
            seat=_text(library.sd_session_get_seat, session) or "",
        )


@cache
def _library() -> Any:
    try:
        return ctypes.CDLL("libsystemd.so.0")
    except OSError:
        return None


def _text(function: Any, of: Any) -> str | None:
    """What a function of sd-login(3) puts into a string that the caller frees."""
    found = ctypes.c_char_p()
    if function(of, ctypes.byref(found)) < 0 or found.value is None:
        return None
    text = found.value.decode("ascii", "replace")
    ctypes.CDLL(None).free(found)
    return text
