"""The real `twofold`, started by a fork of a process that has imported it, under a fate that somebody else writes.

Rules: the fate says how far the wall clock of this process is off, and how likely it kills itself before or after a
COMMIT; it lies in a file that both map, so it acts at once. Passwords are hashed at the least cost: what is tried here
is what comes after them. A planted fault of `planted.py` is put in by its name.
"""

import mmap
import multiprocessing
import os
import random
import signal
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path

from argon2 import PasswordHasher

from first_factor import local

_LAYOUT = struct.Struct("=3d")
_PRELOADED = (
    *("tests.chaos.run", "tests.chaos.planted", "radius_server.command", "radius_server.server"),
    *("pam_helper.command", "pam_helper.service", "pam_helper.security_key", "store.opening", "store.postgresql"),
    *("first_factor.local", "store.cli.main", "sqlalchemy.dialects.sqlite.pysqlite"),
    *("sqlalchemy.dialects.postgresql.psycopg", "pam_helper.dialogue", "pam_helper.sockets", "pam_helper.terminal"),
)


def nursery() -> ForkServerContext:
    """Where servers are born: quickly, as processes of their own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context


@dataclass
class Fate:
    """Of the processes of one host."""

    path: Path

    def __post_init__(self) -> None:
        with self.path.open("ab") as file:
            file.truncate(_LAYOUT.size)
        with self.path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _LAYOUT.size)

    def write(self, ahead: float = 0.0, before: float = 0.0, after: float = 0.0) -> None:
        """Seconds that its clock is ahead, and the odds that it dies before and after a COMMIT."""
        self._map[:] = _LAYOUT.pack(ahead, before, after)

    @property
    def ahead(self) -> float:
        return float(_LAYOUT.unpack(self._map)[0])

    def may_die(self, after: bool, server: int) -> None:
        """The process that decides, and every other time all of the `server`."""
        dice = random.SystemRandom()  # each such process is a fork of the same, and would throw the same
        if dice.random() < _LAYOUT.unpack(self._map)[1 + after]:
            if dice.random() < 0.5:
                os.kill(server, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)


def cheap_hasher() -> PasswordHasher:
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def serve(arguments: Sequence[str], fate: Path, log: Path, fault: str) -> None:
    """The life of a server, to its end."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
        os.dup2(file.fileno(), 1)
    sys.stderr = os.fdopen(2, "w", closefd=False, buffering=1)
    _submit_to(Fate(fate))
    local._HASHER = cheap_hasher()
    if fault:
        from tests.chaos.planted import FAULTS

        FAULTS[fault]()
    from store.cli.main import main

    main(arguments)


def _submit_to(fate: Fate) -> None:
    from sqlalchemy import Connection

    from store.connections import Connections

    real, commit, server = time.time, Connections._commit, os.getpid()

    def commit_or_die(self: Connections, connection: Connection) -> None:
        fate.may_die(False, server)
        commit(self, connection)
        fate.may_die(True, server)

    time.time = lambda: real() + fate.ahead
    Connections._commit = commit_or_die  # type: ignore[method-assign]
