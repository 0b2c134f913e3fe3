"""strongSwan with IKEv2 and EAP-GTC, through FreeRADIUS on the same host, as docs/radius/strongswan.md sets it up."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.docs.pages import steps, text_of
from tests.peers.authority import Authority
from tests.peers.freeradius_front import front as fronts
from tests.peers.freeradius_front.front import NAS_SECRET, SETTINGS, Front, settings
from tests.peers.gateways import swan
from tests.peers.gateways.swan import CONNECTION, HOST, PAGE, Gateway, Visit, block, on_the_page, over_udp
from tests.peers.world import world_or_skip
from validation.requests import SetRule, SetUser
from validation.settings import Scope

pytestmark = [pytest.mark.peer(*swan.PROGRAMS, *fronts.PROGRAMS), pytest.mark.timeout(300)]

GATEWAY, TRAVELLER = "198.51.100.1", "198.51.100.2"  # 192.0.2.0/24 is the network between FreeRADIUS and Twofold


@dataclass
class Vpn:
    front: Front
    gateway: Gateway

    def visit(self, name: str, *typed: str, profile: str = "ikev2-eap") -> Visit:
        return self.gateway.visit(name, profile, *typed)


def options() -> list[str]:
    """Those with which the page adds FreeRADIUS as a client."""
    typed = next(step.command for step in steps(text_of(PAGE)) if " front " in step.command).split()
    return [word for word in typed[5:] if word != "--generate-secret"]


def with_the_page_s_client(text: str) -> str:
    """twofold.conf with `client vpn` as the page has it."""
    client = block(SETTINGS).replace("SECRET", NAS_SECRET)
    text, count = re.subn(r"^    client vpn \{.*?^    \}\n", client, text, flags=re.MULTILINE | re.DOTALL)
    assert count == 1
    return text


@pytest.fixture(scope="module")
def vpn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vpn]:
    folder: Path = tmp_path_factory.mktemp("gtc")
    authority = Authority(folder, "ike")
    signed = (*authority.sign("vpn", HOST), authority.file)
    with fronts.front(folder / "front", *options()) as front, world_or_skip(network=True) as traveller:
        front.install("eap")
        front.write_settings(with_the_page_s_client(settings()))
        front.start()
        front.world.cable(traveller, f"{GATEWAY}/24", f"{TRAVELLER}/24", "eth1")
        gateway = swan.start(front.world, traveller, GATEWAY, signed, NAS_SECRET)
        gateway.load(over_udp(block(CONNECTION, 1)))
        yield Vpn(front, gateway)


def test_password_and_pin_in_one_field_open_the_tunnel_once(vpn: Vpn) -> None:
    person = vpn.front.newcomer()
    entered = vpn.visit(person.name, person.password + person.pin())
    assert entered.address, entered.screen
    assert entered.asked == on_the_page()[1]
    again = vpn.visit(person.name, person.password + person.last_pin)
    assert again.address is None, again.screen
    assert vpn.front.reasons(person.name) == ["passcode-right", "passcode-used"]


def test_a_wrong_pin_is_refused(vpn: Vpn) -> None:
    person = vpn.front.newcomer()
    refused = vpn.visit(person.name, person.password + person.wrong_pin())
    assert (refused.address, "received EAP_FAILURE" in refused.screen) == (None, True), refused.screen
    assert vpn.front.reasons(person.name) == ["passcode-wrong"]


def test_a_revoked_token_lets_nobody_in(vpn: Vpn) -> None:
    person = vpn.front.newcomer()
    done = vpn.front.site.command("token", "revoke", person.token.serial, "--reason", "compromise")
    assert done.returncode == 0, done.stderr
    assert vpn.visit(person.name, person.password + person.pin()).address is None
    assert vpn.front.reasons(person.name) == ["pairing-closed"]


def test_the_address_of_the_person_arrives_through_freeradius(vpn: Vpn) -> None:
    scope = Scope(group="near", network=ip_network(f"{TRAVELLER}/32"))
    vpn.front.site.gate.administer(SetRule(actor="test", key="second_factor", value="skip", scope=scope))
    near, far = vpn.front.newcomer(groups=("near",)), vpn.front.newcomer(groups=("far",))
    entered = vpn.visit(near.name, near.password)
    assert entered.address, entered.screen
    assert vpn.visit(far.name, far.password).address is None


def test_an_address_of_an_accept_is_heeded(vpn: Vpn) -> None:
    person = vpn.front.newcomer()
    address = SetUser(actor="test", name=person.name, replies={"Framed-IP-Address": ("10.11.0.77",)})
    vpn.front.site.gate.administer(address)
    vpn.gateway.load(over_udp(block(CONNECTION, 1)).replace("pools = inside", "pools = radius"))
    try:
        assert vpn.visit(person.name, person.password + person.pin()).address == "10.11.0.77"
    finally:
        vpn.gateway.load(over_udp(block(CONNECTION, 1)))
