"""Message-Authenticator and the Blast-RADIUS rules, against a running server."""

import hashlib
import hmac
import secrets
import socket
import subprocess
from collections.abc import Callable

import pytest
from pyrad.packet import AuthPacket

from tests.flows.crowd import ask_all
from tests.radius_server.conftest import NasFrom
from tests.radius_server.live import Live, Person, Source, check_accepted, check_silence
from tests.site import PASSWORD, SECRET, eventually
from tests.vectors import radius_rfc2865, radius_rfc5997
from tests.wire import (
    ACCEPT,
    CHALLENGE,
    MESSAGE_AUTHENTICATOR,
    PROXY_STATE,
    REJECT,
    Nas,
    Request,
    access_request,
    find_message_authenticator,
    packet,
    sign,
    status_server,
)

EAP_MESSAGE = 79
EAP_IDENTITY = bytes([2, 9, 0, 10, 1]) + b"alice"


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


# --- In requests


@pytest.mark.statement("R-030")
def test_no_bit_of_a_signed_request_can_be_changed(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from()
    request = access_request(nas.secret, person.name, person.pin())
    check_silence(nas, *(flipped(request.data, bit) for bit in range(len(request.data) * 8)))
    assert person.logins == []
    assert nas.ask(request).code == ACCEPT


@pytest.mark.statement("R-030")
def test_a_wrong_message_authenticator_is_wrong_also_where_none_is_asked_for(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from(Source.UNSIGNED)
    request = access_request(nas.secret, person.name, person.pin())
    at = find_message_authenticator(request.data) * 8
    check_silence(nas, *(flipped(request.data, bit) for bit in range(at, at + 128)))
    assert person.logins == []
    assert nas.ask(request).code == ACCEPT


@pytest.mark.statement("R-031")
@pytest.mark.parametrize("source", [Source.PASSCODE, Source.UNSIGNED], ids=["required", "off"])
def test_a_message_authenticator_of_another_length_or_two_of_them_get_silence(
    nas_from: NasFrom, person: Person, source: str
) -> None:
    nas = nas_from(source)

    def login(*lengths: int) -> bytes:
        """A login that ends in Message-Authenticators of so many zero octets."""
        extra = [(MESSAGE_AUTHENTICATOR, bytes(length)) for length in lengths]
        return access_request(nas.secret, person.name, person.pin(), extra=extra, message_authenticator="none").data

    short, long, two = login(15), login(17), login(16, 16)  # attribute lengths 17, 19 and twice 18
    mac = hmac.digest(nas.secret, two, "md5")
    check_silence(
        nas,
        short[:-15] + hmac.digest(nas.secret, short, "md5")[:15],
        long[:-17] + hmac.digest(nas.secret, long, "md5") + b"\0",
        two[:-34] + mac + two[-18:],  # the first is right, the second is not
        two[:-16] + mac,  # the other way
    )
    assert person.logins == []
    check_accepted(nas, person)


@pytest.mark.statement("R-032")
def test_a_badly_signed_copy_changes_nothing_for_a_request_in_work(nas_from: NasFrom, person: Person) -> None:
    """The original is a wrong PIN, whose Reject is held back for a second: it surely is in work."""
    nas = nas_from()
    wrong = access_request(nas.secret, person.name, person.pin(50))
    nas.send(wrong.data)
    at = find_message_authenticator(wrong.data)
    other_authenticator = wrong.data[:4] + secrets.token_bytes(16) + wrong.data[20:]
    check_silence(nas, flipped(wrong.data, at * 8), other_authenticator)
    reply = nas.receive()
    assert reply is not None
    assert reply.check(wrong).code == REJECT
    assert person.failures == 1
    check_silence(nas, flipped(wrong.data, at * 8), other_authenticator)
    assert nas.ask(wrong).data == reply.data, "the kept reply was not purged"
    assert person.failures == 1


@pytest.mark.statement("R-032")
def test_a_badly_signed_answer_leaves_the_state_open(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from(Source.CHALLENGE)
    state = nas.login(person.name, PASSWORD).state
    answer = access_request(nas.secret, person.name, person.pin(), state=state)
    wrong = access_request(b"another secret", person.name, person.pin(20), state=state)
    check_silence(nas, wrong.data, flipped(answer.data, len(answer.data) * 8 - 1))
    assert person.failures == 0
    assert nas.ask(answer).code == ACCEPT


@pytest.mark.statement("R-033", "R-045")
def test_an_unsigned_request_gets_silence_before_anything_else_is_looked_at(
    live: Live, nas_from: NasFrom, person: Person
) -> None:
    nas = nas_from("127.0.4.33")
    good = access_request(nas.secret, person.name, person.pin(), message_authenticator="none")
    others = [
        access_request(nas.secret, "nobody33", "123456", message_authenticator="none"),
        access_request(nas.secret, None, None, message_authenticator="none"),
        access_request(nas.secret, person.name, None, extra=[(EAP_MESSAGE, b"x")], message_authenticator="none"),
        access_request(nas.secret, person.name, "1", extra=[(PROXY_STATE, b"x")], message_authenticator="none"),
    ]
    check_silence(nas, good.data, *(other.data for other in others))
    assert person.logins == []
    (line,) = live.logged("from=127.0.4.33")
    assert "reason=message-authenticator-missing" in line
    check_accepted(nas, person)


@pytest.mark.statement("R-034")
def test_the_rule_for_logins_is_not_consulted_for_other_requests(live: Live, nas_from: NasFrom) -> None:
    """Accounting-Request is not served, which is the reason for its silence under either rule."""
    accounting = packet(4, 1, bytes(16), [(40, b"\0\0\0\1")])
    for source in (Source.UNSIGNED, "127.0.4.34"):
        nas = nas_from(source)
        check_silence(nas, accounting, status_server(nas.secret, message_authenticator="none").data)
        assert live.logged(f"from={source}", "reason=code-not-served")
    assert len(live.logged("from=127.0.4.34", "reason=message-authenticator-missing")) == 1  # of Status-Server


@pytest.mark.statement("R-035")
def test_the_position_of_message_authenticator_does_not_matter(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from()
    check_accepted(nas, person, 0, message_authenticator="first")
    check_accepted(nas, person, 1, message_authenticator="last")
    middle = [(MESSAGE_AUTHENTICATOR, bytes(16)), (32, b"nas")]
    request = access_request(nas.secret, person.name, person.pin(2), extra=middle, message_authenticator="none")
    assert nas.ask(Request(sign(request.data, nas.secret), nas.secret)).code == ACCEPT


# --- In replies


@pytest.mark.statement("R-036")
@pytest.mark.parametrize("form", ["first", "last", "none"])
def test_every_kind_of_reply_is_signed_first(live: Live, nas_from: NasFrom, form: str) -> None:
    """`ask` checks Message-Authenticator at offset 20 and both authenticators."""
    nas, steps = nas_from(Source.UNSIGNED_CHALLENGE), nas_from(Source.UNSIGNED)
    person = live.person()
    requests = [
        access_request(nas.secret, person.name, PASSWORD, identifier=1, message_authenticator=form),
        access_request(nas.secret, "nobody36", PASSWORD, identifier=2, message_authenticator=form),
    ]
    replies = ask_all(nas, requests)
    assert [reply.code for reply in replies] == [CHALLENGE, REJECT]
    accepted = access_request(nas.secret, person.name, person.pin(), message_authenticator=form)
    replies.append(steps.ask(accepted))
    assert replies[2].code == ACCEPT
    copies = [*(nas.ask(request) for request in requests), steps.ask(accepted)]
    assert [copy.data for copy in copies] == [reply.data for reply in replies]


@pytest.mark.statement("R-036")
def test_the_reply_to_status_server_is_signed_first(nas_from: NasFrom) -> None:
    nas = nas_from()
    request = status_server(nas.secret)
    assert nas.ask(request).data[20:22] == nas.ask(request).data[20:22] == b"\x50\x12"


def resealed(reply: bytes, request: Request) -> bytes:
    """A reply with a right Response Authenticator, so that only its Message-Authenticator can be wrong."""
    seal = hashlib.md5(reply[:4] + request.authenticator + reply[20:] + request.secret).digest()
    return reply[:4] + seal + reply[20:]


def with_wrong_message_authenticator(reply: bytes, request: Request) -> bytes:
    return resealed(flipped(reply, 22 * 8), request)


@pytest.mark.statement("R-037")
def test_pyrad_verifies_our_replies_and_no_changed_one(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from()
    request = access_request(nas.secret, person.name, person.pin())
    reply = nas.ask(request).data
    assert resealed(reply, request) == reply
    assert pyrad_verifies(request, reply)
    assert not pyrad_verifies(request, with_wrong_message_authenticator(reply, request))


def pyrad_verifies(request: Request, reply: bytes) -> bool:
    asked = AuthPacket(packet=request.data, secret=request.secret)
    return bool(asked.VerifyReply(asked.CreateReply(packet=reply), reply, enforce_ma=True))


@pytest.mark.peer("radclient")
@pytest.mark.statement("R-037")
def test_radclient_verifies_our_replies_and_no_changed_one(live: Live, person: Person) -> None:
    assert "Received Access-Challenge" in radclient(live, person, lambda reply, request: reply)
    assert "Received Access-Challenge" not in radclient(live, person, with_wrong_message_authenticator)


def radclient(live: Live, person: Person, change: Callable[[bytes, Request], bytes]) -> str:
    """What radclient says to a reply that passes through `change` on its way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as middle, live.nas(Source.CHALLENGE) as nas:
        middle.bind(("127.0.0.1", 0))
        middle.settimeout(10)
        address = "127.0.0.1:" + str(middle.getsockname()[1])
        command = ["radclient", "-x", "-r", "1", "-t", "1", address, "auth", SECRET.decode()]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            process.stdin.write(f'User-Name="{person.name}",User-Password="{PASSWORD}",Message-Authenticator=0x00')
            process.stdin.close()
            asked, peer = middle.recvfrom(4096)
            nas.send(asked)
            reply = nas.receive()
            assert reply is not None
            middle.sendto(change(reply.data, Request(asked, SECRET)), peer)
            assert process.stdout is not None
            return process.stdout.read()


@pytest.mark.statement("R-038")
def test_the_rfcs_own_requests_get_right_authenticators(live: Live, nas_from: NasFrom) -> None:
    nas = nas_from(Source.RFC, radius_rfc2865.SECRET)
    live.person("nemo", "arctangent")
    live.person("mopsy", "challenge")
    pap, chap, password, response = (Request(e.request, nas.secret) for e in radius_rfc2865.SECTION_7)
    assert [nas.ask(request).code for request in (pap, chap, password)] == [CHALLENGE, REJECT, CHALLENGE]
    assert nas.ask(response).code == REJECT, "its State is not ours"
    for exchange in radius_rfc5997.SECTION_6:
        assert nas.ask(Request(exchange.request, nas.secret)).code == ACCEPT


# --- Proxy-State, auto, EAP


def proxied(nas: Nas, person: Person, ahead: int, form: str) -> Request:
    return access_request(
        nas.secret, person.name, person.pin(ahead), extra=[(PROXY_STATE, b"7")], message_authenticator=form
    )


@pytest.mark.statement("R-039")
def test_proxy_state_without_signature_gets_silence_where_it_is_limited(nas_from: NasFrom, person: Person) -> None:
    """The matrix of R-039: `auto` limits, `off` does not."""
    limited, unlimited = nas_from("127.0.3.39"), nas_from(Source.UNSIGNED)
    assert unlimited.ask(proxied(unlimited, person, 0, "none")).code == ACCEPT
    assert unlimited.ask(proxied(unlimited, person, 1, "first")).code == ACCEPT
    data = proxied(limited, person, 2, "none").data
    limited.send(data)  # no probe before: it would be signed, and then everything must be
    check_silence(limited)
    assert person.counter == 2
    assert limited.ask(proxied(limited, person, 2, "first")).code == ACCEPT


@pytest.mark.statement("R-041")
def test_once_an_auto_client_has_signed_it_must_also_after_a_restart(live: Live, person: Person) -> None:
    """`auto` goes by address: another one of the same client may still come unsigned."""
    signer, other = "127.0.3.41", "127.0.3.42"
    with live.site.server() as server, server.nas(source=signer) as nas, server.nas(source=other) as unseen:
        check_accepted(nas, person, 0, message_authenticator="none")
        check_accepted(nas, person, 1)
        check_silence(nas, access_request(SECRET, person.name, person.pin(2), message_authenticator="none").data)
        check_accepted(unseen, person, 2, message_authenticator="none")
    with live.site.server() as server, server.nas(source=signer) as nas, server.nas(source=other) as unseen:
        nas.send(access_request(SECRET, person.name, person.pin(3), message_authenticator="none").data)
        check_accepted(unseen, person, 3, message_authenticator="none")
        assert person.counter == 4
        eventually(lambda: "from=127.0.3.41 reason=message-authenticator-missing" in server.log)
        check_accepted(nas, person, 4)


@pytest.mark.statement("R-042")
def test_unsigned_eap_gets_silence(live: Live, nas_from: NasFrom, person: Person) -> None:
    nas = nas_from(Source.UNSIGNED)
    eap = access_request(
        nas.secret, person.name, None, extra=[(EAP_MESSAGE, EAP_IDENTITY)], message_authenticator="none"
    )
    check_silence(nas, eap.data)
    assert person.logins == []
    assert live.logged(f"from={Source.UNSIGNED}", "reason=eap-without-message-authenticator")


@pytest.mark.parametrize("source", [Source.UNSIGNED, "127.0.3.43"], ids=["off", "auto"])
def test_an_unsigned_request_without_any_password_is_refused_where_none_must_sign(
    nas_from: NasFrom, person: Person, source: str
) -> None:
    """RFC 3579 3.3 would have it dropped; its log line then could not name what the gateway does instead (R-043)."""
    nas = nas_from(source)
    assert nas.ask(access_request(nas.secret, person.name, None, message_authenticator="none")).code == REJECT
    assert person.logins == [("reject", "request-unsupported")]


def test_a_new_client_must_sign_unless_the_admin_says_otherwise(live: Live) -> None:
    site = live.site
    assert site.command("client", "add", "new", "192.0.2.99", "--secret-stdin", stdin=SECRET).returncode == 0
    rules = {client.name: str(client.message_authenticator) for client in site.gate.clients()}
    assert (rules["new"], rules["unsigned"], rules["auto"]) == ("required", "off", "auto")
    assert site.command("client", "remove", "new").returncode == 0
