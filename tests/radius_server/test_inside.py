"""The server in the event loop of the test, which sees it between two steps and answers instead of the gate."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from first_factor import checker
from radius_server import server as server_module
from radius_server.deciding_afar import DecidingAfar
from radius_server.gate_process import GateProcess
from radius_server.server import RadiusServer, Settings
from store.config import Listen
from tests.radius_server.test_deciding_afar import Forks, until
from tests.site import SECRET, Site
from tests.wire import Nas, access_request
from validation.model import Mode

ANYWHERE = Listen("127.0.0.1", 0)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    site.add_client(mode=Mode.PASSCODE_ONLY)
    return site


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

    async def end(self) -> None:
        self.stop.set()
        self.hurry.set()
        await self.running
        self.keeper._ends.put(0)
        self.gate.close()


def run(site: Site, story: Callable[[Inside], Coroutine[Any, Any, None]], accounting: Path | None = None) -> None:
    async def whole() -> None:
        one = Inside(site, Settings((ANYWHERE,), accounting=accounting))
        await asyncio.sleep(0)  # it is serving now
        try:
            await story(one)
        finally:
            await one.end()

    asyncio.run(whole())


@contextlib.asynccontextmanager
async def asking(one: Inside, count: int = 1) -> AsyncIterator[Nas]:
    """A gateway whose requests have come to the gate, which says nothing."""
    (at,) = one.server.bound
    with Nas((at.address, at.port), SECRET) as nas:
        for number in range(count):
            nas.send(access_request(SECRET, f"user{number}", "123456", identifier=number).data)
        await until(lambda: one.gate.busy_for() > 0.0 and one.taken_in() == count)
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
