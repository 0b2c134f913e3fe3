"""The server: its rooms and the way through them; start, reload and end.

The road of a datagram, in this order:

    1  client by longest prefix                  unknown: silence                              reception
    2  raw checks (`packet.parse`)               malformed: silence                            reception
    3  Message-Authenticator and the client's rule for it                                      reception
    4  duplicate cache                           the same reply again, or silence              reception
    5  read-only look, then one password check in a bounded pool, off the packet loop          passwords
    6  gate: decided, committed                                                                deciding
    7  reply with Message-Authenticator first; refusals leave at arrival plus delay            replying

Accounting-Request goes from 4 to `recording`.

Rules: everything up to 4 and all sending happens in the event loop, and so does talking to the process that decides.
Looks and records each have a thread of their own, and decisions where there is no such process, so no socket waits for
a database, a disk or a hash. A store that does not answer means silence, so that the NAS asks elsewhere; so does a wait
that was too long, so that no PIN is used up for a login that nobody waits for any more. A reload takes effect as a
whole or not at all.
"""

import asyncio
import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from first_factor import Checker
from radius_server.client_rows import ClientRows
from radius_server.deciding import Deciding
from radius_server.deciding_afar import DecidingAfar
from radius_server.deciding_here import DecidingHere
from radius_server.fittings import Fittings
from radius_server.gate_process import GateProcess
from radius_server.jobs import DECIDE_WITHIN, Job, Post
from radius_server.listening import Door
from radius_server.metrics import render
from radius_server.passwords import Passwords
from radius_server.reception import House, Reception
from radius_server.recording import Recording
from radius_server.replying import Replies
from radius_server.work import Lane
from store.config import Listen
from validation.errors import BadInput
from validation.gate import Gate
from validation.names import EXACT, Spelling

DRAIN_ON_STOP = 8.0  # seconds for requests in work when the server is told to stop
HURRY = 1.0  # seconds for what a stage is at when it is told so again
HURRY_IN_ALL = 6.0  # seconds then; a file of records may hang on its disk
RETIRE_MOST = 16  # times 256 datagrams are read from a door that is given up; its buffer has room for some 2,500
OLD_DOORS = DECIDE_WITHIN + 5  # seconds that replies may still leave through a door that is not listened at any more


@dataclass(frozen=True, slots=True)
class Settings:
    """What of the configuration can change while the server runs, beside where passwords are checked."""

    listen: tuple[Listen, ...]
    status_server: bool = True
    names: Spelling = EXACT
    accounting: Path | None = None
    accounting_listen: tuple[Listen, ...] = ()
    metrics: Listen | None = None


class RadiusServer:
    """`bind`, then `await run(stop)`. One object serves all its sockets."""

    def __init__(self, gate: Gate, checker: Checker, settings: Settings, decides: GateProcess | None = None) -> None:
        """`decides`: who decides logins, in another process; started before `run`. Else `gate` does, as it does
        everything else."""
        self._gate = gate
        self._decides = decides
        self._checker = checker
        self._settings = settings
        self._replies = Replies()
        self._old_doors: dict[Door, asyncio.TimerHandle] = {}  # until they are closed
        self._is_ending = False

    def bind(self) -> list[Listen]:
        """Read the clients and bind every address. Raises BadInput for an address, StoreUnavailable for the store."""
        self._clients = ClientRows(self._gate, self._replies.store_silent)
        self._fittings = Fittings.prepare(self._settings, self._metrics)
        return self.bound

    @property
    def bound(self) -> list[Listen]:
        """Where requests are answered."""
        return [door.bound for door in self._fittings.doors]

    @property
    def metrics_at(self) -> Listen | None:
        return self._fittings.metrics.bound if self._fittings.metrics is not None else None

    @property
    def dropped(self) -> dict[str, int]:
        """How many packets got no answer, by reason."""
        return dict(self._replies.drops.counters)

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event | None = None) -> None:
        """Serve until `stop` is set, then finish what is in work and close; from `hurry` on without finishing."""
        self._loop = asyncio.get_running_loop()
        post: Post = self._loop.call_soon_threadsafe
        self._deciding = self._stage_of_decisions(post)
        self._passwords = Passwords(self._gate, self._checker, self._deciding, self._replies, post)
        self._recording = Recording(self._fittings.records, self._replies, post)
        self._reception = Reception(
            self._clients, self._replies, _house(self._settings), self._submit, self._deciding.gathering
        )
        for door in self._fittings.doors:
            self._open(door)
        self._start_metrics()
        self._looked_at = time.monotonic()
        following = asyncio.create_task(self._clients.follow(self._each_time))
        try:
            await stop.wait()
        finally:
            self._is_ending = True
            following.cancel()
            for door in (*self._fittings.doors, *self._old_doors):
                self._loop.remove_reader(door.sock)
            await self._finish(hurry or asyncio.Event())

    def _stage_of_decisions(self, post: Post) -> Deciding:
        if self._decides is not None:
            return DecidingAfar(self._decides, self._replies, post)
        return DecidingHere(self._gate, self._replies, post)

    def _submit(self, job: Job) -> None:
        if job.lane is Lane.PASSWORD:
            self._passwords.submit(job)
        elif job.lane is Lane.ACCOUNTING or (job.lane is Lane.PROBE and job.way.door.is_for_accounting):
            self._recording.submit(job)
        else:
            self._deciding.submit(job)

    def _open(self, door: Door) -> None:
        """A new one, or an old one that is listened at again."""
        if closing := self._old_doors.pop(door, None):
            closing.cancel()
        self._loop.add_reader(door.sock, self._reception.drain, door)

    def _each_time(self, now: float) -> None:
        """Twice a second, or as often as the store can be asked for the clients."""
        seconds, self._looked_at = now - self._looked_at, now
        for lane, stage in ((Lane.PASSWORD, self._passwords), (Lane.LOGIN, self._deciding)):
            stage.drop_late(now)
            self._replies.work.adapt(lane, seconds, stage.is_tried())

    # --- end ----------------------------------------------------------------------------------------------------

    async def _finish(self, hurry: asyncio.Event) -> None:
        idle, hurried = asyncio.create_task(self._replies.idle()), asyncio.create_task(hurry.wait())
        await asyncio.wait({idle, hurried}, timeout=DRAIN_ON_STOP, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        if not hurry.is_set():
            await asyncio.wait({self._closing(None), hurried}, return_when=asyncio.FIRST_COMPLETED)
        if hurry.is_set():  # before, or while that waited
            await asyncio.wait({self._closing(HURRY)}, timeout=HURRY_IN_ALL)
        hurried.cancel()
        await asyncio.sleep(0)  # what the stages have posted is sent
        for door, closing in self._old_doors.items():
            closing.cancel()
            door.close()
        self._fittings.close()

    def _closing(self, within: float | None) -> asyncio.Task[bool]:
        """The stages are being closed, by a thread that need not be waited for: the loop joins those of its own."""
        closed = asyncio.Event()

        def close() -> None:
            try:
                self._close_stages(within)
            finally:
                with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                    self._loop.call_soon_threadsafe(closed.set)

        threading.Thread(target=close, name="twofold-closing", daemon=True).start()
        return asyncio.create_task(closed.wait())

    def _close_stages(self, within: float | None) -> None:
        self._passwords.close(within)
        self._deciding.close(within)
        self._recording.close(within)

    # --- reload -------------------------------------------------------------------------------------------------

    async def reload(self, checker: Checker, settings: Settings) -> None:
        """Go on with these. Raises BadInput, and then everything stays as it was."""
        if self._is_ending:
            raise BadInput("the server was told to stop")
        old = self._fittings
        new = Fittings.prepare(settings, self._metrics, old, tuple(self._old_doors))
        # From here on nothing fails, and the loop is not left before all is in its place.
        moving = self._loop.run_in_executor(None, self._recording.move, new.records)
        self._fittings, self._settings = new, settings
        self._passwords.checker = checker
        self._reception.house = _house(settings)
        for door in new.doors:
            if door not in old.doors:
                self._open(door)
        for door in old.doors:
            if door not in new.doors:
                self._retire(door)
        if old.metrics is not None and old.metrics is not new.metrics:
            old.metrics.close()
        self._start_metrics()
        await moving

    def _start_metrics(self) -> None:
        if self._fittings.metrics is not None:
            self._fittings.metrics.start()

    def _retire(self, door: Door) -> None:
        """What has come in is still answered, and nothing else; but the kernel gives it what is sent to its address
        as long as it is open, also where another door has taken its place."""
        for _ in range(RETIRE_MOST):
            if not self._reception.drain(door):
                break
        if not any(new.covers(door) for new in self._fittings.doors):
            self._loop.remove_reader(door.sock)
        self._old_doors[door] = self._loop.call_later(OLD_DOORS, self._close_old, door)

    def _close_old(self, door: Door) -> None:
        del self._old_doors[door]
        self._loop.remove_reader(door.sock)
        door.close()

    # --- for those who watch ------------------------------------------------------------------------------------

    def busy_for(self) -> float:
        """How many seconds the looks or the gate have been at one batch; for ever if a thread of theirs has ended."""
        return max(self._passwords.busy_for(), self._deciding.busy_for())

    def _metrics(self) -> str:
        waiting = self._passwords.waiting | self._deciding.waiting | self._recording.waiting
        return render(self._replies.counts, self._replies.drops, self._replies.work.count, waiting)


def _house(settings: Settings) -> House:
    return House(settings.status_server, settings.names, settings.accounting is not None)
