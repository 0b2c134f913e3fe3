"""A host with software security keys: whoever is at a terminal of the tests sits at its desk.

Rules: a world of its own, since at other houses' terminals nobody sits. Keys are registered straight with the gate
where a test is not about that; what a test is about goes through the real programs.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pam_helper.key_outcomes import Cues, Made
from pam_helper.security_key import Register
from tests.pam_helper.keys import Bench
from tests.peers.pam.house import House, Person
from tests.peers.world import world_or_skip
from tests.software_key.authenticator import SoftwareKey
from tests.software_key.ports import Ports
from validation.decisions import Accept, AskNewKey, Challenge
from validation.gate import Outcome
from validation.model import Purpose
from validation.requests import Channel, FirstFactor, FirstFactorResult, LoginRequest, NewCredential

LOCKER = "screen-locker"
WAIT = 4  # seconds that a touch is waited for: short, where nobody touches
SETTINGS = f"""
[security_key]
wait = {WAIT}
services = ["login", "su", "su-l", "sudo", "sshd"]
ttys = ["/dev/pts/*"]
"""
TOUCH = r"Touch your security key now, or press Enter to use a PIN\. "
TOUCH_ONLY = r"Touch your security key now\. "
KEY_PIN = "PIN of the security key: ?$"


class Desk:
    def __init__(self, house: House, ports: Ports) -> None:
        self.house = house
        self.ports = ports

    @contextmanager
    def plugged(self, *keys: SoftwareKey) -> Iterator[None]:
        for key in keys:
            self.ports.plug(key)
        try:
            yield
        finally:
            for key in keys:
                self.ports.unplug(key)

    def register(
        self, person: Person, name: str = "blue", pin: str | None = None, key: SoftwareKey | None = None
    ) -> SoftwareKey:
        """A new key of this person, who has shown his password and, if he has a token, a PIN."""
        key = key or SoftwareKey(name, pin=pin)
        asked = self._asked(self._request(person, purpose=Purpose.ADD_KEY, key_name=name))
        if not isinstance(asked.wants, AskNewKey):
            more = self._request(person, state=asked.state, passcode=person.pin(), key_name=name)
            asked = self._asked(more)
        assert isinstance(asked.wants, AskNewKey), asked
        new = _made(key, asked.wants, pin)
        outcome = self._decided(self._request(person, state=asked.state, key_name=name, new_credential=new))
        assert isinstance(outcome, Accept), outcome
        return key

    def put_into_session(self, pid: str, person: Person, **facts: str) -> None:
        """As logind would, the process called `pid` in the world. `facts` are lines of its file (sd-login(3))."""
        world, scope = self.house.world, "/user.slice/user-1000.slice/session-7.scope"
        uid = world.run("id", "-u", person.name).stdout.strip()
        lines = {"UID": uid, "USER": person.name, "STATE": "active", "ACTIVE": "1", **facts}
        world.write("/run/systemd/sessions/7", "".join(f"{name}={value}\n" for name, value in lines.items()))
        world.write(world.path / "cgroup", f"1:name=systemd:{scope}\n0::{scope}\n")
        world.run("mount", "--bind", world.path / "cgroup", f"/proc/{pid}/cgroup")

    def _request(self, person: Person, **more: Any) -> LoginRequest:
        proved = FirstFactorResult(FirstFactor.PROVED)
        return LoginRequest(person.name, Channel.console(local=True), "login@web-7", 0, proved, **more)

    def _decided(self, request: LoginRequest) -> Outcome:
        (outcome,) = self.house.site.gate.login([request])
        return outcome

    def _asked(self, request: LoginRequest) -> Challenge:
        outcome = self._decided(request)
        assert isinstance(outcome, Challenge), outcome
        return outcome


def _made(key: SoftwareKey, asked: AskNewKey, pin: str | None) -> NewCredential:
    """With the key in this process for as long as that takes."""
    bench = Bench(key.name)
    bench.plug(key)
    task = Register(asked, pin, 10.0, Cues(), bus=bench)
    task.run(threading.Event(), lambda text: None)
    bench.unplug(key)
    assert isinstance(task.outcome, Made), task.outcome
    return task.outcome.credential


@contextmanager
def _desk(folder: Path, settings: str) -> Iterator[Desk]:
    with world_or_skip() as world, Ports(folder / "keys") as ports:
        world.add_user("carol", "pw-carol")
        yield Desk(House(world, folder, settings, ports), ports)


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Whoever is at a terminal sits here."""
    with _desk(tmp_path_factory.mktemp("desk"), SETTINGS) as made:
        yield made


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """As installed: logind says who sits here."""
    with _desk(tmp_path_factory.mktemp("office"), f'lockers = ["{LOCKER}"]\n[security_key]\nwait = {WAIT}\n') as made:
        made.house.world.pam_service(LOCKER, f"auth required {made.house.module}\n")
        yield made
