"""The road itself: a traveller reaches the gateway, Twofold answers beside it, and the host sees nothing of it."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.peers import road as roads
from tests.peers.road import GATEWAY, RADIUS, TRAVELLER, Road
from tests.peers.world import world_or_skip

pytestmark = pytest.mark.peer("radclient", "ping", *roads.PROGRAMS)


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    with roads.road(tmp_path_factory.mktemp("road"), "--mode", "append") as made:
        yield made


def radclient(road: Road, name: str, typed: str, at: str = RADIUS[0]) -> str:
    attributes = f'User-Name = "{name}"\nUser-Password = "{typed}"\nMessage-Authenticator = 0x00\n'
    asked = ("radclient", "-x", "-r", "1", "-t", "5", f"{at}:{RADIUS[1]}", "auth", road.secret)
    done = road.gateway.run(*asked, stdin=attributes, check=False)
    return done.stdout + done.stderr


def test_each_world_reaches_the_other(road: Road) -> None:
    for world, other in ((road.traveller, GATEWAY), (road.gateway, TRAVELLER)):
        assert "1 received" in world.run("ping", "-c", "1", "-W", "5", other).stdout


def host_network() -> str:
    return subprocess.run(["ip", "-brief", "address"], capture_output=True, text=True, check=True).stdout


def test_the_host_sees_nothing_of_a_cable() -> None:
    before = host_network()
    with world_or_skip(network=True) as one, world_or_skip(network=True) as other:
        one.cable(other, "198.51.100.1/24", "198.51.100.2/24")
        assert "198.51.100.1/24" in one.run("ip", "-brief", "address").stdout
        assert host_network() == before
    assert host_network() == before


def test_twofold_answers_on_the_gateway(road: Road) -> None:
    person = road.newcomer()
    assert "Received Access-Accept" in radclient(road, person.name, person.password + person.pin())
    assert "Received Access-Reject" in radclient(road, person.name, person.password + person.last_pin)
    assert "Received Access-Reject" in radclient(road, person.name, person.password + person.wrong_pin())
    assert road.reasons(person.name) == ["passcode-right", "passcode-used", "passcode-wrong"]
