"""What is made of a well-formed request, and what a decision looks like as a reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius_server.attributes import Attribute, Code
from radius_server.clients import Signature
from radius_server.conversation import Entry, chunks, login_request, password_of, read, reply_to
from radius_server.packet import encode_reply, parse
from tests.builders import client
from tests.wire import CALLING_STATION_ID, REPLY_MESSAGE, STATE, Reply, access_request, packet
from validation.decisions import Accept, Challenge, Look, Reason, Reject, Split
from validation.model import Client, Mode

CLIENT = client()


def entry(user: str | None = "alice", password: str | None = "geheim", signed: bool = True, **options: object) -> Entry:
    request = access_request(CLIENT.secret, user, password, **options)  # type: ignore[arg-type]
    return read(parse(request.data), CLIENT, Signature(signed, (CLIENT.secret,)))


# --- Reading


def test_a_pap_login_is_read() -> None:
    found = entry()
    assert (found.user, found.typed, found.state, found.secret) == ("alice", "geheim", None, CLIENT.secret)
    found = entry("jürgen", "pässwort", state=b"ab12")
    assert (found.user, found.typed, found.state) == ("jürgen", "pässwort", "ab12")


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=253)), max_size=12))
def test_reading_never_raises(attributes: list[tuple[int, bytes]]) -> None:
    found = read(parse(packet(1, 7, bytes(16), attributes)[:4096]), CLIENT, Signature(True, (CLIENT.secret,)))
    assert found.unsupported or (found.user and found.typed)
    assert not (found.unsupported and found.needs_password_check)


@pytest.mark.statement("R-090")
@given(st.binary(min_size=1, max_size=253), st.booleans())
def test_any_octets_can_be_a_state_at_any_place(state: bytes, first: bool) -> None:
    """Two States that differ are never read alike where one of them is ours, which is hex."""
    attributes = [(STATE, state), (32, b"nas")] if first else [(32, b"nas"), (STATE, state)]
    found = entry(extra=attributes)
    assert found.state == state.decode("utf-8", "backslashreplace")
    assert (found.state == "ab" * 16) == (state == b"ab" * 16)


@pytest.mark.parametrize(
    ("value", "source"),
    [
        (b"198.51.100.7", "198.51.100.7"),
        (b"198.51.100.7[4500]", "198.51.100.7"),
        (b"2001:db8::7[4500]", "2001:db8::7"),
        (b"2001:DB8::0:1", "2001:db8::1"),
        (b"::ffff:198.51.100.7", "198.51.100.7"),
        (b"::FFFF:c633:6407[4500]", "198.51.100.7"),
        (b"fe80::7%eth0", "fe80::7"),
        (b"00-11-22-33-44-55", None),
        (b"+49 30 1234", None),
        (b"\xff\xfe", None),
        (b"", None),
    ],
)
def test_the_address_of_the_person_counts_only_in_a_signed_request(value: bytes, source: str | None) -> None:
    station = [(CALLING_STATION_ID, value)]
    assert entry(extra=station).source == source
    assert entry(extra=station, signed=False).source is None


def test_a_secret_never_shows_in_an_entry() -> None:
    shown = repr(entry("alice", "geheim755224", state=b"ab12"))
    assert "geheim" not in shown
    assert "ab12" not in shown


def in_mode(mode: Mode) -> Client:
    return client(mode=mode)


@pytest.mark.parametrize(
    ("mode", "read_entry", "look", "password", "passcode"),
    [
        (Mode.CHALLENGE, Entry("alice", "geheim"), Look("local"), "geheim", None),
        (Mode.CHALLENGE, Entry("alice", "755 224", state="state"), None, "755 224", "755224"),
        (Mode.APPEND, Entry("alice", "a-b 755224"), Look("local", split=Split("a-b ", "755224")), "a-b ", "755224"),
        (Mode.APPEND, Entry("alice", "short"), Look("local"), "", None),
        (Mode.PASSCODE_ONLY, Entry("alice", "755-224"), None, "755-224", "755224"),
        (Mode.PASSCODE_ONLY, Entry("alice", "755224", unsupported="EAP"), None, "755224", None),
    ],
)
def test_what_is_a_password_and_what_a_pin_depends_on_the_mode(
    mode: Mode, read_entry: Entry, look: Look | None, password: str, passcode: str | None
) -> None:
    assert password_of(read_entry, in_mode(mode), look or Look("local")) == password
    request = login_request(read_entry, in_mode(mode), "id", look)
    assert request.passcode == passcode
    assert (request.client, request.client_version) == ("vpn", 7)


# --- Replies


ALICE = Entry("alice", "geheim")


def challenge(*texts: str) -> Challenge:
    return Challenge("ab" * 16, texts, 120, Reason.PASSWORD_RIGHT, 3)


NO_ECHO = (76, bytes(4))  # RFC 2869 5.10


def test_the_replies_of_the_three_decisions() -> None:
    asked = reply_to(challenge("Look here.", "PIN: "), ALICE)
    assert asked == (Code.ACCESS_CHALLENGE, [(18, b"Look here."), (18, b"PIN: "), (24, b"ab" * 16), NO_ECHO])
    assert reply_to(Accept("alice", Reason.PASSCODE_RIGHT, "TF-1", "totp"), ALICE) == (Code.ACCESS_ACCEPT, [])
    reminded = Accept("alice", Reason.GRACE, texts=("Please register.",))
    assert reply_to(reminded, ALICE) == (Code.ACCESS_ACCEPT, [(18, b"Please register.")])
    assert reply_to(Reject(Reason.NO_TOKEN, "Refused."), ALICE) == (Code.ACCESS_REJECT, [(18, b"Refused.")])


@pytest.mark.parametrize("written", ["ALICE", "alice@corp", "\uff41lice"])
def test_an_accept_names_the_user_where_the_client_wrote_him_otherwise(written: str) -> None:
    """RFC 2865 5.1. Whoever goes on with the name goes on with the one whose factors were proved."""
    accepted = Accept("alice", Reason.PASSCODE_RIGHT, "TF-1", "totp")
    assert reply_to(accepted, Entry("alice", named=written)) == (Code.ACCESS_ACCEPT, [(1, b"alice")])
    assert reply_to(accepted, Entry("alice", named="alice")) == (Code.ACCESS_ACCEPT, [])
    for refused in (Reject(Reason.NO_TOKEN, "No."), challenge("PIN: ")):
        assert 1 not in dict(reply_to(refused, Entry("alice", named=written))[1])


@pytest.mark.statement("R-071", "R-078")
def test_every_refusal_is_the_same_and_says_nothing() -> None:
    replies = [reply_to(Reject(reason, "No.", failures=3), ALICE) for reason in Reason]
    assert replies == [(Code.ACCESS_REJECT, [(Attribute.REPLY_MESSAGE, b"No.")])] * len(Reason)


@pytest.mark.statement("R-073")
@given(st.text())
def test_pieces_of_a_text_join_to_the_text_and_none_is_too_long_or_cut_inside_a_character(text: str) -> None:
    pieces = list(chunks(text * 40))
    assert b"".join(pieces) == (text * 40).encode()
    assert all(1 <= len(piece) <= 253 for piece in pieces)
    assert "".join(piece.decode() for piece in pieces) == text * 40


@pytest.mark.statement("R-073")
@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("x" * 253, [253]),
        ("x" * 254, [253, 1]),
        ("x" * 506, [253, 253]),
        ("x" * 507, [253, 253, 1]),
        ("x" * 252 + "ü", [252, 2]),
        ("x" * 252 + "€", [252, 3]),
        ("x" * 251 + "€", [251, 3]),
        ("x" * 250 + "€", [253]),
        ("x" * 252 + "😀", [252, 4]),
        ("x" * 250 + "😀", [250, 4]),
        ("x" * 249 + "😀", [253]),
    ],
)
def test_a_long_text_is_cut_between_characters(text: str, lengths: list[int]) -> None:
    pieces = list(chunks(text))
    assert [len(piece) for piece in pieces] == lengths
    assert "".join(piece.decode() for piece in pieces) == text


@pytest.mark.statement("R-073")
def test_a_long_reply_message_is_sent_in_order() -> None:
    text = "".join(chr(0x4E00 + n) for n in range(400))
    request = access_request(CLIENT.secret, "alice", "geheim")
    code, attributes = reply_to(challenge(text), ALICE)
    reply = Reply(encode_reply(parse(request.data), CLIENT.secret, code, attributes)).check(request)
    assert len(reply.values(REPLY_MESSAGE)) == 5
    assert reply.text == text


@pytest.mark.statement("R-074")
@pytest.mark.parametrize("hostile", ["\x1b[2J", "\r\nAccept", "a\0b", "\x7f", "\x9b31m", "\u2028", "\u2029", "\ttab"])
def test_a_reply_message_has_no_control_characters(hostile: str) -> None:
    for decision in (challenge(f"one{hostile}two"), Reject(Reason.NO_TOKEN, f"one{hostile}two")):
        _, attributes = reply_to(decision, ALICE)
        shown = [value.decode() for kind, value in attributes if kind == REPLY_MESSAGE]
        assert all(text.isprintable() for text in shown)
        assert "".join(shown).startswith("one")


@pytest.mark.statement("R-073")
def test_a_line_break_begins_another_attribute() -> None:
    _, attributes = reply_to(challenge("one\ntwo", "three"), ALICE)
    assert [value for kind, value in attributes if kind == REPLY_MESSAGE] == [b"one", b"two", b"three"]


@pytest.mark.statement("R-013")
def test_an_empty_text_is_left_out() -> None:
    assert reply_to(Reject(Reason.NO_TOKEN, ""), ALICE) == (Code.ACCESS_REJECT, [])
    assert reply_to(challenge("", "PIN: "), ALICE)[1][0] == (REPLY_MESSAGE, b"PIN: ")
