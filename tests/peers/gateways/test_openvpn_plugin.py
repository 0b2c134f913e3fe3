"""OpenVPN with openvpn-auth-radius, as docs/radius/openvpn.md sets it up: static challenge, and one field."""

from collections.abc import Iterator

import pytest

from tests.docs.pages import files, text_of
from tests.peers import road as roads
from tests.peers.gateways import openvpn
from tests.peers.gateways.openvpn import NAME, PAGE, PASSWORD, UP, Gateway, Setting
from tests.peers.gateways.test_openvpn import static
from tests.site import eventually
from validation.model import Mode
from validation.requests import SetClient

pytestmark = [
    pytest.mark.peer(*openvpn.PROGRAMS, *roads.PROGRAMS, "radiusplugin.so", "setsid"),
    pytest.mark.timeout(300),
]

STATIC = "--static-challenge", "PIN", "0"
PIN = "CHALLENGE: PIN"
REFUSED = "AUTH: Received control message: AUTH_FAILED"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    (ours,) = files(text_of(PAGE, "On the Twofold server")).values()
    config = '[store]\nchain = "test"\n' + ours.replace("/var/lib/twofold/", "")
    with roads.road(tmp_path_factory.mktemp("openvpn"), *openvpn.options(1), config=config) as road:
        yield Setting(road, openvpn.PLUGIN).start()


def test_r35_a_static_challenge_asks_for_both_and_a_mistyped_pin_is_a_refusal(gateway: Gateway) -> None:
    """R35, and the screen of the page, on which a refusal has no text here."""
    person = gateway.road.newcomer()
    wrong = person.wrong_pin()
    asked = (PASSWORD, person.password), (PIN, wrong), (NAME, person.name)
    again = (PASSWORD, person.password), (PIN, person.pin())
    visit = gateway.visit(person.name, *asked, *again, options=STATIC)
    assert visit.entered, (visit.screen, gateway.log)
    name = f"{NAME}{person.name}"
    assert visit.told == [name, PASSWORD, PIN, REFUSED, name, PASSWORD, PIN, UP]
    assert gateway.road.reasons(person.name) == ["passcode-wrong", "passcode-right"]


def test_a_pin_lets_in_once_and_not_after_its_token_was_revoked(gateway: Gateway) -> None:
    person = gateway.road.newcomer()
    typed = static(person.password, person.pin())
    assert gateway.login(person.name, typed).entered
    assert not gateway.login(person.name, typed).entered
    done = gateway.road.site.command("token", "revoke", person.token.serial)
    assert done.returncode == 0, done.stderr
    assert not gateway.login(person.name, static(person.password, person.pin())).entered
    assert gateway.road.reasons(person.name)[:2] == ["passcode-right", "passcode-used"]
    assert len(gateway.road.reasons(person.name)) == 3


@pytest.mark.parametrize("typed", ["SCRV1:!!:x", "SCRV1:Z2VoZWlt"])
def test_r35_a_broken_static_challenge_is_refused_by_its_name(gateway: Gateway, typed: str) -> None:
    person = gateway.road.newcomer()
    assert not gateway.login(person.name, typed).entered
    (line,) = [line for line in gateway.road.server.log.splitlines() if f"reject user={person.name} " in line]
    assert "SCRV1" in line
    assert not any(gateway.road.site.failures(person.name).values())


def test_a_question_is_a_refusal(gateway: Gateway) -> None:
    """Who has no static challenge in his client gives the password alone."""
    person = gateway.road.newcomer()
    visit = gateway.login(person.name, person.password)
    assert not visit.entered
    assert visit.told == [REFUSED]
    assert gateway.road.reasons(person.name) == ["password-right"]


def test_new_keys_need_no_new_pin(gateway: Gateway) -> None:
    """The client renegotiates after so many packets, as it does after an hour."""
    person = gateway.road.newcomer()
    with gateway.in_the_tunnel(person.name, static(person.password, person.pin()), "--reneg-pkts", "20"):
        assert gateway.reached(packets=30)
        eventually(lambda: f"authentication succeeded for username '{person.name}'" in gateway.log, what="new keys")
        assert gateway.reached()
    assert gateway.road.reasons(person.name) == ["passcode-right"]


def test_password_and_pin_in_one_field(gateway: Gateway) -> None:
    """Last here: from now on the client is in mode `append`."""
    road = gateway.road
    road.site.gate.administer(SetClient(actor="test", name="gateway", mode=Mode.APPEND))
    eventually(lambda: refuses_static(gateway), what="a server that takes logins in mode append")
    person = road.newcomer()
    wrong = person.password + person.wrong_pin()
    right = person.password + person.pin()
    assert not gateway.login(person.name, wrong).entered
    assert gateway.login(person.name, right).entered
    assert not gateway.login(person.name, right).entered
    assert road.reasons(person.name) == ["passcode-wrong", "passcode-right", "passcode-used"]


def refuses_static(gateway: Gateway) -> bool:
    person = gateway.road.newcomer()
    return not gateway.login(person.name, static(person.password, person.pin())).entered
