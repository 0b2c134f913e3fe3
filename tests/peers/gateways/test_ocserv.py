"""ocserv and openconnect as docs/radius/ocserv.md sets them up: who types what, what he reads, and what Twofold makes
of it. The screens on the page are those of these tests.
"""

import re
import shlex
from collections.abc import Iterator

import pytest

from tests.docs.pages import screens, steps, text_of
from tests.peers import road as roads
from tests.peers.gateways import openconnect
from tests.peers.gateways.modes import in_mode
from tests.peers.gateways.openconnect import PAGE, Gateway
from tests.peers.road import Road
from tests.peers.test_radclient_onboarding import TICKETS, Phone, redeemed
from tests.site import PASSWORD
from validation.model import Mode
from validation.requests import SetRule, SetUser
from validation.settings import Scope

pytestmark = [
    pytest.mark.peer(*openconnect.PROGRAMS, *roads.PROGRAMS, "oathtool", "setsid"),
    pytest.mark.timeout(300),
]

ASKED = r"Please enter your password"
PIN = r"PIN from your authenticator app"
AGAIN = r"That PIN was not accepted\. Wait for a new one\. \d tr(?:y|ies) left\."
REFUSED = "The login was refused"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with roads.road(tmp_path_factory.mktemp("ocserv"), *openconnect.options()) as road:
        set_rule(road, "onboarding_over_radius", "key", "paired")
        set_rule(road, "enrolment", "hardware-only", "finance")
        yield openconnect.start(road)


@pytest.fixture
def gateway(opened: Gateway) -> Gateway:
    """Nothing is held against the traveller."""
    opened.forgive()
    return opened


def set_rule(road: Road, key: str, value: str, group: str) -> None:
    road.site.gate.administer(SetRule(actor="test", key=key, value=value, scope=Scope(group=group)))


def on_the_page() -> list[list[str]]:
    """The screens under "What the person sees", with names and secrets as they stand there."""
    return screens(PAGE, "What the person sees")


def as_on_the_page(told: list[str]) -> list[str]:
    text = TICKETS.sub("TICKET", "\n".join(told))
    return re.sub(r"(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}", "KEY", text).splitlines()


# --- the screens of the page ------------------------------------------------------------------------------------


def test_a_password_and_a_pin_open_the_tunnel(gateway: Gateway) -> None:
    person = gateway.road.newcomer()
    visit = gateway.visit(person.name, (ASKED, person.password), (PIN, person.pin()))
    assert visit.address, visit.screen
    assert as_on_the_page(visit.told) == on_the_page()[0]
    assert gateway.road.reasons(person.name) == ["password-right", "passcode-right"]


def test_a_mistyped_pin_is_asked_for_again_and_not_held_against_anybody(gateway: Gateway) -> None:
    person = gateway.road.newcomer()
    visit = gateway.visit(person.name, (ASKED, person.password), (PIN, person.wrong_pin()), (AGAIN, person.pin()))
    assert visit.address, visit.screen
    assert as_on_the_page(visit.told) == on_the_page()[1]
    assert gateway.points() == 0


def test_a_third_wrong_pin_ends_it(gateway: Gateway) -> None:
    person = gateway.road.newcomer()
    wrong = person.wrong_pin()
    visit = gateway.visit(person.name, (ASKED, person.password), (PIN, wrong), (AGAIN, wrong), (AGAIN, wrong))
    assert visit.address is None
    assert as_on_the_page(visit.told) == on_the_page()[2]
    assert gateway.points() == 10


def test_a_mistyped_password_is_asked_for_again(gateway: Gateway) -> None:
    person = gateway.road.newcomer()
    visit = gateway.visit(person.name, (ASKED, "wrong"), (REFUSED, person.password), (PIN, person.pin()))
    assert visit.address, visit.screen
    assert as_on_the_page(visit.told) == on_the_page()[3]
    assert gateway.points() == 10


def test_a_ticket_is_shown_whole_and_its_token_lets_in(gateway: Gateway) -> None:
    site = gateway.road.site
    site.add_user("ticket")

    def elsewhere(screen: str) -> str:
        (ticket,) = TICKETS.findall(screen)
        return redeemed(site, ticket).pin(1)

    visit = gateway.visit("ticket", (ASKED, PASSWORD), ("PIN of your app here", elsewhere))
    assert visit.address, visit.screen
    assert as_on_the_page(visit.told) == on_the_page()[4]
    assert gateway.road.reasons("ticket")[-1] == "passcode-right"


def test_an_app_is_paired_with_the_key_on_the_screen_in_two_more_rounds(gateway: Gateway) -> None:
    """The address is not shown: ocserv would make another one of it."""
    gateway.road.site.add_user("paired", groups=("paired",))
    visit = gateway.visit("paired", (ASKED, PASSWORD), ("instructions", "s"), ("First PIN from the app", first_pin))
    assert visit.address, visit.screen
    assert as_on_the_page(visit.told) == on_the_page()[5]
    assert gateway.road.reasons("paired")[-1] == "registered"


def first_pin(screen: str) -> str:
    """Of an app into which the key was typed."""
    (shown,) = re.findall(r"(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}", screen)
    return Phone.that_has_read(f"otpauth://totp/x?secret={shown.replace(' ', '')}").pin()


def test_the_notice_about_hardware_tokens_is_shown(gateway: Gateway) -> None:
    gateway.road.site.add_user("finance", groups=("finance",))
    visit = gateway.visit("finance", (ASKED, PASSWORD))
    assert visit.address is None
    assert as_on_the_page(visit.told) == on_the_page()[6]
    assert gateway.road.reasons("finance") == ["hardware-only"]


# --- not getting in ---------------------------------------------------------------------------------------------


def test_a_pin_lets_in_once(gateway: Gateway) -> None:
    """A second connection with the PIN of the first: the log says that it was used."""
    person = gateway.road.newcomer()
    assert gateway.visit(person.name, (ASKED, person.password), (PIN, person.pin())).address
    used = person.last_pin
    again = gateway.visit(person.name, (ASKED, person.password), (PIN, used), (AGAIN, used), (AGAIN, used))
    assert again.address is None
    assert gateway.road.reasons(person.name)[2:] == ["password-right", "passcode-used", *["passcode-repeated"] * 2]


def test_a_token_revoked_while_its_pin_is_typed(gateway: Gateway) -> None:
    person = gateway.road.newcomer()

    def revoke_first(_: str) -> str:
        done = gateway.road.site.command("token", "revoke", person.token.serial, "--reason", "compromise")
        assert done.returncode == 0, done.stderr
        return person.pin()

    visit = gateway.visit(person.name, (ASKED, person.password), (PIN, revoke_first))
    assert visit.address is None
    after = gateway.visit(person.name, (ASKED, person.password))
    assert after.address is None
    assert "Your account has no second factor. Please ask your administrator." in after.told
    assert gateway.road.reasons(person.name) == ["password-right", "state-unknown", "pairing-closed"]


# --- what else is on the wire -----------------------------------------------------------------------------------


def test_group_and_address_of_an_accept_are_heeded(gateway: Gateway) -> None:
    site = gateway.road.site
    (reply,) = (step.command.split(maxsplit=1)[1] for step in steps(text_of(PAGE)) if "twofold reply" in step.command)
    assert site.command(*shlex.split(reply.replace("--client ocserv", "--client gateway"))).returncode == 0
    person = gateway.road.newcomer(("staff",))
    address = SetUser(actor="test", name=person.name, replies={"Framed-IP-Address": ("192.168.1.77",)})
    site.gate.administer(address)
    visit = gateway.visit(person.name, (ASKED, person.password), (PIN, person.pin()))
    assert visit.address == "192.168.1.77", visit.screen
    assert f"main[{person.name}]" in gateway.log
    assert "user of group 'staff' authenticated" in gateway.log


def test_each_state_comes_back_whole(gateway: Gateway) -> None:
    """ocserv cuts a State at its first NUL octet; ours are hex digits."""
    person = gateway.road.newcomer()
    assert gateway.visit(person.name, (ASKED, person.password), (PIN, person.pin())).address
    states = re.findall(r"Access-Challenge response .* State (.*)", gateway.log)
    assert states
    assert all(re.fullmatch("[0-9a-f]{32}", state) for state in states), states


@pytest.fixture
def in_one_field(gateway: Gateway) -> Iterator[Gateway]:
    """With the gateway's client in mode append."""
    with in_mode(gateway.road, Mode.APPEND):
        yield gateway


def test_r32_password_and_pin_in_one_field_twice(in_one_field: Gateway) -> None:
    """R32: sent again by a second connection they are refused, as used; the next PIN lets in, and nobody is locked."""
    road = in_one_field.road
    person = road.newcomer()
    typed = person.password + person.pin()
    assert in_one_field.visit(person.name, (ASKED, typed)).address
    again = in_one_field.visit(person.name, (ASKED, typed), (REFUSED, person.password + person.pin()))
    assert again.address, again.screen
    assert road.reasons(person.name) == ["passcode-right", "passcode-used", "passcode-right"]
    assert not any(road.site.failures(person.name).values())
