"""Proxy-State (RFC 2865 5.33) against a running server."""

import pytest

from tests.flows.crowd import ask_all
from tests.radius_server.conftest import NasFrom
from tests.radius_server.live import Live, Person, Source
from tests.site import PASSWORD
from tests.wire import ACCEPT, CHALLENGE, PROXY_STATE, REJECT, Nas, Request, access_request

Values = list[bytes]


def states(values: Values) -> list[tuple[int, bytes]]:
    return [(PROXY_STATE, value) for value in values]


def grouped(room: int = 3500) -> list[Values]:
    """A value of each length from 1 to 253 (attribute lengths 3 to 255), some with zero octets, in few packets."""
    groups: list[Values] = [[]]
    for length in range(1, 254):
        value = bytes((length + at) % 256 if at % 3 else 0 for at in range(length))
        if sum(len(v) + 2 for v in groups[-1]) + length + 2 > room:
            groups.append([])
        groups[-1].append(value)
    return groups


LISTS: list[Values] = [[], [b"\0"], [b"b", b"a"], [bytes([9 - n]) * 3 for n in range(10)], *grouped()]


def requests(nas: Nas, logins: list[tuple[str, str]]) -> list[Request]:
    return [
        access_request(nas.secret, user, password, extra=states(values), identifier=number)
        for number, ((user, password), values) in enumerate(zip(logins, LISTS, strict=True))
    ]


@pytest.mark.statement("R-120", "R-121")
@pytest.mark.parametrize("code", [ACCEPT, REJECT, CHALLENGE])
def test_proxy_states_come_back_as_they_were_and_no_others(live: Live, nas_from: NasFrom, code: int) -> None:
    nas = nas_from(Source.CHALLENGE if code == CHALLENGE else Source.PASSCODE)
    people = [live.person() for _ in LISTS]
    logins = [(person.name, answer(person, code)) for person in people]
    replies = ask_all(nas, requests(nas, logins))
    assert {reply.code for reply in replies} == {code}
    assert [reply.values(PROXY_STATE) for reply in replies] == LISTS
    others = {tuple(kind for kind, _ in reply.attributes if kind != PROXY_STATE) for reply in replies}
    assert len(others) == 1, "what else stands in the reply does not depend on Proxy-State"


def answer(person: Person, code: int) -> str:
    return {ACCEPT: person.pin(), REJECT: person.pin(50), CHALLENGE: PASSWORD}[code]


@pytest.mark.statement("R-121")
def test_the_content_of_proxy_state_does_not_affect_the_login(nas_from: NasFrom, person: Person) -> None:
    """Values that look like attributes, like another login, or like nothing at all."""
    nas = nas_from()
    values = [b"\x01\x06root", b"\x50\x12" + bytes(16), b"\x18\x03x", person.pin(50).encode(), b"\xff" * 253]
    for ahead, value in enumerate(values):
        reply = nas.ask(access_request(nas.secret, person.name, person.pin(ahead), extra=states([value])))
        assert (reply.code, reply.values(PROXY_STATE)) == (ACCEPT, [value])
    wrong = [
        access_request(nas.secret, "nobody121", "123456", extra=states([value]), identifier=number)
        for number, value in enumerate(values)
    ]
    assert [reply.code for reply in ask_all(nas, wrong)] == [REJECT] * len(values)
