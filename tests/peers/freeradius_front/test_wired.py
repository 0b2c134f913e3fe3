"""A switch and a device: hostapd and wpa_supplicant at the two ends of a cable (802.1X), FreeRADIUS and Twofold behind.

Wireless needs a radio; what passes through FreeRADIUS is the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.peers.freeradius_front import eap
from tests.peers.freeradius_front import front as fronts
from tests.peers.freeradius_front.eap import network
from tests.peers.freeradius_front.front import NAS_SECRET, Front, settings
from tests.peers.freeradius_front.test_pap import command
from tests.peers.world import World, world_or_skip
from tests.site import eventually

pytestmark = pytest.mark.peer("hostapd", "wpa_supplicant", *fronts.PROGRAMS)

HOSTAPD = f"""\
interface=eth1
driver=wired
logger_stdout=-1
logger_stdout_level=2
ieee8021x=1
eap_reauth_period=0
use_pae_group_addr=1
own_ip_addr=127.0.0.1
nas_identifier=switch
auth_server_addr=127.0.0.1
auth_server_port=1812
auth_server_shared_secret={NAS_SECRET}
"""
SUCCESS, FAILURE = "CTRL-EVENT-EAP-SUCCESS", "CTRL-EVENT-EAP-FAILURE"


@dataclass
class Port:
    """A port of the switch, and the device that is plugged in."""

    front: Front
    device: World

    def login(self, name: str, password: str, method: tuple[str, str]) -> str:
        """What wpa_supplicant says of it in the end. The switch starts anew: after a refusal it is quiet for 60 s."""
        self.front.world.run("sh", "-c", ": >/run/world/hostapd.log")
        switch = self.front.world.start("hostapd", "/run/world/hostapd.conf", log="hostapd.log")
        try:
            eventually(lambda: "AP-ENABLED" in self.front.world.read("/run/world/hostapd.log"), what="the switch")
            return self._login(name, password, method)
        finally:
            switch.stop()

    def _login(self, name: str, password: str, method: tuple[str, str]) -> str:
        self.device.write(
            "/run/world/network.conf", f"ap_scan=0\n{network(name, password, method, str(self.front.ca))}"
        )
        self.device.run("sh", "-c", ": >/run/world/device.log")
        command = ("wpa_supplicant", "-D", "wired", "-i", "eth1", "-c", "/run/world/network.conf")
        device = self.device.start(*command, log="device.log")
        try:
            eventually(lambda: any(end in self.said() for end in (SUCCESS, FAILURE)), what="an end of the login")
        finally:
            device.stop()
        return SUCCESS if SUCCESS in self.said() else FAILURE

    def said(self) -> str:
        return self.device.read("/run/world/device.log")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Port]:
    with fronts.front(tmp_path_factory.mktemp("wired"), "--preset", "freeradius", "--mode", "append") as front:
        front.install("eap")
        front.write_settings(settings())
        front.start()
        with world_or_skip(network=True) as device:
            front.world.cable(device, "198.51.100.1/24", "198.51.100.2/24", "eth1")
            front.world.write("/run/world/hostapd.conf", HOSTAPD, 0o600)
            yield Port(front, device)


@pytest.mark.parametrize("method", [eap.TTLS_PAP, eap.PEAP_GTC], ids="-".join)
def test_a_device_is_let_in_with_password_and_pin_once(port: Port, method: tuple[str, str]) -> None:
    person = port.front.newcomer()
    assert port.login(person.name, person.password + person.pin(), method) == SUCCESS, port.said()
    assert port.login(person.name, person.password + person.last_pin, method) == FAILURE
    assert port.front.reasons(person.name) == ["passcode-right", "passcode-used"]
    accepted = f"accept user={person.name} client=front"
    eventually(lambda: accepted in port.front.server.log, what="the line of the log")
    (line,) = [one for one in port.front.server.log.splitlines() if accepted in one]
    assert "nas=switch" in line


def test_a_wrong_pin_and_a_revoked_token_are_refused(port: Port) -> None:
    person = port.front.newcomer()
    assert port.login(person.name, person.password + person.wrong_pin(), eap.TTLS_PAP) == FAILURE
    command(port.front, "token", "revoke", person.token.serial, "--reason", "compromise")
    assert port.login(person.name, person.password + person.pin(), eap.TTLS_GTC) == FAILURE
    assert port.front.reasons(person.name)[0] == "passcode-wrong"
