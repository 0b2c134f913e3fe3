"""Datagrams of every shape against a running server.

The requests hold a right PIN for a passcode-only client, so that whatever is not dropped is accepted at once. Where
the shape is wrong they come from a client that need not sign, so that the shape alone is the reason.
"""

import re
from itertools import permutations

import pytest

from tests.flows.crowd import ask_all, numbered
from tests.radius_server.conftest import NasFrom
from tests.radius_server.live import Live, Person, Source, check_accepted, check_silence
from tests.site import ServerProcess
from tests.wire import (
    ACCEPT,
    MESSAGE_AUTHENTICATOR,
    PROXY_STATE,
    REJECT,
    USER_NAME,
    USER_PASSWORD,
    Nas,
    Request,
    access_request,
    hide,
    packet,
    sign,
)

NAS_PORT, SERVICE_TYPE, VENDOR_SPECIFIC, NAS_IDENTIFIER = 5, 6, 26, 32


def unsigned(nas: Nas, person: Person, more: bytes = b"", first: bytes = b"") -> bytes:
    """A right login without signature, with raw octets behind or before its attributes; Length counts them."""
    data = access_request(nas.secret, person.name, person.pin(), message_authenticator="none").data
    body = first + data[20:] + more
    return data[:2] + (20 + len(body)).to_bytes(2, "big") + data[4:20] + body


def test_the_requests_of_these_tests_would_be_accepted(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from(Source.UNSIGNED)
    assert nas.ask(Request(unsigned(nas, person), nas.secret)).code == ACCEPT


@pytest.mark.statement("R-001")
def test_datagrams_shorter_than_a_header_get_silence_and_are_counted(live: Live, person: Person) -> None:
    with live.site.server() as server, server.nas(source=Source.UNSIGNED) as nas:
        data = unsigned(nas, person)
        check_silence(nas, *(data[:length] for length in range(20)))
        assert person.logins == []
        check_accepted(nas, person)
        assert stopped(server) == {"shorter_than_header": 20}


def stopped(server: ServerProcess) -> dict[str, int]:
    """The counters that the server writes when it ends."""
    server.end()
    (line,) = [line for line in server.log.splitlines() if " stopped" in line]
    return {word: int(count) for word, count in re.findall(r"(\w+)=(\d+)", line)}


@pytest.mark.statement("R-002")
def test_a_length_under_20_or_over_4096_gets_silence(live: Live, person: Person) -> None:
    """By the counters, since a refusal would come too late to be seen here."""
    with live.site.server() as server, server.nas(source=Source.UNSIGNED) as nas:
        data = unsigned(nas, person, more=bytes([NAS_IDENTIFIER, 200]) + bytes(198)) + bytes(65_000)
        wrong = [data[:2] + length.to_bytes(2, "big") + data[4:] for length in (0, 1, 19, 4097, 65_535)]
        check_silence(nas, *(datagram[:65_507] for datagram in wrong), bytes.fromhex("01000013") + data[4:])
        assert person.logins == []
        check_accepted(nas, person)
        assert stopped(server) == {"length_out_of_range": 6}


@pytest.mark.statement("R-003")
def test_a_datagram_shorter_than_its_length_gets_silence(live: Live, person: Person) -> None:
    """Also where whole attributes are left, with which it would be accepted."""
    with live.site.server() as server, server.nas(source=Source.UNSIGNED) as nas:
        data = unsigned(nas, person, more=bytes([NAS_IDENTIFIER, 17]) + bytes(15))
        check_silence(nas, *(data[:-cut] for cut in (1, 17, len(data) - 20)))
        assert person.logins == []
        check_accepted(nas, person)
        assert stopped(server) == {"shorter_than_length": 3}


@pytest.mark.statement("R-004")
@pytest.mark.parametrize("padding", [1, 500])
def test_octets_past_length_are_ignored(nas_from: NasFrom, person: Person, padding: int) -> None:
    nas = nas_from()
    request = access_request(nas.secret, person.name, person.pin())
    nas.send(request.data + b"\x01" * padding)
    reply = nas.receive()
    assert reply is not None
    assert reply.check(request).code == ACCEPT


@pytest.mark.statement("R-005")
def test_4096_octets_are_handled_and_4097_are_not(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from()
    check_silence(nas, filled(nas, person, 4097).data)
    assert person.logins == []
    assert nas.ask(filled(nas, person, 4096)).code == ACCEPT


def filled(nas: Nas, person: Person, length: int) -> Request:
    """A right, signed login that vendor attributes bring to `length`."""
    left = length - len(access_request(nas.secret, person.name, person.pin()).data)
    vendor = (99_999).to_bytes(4, "big")
    sizes = [200] * (left // 200 - 1) + [left - 200 * (left // 200 - 1) - 150, 150]
    extra = [(VENDOR_SPECIFIC, vendor + bytes([1, size - 6]) + bytes(size - 8)) for size in sizes]
    request = access_request(nas.secret, person.name, person.pin(), extra=extra)
    assert len(request.data) == length
    return request


@pytest.mark.statement("R-006", "R-145")
def test_of_all_codes_only_access_request_and_status_server_are_answered(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from()
    others = [code for code in range(256) if code not in (1, 12)]
    check_silence(nas, *(access_request(nas.secret, person.name, person.pin(), code=code).data for code in others))
    assert person.logins == []
    assert nas.ask(access_request(nas.secret, person.name, person.pin(), code=12)).code == ACCEPT
    assert person.logins == []
    check_accepted(nas, person)


@pytest.mark.statement("R-007")
def test_an_attribute_length_of_0_or_1_gets_silence(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from(Source.UNSIGNED)
    bad = [b"\x01\x01\x00", b"\x20\x01\x00", b"\x20\x01", b"\x20\x00", b"\x20\x00" * 500]
    check_silence(nas, *(unsigned(nas, person, more=octets) for octets in bad))
    check_silence(nas, *(unsigned(nas, person, first=octets) for octets in bad))
    assert person.logins == []
    check_accepted(nas, person)


@pytest.mark.statement("R-008")
def test_attributes_that_do_not_fill_the_packet_get_silence(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from(Source.UNSIGNED)
    overruns, lone_octet = [b"\x01\x0a\x01\x02", b"\x20\x0a\x01\x02", b"\x20\x03"], b"\x20"
    check_silence(nas, *(unsigned(nas, person, more=octets) for octets in (*overruns, lone_octet)))
    assert person.logins == []
    check_accepted(nas, person)


@pytest.mark.statement("R-009")
def test_a_value_of_the_wrong_size_spoils_nothing_else(nas_from: NasFrom, person: Person) -> None:
    wrong = [(4, b"\x7f\0\0"), (NAS_PORT, b"\0\0\1"), (SERVICE_TYPE, b"\1"), (VENDOR_SPECIFIC, b"\0\0"), (95, b"\0")]
    check_accepted(nas_from(), person, extra=wrong)


@pytest.mark.statement("R-010")
def test_unknown_attributes_are_ignored(nas_from: NasFrom, person: Person) -> None:
    unknown = [(kind, b"\0\1\2\3") for kind in (17, 21, *range(192, 256))]
    vendor = (VENDOR_SPECIFIC, (99_999).to_bytes(4, "big") + b"\x01\x06abcd")
    check_accepted(nas_from(), person, extra=[*unknown, vendor])


@pytest.mark.statement("R-011")
def test_every_order_of_the_attributes_gives_the_same_result(nas_from: NasFrom, person: Person) -> None:
    """With two Proxy-States among the five, which then stand apart in many orders."""
    nas = nas_from()
    for number, order in enumerate(permutations(range(5))):
        authenticator = number.to_bytes(16, "big")
        attributes = [
            (MESSAGE_AUTHENTICATOR, bytes(16)),
            (USER_NAME, person.name.encode()),
            (USER_PASSWORD, hide(person.pin(number).encode(), nas.secret, authenticator)),
            (PROXY_STATE, b"one"),
            (PROXY_STATE, b"two"),
        ]
        ordered = [attributes[place] for place in order]
        data = sign(packet(1, number, authenticator, ordered), nas.secret)
        reply = nas.ask(Request(data, nas.secret))
        assert reply.code == ACCEPT, order
        assert reply.attributes[1:] == [a for a in ordered if a[0] == PROXY_STATE]


@pytest.mark.statement("R-012")
def test_a_name_is_not_cut_at_a_nul(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from()
    names = [f"{person.name}\0bob", f"{person.name}\0", f"\0{person.name}"]
    replies = ask_all(nas, numbered(nas.secret, [(name, person.pin()) for name in names]))
    assert [reply.code for reply in replies] == [REJECT] * 3
    assert (person.logins, person.counter) == ([], 0)
    check_accepted(nas, person)


@pytest.mark.statement("R-013")
def test_an_empty_user_name_is_no_user_name(live: Live, nas_from: NasFrom, person: Person) -> None:
    nas = nas_from("127.0.4.13")
    assert nas.ask(access_request(nas.secret, b"", person.pin())).code == REJECT
    assert len(live.logged("reject", "from=127.0.4.13", 'why="no User-Name"')) == 1
    assert person.counter == 0


@pytest.mark.statement("R-013")
def test_an_empty_state_is_no_state(nas_from: NasFrom, person: Person) -> None:
    check_accepted(nas_from(), person, state=b"")


@pytest.mark.statement("R-014")
def test_a_second_packet_in_a_datagram_is_padding(live: Live, nas_from: NasFrom) -> None:
    nas, first, second = nas_from(), live.person(), live.person()
    request = access_request(nas.secret, first.name, first.pin(), identifier=1)
    other = access_request(nas.secret, second.name, second.pin(), identifier=2)
    nas.send(request.data + other.data)
    reply = nas.receive()
    assert reply is not None
    assert reply.check(request).code == ACCEPT
    check_silence(nas)
    assert second.logins == []


def test_as_many_attributes_as_fit_are_answered(nas_from: NasFrom, person: Person) -> None:
    """Some two thousand, of two octets each; nothing may be tried in a time that grows with their square."""
    nas = nas_from()
    left = 4096 - len(access_request(nas.secret, person.name, person.pin()).data)
    check_accepted(nas, person, extra=[(NAS_IDENTIFIER, b"")] * (left // 2))


EXTENDED = range(241, 245)
LONG_EXTENDED = (245, 246)
MORE = b"\x80"


@pytest.mark.statement("R-017")
def test_wrong_lengths_inside_an_attribute_spoil_nothing_else(nas_from: NasFrom, person: Person) -> None:
    """Vendor attributes, extended ones and fragments that never end (RFC 6929 2.2, 2.8): the attribute is void."""
    vendor = (311).to_bytes(4, "big")
    inner = [b"", b"\0", b"\x19", b"\x19\0", b"\x19\1", b"\x19\2", b"\x19\xff\0", b"\x19\3ab", b"\x19\5abc\0"]
    spoiled = [(VENDOR_SPECIFIC, vendor + octets) for octets in inner if octets != b"\x19\2"]
    spoiled += [(VENDOR_SPECIFIC, octets) for octets in (b"\0", b"\0\0\1", vendor)]
    spoiled += [(kind, octets) for kind in EXTENDED for octets in (b"\1", b"\x1a", b"\x1a\0\0", b"\x1a\0\0\1\x37")]
    spoiled += [(kind, octets) for kind in LONG_EXTENDED for octets in (b"\1", b"\1" + MORE, b"\1" + MORE + b"x" * 200)]
    nas = nas_from()
    check_accepted(nas, person, extra=spoiled)
    for ahead, octets in enumerate(inner[:4], 1):
        check_accepted(nas, person, ahead, extra=[(VENDOR_SPECIFIC, vendor + octets)])
