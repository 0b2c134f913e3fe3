"""The process that starts processes of the gate, one after the other: a fork of the server from before it did anything.

A process with threads cannot be forked, and another Python takes a second to start and memory of its own. So the
server forks this one while it has neither thread nor connection nor secret; it imports everything, waits, and forks a
gate whenever it is asked to. Such a gate has the configuration that the server started with.

Rules: it has no threads and opens nothing. It ends when the server does; a gate ends by its own line to the server, so
that it can finish, and is killed where it does not. Signals that tell a server to end or to read its configuration are
for the server alone: a terminal and systemd send them to all.
"""

import atexit
import contextlib
import gc
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from radius_server.log import line, log
from store.serving import stand_back
from validation.errors import StoreUnavailable

_NUMBER = struct.Struct("!i")  # of a gate that is to be started, minus that of one to be killed; of how one ended
_BEHIND = 3  # a gate, behind the thread that reads packets
_LAST = 60.0  # seconds that a gate may go on when the server has ended
_GONE = "the process that starts those that decide logins has ended"

Serve = Callable[[socket.socket], None]


class KeeperGone(StoreUnavailable):
    """Nobody is left who could start a gate."""


class Keeper:
    """The server's hold on it. One gate at a time: `start` again only after `ended`."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def start(self, number: int) -> socket.socket:
        """A new gate, the first that is called so, from 1 on; its line. Raises KeeperGone, or OSError where there is
        no line for it now: descriptors or memory have run out, and nothing was started."""
        ours, its = socket.socketpair()
        with its:
            try:
                socket.send_fds(self._control, [_NUMBER.pack(number)], [its.fileno()])
            except OSError as error:
                ours.close()
                if isinstance(error, ConnectionError):
                    raise KeeperGone(_GONE) from None
                raise
        return ours

    def kill(self, number: int) -> None:
        """That gate, if it has not ended."""
        with contextlib.suppress(OSError):
            self._control.send(_NUMBER.pack(-number))

    def ended(self) -> int:
        """Waits for the end of the gate: its exit status, or minus the signal that ended it. Raises KeeperGone."""
        try:
            octets = self._control.recv(_NUMBER.size)
        except ConnectionError:
            octets = b""
        if not octets:
            raise KeeperGone(_GONE)
        (status,) = _NUMBER.unpack(octets)
        return int(status)

    def close(self) -> None:
        self._control.close()


def fork(serve: Serve) -> Keeper:
    """`serve` is the life of a gate. Before the process has threads, connections or secrets."""
    # Packets: each word is read whole, and what is written for nobody raises.
    ours, its = socket.socketpair(type=socket.SOCK_SEQPACKET)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as where it was closed when the server was started
            stream.flush()
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
    except BaseException as error:
        log.error(line("internal-error", where=name, error=type(error).__name__))
        log.debug("internal error, where it happened", exc_info=error)
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
        os._exit(status)


def _not_for_us(number: int, frame: object) -> None:
    pass


def _keep(control: socket.socket, serve: Serve) -> None:
    gc.freeze()  # what all gates share is not written to
    gate: _Gate | None = None
    while True:
        files = [control.fileno(), *([gate.life] if gate else [])]
        readable, _, _ = select.select(files, [], [])
        if gate and gate.life in readable:
            _tell(control, gate.ended())
            gate = None
        if control.fileno() in readable:
            told, lines = _told(control)
            if told is None:
                if gate:
                    gate.end()
                return
            if told > 0:
                gate = _born(told, control, lines, serve)
            elif gate and gate.number == -told:
                os.kill(gate.pid, signal.SIGKILL)  # our child, and not waited for: no other process has this number


@dataclass(frozen=True)
class _Gate:
    number: int
    pid: int
    life: int  # readable when it has ended

    def ended(self) -> int:
        """How it has."""
        os.close(self.life)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def end(self) -> None:
        """The server has ended, so it does, too, unless it stands still."""
        if not select.select([self.life], [], [], _LAST)[0]:
            os.kill(self.pid, signal.SIGKILL)


def _tell(control: socket.socket, status: int) -> None:
    with contextlib.suppress(OSError):  # the server has ended, too
        control.send(_NUMBER.pack(status))


def _told(control: socket.socket) -> tuple[int | None, list[int]]:
    """A word of the server, and the line that came with it; None where the server has ended."""
    try:
        octets, lines, _, _ = socket.recv_fds(control, _NUMBER.size, 1)
    except ConnectionError:
        return None, []
    return (_NUMBER.unpack(octets)[0], lines) if octets else (None, [])


def _born(number: int, control: socket.socket, lines: list[int], serve: Serve) -> _Gate | None:
    """None, and that is told as its end, where there cannot be one now."""
    if not lines:  # the system drops what there is no descriptor for
        _tell_of_none(control, "Too many open files")
        return None
    (descriptor,) = lines
    try:
        pid = os.fork()
    except OSError as error:  # too little memory, or too many processes: it may be otherwise in a moment
        os.close(descriptor)
        _tell_of_none(control, error.strerror)
        return None
    if pid == 0:
        control.close()
        with socket.socket(fileno=descriptor) as sock:
            stand_back(_BEHIND)
            _live("twofold-gate", lambda: serve(sock))
    os.close(descriptor)
    try:
        return _Gate(number, pid, os.pidfd_open(pid))
    except OSError as error:  # nobody would hear of its end
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        _tell_of_none(control, error.strerror)
        return None


def _tell_of_none(control: socket.socket, why: str | None) -> None:
    log.error(line("gate-not-forked", error=why))
    _tell(control, 1)
