"""The process that starts processes of the gate, one after the other: a fork of the server from before it did anything.

A process with threads cannot be forked, and another Python takes a second to start and memory of its own. So the
server forks this one while it has neither thread nor connection nor secret; it imports everything, waits, and forks a
gate whenever it is asked to. Such a gate has the configuration that the server started with.

Rules: it has no threads and opens nothing. It ends when the server does; a gate ends by its own line to the server, so
that it can finish. Signals that tell a server to end or to read its configuration are for the server alone: a terminal
and systemd send them to all.
"""

import atexit
import contextlib
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from validation.errors import StoreUnavailable

_START, _KILL = b"s", b"k"
_STATUS_OCTETS = 4
_GONE = "the process that starts those that decide logins has ended"

Serve = Callable[[socket.socket], None]


class KeeperGone(StoreUnavailable):
    """Nobody is left who could start a gate."""


class Keeper:
    """The server's hold on it. One gate at a time: `start` again only after `ended`."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def start(self) -> socket.socket:
        """A new gate; its line. Raises KeeperGone."""
        ours, its = socket.socketpair()
        with its:
            try:
                socket.send_fds(self._control, [_START], [its.fileno()])
            except OSError:
                ours.close()
                raise KeeperGone(_GONE) from None
        return ours

    def kill(self) -> None:
        """The gate, if there is one."""
        with contextlib.suppress(OSError):
            self._control.send(_KILL)

    def ended(self, within: float | None = None) -> int:
        """Waits for the end of the gate: its exit status, or minus the signal that ended it. Raises KeeperGone, or
        TimeoutError."""
        self._control.settimeout(within)
        try:
            octets = self._control.recv(_STATUS_OCTETS)
        except ConnectionError:
            octets = b""
        if not octets:
            raise KeeperGone(_GONE)
        return int.from_bytes(octets, "big", signed=True)

    def close(self) -> None:
        self._control.close()


def fork(serve: Serve) -> Keeper:
    """`serve` is the life of a gate. Before the process has threads, connections or secrets."""
    # Packets: each word is read whole, and what is written for nobody raises.
    ours, its = socket.socketpair(type=socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork() == 0:
        ours.close()
        _live("twofold-keeper", lambda: _keep(its, serve))
    its.close()
    return Keeper(ours)


def _live(name: str, life: Callable[[], None]) -> NoReturn:
    """As the process that was just forked, to its end; never back into what the one before was doing."""
    status = 1
    try:
        atexit._clear()  # what is to be done at its end, the other one does
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _not_for_us)  # not SIG_IGN, which programs that we start would inherit
        with contextlib.suppress(OSError):
            Path("/proc/self/comm").write_text(name)  # for ps and top
        life()
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
        os._exit(status)


def _not_for_us(number: int, frame: object) -> None:
    pass


def _keep(control: socket.socket, serve: Serve) -> None:
    gc.freeze()  # what all gates share is not written to
    running: tuple[int, int] | None = None  # process, and a descriptor that is readable when it has ended
    while True:
        files = [control.fileno(), *([running[1]] if running else [])]
        readable, _, _ = select.select(files, [], [])
        if running and running[1] in readable:
            os.close(running[1])
            _, status = os.waitpid(running[0], 0)
            running = None
            _tell(control, os.waitstatus_to_exitcode(status))
        if control.fileno() in readable:
            word, lines = _word(control)
            if not word:
                return
            if word == _START and lines:
                running = _born(control, lines[0], serve)
            elif word == _KILL and running:
                os.kill(running[0], signal.SIGKILL)  # it is our child and not waited for: no other has its number


def _word(control: socket.socket) -> tuple[bytes, list[int]]:
    try:
        word, lines, _, _ = socket.recv_fds(control, 1, 1)
    except ConnectionError:
        return b"", []
    return word, lines


def _tell(control: socket.socket, status: int) -> None:
    with contextlib.suppress(OSError):
        control.send(status.to_bytes(_STATUS_OCTETS, "big", signed=True))


def _born(control: socket.socket, line: int, serve: Serve) -> tuple[int, int]:
    pid = os.fork()
    if pid == 0:
        control.close()
        with socket.socket(fileno=line) as sock:
            _live("twofold-gate", lambda: serve(sock))
    os.close(line)
    return pid, os.pidfd_open(pid)
