"""Processes with a gate of their own: each waits at a barrier with the others, then submits what it was told to.

Rule: the gate and the store are the product's; only the clock is handed in, so that a TOTP step does not end in the
middle of a round.
"""

import contextlib
import itertools
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

from store import config as configuration
from store import opening
from store.notices import NoNotices
from validation.decisions import Accept, Challenge, Reject
from validation.errors import StoreUnavailable
from validation.gate import Gate, Outcome
from validation.model import MOMENT_RANDOM_OCTETS, Moment
from validation.requests import LoginRequest

PROCESSES = 4


@dataclass
class FixedMoments:
    """A clock that stands still until it is set, and the system's dice."""

    now: float = 0.0

    def moment(self) -> Moment:
        return Moment(self.now, os.urandom(MOMENT_RANDOM_OCTETS))


@dataclass(frozen=True)
class Order:
    """One round: what to hand to `Gate.login`, call by call, at which time."""

    now: float
    calls: list[list[LoginRequest]]


Told = dict[str, tuple[str, str]]  # request id -> decision and reason, in the words of the audit trail


def work(config_file: Path, start: Barrier, orders: Connection) -> None:
    """Carry out orders until None comes."""
    moments = FixedMoments()
    store = opening.open_store(configuration.load(config_file))
    gate = Gate(store, moments, opening.LoggedFaults(), NoNotices())
    while (order := orders.recv()) is not None:
        moments.now = order.now
        start.wait(60)
        outcomes = [(r.request_id, o) for call in order.calls for r, o in zip(call, gate.login(call), strict=True)]
        orders.send({request_id: told(outcome) for request_id, outcome in outcomes})
    store.close()


def told(outcome: Outcome) -> tuple[str, str]:
    match outcome:
        case Accept():
            return "accept", outcome.reason
        case Challenge():
            return "again", outcome.reason
        case Reject():
            return "reject", outcome.reason
        case StoreUnavailable():
            return "silence", str(outcome)


class Workers:
    """Processes with a gate of their own, which stay alive over the rounds."""

    def __init__(self, *configs: Path) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._start = spawn.Barrier(PROCESSES)  # kept, because the processes open it by name
        pipes = [spawn.Pipe() for _ in range(PROCESSES)]
        self._orders = [ours for ours, _ in pipes]
        self._processes = [
            spawn.Process(target=work, args=(config, self._start, theirs), daemon=True)
            for config, (_, theirs) in zip(itertools.cycle(configs), pipes, strict=False)
        ]
        for process in self._processes:
            process.start()
        for _, theirs in pipes:
            theirs.close()

    def submit(self, orders: Sequence[Order]) -> Told:
        """Have every process carry out its order, all at once; what all of them were told."""
        for pipe, order in zip(self._orders, orders, strict=True):
            pipe.send(order)
        return {request_id: what for pipe in self._orders for request_id, what in pipe.recv().items()}

    def end(self) -> None:
        for pipe in self._orders:
            with contextlib.suppress(BrokenPipeError):
                pipe.send(None)
            pipe.close()
        for process in self._processes:
            process.join(30)
