"""Processes that write all the time: each gets its turn soon, however busy the others are."""

import select
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.flows import command_loop
from tests.site import SECRET, Site, pin
from tests.wire import ACCEPT, Nas, Request, access_request
from validation.model import Mode, Token

SECONDS = 4.0
MOST = 1.0  # seconds that any write may wait for the others
USERS = 24  # logins in flight at each server


@dataclass
class Load:
    """Users at one server who log in again as soon as they are in."""

    nas: Nas
    tokens: dict[str, Token]
    waits: list[float] = field(default_factory=list)
    _counters: dict[int, int] = field(default_factory=dict)  # Identifier, which stands for the user -> HOTP counter
    _sent: dict[int, tuple[Request, float]] = field(default_factory=dict)

    def begin(self) -> None:
        for number in range(len(self.tokens)):
            self._log_in(number)

    def take_reply(self, goes_on: bool) -> None:
        reply = self.nas.receive()
        assert reply is not None
        request, at = self._sent.pop(reply.identifier)
        assert reply.check(request).code == ACCEPT
        self.waits.append(time.monotonic() - at)
        if goes_on:
            self._log_in(reply.identifier)

    @property
    def in_flight(self) -> int:
        return len(self._sent)

    def _log_in(self, number: int) -> None:
        name = list(self.tokens)[number]
        counter = self._counters.get(number, 0)
        self._counters[number] = counter + 1
        request = access_request(SECRET, name, pin(self.tokens[name], ahead=counter), identifier=number)
        self._sent[number] = request, time.monotonic()
        self.nas.send(request.data)


def with_users(site: Site, prefix: str) -> dict[str, Token]:
    names = [f"{prefix}-{number}" for number in range(USERS)]
    for name in names:
        site.add_user(name, password=None)
    return {name: site.enroll(name, kind="hotp") for name in names}


def keep_busy(loads: Sequence[Load], until: float) -> None:
    by_socket = {load.nas.sock: load for load in loads}
    for load in loads:
        load.begin()
    while any(load.in_flight for load in loads):
        ready, _, _ = select.select(by_socket, [], [], 10)
        assert ready, "a server has stopped answering"
        for sock in ready:
            by_socket[sock].take_reply(goes_on=time.monotonic() < until)


def run_commands(site: Site, until: float) -> int:
    """Run a real `twofold` over and over; how often."""
    count = 0
    while time.monotonic() < until:
        for act in ("disable", "enable"):
            done = site.command("user", act, "dave")
            assert done.returncode == 0, done.stderr
            count += 1
    return count


def test_of_two_servers_and_a_command_loop_none_waits_longer_than_a_second(site: Site) -> None:
    """4 s of load. A second is the promise, far from the usual 0.15 s that two servers with 24 logins each need."""
    site.add_client(mode=Mode.PASSCODE_ONLY)
    for name in ("carol", "dave"):
        site.add_user(name, password=None)
    users = with_users(site, "here"), with_users(site, "there")
    loop = [sys.executable, str(Path(command_loop.__file__)), str(site.config_file), "carol"]
    with site.server() as here, site.server() as there, here.nas() as nas, there.nas() as other_nas:
        loads = [Load(nas, users[0]), Load(other_nas, users[1])]
        with subprocess.Popen(loop, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as commands:
            assert commands.stdout is not None
            assert commands.stdout.readline() == "ready\n"
            until = time.monotonic() + SECONDS
            with ThreadPoolExecutor(1) as pool:
                real_commands = pool.submit(run_commands, site, until)
                keep_busy(loads, until)
            report, _ = commands.communicate(timeout=60)
    writes, slowest = report.split()
    assert float(slowest) < MOST
    assert max(wait for load in loads for wait in load.waits) < MOST
    assert real_commands.result() > 0
    assert min(int(writes), *(len(load.waits) for load in loads)) > 20, "somebody hardly got a turn"
    verified = site.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
