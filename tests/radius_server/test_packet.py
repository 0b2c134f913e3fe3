"""Bytes into requests and replies into bytes, against the RFCs' own packets and arbitrary octets."""

import contextlib
import hashlib
import sys
from collections.abc import Callable
from itertools import product
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius_server import conversation
from radius_server.attributes import Code
from radius_server.clients import check_signature_rule, signature_of
from radius_server.conversation import Entry
from radius_server.packet import BadPassword, Malformed, Packet, ReplyTooLong, encode_reply, parse, signed, unhide
from tests.builders import client
from tests.vectors import radius_rfc2865, radius_rfc5997
from tests.wire import PROXY_STATE, Reply, Request, access_request, encode, find_message_authenticator, hide, packet
from validation.decisions import Challenge, Reason
from validation.messages import without_controls
from validation.model import MessageAuthenticatorRule

SECRET = b"a-secret-of-24-characters"
AUTHENTICATOR = bytes(range(16))
CLIENT = client(secret=SECRET, message_authenticator=MessageAuthenticatorRule.AUTO)

RFC_EXCHANGES = [(e.section, radius_rfc2865.SECRET, e.request, e.reply) for e in radius_rfc2865.SECTION_7] + [
    (e.section, radius_rfc5997.SECRET, e.request, e.reply) for e in radius_rfc5997.SECTION_6
]
rfc_exchanges = pytest.mark.parametrize(
    ("secret", "request_octets", "reply_octets"), [e[1:] for e in RFC_EXCHANGES], ids=[e[0] for e in RFC_EXCHANGES]
)

# --- Shape


@given(st.binary(max_size=4200))
def test_arbitrary_octets_are_a_packet_or_malformed(datagram: bytes) -> None:
    found = packet_or_malformed(datagram)
    assert found is None or encode((kind, value) for kind, _, value in found.attributes) == found.data[20:]


def packet_or_malformed(datagram: bytes) -> Packet | None:
    """Any other exception fails the test."""
    try:
        return parse(datagram)
    except Malformed:
        return None


lengths = st.one_of(st.none(), st.integers(0, 65_535))


@given(st.integers(0, 255), st.integers(0, 255), lengths, st.binary(max_size=300), st.binary(max_size=3))
def test_a_header_and_arbitrary_attributes_are_a_packet_or_malformed(
    code: int, identifier: int, length: int | None, body: bytes, padding: bytes
) -> None:
    length = 20 + len(body) if length is None else length
    datagram = bytes([code, identifier]) + length.to_bytes(2, "big") + AUTHENTICATOR + body + padding
    found = packet_or_malformed(datagram)
    if found is not None:
        assert (found.code, found.identifier, found.authenticator) == (code, identifier, AUTHENTICATOR)
        assert found.data == datagram[:length]
        assert all(found.data[at : at + len(value)] == value for _, at, value in found.attributes)


attributes = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=253)), max_size=15)


@given(attributes)
def test_every_well_formed_packet_is_read(expected: list[tuple[int, bytes]]) -> None:
    found = parse(packet(1, 7, AUTHENTICATOR, expected))
    assert [(kind, value) for kind, _, value in found.attributes] == expected
    assert found.values(1) == [value for kind, value in expected if kind == 1 and value]


@given(st.binary(max_size=260))
@pytest.mark.statement("R-017")
def test_inner_lengths_of_a_vendor_attribute_never_matter(value: bytes) -> None:
    found = parse(packet(1, 7, AUTHENTICATOR, [(26, (311).to_bytes(4, "big") + value[:249])]))
    assert found.vendor_types(99_999) == set()
    assert found.vendor_types(311) <= set(value)


def test_vendor_types_are_found_in_several_attributes() -> None:
    microsoft = (311).to_bytes(4, "big")
    found = parse(
        packet(1, 7, AUTHENTICATOR, [(26, microsoft + b"\x0b\x03a\x19\x03b"), (26, microsoft + b"\x01\x03c")])
    )
    assert found.vendor_types(311) == {1, 11, 25}


@pytest.mark.statement("R-008")
def test_the_response_of_rfc_2865_as_printed_overruns_and_is_malformed() -> None:
    with pytest.raises(Malformed, match="attribute-overrun"):
        parse(radius_rfc2865.AS_PRINTED)
    assert parse(radius_rfc2865.SECTION_7[-1].request).values(24) == [b"32769430"]


# --- Message-Authenticator


@pytest.mark.statement("R-030")
@pytest.mark.parametrize("exchange", radius_rfc5997.SECTION_6, ids=lambda e: e.section)
def test_requests_of_rfc_5997_verify_and_no_changed_bit_does(exchange: radius_rfc5997.Exchange) -> None:
    assert signed(parse(exchange.request), radius_rfc5997.SECRET)
    assert not any(is_signed(flipped(exchange.request, bit)) for bit in range(len(exchange.request) * 8))


def is_signed(datagram: bytes) -> bool:
    """False where the packet is malformed, wrongly signed, or no longer carries the attribute."""
    try:
        return signed(parse(datagram), radius_rfc5997.SECRET)
    except Malformed:
        return False


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def test_a_request_without_message_authenticator_is_unsigned_not_malformed() -> None:
    assert signed(parse(radius_rfc2865.SECTION_7[0].request), radius_rfc2865.SECRET) is False


def test_a_message_authenticator_under_another_secret_is_wrong() -> None:
    with pytest.raises(Malformed, match="message-authenticator-wrong"):
        signed(parse(access_request(b"another secret", "alice", "x").data), SECRET)


@pytest.mark.statement("R-031")
@pytest.mark.parametrize("length", [0, 1, 15, 17, 253])
def test_a_message_authenticator_of_another_length_is_no_message_authenticator(length: int) -> None:
    with pytest.raises(Malformed, match="message-authenticator-length"):
        signed(parse(packet(1, 7, AUTHENTICATOR, [(80, bytes(length))])), SECRET)


@pytest.mark.statement("R-031")
def test_two_message_authenticators_are_one_too_many() -> None:
    with pytest.raises(Malformed, match="message-authenticator-doubled"):
        signed(parse(access_request(SECRET, "alice", "x", extra=[(80, bytes(16))]).data), SECRET)


# --- User-Password


@pytest.mark.statement("R-052")
@pytest.mark.parametrize("exchange", [e for e in radius_rfc2865.SECTION_7 if e.password], ids=lambda e: e.section)
def test_passwords_of_rfc_2865_are_unhidden(exchange: radius_rfc2865.Exchange) -> None:
    found = parse(exchange.request)
    (hidden,) = found.values(2)
    assert unhide(hidden, radius_rfc2865.SECRET, found.authenticator) == exchange.password


@pytest.mark.statement("R-052")
@given(st.binary(min_size=1, max_size=128).filter(lambda password: password[-1] != 0), st.binary(min_size=1))
def test_every_password_is_unhidden(password: bytes, secret: bytes) -> None:
    assert unhide(hide(password, secret, AUTHENTICATOR), secret, AUTHENTICATOR) == password


@pytest.mark.statement("R-053")
def test_only_the_padding_is_removed() -> None:
    assert unhide(hide(b"abc\0def", SECRET, AUTHENTICATOR), SECRET, AUTHENTICATOR) == b"abc\0def"
    assert unhide(hide(b"abc\0", SECRET, AUTHENTICATOR), SECRET, AUTHENTICATOR) == b"abc"


@pytest.mark.statement("R-051")
def test_only_whole_blocks_of_16_octets_up_to_128_can_be_a_password() -> None:
    possible = [length for length in range(254) if is_possible(length)]
    assert possible == [16, 32, 48, 64, 80, 96, 112, 128]


def is_possible(length: int) -> bool:
    try:
        unhide(bytes(length), SECRET, AUTHENTICATOR)
    except BadPassword:
        return False
    return True


# --- Replies


def response_authenticator(reply: bytes, request: bytes, secret: bytes) -> bytes:
    """RFC 2865 section 3."""
    return hashlib.md5(reply[:4] + request[4:20] + reply[20:] + secret).digest()


@pytest.mark.statement("R-038")
@rfc_exchanges
def test_response_authenticators_of_the_rfcs_and_of_our_replies(
    secret: bytes, request_octets: bytes, reply_octets: bytes
) -> None:
    """The computation is anchored by the RFC's own reply, then applied to ours."""
    assert reply_octets[4:20] == response_authenticator(reply_octets, request_octets, secret)
    for code in (Code.ACCESS_ACCEPT, Code.ACCESS_REJECT, Code.ACCESS_CHALLENGE):
        ours = encode_reply(parse(request_octets), secret, code, [(18, b"text")])
        assert ours[4:20] == response_authenticator(ours, request_octets, secret)
        assert Reply(ours).check(Request(request_octets, secret)).code == code


def request_with(*extra: tuple[int, bytes]) -> tuple[Packet, Request]:
    request = access_request(SECRET, "alice", "geheim", extra=extra)
    return parse(request.data), request


@pytest.mark.statement("R-036", "R-037")
@pytest.mark.parametrize("form", ["first", "last", "none"])
def test_every_reply_is_signed_first_whatever_the_request_was(form: str) -> None:
    request = access_request(SECRET, "alice", "geheim", message_authenticator=form)
    for code in (Code.ACCESS_ACCEPT, Code.ACCESS_REJECT, Code.ACCESS_CHALLENGE):
        reply = encode_reply(parse(request.data), SECRET, code, [(18, b"text")])
        assert Reply(reply).check(request).data[20:22] == b"\x50\x12"


@pytest.mark.statement("R-120")
@pytest.mark.parametrize("count", [0, 1, 2, 10])
def test_proxy_states_come_last_and_in_order_and_displace_nothing(count: int) -> None:
    states = [bytes([count - number, 0, number]) for number in range(count)]
    found, request = request_with(*((PROXY_STATE, state) for state in states))
    reply = Reply(encode_reply(found, SECRET, Code.ACCESS_CHALLENGE, [(18, b"a"), (24, b"b"), (18, b"c")]))
    assert reply.check(request).attributes[1:] == [
        (18, b"a"),
        (18, b"c"),
        (24, b"b"),
        *((PROXY_STATE, state) for state in states),
    ]


@pytest.mark.statement("R-013")
def test_an_empty_proxy_state_counts_as_absent_and_is_not_sent() -> None:
    found, request = request_with((PROXY_STATE, b""), (PROXY_STATE, b"x"), (PROXY_STATE, b""))
    reply = Reply(encode_reply(found, SECRET, Code.ACCESS_ACCEPT, []))
    assert reply.check(request).attributes[1:] == [(PROXY_STATE, b"x")]


@pytest.mark.statement("R-013")
@pytest.mark.parametrize("value", [b"", bytes(254)], ids=["empty", "too long"])
def test_an_attribute_without_octets_or_with_too_many_is_never_encoded(value: bytes) -> None:
    with pytest.raises(ValueError, match="octets; 1 to 253"):
        encode_reply(request_with()[0], SECRET, Code.ACCESS_ACCEPT, [(18, value)])


REPLY_MESSAGE, STATE, VENDOR_SPECIFIC, SESSION_TIMEOUT, IDLE_TIMEOUT, PROMPT, EAP, ERROR_CAUSE = (
    *(18, 24, 26, 27, 28),
    *(76, 79, 101),
)


@pytest.mark.statement("R-071", "R-072")
@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        (Code.ACCESS_REJECT, {REPLY_MESSAGE, EAP, ERROR_CAUSE}),
        (
            Code.ACCESS_CHALLENGE,
            {REPLY_MESSAGE, STATE, VENDOR_SPECIFIC, SESSION_TIMEOUT, IDLE_TIMEOUT, PROMPT, EAP},
        ),
    ],
    ids=["reject", "challenge"],
)
def test_nothing_else_can_stand_in_this_reply(code: Code, allowed: set[int]) -> None:
    """Proxy-State (33) and Message-Authenticator (80) are the codec's to add, and cannot be handed in."""
    assert {kind for kind in range(256) if can_stand_in(code, kind)} == allowed


def test_an_accept_cannot_hold_passwords() -> None:
    assert {kind for kind in range(1, 256) if not can_stand_in(Code.ACCESS_ACCEPT, kind)} == {2, 3, 33, 80}


def can_stand_in(code: Code, kind: int) -> bool:
    found, request = request_with()
    try:
        reply = encode_reply(found, SECRET, code, [(kind, b"\0\0\0\1")])
    except ValueError:
        return False
    return kind in dict(Reply(reply).check(request).attributes)


@pytest.mark.statement("R-076")
def test_a_reply_of_4096_octets_is_sent_and_none_of_4097_is_cut() -> None:
    full = [253] * 15 + [4096 - 20 - 18 - 15 * 255 - 24 - 2]
    assert len(reply_with_proxy_states(full)) == 4096
    with pytest.raises(ReplyTooLong, match="4097"):
        reply_with_proxy_states([*full[:-1], full[-1] + 1])


def reply_with_proxy_states(lengths: list[int]) -> bytes:
    """A Reject with a Reply-Message of 24 octets; the request has no other attributes, so that it fits itself."""
    request = Request(packet(1, 7, AUTHENTICATOR, [(PROXY_STATE, bytes(length)) for length in lengths]), SECRET)
    reply = encode_reply(parse(request.data), SECRET, Code.ACCESS_REJECT, [(18, b"The login was refused.")])
    assert Reply(reply).check(request).values(PROXY_STATE) == [bytes(length) for length in lengths]
    return reply


def test_message_authenticator_is_found_at_every_place() -> None:
    """What `signed` computes does not depend on what stands around the attribute."""
    for before, after in product(range(4), repeat=2):
        extra = [(32, bytes([n])) for n in range(before)]
        request = access_request(SECRET, None, None, extra=extra, message_authenticator="last")
        assert find_message_authenticator(request.data) == 22 + 3 * before
        assert signed(parse(request.data + bytes(after)), SECRET)


# --- How much work a packet is


def lines_run(function: Callable[[], object]) -> int:
    """How many lines of Python run in a call."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def many(kind: int, value: bytes, count: int) -> bytes:
    return packet(1, 7, AUTHENTICATOR, [(kind, value)] * count)


@pytest.mark.statement("R-016")
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (0, b""),
        (1, b""),
        (24, b""),
        (26, b""),
        (26, (311).to_bytes(4, "big")),
        (33, b"x"),
        (79, b"x"),
        (80, b""),
        (255, b""),
    ],
)
def test_twice_as_many_attributes_are_twice_the_work(kind: int, value: bytes) -> None:
    """Up to the 2038 that fit into a packet: shape, signature, what is read and what the rule for the client asks."""

    def work(count: int) -> int:
        def whole_way() -> None:
            with contextlib.suppress(Malformed):
                found = parse(many(kind, value, count))
                signature = signature_of(found, CLIENT, now=0.0)
                check_signature_rule(found, CLIENT, signature.signed, False)
                conversation.read(found, CLIENT, signature)

        return lines_run(whole_way)

    fit = (4096 - 20) // (2 + len(value))
    half, full = work(fit // 2), work(fit)
    assert fit // 2 < half
    assert full < 2.1 * half


# --- Types


@pytest.mark.statement("R-018")
@given(st.lists(st.text(min_size=1, max_size=300), min_size=1, max_size=5))
def test_texts_arrive_as_utf_8_in_pieces_of_1_to_253_octets(texts: list[str]) -> None:
    """Every text of a reply, read back by a second hand; only line breaks and control characters are not carried."""
    decision = Challenge(state="a" * 32, texts=tuple(texts), lifetime=60.0, reason=Reason.PASSWORD_RIGHT, tries_left=3)
    request = parse(access_request(SECRET, "alice", "x").data)
    code, attributes = conversation.reply_to(decision, Entry("alice"))
    pieces = Reply(encode_reply(request, SECRET, code, attributes)).values(18)
    assert all(1 <= len(piece) <= 253 for piece in pieces)
    shown = "".join(piece.decode() for piece in pieces)  # strictly: each piece is whole characters
    assert shown == "".join(without_controls(line) for text in texts for line in text.split("\n"))
