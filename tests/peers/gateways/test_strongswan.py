"""strongSwan with IKEv1 and XAuth, which asks Twofold itself, as docs/radius/strongswan.md sets it up."""

import re
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

import pytest

from tests.docs.pages import steps, text_of
from tests.peers import road as roads
from tests.peers.authority import Authority
from tests.peers.gateways import swan
from tests.peers.gateways.modes import in_mode
from tests.peers.gateways.swan import CONNECTION, HOST, PAGE, Gateway, Visit, block, on_the_page, over_udp
from tests.peers.road import GATEWAY, TRAVELLER, Road
from tests.site import PASSWORD, eventually
from validation.model import Mode
from validation.requests import Replies, SetRule, SetUser
from validation.settings import Scope

pytestmark = [pytest.mark.peer(*swan.PROGRAMS, *roads.PROGRAMS), pytest.mark.timeout(300)]

PROFILE = "ikev1-hybrid"


@dataclass
class Vpn:
    road: Road
    gateway: Gateway

    def visit(self, name: str, *typed: str) -> Visit:
        return self.gateway.visit(name, PROFILE, *typed)


def options() -> list[str]:
    """Those with which the page adds the client."""
    typed = steps(text_of(PAGE))[0].command.split()
    assert typed[:3] == ["twofold", "client", "add"], typed
    return [word for word in typed[5:] if word != "--generate-secret"]


def connection(*changes: tuple[str, str]) -> str:
    """That of the page, with these lines in place of others."""
    text = over_udp(block(CONNECTION))
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def vpn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vpn]:
    folder = tmp_path_factory.mktemp("strongswan")
    authority = Authority(folder, "ike")
    signed = (*authority.sign("vpn", HOST, GATEWAY, with_rsa=True), authority.file)
    with roads.road(folder / "road", *options()) as road:
        gateway = swan.start(road.gateway, road.traveller, GATEWAY, signed, road.secret)
        gateway.load(connection())
        yield Vpn(road, gateway)


@pytest.fixture
def loaded(vpn: Vpn) -> Iterator[Vpn]:
    """For tests that load another connection."""
    yield vpn
    vpn.gateway.load(connection())


def test_password_and_pin_in_one_field_open_the_tunnel_once(vpn: Vpn) -> None:
    person = vpn.road.newcomer()
    entered = vpn.visit(person.name, person.password + person.pin())
    assert entered.address, entered.screen
    assert entered.asked == on_the_page()[0]
    again = vpn.visit(person.name, person.password + person.last_pin)
    assert again.address is None, again.screen
    assert vpn.road.reasons(person.name) == ["passcode-right", "passcode-used"]


def test_a_wrong_pin_and_a_wrong_password_are_refused_alike(vpn: Vpn) -> None:
    person = vpn.road.newcomer()
    for typed in (person.password + person.wrong_pin(), "wrong" + person.pin()):
        refused = vpn.visit(person.name, typed)
        assert refused.address is None
        assert "XAuth authentication of" in refused.screen
        assert not re.search("refused|accepted", refused.screen), "no text of ours is shown"
    assert vpn.road.reasons(person.name) == ["passcode-wrong", "password-wrong"]


def test_a_revoked_token_lets_nobody_in(vpn: Vpn) -> None:
    person = vpn.road.newcomer()
    done = vpn.road.site.command("token", "revoke", person.token.serial, "--reason", "compromise")
    assert done.returncode == 0, done.stderr
    assert vpn.visit(person.name, person.password + person.pin()).address is None
    assert vpn.road.reasons(person.name) == ["pairing-closed"]


def test_who_has_no_token_is_refused_without_a_word(vpn: Vpn) -> None:
    vpn.road.site.add_user("new")
    refused = vpn.visit("new", PASSWORD)
    assert (refused.address, "ticket" in refused.screen) == (None, False)


def test_two_questions_with_the_profile_of_the_page(loaded: Vpn) -> None:
    loaded.gateway.load(connection(("auth = xauth-radius", "auth = xauth-radius:pin")))
    person = loaded.road.newcomer()
    entered = loaded.visit(person.name, person.password, person.pin())
    assert entered.address, entered.screen
    assert entered.asked == on_the_page()[2]
    assert loaded.visit(person.name, person.password, person.last_pin).address is None
    assert loaded.road.reasons(person.name) == ["passcode-right", "passcode-used"]


def test_a_question_of_the_server_is_not_passed_on(vpn: Vpn) -> None:
    """Mode challenge: documented as what does not work."""
    with in_mode(vpn.road, Mode.CHALLENGE):
        person = vpn.road.newcomer()
        assert vpn.visit(person.name, person.password).address is None
        assert vpn.road.reasons(person.name) == ["password-right"]
    assert "Access-Challenge not supported" in vpn.gateway.log


@pytest.mark.parametrize("network", [f"{TRAVELLER}/32", "198.51.100.0/24"], ids=["his own", "another"])
def test_the_address_of_the_person_is_known_without_its_port(vpn: Vpn, network: str) -> None:
    """strongSwan sends `192.0.2.2[4500]`, signed: rules by source apply to it."""
    group = f"from-{network.partition('.')[0]}"
    scope = Scope(group=group, network=ip_network(network))
    vpn.road.site.gate.administer(SetRule(actor="test", key="second_factor", value="skip", scope=scope))
    person = vpn.road.newcomer((group,))
    entered = vpn.visit(person.name, person.password)
    assert (entered.address is not None) is (TRAVELLER in network), entered.screen


def test_address_and_group_of_an_accept_are_heeded(loaded: Vpn) -> None:
    road = loaded.road
    loaded.gateway.load(
        connection(
            ("auth = xauth-radius", "auth = xauth-radius\n            groups = staff"),
            ("pools = inside", "pools = radius"),
        )
    )
    staff, other = road.newcomer(), road.newcomer()
    replies: Replies = {"Framed-IP-Address": ("10.11.0.77",), "Class": ("staff",)}
    road.site.gate.administer(SetUser(actor="test", name=staff.name, replies=replies))
    assert loaded.visit(staff.name, staff.password + staff.pin()).address == "10.11.0.77"
    refused = loaded.visit(other.name, other.password + other.pin())
    assert refused.address is None, refused.screen
    assert road.reasons(other.name) == ["passcode-right"]


def test_a_request_that_gets_no_answer_is_sent_again_and_counts_once(vpn: Vpn) -> None:
    person = vpn.road.newcomer()
    before = len(vpn.gateway.log)
    server = vpn.road.server.process

    def go_on_when_it_was() -> None:
        try:
            eventually(lambda: "retransmit 1 of RADIUS" in vpn.gateway.log[before:], what="a second packet")
        finally:
            server.send_signal(signal.SIGCONT)

    waiting = threading.Thread(target=go_on_when_it_was)
    server.send_signal(signal.SIGSTOP)
    waiting.start()
    entered = vpn.visit(person.name, person.password + person.pin())
    waiting.join(60)
    assert entered.address, entered.screen
    assert vpn.road.reasons(person.name) == ["passcode-right"]
