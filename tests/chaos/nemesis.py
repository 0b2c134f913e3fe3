"""What breaks in a round, and when: drawn from the round's dice, done by one thread, mended at its end.

Rules: whatever is stopped goes on again, whatever was killed is started again a moment later, as a supervisor would.
The database itself has one trouble at a time. Only processes that the world started are ever touched.
"""

import heapq
import itertools
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

from tests.chaos.proxy import Loss, Proxy
from tests.chaos.world import Host, World

_TURN = 0.02  # seconds
_LONGEST_STOP = 0.8  # seconds


class Nemesis:
    """`run` in a thread of its own; what it did is in `done`, `faults` and `stops`."""

    def __init__(self, world: World, dice: random.Random, seconds: float) -> None:
        self.done = Counter[str]()
        self.faults: list[tuple[float, str]] = []
        self._world = world
        self._dice = dice
        self._database_is_whole = True
        self._number = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._undo: list[tuple[float, int, Callable[[], None]]] = []
        self._down_until: dict[str, float] = {}
        begin = time.monotonic()
        for _ in range(dice.randint(2, 5)):
            self._at(self._due, begin + dice.uniform(0.05, 0.85) * seconds, dice.choice(self._possible()))

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._turn(time.monotonic())
            stop.wait(_TURN)
        self._turn(float("inf"), begin=False)

    def _turn(self, now: float, begin: bool = True) -> None:
        while begin and self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
        while self._undo and self._undo[0][0] <= now:
            heapq.heappop(self._undo)[2]()
        for host in self._world.hosts:
            self._tend(host, now)

    def _tend(self, host: Host, now: float) -> None:
        """Start it again a moment after it has died, of whatever."""
        if host.alive:
            host.is_ready()
        elif now >= self._down_until.setdefault(host.name, now + self._dice.uniform(0, 0.3)):
            del self._down_until[host.name]
            host.start()
            self.done["starts"] += 1

    def _at(self, heap: list[tuple[float, int, Callable[[], None]]], when: float, what: Callable[[], None]) -> None:
        heapq.heappush(heap, (when, next(self._number), what))

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        self._at(self._undo, time.monotonic() + seconds, what)

    def _note(self, kind: str, more: str = "") -> None:
        self.done[kind] += 1
        self.faults.append((time.monotonic(), f"*** {kind} {more}".rstrip()))

    # --- what can break -----------------------------------------------------------------------------------------

    def _possible(self) -> list[Callable[[], None]]:
        always = [self._kill, self._kill, self._kill_gate, self._die, self._stop, self._clock]
        if self._world.database is None:
            return always
        lines = [self._lose, self._lose, self._lose, self._cut, self._hold, self._delay, self._refuse]
        return [*always, *lines, self._terminate, self._crash, self._freeze]

    def _host(self) -> Host:
        return self._dice.choice([*self._world.servers, *self._world.hosts])

    def _line(self) -> tuple[Host, Proxy]:
        host = self._host()
        assert host.proxy is not None
        return host, host.proxy

    def _kill(self) -> None:
        host = self._host()
        self._note("kills", host.name)
        host.kill()

    def _kill_gate(self) -> None:
        """The process alone that decides; a helper has none."""
        host = self._dice.choice(self._world.servers)
        self._note("kills of a gate", host.name)
        host.kill_gate()

    def _die(self) -> None:
        """It kills itself at one of its next COMMITs, before or after."""
        host, after = self._host(), self._dice.random() < 0.7
        self._note("deaths at a commit", f"{host.name} {'after' if after else 'before'}")
        host.fate.write(before=0.0 if after else 0.4, after=0.4 if after else 0.0)
        self._later(0.5, host.fate.write)

    def _stop(self) -> None:
        host = self._host()
        self._note("stops", host.name)
        host.signal(signal.SIGSTOP)
        self._later(self._dice.uniform(0.1, _LONGEST_STOP), lambda: host.signal(signal.SIGCONT))

    def _clock(self) -> None:
        host, ahead = self._host(), self._dice.uniform(-120, 120)
        self._note("clocks", f"{host.name} {ahead:+.0f} s")
        host.fate.write(ahead=ahead)
        self._later(self._dice.uniform(0.2, 1.0), host.fate.write)

    def _lose(self) -> None:
        (host, proxy), loss = self._line(), self._dice.choice([Loss.BEFORE, Loss.AFTER, Loss.AFTER, Loss.SILENT])
        self._note("commits to lose", f"{host.name}: {loss.value}")
        proxy.lose(loss, self._dice.randint(1, 3) if loss is not Loss.SILENT else 1)

    def _cut(self) -> None:
        host, proxy = self._line()
        self._note("cuts", host.name)
        proxy.cut()

    def _hold(self) -> None:
        host, proxy = self._line()
        self._note("lines held", host.name)
        proxy.hold()
        self._later(self._dice.uniform(0.1, _LONGEST_STOP), proxy.heal)

    def _delay(self) -> None:
        host, proxy = self._line()
        self._note("lines slowed", host.name)
        proxy.delay = self._dice.uniform(0.002, 0.02)
        self._later(self._dice.uniform(0.2, 0.6), lambda: setattr(proxy, "delay", 0.0))

    def _refuse(self) -> None:
        host, proxy = self._line()
        self._note("lines refused", host.name)
        proxy.refuses = True
        proxy.cut()
        self._later(self._dice.uniform(0.1, 0.5), lambda: setattr(proxy, "refuses", False))

    def _terminate(self) -> None:
        if (database := self._world.database) is not None and self._database_is_whole:
            self._note("terminations")
            here = "pid <> pg_backend_pid() AND application_name = 'twofold'"
            database.sql(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {here}")

    def _crash(self) -> None:
        if (database := self._world.database) is not None and self._database_is_whole:
            self._note("database crashes")
            self._database_is_whole = False
            database.crash()

            def start() -> None:
                database.start()
                self._database_is_whole = True

            self._later(self._dice.uniform(0, 0.2), start)

    def _freeze(self) -> None:
        if (database := self._world.database) is not None and self._database_is_whole:
            self._note("database stops")
            self._database_is_whole = False
            database.signal(signal.SIGSTOP)

            def go_on() -> None:
                database.signal(signal.SIGCONT)
                self._database_is_whole = True

            self._later(self._dice.uniform(0.1, _LONGEST_STOP), go_on)
