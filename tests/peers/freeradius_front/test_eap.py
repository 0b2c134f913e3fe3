"""The site twofold-eap: what a device of a person sends through EAP reaches Twofold, and nothing else is taken."""

import json
import sys
from collections.abc import Iterator

import pytest

from tests.architecture.source import ROOT
from tests.peers.authority import Authority
from tests.peers.freeradius_front import eap
from tests.peers.freeradius_front import front as fronts
from tests.peers.freeradius_front.eap import Ended, eapol_test
from tests.peers.freeradius_front.front import NAS_SECRET, Front, settings
from tests.peers.freeradius_front.test_pap import FORGER, ODD, command, forging
from tests.wire import ACCEPT, REJECT, Attributes

pytestmark = pytest.mark.peer("eapol_test", *fronts.PROGRAMS)

Method = tuple[str, str]
CARRIED = [eap.TTLS_PAP, eap.TTLS_GTC, eap.PEAP_GTC]
NOT_CARRIED = [eap.MD5, eap.TTLS_CHAP, eap.TTLS_MSCHAPV2, eap.PEAP_MSCHAPV2, eap.GTC]
IKE = "127.0.0.9"
IKE_CLIENT = f"""
    client ike {{
        ipaddr = {IKE}
        secret = "{NAS_SECRET}"
        require_message_authenticator = yes
        plain_gtc = yes
    }}
"""

carried = pytest.mark.parametrize("method", CARRIED, ids="-".join)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with fronts.front(tmp_path_factory.mktemp("eap"), "--preset", "freeradius", "--mode", "append") as made:
        made.install("eap")
        made.write_settings(settings(client=IKE_CLIENT))
        made.start()
        yield made


def accept_of(ended: Ended) -> str:
    """The Access-Accept, as eapol_test shows it."""
    assert ended.let_in, ended.output[-3000:]
    return ended.output[ended.output.rindex("code=2 (Access-Accept)") :].partition("\nSTA ")[0]


@carried
def test_password_and_pin_let_in_once(front: Front, method: Method) -> None:
    person = front.newcomer()
    wrong = eapol_test(front, person.name, person.password + person.wrong_pin(), method)
    assert wrong.refused, wrong.output[-3000:]
    accepted = eapol_test(front, person.name, person.password + person.pin(), method)
    assert accepted.let_in, accepted.output[-3000:]
    replayed = eapol_test(front, person.name, person.password + person.last_pin, method)
    assert replayed.refused, replayed.output[-3000:]
    assert [ended.unsigned for ended in (wrong, accepted, replayed)] == [[], [], []]
    assert front.reasons(person.name) == ["passcode-wrong", "passcode-right", "passcode-used"]


@carried
def test_a_revoked_token_lets_nobody_in(front: Front, method: Method) -> None:
    person = front.newcomer()
    command(front, "token", "revoke", person.token.serial, "--reason", "compromise")
    assert eapol_test(front, person.name, person.password + person.pin(), method).refused


@carried
def test_every_sign_of_a_password_arrives(front: Front, method: Method) -> None:
    person = front.newcomer(password=ODD)
    accepted = eapol_test(front, person.name, person.password + person.pin(), method)
    assert accepted.let_in, accepted.output[-3000:]


@carried
def test_what_the_access_point_says_arrives_in_policy_and_the_reply_at_the_access_point(
    front: Front, method: Method
) -> None:
    """A person without a PIN is let in through this access point; the reply has his name and what is set for him."""
    command(front, "policy", "set", "second_factor", "skip", "--nas", "wifi", "--group", "guests")
    guest = front.newcomer(groups=("guests",))
    said = ("Filter-Id=guests", "Class=guest;", "Session-Timeout=3600", "Cisco-AVPair=shell:priv-lvl=1")
    command(front, "reply", "set", *said, "--user", guest.name)
    accept = accept_of(eapol_test(front, guest.name, guest.password, method))
    for value in ("67756573743b", "3600", "0000000901127368656c6c3a707269762d6c766c3d31", f"'{guest.name}'"):
        assert f"Value: {value}" in accept, accept
    assert "Attribute 11 (" in accept


def tunnel(front: Front, inside: Attributes, outside: Attributes) -> int:
    """The code of the answer to a device that says this inside, at an access point that says that."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom tests.peers.freeradius_front import tunnel; tunnel.main()"
    )
    said = json.dumps([[(kind, value.hex()) for kind, value in each] for each in (inside, outside)])
    return int(front.world.run(sys.executable, "-c", script, front.ca, NAS_SECRET, stdin=said).stdout)


def test_a_device_cannot_claim_to_be_elsewhere(front: Front) -> None:
    """What it puts into the tunnel beside name and password is dropped, whether or not the access point says it."""
    command(front, "policy", "set", "second_factor", "skip", "--from", "198.51.100.0/24")
    command(front, "policy", "set", "second_factor", "skip", "--nas", "kiosk")
    person = front.newcomer()
    login = [(1, person.name.encode()), (2, person.password.encode().ljust(16, b"\0"))]
    there, kiosk = (31, b"198.51.100.7"), (32, b"kiosk")
    elsewhere = [(31, b"203.0.113.7"), (32, b"wifi")]
    assert tunnel(front, login, [there]) == ACCEPT, "what an access point says counts"
    assert tunnel(front, [*login, there, kiosk], elsewhere) == REJECT
    assert tunnel(front, [*login, there, kiosk], []) == REJECT
    assert tunnel(front, [there, kiosk, *login, (30, b"x"), (4, bytes(4)), (33, b"x"), (24, b"x")], []) == REJECT


def test_two_methods_in_one_tunnel_are_refused(front: Front) -> None:
    """A CHAP beside the right password and PIN; the same without it lets in."""
    person = front.newcomer()
    login = [(1, person.name.encode()), (2, (person.password + person.pin()).encode().ljust(16, b"\0"))]
    assert tunnel(front, [*login, (3, bytes(17)), (60, bytes(16))], []) == REJECT
    assert front.reasons(person.name) == []
    assert tunnel(front, login, []) == ACCEPT


@pytest.mark.parametrize("method", NOT_CARRIED, ids="-".join)
def test_what_cannot_carry_a_pin_is_refused_at_once_and_twofold_is_not_asked(front: Front, method: Method) -> None:
    """Plain GTC as well: through the air it would show the password."""
    person = front.newcomer()
    refused = eapol_test(front, person.name, person.password + person.pin(), method)
    assert refused.refused, refused.output[-3000:]
    assert refused.unsigned == []
    assert front.reasons(person.name) == []


@carried
def test_a_password_without_pin_is_refused_at_once(front: Front, method: Method) -> None:
    person = front.newcomer()
    assert eapol_test(front, person.name, person.password, method).refused


def test_a_device_that_knows_the_server_tells_no_other_its_password(front: Front) -> None:
    """Wrong name, wrong authority: the device ends it, and FreeRADIUS hears no password."""
    person = front.newcomer()
    typed = person.password + person.pin()
    other = Authority(front.site.folder, "other")
    for wrong in (
        eapol_test(front, person.name, typed, eap.TTLS_PAP, host="another.example.org"),
        eapol_test(front, person.name, typed, eap.PEAP_GTC, ca=str(other.file)),
    ):
        assert not wrong.let_in
        assert "EAP: Status notification: remote certificate verification" in wrong.output
    assert front.reasons(person.name) == []


@carried
def test_a_session_is_not_resumed(front: Front, method: Method) -> None:
    """`-r 1` logs in a second time with what TLS remembers: the PIN is asked about again, and is used (V-006)."""
    person = front.newcomer()
    again = eapol_test(front, person.name, person.password + person.pin(), method, "-r", "1")
    assert not again.let_in
    assert front.reasons(person.name) == ["passcode-right", "passcode-used"]


def test_an_ike_gateway_may_send_gtc_without_a_tunnel(front: Front) -> None:
    """As strongSwan does. No keys come with it, which `-n` says."""
    front.world.run("ip", "address", "replace", f"{IKE}/32", "dev", "lo")
    command(front, "policy", "set", "second_factor", "skip", "--nas", "wifi", "--group", "roadwarriors")
    person, guest = front.newcomer(), front.newcomer(groups=("roadwarriors",))
    ike = ("-n", "-A", IKE)
    assert eapol_test(front, person.name, person.password + person.wrong_pin(), eap.GTC, *ike).refused
    assert eapol_test(front, person.name, person.password + person.pin(), eap.GTC, *ike).let_in
    assert eapol_test(front, person.name, person.password + person.last_pin, eap.GTC, *ike).refused
    assert eapol_test(front, guest.name, guest.password, eap.GTC, *ike).let_in, "with what the gateway said"
    assert front.reasons(person.name) == ["passcode-wrong", "passcode-right", "passcode-used"]
    assert eapol_test(front, person.name, person.password + person.pin(), eap.MD5, *ike).refused


def test_an_answer_that_is_not_signed_lets_nobody_in(front: Front) -> None:
    """Last in this file: FreeRADIUS is started with another server. CVE-2024-3596 on the way to Twofold."""
    forger = forging(front, "none", ACCEPT)
    try:
        front.write_settings(settings(servers="1", server_1=FORGER, timeout="1"))
        front.start()
        for method in CARRIED:
            refused = eapol_test(front, "alice", "whatever123456", method)
            assert refused.refused, refused.output[-3000:]
            assert "MS-MPPE" not in refused.output.partition("code=3 (Access-Reject)")[2], "no keys in a reject"
    finally:
        forger.stop()
