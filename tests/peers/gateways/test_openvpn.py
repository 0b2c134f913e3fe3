"""OpenVPN with twofold-openvpn, as docs/radius/openvpn.md sets it up: who types what, what he reads, and what Twofold
makes of it. The screens on the page are those of these tests.
"""

import base64
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.docs.pages import screens, text_of
from tests.peers import road as roads
from tests.peers.gateways import openvpn
from tests.peers.gateways.openvpn import ENDED, NAME, PAGE, PASSWORD, PIN, SETTINGS, UP, Gateway, Setting
from tests.peers.road import TRAVELLER, Road
from tests.peers.test_radclient_onboarding import TICKETS, Phone, redeemed
from tests.site import PASSWORD as GEHEIM
from tests.site import ServerProcess, eventually
from validation.requests import SetRule, SetText
from validation.settings import Scope

pytestmark = [
    pytest.mark.peer(*openvpn.PROGRAMS, *roads.PROGRAMS, "oathtool", "setsid"),
    pytest.mark.timeout(300),
]


def asks(words: str) -> str:
    """A question that ends with these words."""
    return f"CHALLENGE: [^\n]*{words}:"


AGAIN = asks(r"That PIN was not accepted\. Wait for a new one\. \d tr(?:y|ies) left")


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with roads.road(tmp_path_factory.mktemp("openvpn"), *openvpn.options(0)) as road:
        set_rule(road, "onboarding_over_radius", "key", "paired")
        set_rule(road, "enrolment", "hardware-only", "finance")
        done = Setting(road, openvpn.SCRIPT)
        done.type_commands()
        yield done


@pytest.fixture(scope="module")
def gateway(setting: Setting) -> Gateway:
    return setting.start()


def set_rule(road: Road, key: str, value: str, group: str) -> None:
    road.site.gate.administer(SetRule(actor="test", key=key, value=value, scope=Scope(group=group)))


def static(password: str, pin: str) -> str:
    """As a client packs them."""
    return ":".join(["SCRV1", *(base64.b64encode(part.encode()).decode() for part in (password, pin))])


def on_the_page() -> list[list[str]]:
    """The screens under "What the person sees", with names and secrets as they stand there."""
    return screens(PAGE, "What the person sees")


def as_on_the_page(told: list[str]) -> list[str]:
    text = TICKETS.sub("TICKET", "\n".join(told))
    text = re.sub(f"^({NAME}).*$", r"\1 alice", text, flags=re.MULTILINE)
    text = re.sub(r":\d{6}$", ":PIN", text, flags=re.MULTILINE)
    text = re.sub(r"(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}", "KEY", text)
    return re.sub(r"otpauth://\S+", "ADDRESS", text).splitlines()


# --- the screens of the page ------------------------------------------------------------------------------------


def test_a_password_and_a_pin_open_the_tunnel(gateway: Gateway) -> None:
    person = gateway.road.newcomer()
    visit = gateway.visit(person.name, (PASSWORD, person.password), (PIN, person.pin()))
    assert visit.entered, (visit.screen, gateway.log)
    assert as_on_the_page(visit.told) == on_the_page()[0]
    assert gateway.road.reasons(person.name) == ["password-right", "passcode-right"]


def test_a_mistyped_and_a_used_pin_are_asked_for_again(gateway: Gateway) -> None:
    person = gateway.road.newcomer()
    assert gateway.login(person.name, static(person.password, person.pin())).entered
    used, wrong = person.last_pin, person.wrong_pin()
    visit = gateway.visit(person.name, (PASSWORD, person.password), (PIN, used), (AGAIN, wrong), (AGAIN, person.pin()))
    assert visit.entered, visit.screen
    assert as_on_the_page(visit.told) == on_the_page()[1]
    reasons = ["password-right", "passcode-used", "passcode-wrong", "passcode-right"]
    assert gateway.road.reasons(person.name)[1:] == reasons


def test_a_mistyped_password_is_a_refusal_that_is_read(gateway: Gateway) -> None:
    person = gateway.road.newcomer()
    visit = gateway.visit(person.name, (PASSWORD, "wrong"))
    assert not visit.entered
    assert as_on_the_page(visit.told) == on_the_page()[2]
    assert gateway.road.reasons(person.name) == ["password-wrong"]


def test_a_ticket_is_shown_whole_and_its_token_lets_in(gateway: Gateway) -> None:
    site = gateway.road.site
    site.add_user("ticket")

    def elsewhere(screen: str) -> str:
        ticket = TICKETS.findall(screen)[-1]
        return redeemed(site, ticket).pin(1)

    visit = gateway.visit("ticket", (PASSWORD, GEHEIM), (asks("Then enter a new PIN of your app here"), elsewhere))
    assert visit.entered, visit.screen
    assert as_on_the_page(visit.told) == on_the_page()[3]
    assert gateway.road.reasons("ticket")[-1] == "passcode-right"


def test_an_app_is_paired_with_the_key_on_the_screen_in_two_more_rounds(gateway: Gateway) -> None:
    gateway.road.site.add_user("paired", groups=("paired",))
    answers = (asks("instructions"), "s"), (asks("First PIN from the app"), first_pin)
    visit = gateway.visit("paired", (PASSWORD, GEHEIM), *answers)
    assert visit.entered, visit.screen
    assert as_on_the_page(visit.told) == on_the_page()[4]
    assert gateway.road.reasons("paired")[-1] == "registered"


def first_pin(screen: str) -> str:
    return Phone.that_has_read(re.findall(r"otpauth://\S+", screen)[-1]).pin()


def test_the_notice_about_hardware_tokens_is_shown(gateway: Gateway) -> None:
    gateway.road.site.add_user("finance", groups=("finance",))
    visit = gateway.visit("finance", (PASSWORD, GEHEIM))
    assert not visit.entered
    assert as_on_the_page(visit.told) == on_the_page()[5]
    assert gateway.road.reasons("finance") == ["hardware-only"]


def test_r35_with_a_static_challenge_both_are_asked_for_at_once(gateway: Gateway) -> None:
    """R35. A wrong PIN is refused: whoever tries again gives both."""
    (line,) = re.findall(r"^static-challenge .*$", text_of(PAGE), re.MULTILINE)
    option = "--static-challenge", "PIN", "0"
    assert line == 'static-challenge "PIN" 0'
    person = gateway.road.newcomer()
    wrong = person.wrong_pin()
    asked = (PASSWORD, person.password), ("CHALLENGE: PIN", wrong), (NAME, person.name)
    again = (PASSWORD, person.password), ("CHALLENGE: PIN", person.pin())
    visit = gateway.visit(person.name, *asked, *again, options=option)
    assert visit.entered, visit.screen
    assert as_on_the_page(visit.told) == on_the_page()[6]
    assert gateway.road.reasons(person.name) == ["passcode-wrong", "passcode-right"]


# --- not getting in ---------------------------------------------------------------------------------------------


def test_a_token_revoked_while_its_pin_is_typed(gateway: Gateway) -> None:
    person = gateway.road.newcomer()

    def revoke_first(_: str) -> str:
        done = gateway.road.site.command("token", "revoke", person.token.serial, "--reason", "compromise")
        assert done.returncode == 0, done.stderr
        return person.pin()

    visit = gateway.visit(person.name, (PASSWORD, person.password), (PIN, revoke_first))
    assert not visit.entered
    assert visit.told[-2:] == ["AUTH: Received control message: AUTH_FAILED,The login was refused.", NAME]
    assert gateway.road.reasons(person.name) == ["password-right", "state-unknown"]
    after = gateway.login(person.name, person.password)
    assert "AUTH_FAILED,Your account has no second factor. Please ask your administrator." in after.screen


def test_the_question_of_somebody_else_cannot_be_answered(gateway: Gateway) -> None:
    """Somebody has read Alice's question in a log, and her PIN over her shoulder; he has a name of his own."""
    alice, bob = gateway.road.newcomer(), gateway.road.newcomer()
    asked = gateway.visit(alice.name, (PASSWORD, alice.password))
    (state,) = re.findall("CRV1:R:([0-9a-f]+):", asked.screen)
    assert not gateway.login(bob.name, f"CRV1::{state}::{alice.pin()}").entered
    assert gateway.road.reasons(bob.name) == ["state-foreign"]
    assert gateway.login(alice.name, f"CRV1::{state}::{alice.last_pin}").entered, "it is still hers"


@pytest.mark.parametrize("typed", ["CRV1::", "CRV1::xyz::755224", "SCRV1:!!:x", "SCRV1:Z2VoZWlt"])
def test_r35_what_is_no_answer_counts_nothing(gateway: Gateway, typed: str) -> None:
    person = gateway.road.newcomer()
    visit = gateway.login(person.name, typed)
    assert not visit.entered
    assert "AUTH_FAILED,The login was refused" in visit.screen
    assert not any(gateway.road.site.failures(person.name).values())


# --- what else is to be said ------------------------------------------------------------------------------------


def test_the_persons_address_and_the_name_of_the_gateway_are_known(gateway: Gateway) -> None:
    person = gateway.road.newcomer()
    assert gateway.login(person.name, static(person.password, person.pin())).entered
    (row,) = [row for row in gateway.road.site.audit() if row["event"] == "login" and row["user"] == person.name]
    assert row["source"] == TRAVELLER
    assert f"accept user={person.name} client=gateway" in gateway.road.server.log


def test_new_keys_need_no_new_pin(gateway: Gateway) -> None:
    """The client renegotiates after so many packets, as it does after an hour."""
    person = gateway.road.newcomer()
    packed = static(person.password, person.pin())
    with gateway.in_the_tunnel(person.name, packed, "--reneg-pkts", "20"):
        assert gateway.reached(packets=30)
        eventually(lambda: f"authentication succeeded for username '{person.name}'" in gateway.log, what="new keys")
        assert gateway.reached()
    assert gateway.road.reasons(person.name) == ["passcode-right"]


def test_a_long_text_is_cut_between_characters(gateway: Gateway) -> None:
    """Whole it would be 1,200 octets, of which a client gets 1,011: half a character would fit behind the last."""
    text = "ü" * 600
    scope = Scope(group="verbose")
    gateway.road.site.gate.administer(SetText(actor="test", key="hardware-only", language="", text=text, scope=scope))
    set_rule(gateway.road, "enrolment", "hardware-only", "verbose")
    gateway.road.site.add_user("verbose", groups=("verbose",))
    visit = gateway.login("verbose", GEHEIM)
    assert f"AUTH_FAILED,{'ü' * 505}\n" in visit.screen


# --- a gateway with little room ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(setting: Setting) -> Gateway:
    """OpenVPN as an account of its own that may have three processes: itself, one that asks, and one that would ask."""
    world = setting.road.gateway
    world.run("useradd", "--system", "--uid", "61197", "--user-group", "small")
    world.run("sh", "-c", f"sed s/openvpn/small/ <{SETTINGS} >/etc/twofold/small.toml")
    world.run("chown", "small", "/etc/twofold/small.toml")
    world.run("chmod", "600", "/etc/twofold/small.toml")
    text = re.sub("^(user|group) openvpn$", r"\1 small", setting.files[openvpn.CONF], flags=re.MULTILINE)
    text = text.replace("10.8.0.0", "10.9.0.0").replace(SETTINGS, "/etc/twofold/small.toml")
    world.write("/etc/openvpn/server/small.conf", text.replace("port 1194", "port 1195") + "hand-window 8\n")
    client = "/etc/openvpn/client/small.conf"
    setting.road.traveller.run("sh", "-c", f"sed s/1194/1195/ <{openvpn.CLIENT} >{client}")
    return setting.start("prlimit", "--nproc=3", name="small", client=client, inside="10.9.0.1")


@contextmanager
def silent(server: ServerProcess) -> Iterator[None]:
    """Twofold says nothing for a while."""
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def asking(gateway: Gateway) -> list[str]:
    """The processes that ask Twofold at this moment: OpenVPN has left them behind."""
    found = gateway.road.gateway.run("pgrep", "-P", "1", "-u", "small", "-f", "twofold-openvpn", check=False)
    return found.stdout.split()


def waiting(gateway: Gateway) -> list[str]:
    """The same, as soon as there is one."""
    found: list[str] = []

    def there() -> bool:
        found[:] = asking(gateway)
        return bool(found)

    eventually(there, what="a login that waits")
    return found


def test_who_waits_holds_up_nobody_and_too_many_are_refused_and_told(small: Gateway) -> None:
    """The kernel refuses OpenVPN's account another process. OpenVPN itself would end if that hit it."""
    person = small.road.newcomer()
    options = small.once(person.name, person.password)
    with (
        small.in_the_tunnel(person.name, static(person.password, person.pin())),
        silent(small.road.server),
        small.at_the_terminal(*options),
    ):
        waits = waiting(small)
        busy = small.login(person.name, person.password)
        assert "AUTH_FAILED,Too many people are logging in at once." in busy.screen
        assert small.reached(packets=10)
        assert asking(small) == waits
    assert small.server.process.poll() is None


def test_a_process_that_is_killed_lets_nobody_in(small: Gateway) -> None:
    person = small.road.newcomer()
    options = small.once(person.name, static(person.password, person.pin()))
    with silent(small.road.server), small.at_the_terminal(*options) as shown:
        small.road.gateway.run("kill", "-KILL", *waiting(small))
        assert shown.wait_for(f"AUTH_FAILED|{UP}|{ENDED}") is not None
    assert UP not in shown.text, shown.text
    assert "AUTH_FAILED" in shown.text
