"""Our own RADIUS client: what it sends, which reply it believes, and that nothing else moves it."""

import hashlib
import logging
import secrets
import socket
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius_client.client import CannotAsk, NoReply, RadiusClient, answer, waits
from radius_client.wire import Code, Malformed
from tests.first_factor.upstream import SECRET, Upstream, accept, reply, silence, unhidden, upstream
from tests.wire import Reply, Request, sign

SOON = 0.4  # seconds, where no answer is expected


def client_of(server: Upstream, retries: int = 2) -> RadiusClient:
    return RadiusClient(server.address, SECRET, "here", retries=retries)


# --- what is sent


@pytest.mark.statement("R-121")
def test_a_request_is_signed_first_names_us_and_invents_no_proxy_state() -> None:
    with upstream() as server:
        assert client_of(server).login("alice", b"geheim", b"a-state").code is Code.ACCESS_ACCEPT
        (request,) = server.requests
    assert Reply(request).attributes[0][0] == 80
    kinds = sorted(kind for kind, _ in Reply(request).attributes)
    assert kinds == [1, 2, 24, 32, 80]
    assert Reply(request).values(32) == [b"here"]
    assert _right_signature(request)


def _right_signature(request: bytes) -> bool:
    zeroed = request[:22] + bytes(16) + request[38:]
    return sign(zeroed, SECRET) == request


@pytest.mark.statement("R-052")
@pytest.mark.parametrize("length", [1, 15, 16, 17, 32, 127, 128])
def test_a_password_arrives_whole(length: int) -> None:
    password = bytes(range(1, length + 1))
    with upstream() as server:
        client_of(server).login("alice", password)
        assert unhidden(server.requests[0]).rstrip(b"\0") == password


@pytest.mark.statement("O-050", "V-002", "V-003")
def test_identifier_authenticator_and_port_are_new_each_time() -> None:
    with upstream() as server:
        client = client_of(server)
        for _ in range(40):
            client.login("alice", b"geheim")
        assert len({request[4:20] for request in server.requests}) == 40
        assert len({request[1] for request in server.requests}) > 20
        assert len({port for _, port in server.sources}) > 20


@pytest.mark.statement("R-055")
@pytest.mark.parametrize("length", [129, 512, 100_000])
def test_a_password_over_128_octets_is_refused_and_never_cut(length: int) -> None:
    with upstream() as server:
        with pytest.raises(CannotAsk, match=f"{length} octets") as caught:
            client_of(server).login("alice", b"x" * length)
        assert "xxx" not in str(caught.value)
        assert server.requests == []


@pytest.mark.statement("R-053", "R-054")
@pytest.mark.parametrize(
    ("user", "password"),
    [("a", b""), ("a", b"abc\0def"), ("a", b"\0"), ("", b"x"), ("a" * 254, b"x"), ("half \ud800", b"x")],
)
def test_what_cannot_be_asked_is_not_sent(user: str, password: bytes) -> None:
    with upstream() as server:
        with pytest.raises(CannotAsk):
            client_of(server).login(user, password)
        assert server.requests == []


def test_the_answer_to_a_challenge_may_be_empty() -> None:
    with upstream() as server:
        assert client_of(server).login("alice", b"", b"a-state").code is Code.ACCESS_ACCEPT
        assert unhidden(server.requests[0]) == bytes(16)


def test_a_status_server_is_signed_and_names_nobody() -> None:
    with upstream() as server:
        assert client_of(server).status().code is Code.ACCESS_ACCEPT
        (request,) = server.requests
    assert request[0] == 12
    assert [kind for kind, _ in Reply(request).attributes] == [80, 32]
    assert _right_signature(request)


# --- which reply counts


def test_what_a_reply_says() -> None:
    attributes = [(18, b"Hello "), (18, b"there"), (24, b"s"), (26, b"\0\0\0\x09\x01\x04xx"), (25, b"")]
    with upstream(lambda request: [reply(request, 11, attributes, signature="last") + b"padding"]) as server:
        found = client_of(server).login("alice", b"geheim")
    assert (found.code, found.text, found.state) == (Code.ACCESS_CHALLENGE, "Hello there", b"s")
    assert [kind for kind, _ in found.attributes] == [18, 18, 24, 26, 80]
    assert not found.signed_first
    assert found.seconds >= 0
    assert "there" not in repr(found)


@pytest.mark.statement("V-005")
@pytest.mark.parametrize("length", [0, 1])
@pytest.mark.parametrize("kind", [18, 24], ids=["Reply-Message", "State"])
def test_an_attribute_that_is_shorter_than_its_own_head_harms_nobody(kind: int, length: int) -> None:
    """Of a server that has the secret, in a challenge (CVE-2005-0108)."""

    def hostile(request: bytes) -> bytes:
        signed = reply(request, 11)
        head, body = signed[:2] + (len(signed) + 2).to_bytes(2, "big"), signed[20:] + bytes([kind, length])
        return head + hashlib.md5(head + request[4:20] + body + SECRET).digest() + body

    with upstream(lambda request: [hostile(request), reply(request, 3)]) as server:
        client = client_of(server)
        assert client.login("alice", b"geheim").code is Code.ACCESS_REJECT
    assert client.ignored == {"attribute-length": 1}


def _older(request: bytes) -> bytes:
    """A true reply, but to another request with the same Identifier."""
    return reply(request[:4] + secrets.token_bytes(16) + request[20:])


def _other_identifier(request: bytes) -> bytes:
    return reply(request, identifier=(request[1] + 1) % 256)


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "shorter-than-header": lambda request: reply(request)[:19],
    "shorter-than-length": lambda request: reply(request)[:-1],
    "length-out-of-range": lambda request: secrets.token_bytes(2) + b"\xff\xff" + secrets.token_bytes(5_000),
    "attribute-overrun": lambda request: reply(request)[:21] + b"\xff" + reply(request)[22:],
    "identifier-of-another": _other_identifier,
    "response-authenticator-wrong": _older,
    "message-authenticator-missing": lambda request: reply(request, signature="none"),
    "message-authenticator-wrong": lambda request: reply(request, signature="wrong"),
    "message-authenticator-doubled": lambda request: reply(request, signature="twice"),
    "message-authenticator-length": lambda request: reply(request, signature="long"),
    "code-unexpected": lambda request: reply(request, 5),
}


@pytest.mark.statement("R-030", "R-031", "V-001")
@pytest.mark.parametrize("reason", sorted(HOSTILE))
def test_a_reply_that_does_not_count_is_as_if_it_had_never_come(reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """The true one, a reject, comes after many forged accepts and is the one that counts."""
    with upstream(lambda request: [HOSTILE[reason](request) for _ in range(5)] + [reply(request, 3)]) as server:
        client = client_of(server)
        assert client.login("alice", b"geheim").code is Code.ACCESS_REJECT
    assert client.ignored == {reason: 5}
    assert [record.getMessage().count(reason) for record in caplog.records] == [1]
    assert SECRET.decode() not in caplog.text


@pytest.mark.parametrize("signature", ["none", "wrong"])
def test_forged_accepts_alone_are_no_answer(signature: str) -> None:
    with upstream(lambda request: [reply(request, signature=signature)]) as server:
        with pytest.raises(NoReply, match=r"ignored: .* message-authenticator") as caught:
            client_of(server, retries=0).login("alice", b"geheim", within=SOON)
        assert caught.value.ignored.total() == 1


def test_a_true_reply_to_the_request_before_does_not_count() -> None:
    """Kept back until the next request comes; both have the same Identifier."""
    kept: list[bytes] = []

    def late(request: bytes) -> list[bytes]:
        kept.append(reply(request))
        return [kept[0], reply(request, 3)] if len(kept) > 1 else []

    with upstream(late) as server:
        client = client_of(server, retries=0)
        with pytest.raises(NoReply):
            client.login("alice", b"geheim", within=SOON)
        assert client.login("mallory", b"wrong").code is Code.ACCESS_REJECT


def test_a_true_reply_from_another_address_does_not_count() -> None:
    with upstream(silence) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:

        def aside(request: bytes) -> list[bytes]:
            elsewhere.sendto(reply(request), server.sources[-1])
            return [reply(request, 3)]

        server.answers = aside
        client = client_of(server)
        assert client.login("alice", b"geheim").code is Code.ACCESS_REJECT
        assert not client.ignored


REQUEST = Request(b"\x01\x07" + bytes(2) + bytes(range(16)), SECRET)
GOOD = reply(REQUEST.data, 2, [(25, b"class")])


def _counts(datagram: bytes) -> bool:
    try:
        answer(datagram, 1, 7, REQUEST.authenticator, SECRET)
    except Malformed:
        return False
    return True


def test_no_bit_of_a_reply_can_be_changed() -> None:
    assert _counts(GOOD)
    changed = [GOOD[:at] + bytes([GOOD[at] ^ 1 << bit]) + GOOD[at + 1 :] for at in range(len(GOOD)) for bit in range(8)]
    assert not [datagram for datagram in changed if _counts(datagram)]


@given(st.binary(max_size=300))
def test_arbitrary_octets_are_no_reply(datagram: bytes) -> None:
    assert not _counts(datagram)


@given(st.binary(max_size=200))
def test_right_signatures_around_arbitrary_octets_break_nothing(body: bytes) -> None:
    """Whoever has the secret may send anything: it is a reply, or it is malformed."""
    head = bytes([2, 7]) + (20 + len(body)).to_bytes(2, "big")
    signed = hashlib.md5(head + REQUEST.authenticator + body + SECRET).digest()
    assert _counts(head + signed + body) is False


# --- again, and no more


def test_the_same_packet_comes_again_from_the_same_port_until_it_is_answered() -> None:
    with upstream(silence) as server:
        server.answers = lambda request: accept(request) if len(server.requests) == 3 else []
        assert client_of(server).login("alice", b"geheim", within=2).code is Code.ACCESS_ACCEPT
        assert len(server.requests) == 3
        assert len(set(server.requests)) == 1
        assert len(set(server.sources)) == 1


def test_a_server_that_says_nothing_is_given_up() -> None:
    with upstream(silence) as server:
        with pytest.raises(NoReply, match=r"no reply within 0\.4 s$"):
            client_of(server).login("alice", b"geheim", within=SOON)
        assert len(server.requests) == 3


def test_each_wait_is_twice_the_one_before_and_all_are_the_budget() -> None:
    assert waits(7.0, 2, lambda low, high: 0.0) == [1.0, 2.0, 4.0]
    assert waits(5.0, 0) == [5.0]
    for _ in range(100):
        found = waits(7.0, 2)
        assert sum(found) == pytest.approx(7.0)
        assert found[0] == pytest.approx(1.0, rel=0.1)
        assert found[1] == pytest.approx(2.0, rel=0.1)
    assert len({tuple(waits(7.0, 2)) for _ in range(10)}) == 10, "no two clients send in step"


def test_a_closed_port_is_noticed_at_once(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        closed = sock.getsockname()
    caplog.set_level(logging.DEBUG)
    with pytest.raises(NoReply, match="nothing listens there"):
        RadiusClient(closed, SECRET).login("alice", b"geheim", within=60)
    assert caplog.text == ""


def test_an_address_that_is_not_ours_cannot_be_sent_from() -> None:
    with pytest.raises(NoReply, match="assign"):
        RadiusClient(("127.0.0.1", 9), SECRET, source="192.0.2.77").status(SOON)
