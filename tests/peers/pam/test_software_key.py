"""Software keys reach a daemon that runs in a world, and come and go while it runs."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.world import World
from tests.site import eventually
from tests.software_key.authenticator import SoftwareKey
from tests.software_key.log import Command
from tests.software_key.ports import Ports

pytestmark = pytest.mark.peer("cc", "nsenter", "unshare")

WATCHER = """
import time
from fido2.hid import list_descriptors
while True:
    print([found.serial_number for found in list_descriptors()], flush=True)
    time.sleep(0.1)
"""
PROBER = """
from fido2.ctap2.base import Ctap2
from fido2.hid import CtapHidDevice
print([Ctap2(device).info.versions for device in CtapHidDevice.list_devices()])
"""


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[Ports]:
    with Ports(tmp_path / "keys") as ports:
        yield ports


def test_a_program_in_a_world_finds_the_key_that_the_test_scripts(world: World, ports: Ports) -> None:
    key = SoftwareKey()
    ports.plug(key)
    found = world.run(*ports.command(sys.executable, "-I", "-c", PROBER))
    assert found.stdout == "[['FIDO_2_0', 'FIDO_2_1']]\n"
    assert len(key.log.of(Command.GET_INFO)) == 1


def test_other_programs_of_the_world_see_no_key(world: World, ports: Ports) -> None:
    ports.plug(SoftwareKey())
    assert world.run(sys.executable, "-I", "-c", PROBER).stdout == "[]\n"


def test_keys_come_and_go_while_a_daemon_runs(world: World, ports: Ports) -> None:
    key = SoftwareKey(serial="A1")
    daemon = world.start(*ports.command(sys.executable, "-I", "-u", "-c", WATCHER), log="watcher.log")

    def last() -> str:
        return (world.read(world.path / "watcher.log").splitlines() or [""])[-1]

    try:
        eventually(lambda: last() == "[]", what="its first look")
        ports.plug(key)
        eventually(lambda: last() == "['A1']", what="the key")
        ports.unplug(key)
        eventually(lambda: last() == "[]", what="its absence")
    finally:
        daemon.stop()
    assert key.log.of(Command.INIT) == [], "looking at what is there asks the key nothing"
