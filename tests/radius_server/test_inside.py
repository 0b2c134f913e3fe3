"""The server in the event loop of the test, which sees it between two steps and answers instead of the gate."""

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from first_factor import checker
from radius_server import gate_frames as frames
from radius_server import server as server_module
from radius_server.deciding_afar import DecidingAfar
from radius_server.gate_process import GateProcess
from radius_server.record_file import RecordFile
from radius_server.server import OLD_DOORS, RadiusServer, Settings
from radius_server.work import Lane, Load
from store.config import Listen
from tests.radius_server.test_deciding_afar import Forks, until
from tests.site import SECRET, Site
from tests.wire import Nas, access_request
from validation.decisions import Accept, Reason
from validation.errors import BadInput
from validation.model import Mode


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    site.add_client(mode=Mode.PASSCODE_ONLY)
    return site


def somewhere() -> Listen:
    """An address that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return Listen(*sock.getsockname())


class Inside:
    def __init__(self, site: Site, settings: Settings) -> None:
        self.keeper = Forks()
        self.gate = GateProcess(self.keeper)
        self.checker = checker(site.config)
        self.server = RadiusServer(site.gate, self.checker, settings, self.gate)
        self.server.bind()
        self.gate.start()
        self.stop, self.hurry = asyncio.Event(), asyncio.Event()
        self.running = asyncio.create_task(self.server.run(self.stop, self.hurry))

    @property
    def deciding(self) -> DecidingAfar:
        assert isinstance(self.server._deciding, DecidingAfar)
        return self.server._deciding

    async def reload(self, *listen: Listen, accounting: Path | None = None) -> None:
        await self.server.reload(self.checker, Settings(listen, accounting=accounting))

    def taken_in(self) -> int:
        """How many requests were found right so far."""
        return self.server._replies.counts.requests.total()

    def has_taken_in(self, count: int) -> bool:
        return self.taken_in() == count

    async def end(self) -> None:
        self.stop.set()
        self.hurry.set()
        await self.running
        self.keeper._ends.put(0)
        self.gate.close()


def run(site: Site, story: Callable[[Inside], Coroutine[Any, Any, None]], accounting: Path | None = None) -> None:
    async def whole() -> None:
        one = Inside(site, Settings((somewhere(),), accounting=accounting))
        await asyncio.sleep(0)  # it is serving now
        try:
            await story(one)
        finally:
            await one.end()

    asyncio.run(whole())


async def a_few_passes() -> None:
    """Of the loop: what can be read is read, and what is due is done."""
    for _ in range(5):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def asking(one: Inside) -> AsyncIterator[Nas]:
    """A gateway whose first request has come to the gate, which says nothing."""
    (at,) = one.server.bound
    with Nas((at.address, at.port), SECRET) as nas:
        nas.send(access_request(SECRET, "user0", "123456", identifier=0).data)
        await until(lambda: one.gate.busy_for() > 0.0)
        yield nas


# --- its end


def test_told_again_while_it_waits_for_the_last_decision_it_waits_no_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate may be at it for twelve seconds before it is given up, and the next one as long."""
    monkeypatch.setattr(server_module, "DRAIN_ON_STOP", 0.01)
    monkeypatch.setattr(server_module, "HURRY", 0.01)

    async def story(one: Inside) -> None:
        async with asking(one):
            one.stop.set()
            await until(lambda: one.deciding._closed is not None)
            assert not one.running.done()
            one.hurry.set()
            await one.running
            assert one.gate.busy_for() > 0.0
            assert one.keeper.killed == [], "the gate was not waited for"

    run(site, story)


# --- doors that are given up


def test_told_to_stop_it_reads_nothing_more_from_a_door_that_was_given_up_either(site: Site) -> None:
    """One that another has taken the place of is read until it is closed."""

    async def story(one: Inside) -> None:
        (at,) = one.server.bound
        async with asking(one) as nas:
            await one.reload(Listen("0.0.0.0", at.port))
            one.stop.set()
            await until(lambda: one.server._replies._idle is not None)
            nas.send(access_request(SECRET, "too late", "123456", identifier=200).data)
            frames.send(one.keeper.gates[0], frames.OUTCOMES, frames.of_outcomes([Accept("user0", Reason.GRACE)]))
            await one.running
            assert one.taken_in() == 1

    run(site, story)


def test_all_that_has_come_to_a_door_is_taken_in_before_it_is_given_up(site: Site) -> None:
    async def story(one: Inside) -> None:
        (at,) = one.server.bound
        with Nas((at.address, at.port), SECRET) as first, Nas((at.address, at.port), SECRET) as second:
            for number in range(150):  # nobody reads them before the reload does
                for nas in (first, second):
                    nas.send(access_request(SECRET, f"user{number}", "123456", identifier=number).data)
            one.server._retire(one.server._fittings.doors[0])
            assert one.taken_in() == 300

    run(site, story)


def test_a_door_that_is_given_up_again_stays_open_as_long_as_the_first_time(site: Site) -> None:
    async def story(one: Inside) -> None:
        here, there = somewhere(), somewhere()
        await one.reload(here)
        (door,) = one.server._fittings.doors
        await one.reload(there)
        await later(0.6 * OLD_DOORS)
        await one.reload(here)
        assert one.server._fittings.doors == (door,)
        await one.reload(there)
        await later(0.6 * OLD_DOORS)
        assert not door.closed
        await later(0.6 * OLD_DOORS)
        assert door.closed

    run(site, story)


async def later(seconds: float) -> None:
    """The loop's clock is set forward, and whatever is due by then is done."""
    loop = asyncio.get_running_loop()
    shown = loop.time
    loop.time = lambda: shown() + seconds  # type: ignore[method-assign] # its timers are then due
    await a_few_passes()


# --- reload


def test_a_reload_is_whole_also_where_the_old_file_of_records_ends_with_an_error(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file on a network may say only then that it is full."""
    records, there = site.folder / "records", somewhere()

    async def story(one: Inside) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(RecordFile, "close", _cannot_be_closed)
            await one.reload(there, accounting=records)
        async with asking(one):
            assert one.server.bound == [there]
        assert "accounting-not-closed" in caplog.text

    run(site, story, accounting=records)


def _cannot_be_closed(file: RecordFile) -> None:
    os.close(file._file)
    raise OSError(errno.EIO, "Input/output error")


def test_told_to_stop_while_a_reload_waits_for_a_disk_it_reads_nothing_more(site: Site) -> None:
    """The records are on their way to a disk that hangs."""

    async def story(one: Inside) -> None:
        there = somewhere()
        async with asking(one) as nas:
            with one.server._recording._guard:
                reloading = asyncio.create_task(one.reload(there))
                await until(lambda: one.server._settings.listen == (there,))
                one.stop.set()
                await until(lambda: one.server._replies._idle is not None)
                with Nas((there.address, there.port), SECRET) as other:
                    for late in (nas, other):
                        late.send(access_request(SECRET, "too late", "123456", identifier=200).data)
                    await a_few_passes()
                    assert one.taken_in() == 1
            await reloading
            await a_few_passes()
            assert one.taken_in() == 1

    run(site, story)


def test_told_to_stop_it_opens_no_door_any_more(site: Site) -> None:
    """It was told to read its configuration, and then to stop before it had."""

    async def story(one: Inside) -> None:
        there = somewhere()
        async with asking(one):
            one.stop.set()
            await until(lambda: one.server._replies._idle is not None)
            with pytest.raises(BadInput, match="told to stop"):
                await one.reload(there)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind((there.address, there.port))  # nobody has it

    run(site, story)


# --- under a load that does not end


def test_room_is_made_for_what_is_done_in_the_time_that_has_passed(site: Site) -> None:
    """While the store is slow a round takes seconds, not half of one."""

    async def story(one: Inside) -> None:
        async with asking(one) as nas:
            for number in (1, 2):  # one by one, so that the last waits behind two batches
                nas.send(access_request(SECRET, f"user{number}", "123456", identifier=number).data)
                await until(partial(one.has_taken_in, number + 1))
            assert one.deciding.waiting == {"gate": 1}
            one.deciding._queue.patience._empty_at = float("-inf")
            work, load, began = one.server._replies.work, Load(Lane.LOGIN, "other"), time.monotonic()
            one.server._each_time(began)
            for _ in range(400):
                work.enter(load)
                work.decided(load)
            one.server._each_time(began + 4.0)
            assert work._most[Lane.LOGIN] == 200, "a hundred a second, for two seconds"

    run(site, story)
