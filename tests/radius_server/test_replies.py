"""Replies of a running server: who is let in, and what a reply holds."""

import pytest

from tests.flows.crowd import ask_all, numbered
from tests.radius_server.conftest import NasFrom
from tests.radius_server.live import Live, Person, Source, check_accepted
from tests.site import PASSWORD, eventually
from tests.wire import (
    ACCEPT,
    CHALLENGE,
    MESSAGE_AUTHENTICATOR,
    PROXY_STATE,
    REJECT,
    REPLY_MESSAGE,
    STATE,
    Nas,
    Reply,
    Request,
    access_request,
    status_server,
)
from validation.requests import ChangeUserState, RevokeToken, UserAct

RIGHT_PIN, WRONG_PIN, NO_PIN = 0, 50, None


def typed(person: Person, password: str, pin: int | None) -> str:
    return password + (person.pin(pin) if pin is not None else "")


@pytest.mark.statement("R-070")
def test_one_field_is_accepted_only_if_password_and_pin_are_right(live: Live, nas_from: NasFrom) -> None:
    table = {
        (PASSWORD, RIGHT_PIN): ACCEPT,
        (PASSWORD, WRONG_PIN): REJECT,
        (PASSWORD, NO_PIN): REJECT,
        ("wrong!", RIGHT_PIN): REJECT,
        ("wrong!", WRONG_PIN): REJECT,
        ("wrong!", NO_PIN): REJECT,
        ("", RIGHT_PIN): REJECT,
        ("", WRONG_PIN): REJECT,
    }
    nas, people = nas_from(Source.APPEND), [live.person() for _ in table]
    logins = [(person.name, typed(person, *factors)) for person, factors in zip(people, table, strict=True)]
    assert [reply.code for reply in ask_all(nas, numbered(nas.secret, logins))] == list(table.values())
    assert [person.counter for person in people] == [1] + [0] * (len(table) - 1), "only the Accept used a PIN"


@pytest.mark.statement("R-070")
def test_two_steps_are_accepted_only_if_password_and_then_pin_are_right(live: Live, nas_from: NasFrom) -> None:
    nas, person, other = nas_from(Source.CHALLENGE), live.person(), live.person()
    first = ask_all(
        nas,
        numbered(
            nas.secret,
            [(person.name, PASSWORD), (person.name, "wrong!"), (person.name, person.pin()), (other.name, PASSWORD)],
        ),
    )
    assert [reply.code for reply in first] == [CHALLENGE, REJECT, REJECT, CHALLENGE]
    second = [
        nas.login(who.name, who.pin(pin), state=reply.state).code
        for who, pin, reply in (
            (person, RIGHT_PIN, first[0]),
            (other, WRONG_PIN, first[3]),
        )
    ]
    assert second == [ACCEPT, CHALLENGE]
    assert (person.counter, other.counter) == (1, 0)


@pytest.mark.statement("R-070")
def test_right_factors_are_not_enough_for_the_locked_the_disabled_and_those_without_token(
    live: Live, nas_from: NasFrom
) -> None:
    nas, locked, disabled, tokenless = nas_from(Source.APPEND), live.person(), live.person(), live.person()
    change_state(live, locked, UserAct.LOCK)
    change_state(live, disabled, UserAct.DISABLE)
    live.site.gate.administer(RevokeToken(actor="test", serial=tokenless.token.serial))
    logins = [(person.name, PASSWORD + person.pin()) for person in (locked, disabled, tokenless)]
    assert [reply.code for reply in ask_all(nas, numbered(nas.secret, logins))] == [REJECT] * 3


def change_state(live: Live, person: Person, act: UserAct) -> None:
    live.site.gate.administer(ChangeUserState(actor="test", name=person.name, act=act))


@pytest.mark.statement("R-070")
def test_a_pin_alone_is_enough_only_where_the_client_checks_the_password(live: Live, nas_from: NasFrom) -> None:
    trusted, asked = live.person(), live.person()
    check_accepted(nas_from(Source.PASSCODE), trusted)
    assert nas_from(Source.CHALLENGE).login(asked.name, asked.pin()).code == REJECT
    assert asked.counter == 0


# --- What a reply holds

PROMPT = 76  # RFC 2869 5.10


@pytest.mark.statement("R-071", "R-072")
def test_a_challenge_and_a_reject_hold_nothing_about_the_user(live: Live, nas_from: NasFrom) -> None:
    nas, person = nas_from(Source.CHALLENGE), live.person(groups=("staff", "vpn"))
    proxied = [(PROXY_STATE, b"1")]
    requests = [
        access_request(nas.secret, person.name, password, identifier=n, extra=proxied)
        for n, password in enumerate([PASSWORD, "wrong!"])
    ]
    challenged, rejected = ask_all(nas, requests)
    assert (challenged.code, rejected.code) == (CHALLENGE, REJECT)
    asked = [MESSAGE_AUTHENTICATOR, REPLY_MESSAGE, STATE, PROMPT, PROXY_STATE]
    assert [kind for kind, _ in challenged.attributes] == asked
    assert [kind for kind, _ in rejected.attributes] == [MESSAGE_AUTHENTICATOR, REPLY_MESSAGE, PROXY_STATE]


def test_refusals_before_the_password_look_alike(live: Live, nas_from: NasFrom) -> None:
    """In octets, authenticators apart. Their times are measured elsewhere."""
    nas, wrong, locked, disabled = nas_from(Source.CHALLENGE), live.person(), live.person(), live.person()
    change_state(live, locked, UserAct.LOCK)
    change_state(live, disabled, UserAct.DISABLE)
    names = ["nobody66", wrong.name, locked.name, disabled.name]
    replies = ask_all(nas, numbered(nas.secret, [(name, "wrong!") for name in names]))
    assert {(reply.code, tuple(reply.attributes[1:])) for reply in replies} == {
        (REJECT, ((REPLY_MESSAGE, b"The login was refused."),))
    }


@pytest.mark.statement("R-075")
def test_every_identifier_comes_back(nas_from: NasFrom) -> None:
    """`ask_all` holds each reply against the request with its Identifier, and both authenticators with it."""
    nas = nas_from()
    rejects = numbered(nas.secret, [("nobody75", "123456")] * 256)
    assert [reply.code for reply in ask_all(nas, rejects)] == [REJECT] * 256
    probes = [status_server(nas.secret, identifier=identifier) for identifier in range(256)]
    assert [reply.identifier for reply in ask_all(nas, probes)] == list(range(256))


@pytest.mark.statement("R-075")
def test_every_identifier_comes_back_in_an_accept(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from()
    for identifier in range(256):
        check_accepted(nas, person, identifier, identifier=identifier)


@pytest.mark.statement("R-076")
def test_a_reply_that_would_be_too_long_is_not_sent_but_logged(live: Live, nas_from: NasFrom, person: Person) -> None:
    """The longest request of all leaves no room for a Reply-Message. A later Reject is answered, so nothing came."""
    nas = nas_from(Source.UNSIGNED)
    assert nas.ask(full_of_proxy_states(nas, person.name, person.pin())).code == ACCEPT
    nas.send(full_of_proxy_states(nas, person.name, person.pin(50)).data)
    eventually(lambda: live.logged("reply-too-long", "client=unsigned"))
    assert nas.ask(access_request(nas.secret, "nobody76", "123456", message_authenticator="none")).code == REJECT
    assert person.logins == [("accept", "passcode-right"), ("reject", "passcode-wrong")]


def full_of_proxy_states(nas: Nas, user: str, password: str) -> Request:
    room = 4096 - 20 - 2 - len(user) - 18
    sizes = [255] * (room // 255) + ([room % 255] if room % 255 > 2 else [])
    extra = [(PROXY_STATE, bytes(size - 2)) for size in sizes]
    return access_request(nas.secret, user, password, extra=extra, message_authenticator="none")


@pytest.mark.statement("R-044")
def test_what_a_client_sent_unsigned_is_in_no_reply(live: Live, nas_from: NasFrom) -> None:
    """With it somebody could choose a part of the reply, which the attack on MD5 needs. Proxy-State apart, which must
    come back; where it is not to come unsigned, the rule is `auto` or `required`."""
    nas, accepting = nas_from(Source.UNSIGNED_CHALLENGE), nas_from(Source.UNSIGNED)
    person = live.person("name-that-is-chosen")
    echoed = [(kind, b"text-that-is-chosen") for kind in (11, 18, 22, 25, 30, 31, 32, 77, 87)]

    def ask(nas: Nas, name: str, password: str, state: bytes | None = None) -> Reply:
        request = access_request(nas.secret, name, password, state=state, extra=echoed, message_authenticator="none")
        return nas.ask(request)

    challenge = ask(nas, person.name, PASSWORD)
    again = ask(nas, person.name, "pin-that-is-chosen", challenge.state)
    replies = [
        challenge,
        again,
        ask(nas, person.name, person.pin(), b"state-that-is-chosen"),
        ask(nas, person.name, "password-that-is-chosen"),
        ask(nas, "nobody-that-is-chosen", "x"),
        ask(accepting, person.name, person.pin()),
    ]
    assert [reply.code for reply in replies] == [CHALLENGE, CHALLENGE, REJECT, REJECT, REJECT, ACCEPT]
    assert challenge.state not in again.data
    assert not [reply for reply in replies if b"that-is-chosen" in reply.data]
