"""A first registration over RADIUS, from a correct password to a confirmed token, on real sockets."""

import base64
import re
import time

from tests.site import PASSWORD, SECRET, Site
from tests.vectors import reference
from tests.wire import ACCEPT, CHALLENGE, REJECT, Nas
from validation.model import RevokeReason
from validation.requests import RevokeUserTokens, SetRule
from validation.settings import Scope

STEP = 30


def prepared(site: Site, way: str) -> None:
    site.add_user("alice")
    site.add_client()
    site.gate.administer(SetRule(actor="test", key="onboarding_over_radius", value=way, scope=Scope(client="vpn")))


def pin_of(text: str, ahead: int = 0) -> str:
    """The PIN an app shows that has scanned the address in `text`; computed without the product."""
    (secret,) = re.findall(r"secret=([A-Z2-7]+)", text)
    return reference.hotp(base64.b32decode(secret), int(time.time()) // STEP + ahead, 6, "sha1")


def test_by_key_welcome_pages_and_wrong_first_pins_lead_to_a_token(site: Site) -> None:
    prepared(site, "key")
    with site.server() as server, server.nas() as nas:
        welcome = nas.login("alice", PASSWORD)
        assert (welcome.code, "Set up your second factor" in welcome.text) == (CHALLENGE, True)
        apps = nas.login("alice", "n", state=welcome.state)
        assert "FreeOTP+" in apps.text
        shown = nas.login("alice", "", state=apps.state)
        assert re.search(r"type: ([A-Z2-7]{4} ){7}[A-Z2-7]{4}", shown.text), "the key in groups of four"
        assert all(len(value) <= 253 for value in shown.values(18))
        assert site.command("token", "list", "--json").stdout.strip() == "[]", "nothing is there before it is confirmed"
        again = nas.login("alice", "000000", state=shown.state)
        assert (again.code, "2 tries left" in again.text) == (CHALLENGE, True)
        done = nas.login("alice", pin_of(shown.text), state=again.state)
        assert (done.code, done.text.startswith("Done.")) == (ACCEPT, True)
        assert nas.login("alice", pin_of(shown.text, 1), state=nas.login("alice", PASSWORD).state).code == ACCEPT


def test_of_two_sessions_that_pair_at_once_the_second_is_refused(site: Site) -> None:
    prepared(site, "key")
    with site.server() as server, server.nas() as nas:
        first, second = (nas.login("alice", "s", state=nas.login("alice", PASSWORD).state) for _ in range(2))
        assert nas.login("alice", pin_of(second.text), state=second.state).code == ACCEPT
        assert nas.login("alice", pin_of(first.text), state=first.state).code == REJECT


def test_a_ticket_works_once_and_only_with_the_password(site: Site) -> None:
    prepared(site, "ticket")
    with site.server() as server, server.nas() as nas:
        told = nas.login("alice", PASSWORD)
        (ticket,) = re.findall(r"(?:[2-9A-Z]{5}-){5}[2-9A-Z]", told.text)
        assert "secret=" not in told.text
        refused = site.command("ticket", "redeem", stdin=f"{ticket}\nwrong\n")
        assert (refused.returncode, "secret=" in refused.stdout) == (1, False)
        late = site.command("ticket", "redeem", stdin=f"{ticket}\n{PASSWORD}\n000000\n000001\n000002\n")
        assert (late.returncode, "secret=" in late.stdout) == (1, True), "three wrong first PINs pair nothing"
        assert site.command("token", "list", "--json").stdout.strip() == "[]"
        assert nas.login("alice", "123456", state=told.state).code == CHALLENGE, (
            "it waits for the ticket to be redeemed"
        )


def test_after_a_compromise_only_an_admin_opens_pairing_again(site: Site) -> None:
    prepared(site, "key")
    site.enroll("alice")
    site.gate.administer(RevokeUserTokens(actor="test", user="alice", reason=RevokeReason.COMPROMISE))
    with site.server() as server, server.nas() as nas:
        assert nas.login("alice", PASSWORD).code == REJECT
        assert site.command("user", "pairing", "alice", "--open").returncode == 0
        assert nas.login("alice", PASSWORD).code == CHALLENGE


def test_a_hardware_only_user_reads_the_whole_notice_and_no_key_is_made(site: Site) -> None:
    prepared(site, "key")
    notice = "Ваш пропуск лежит на вахте. " * 71
    assert site.command("policy", "set", "enrolment", "hardware-only").returncode == 0
    assert site.command("message", "set", "hardware-only", notice).returncode == 0
    with site.server() as server, Nas(server.address, SECRET) as nas:
        reply = nas.login("alice", PASSWORD)
    assert (reply.code, reply.text) == (REJECT, notice)
    assert all(len(value) <= 253 and value.decode() for value in reply.values(18))
    assert ("reject", "hardware-only") in site.logins()


def test_after_a_registration_the_note_on_changing_phones_is_shown_and_is_the_admins_to_change(site: Site) -> None:
    prepared(site, "key")
    site.add_user("bob")
    with site.server() as server, server.nas() as nas:
        for user, note in (
            ("alice", "If you change phones, delete the account in the old app."),
            ("bob", "Neu? 4711."),
        ):
            if user == "bob":
                assert site.command("message", "set", "registered", note).returncode == 0
            shown = nas.login(user, "s", state=nas.login(user, PASSWORD).state)
            done = nas.login(user, pin_of(shown.text), state=shown.state)
            assert (done.code, done.text.endswith(note)) == (ACCEPT, True), done.text
