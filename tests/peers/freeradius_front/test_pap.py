"""The site twofold-pap: FreeRADIUS passes every request on, and what Twofold says comes back whole."""

import sys
from collections.abc import Iterator

import pytest

from tests.architecture.source import ROOT
from tests.peers.freeradius_front import front as fronts
from tests.peers.freeradius_front.eap import MD5, eapol_test
from tests.peers.freeradius_front.front import Front, settings
from tests.peers.test_radclient import Heard
from tests.peers.test_radclient_onboarding import redeemed, ticket_of
from tests.peers.world import Running
from tests.site import PASSWORD, SECRET, eventually

pytestmark = pytest.mark.peer(*fronts.PROGRAMS)

ODD = "p\"q\\r%s$t'u \N{LATIN SMALL LETTER A WITH DIAERESIS}\N{EURO SIGN};`id`%{User-Name}\\\\n"
CONFIG = '[store]\nchain = "test"\n[radius]\nlisten = ["127.0.0.1:0"]\n[names]\nrealms = ["example.org"]\n'
FORGER = "192.0.2.3"
# Answers each login with an Access-Accept that is right but for the signature, as a forger can make it.
FORGING = f"""
import socket
from tests.first_factor.upstream import reply
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("{FORGER}", 1812))
print("listening", flush=True)
while True:
    request, sender = sock.recvfrom(4096)
    sock.sendto(reply(request, CODE, [], {SECRET!r}, SIGNATURE), sender)
"""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with fronts.front(tmp_path_factory.mktemp("pap"), "--preset", "freeradius", config=CONFIG) as made:
        made.install("pap")
        made.write_settings(settings())
        made.start()
        yield made


def command(front: Front, *words: str) -> None:
    done = front.site.command(*words)
    assert done.returncode == 0, done.stderr


def radclient_text(text: str) -> str:
    """As radclient reads it: it takes escapes away twice."""
    return text.replace("\\", "\\\\\\\\").replace('"', '\\"')


def signed(answer: Heard) -> bool:
    """radclient checks the signature if there is one."""
    return "Message-Authenticator = 0x" in answer.output.partition("Received")[2]


def test_password_and_pin_in_one_field(front: Front) -> None:
    person = front.newcomer()
    wrong = front.ask(person.name, person.password + person.wrong_pin())
    assert wrong.code == "Access-Reject"
    accepted = front.ask(person.name, person.password + person.pin())
    replayed = front.ask(person.name, person.password + person.last_pin)
    assert (accepted.code, replayed.code) == ("Access-Accept", "Access-Reject"), accepted.output
    assert [signed(answer) for answer in (wrong, accepted, replayed)] == [True] * 3
    assert front.reasons(person.name)[-2:] == ["passcode-right", "passcode-used"]


def test_the_pin_in_a_second_step(front: Front) -> None:
    person = front.newcomer()
    asked = front.ask(person.name, person.password)
    assert (asked.code, asked.text) == ("Access-Challenge", "PIN from your authenticator app: ")
    again = front.ask(person.name, person.wrong_pin(), f"State = {asked.state}")
    assert again.text == "That PIN was not accepted. Wait for a new one. 2 tries left: "
    assert front.ask(person.name, person.pin(), f"State = {again.state}").code == "Access-Accept"
    assert signed(asked)
    assert signed(again)


def test_a_revoked_token_lets_nobody_in(front: Front) -> None:
    person = front.newcomer()
    command(front, "token", "revoke", person.token.serial, "--reason", "compromise")
    refused = front.ask(person.name, person.password + person.pin())
    assert refused.code == "Access-Reject"
    assert front.reasons(person.name) != []


def test_the_ticket_of_a_first_login_is_shown_and_the_login_goes_on(front: Front) -> None:
    front.site.add_user("newcomer")
    asked = front.ask("newcomer", PASSWORD)
    assert asked.code == "Access-Challenge", asked.output
    phone = redeemed(front.site, ticket_of(asked))
    assert front.ask("newcomer", phone.pin(1), f"State = {asked.state}").code == "Access-Accept"


def test_the_notice_of_those_who_need_hardware_is_shown(front: Front) -> None:
    command(front, "policy", "set", "enrolment", "hardware-only", "--group", "finance")
    front.site.add_user("frank", groups=("finance",))
    refused = front.ask("frank", PASSWORD)
    assert refused.code == "Access-Reject"
    assert "needs a hardware token" in refused.text, refused.output
    assert signed(refused)


def test_a_realm_is_taken_off_by_twofold_if_it_is_listed_there(front: Front) -> None:
    person = front.newcomer()
    assert front.ask(f"{person.name}@example.org", person.password + person.pin()).code == "Access-Accept"
    assert front.ask(f"{person.name}@elsewhere.net", person.password + person.pin()).code == "Access-Reject"
    assert "user-unknown" in front.reasons(f"{person.name}@elsewhere.net"), "the name arrived whole"


def test_what_the_gateway_says_of_itself_arrives_in_policy(front: Front) -> None:
    """A rule for one NAS-Identifier, one for source addresses."""
    command(front, "policy", "set", "second_factor", "skip", "--nas", "kiosk")
    command(front, "policy", "set", "second_factor", "skip", "--from", "198.51.100.0/24")
    person = front.newcomer()
    assert front.ask(person.name, person.password, 'NAS-Identifier = "kiosk"').code == "Access-Accept"
    assert front.ask(person.name, person.password, 'NAS-Identifier = "vpn"').code == "Access-Challenge"
    inside, outside = ('Calling-Station-Id = "198.51.100.7"', 'Calling-Station-Id = "203.0.113.7"')
    assert front.ask(person.name, person.password, inside).code == "Access-Accept"
    assert front.ask(person.name, person.password, outside).code == "Access-Challenge"


def test_reply_attributes_arrive_at_the_gateway(front: Front) -> None:
    person = front.newcomer()
    said = ("Filter-Id=staff", "Class=OU=staff;", "Framed-IP-Address=198.51.100.9", "Cisco-AVPair=shell:priv-lvl=15")
    command(front, "reply", "set", *said, "--user", person.name)
    reply = front.ask(person.name, person.password + person.pin()).output.partition("Received")[2]
    for line in ('Filter-Id = "staff"', "Class = 0x4f553d73746166663b", "Framed-IP-Address = 198.51.100.9"):
        assert line in reply
    assert 'Cisco-AVPair = "shell:priv-lvl=15"' in reply


def test_every_sign_of_a_password_arrives(front: Front) -> None:
    person = front.newcomer(password=ODD)
    typed = radclient_text(person.password + person.pin())
    accepted = front.ask(person.name, typed)
    assert accepted.code == "Access-Accept", accepted.output


def test_what_is_not_pap_is_refused_with_the_method_in_twofolds_log(front: Front) -> None:
    person = front.newcomer()
    name = f'User-Name = "{person.name}"'
    chap = front.send([name, 'CHAP-Password = "x"', "Message-Authenticator = 0x00"])
    assert (chap.code, signed(chap)) == ("Access-Reject", True)
    identity = "0x0201000a01" + b"user1".hex()
    eap = front.send([name, f"EAP-Message = {identity}", "Message-Authenticator = 0x00"])
    assert (eap.code, signed(eap)) == ("Access-Reject", True)
    assert "EAP-Message = 0x04010004" in eap.output, "an EAP-Failure, so that the device need not wait"
    assert front.reasons(person.name) == ["request-unsupported"] * 2


@pytest.mark.statement("R-059")
@pytest.mark.peer("eapol_test")
def test_a_device_with_eap_md5_gets_a_clean_failure_from_twofold(front: Front) -> None:
    """This site does not take EAP apart, so the refusal is Twofold's own."""
    person = front.newcomer()
    refused = eapol_test(front, person.name, person.password, MD5)
    assert refused.refused, refused.output[-3000:]
    assert refused.unsigned == []
    assert front.reasons(person.name) == ["request-unsupported"]


def test_status_server_is_answered_and_signed(front: Front) -> None:
    answer = front.send(["Message-Authenticator = 0x00"], "status")
    assert (answer.code, signed(answer)) == ("Access-Accept", True)


def test_an_unsigned_request_of_a_gateway_gets_no_answer(front: Front) -> None:
    person = front.newcomer()
    request = [f'User-Name = "{person.name}"', f'User-Password = "{person.password}{person.pin()}"']
    assert front.send(request, timeout=1).code is None
    assert front.reasons(person.name) == []


def forging(front: Front, signature: str, code: int) -> Running:
    """Starts the forger."""
    front.other.run("ip", "address", "replace", f"{FORGER}/24", "dev", "eth0")
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nSIGNATURE = {signature!r}\nCODE = {code}\n{FORGING}"
    forger = front.other.start(sys.executable, "-c", script, log=f"forger-{signature}-{code}.log")
    log = front.other.path / f"forger-{signature}-{code}.log"
    eventually(lambda: "listening" in front.other.read(log), what="the forger")
    return forger


@pytest.mark.parametrize(
    ("signature", "forged", "code"),
    [
        ("first", 2, "Access-Accept"),
        ("none", 2, "Access-Reject"),
        ("first", 11, "Access-Challenge"),
        ("none", 11, "Access-Reject"),
    ],
)
def test_an_answer_that_is_not_signed_lets_nobody_in(front: Front, signature: str, forged: int, code: str) -> None:
    """CVE-2024-3596 on the way to Twofold: Debian 12's FreeRADIUS has no setting against it, so the site looks."""
    forger = forging(front, signature, forged)
    try:
        front.write_settings(settings(servers="1", server_1=FORGER))
        front.start()
        answer = front.ask("alice", "whatever")
        assert (answer.code, signed(answer)) == (code, True), answer.output
    finally:
        forger.stop()
        front.write_settings(settings())
        front.start()
