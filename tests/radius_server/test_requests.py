"""What stands in an Access-Request, against a running server.

Many requests go out at once, so that their reject delays pass together.
"""

import subprocess
from ipaddress import ip_address

import pytest

from first_factor.local import LocalPasswords
from tests.flows.crowd import ask_all, numbered
from tests.radius_server.conftest import NasFrom
from tests.radius_server.live import Live, Person, Source, audit_rows, check_accepted
from tests.site import PASSWORD, SECRET
from tests.wire import (
    ACCEPT,
    CHALLENGE,
    CHAP_PASSWORD,
    REJECT,
    STATE,
    USER_NAME,
    USER_PASSWORD,
    Attributes,
    Nas,
    Reply,
    access_request,
    hide,
)
from validation.decisions import Look
from validation.requests import FirstFactor

NAS_IP_ADDRESS, SERVICE_TYPE, VENDOR_SPECIFIC, NAS_IDENTIFIER, CHAP_CHALLENGE = 4, 6, 26, 32, 60
ARAP_PASSWORD, EAP_MESSAGE, NAS_IPV6_ADDRESS = 70, 79, 95
LOGIN, AUTHORIZE_ONLY = bytes([0, 0, 0, 1]), bytes([0, 0, 0, 17])
AUTHENTICATOR = bytes(range(16))
MICROSOFT = (311).to_bytes(4, "big")

EAP_IDENTITY = bytes([2, 9, 0, 10, 1]) + b"alice"  # Response, identifier 9, Identity
CHAP = (CHAP_PASSWORD, b"\x16" + bytes(16))
ARAP = (ARAP_PASSWORD, bytes(16))
MS_CHAP = (VENDOR_SPECIFIC, MICROSOFT + bytes([1, 52]) + bytes(50))
MS_CHAP_2 = (VENDOR_SPECIFIC, MICROSOFT + bytes([25, 52]) + bytes(50))

OTHER_METHODS = {
    "CHAP": [CHAP],
    "CHAP with its challenge": [CHAP, (CHAP_CHALLENGE, bytes(16))],
    "ARAP": [ARAP],
    "EAP": [(EAP_MESSAGE, EAP_IDENTITY)],
    "MS-CHAP": [MS_CHAP],
    "MS-CHAPv2": [MS_CHAP_2],
}


def ask(nas: Nas, user: str, password: str | bytes | None, *variants: Attributes) -> list[Reply]:
    """The replies to one login with each of the `variants` as further attributes."""
    return ask_all(
        nas,
        [
            access_request(nas.secret, user, password, extra=extra, identifier=number)
            for number, extra in enumerate(variants)
        ],
    )


def unsupported(person: Person) -> list[object]:
    """Why each of this person's requests could not be used."""
    details = [row["detail"] for row in person.rows if row["reason"] == "request-unsupported"]
    return [detail["unsupported"] for detail in details if isinstance(detail, dict)]


# --- Other methods than PAP


@pytest.mark.statement("R-050")
def test_a_right_pin_together_with_another_method_is_refused(nas_from: NasFrom, person: Person) -> None:
    nas = nas_from()
    replies = ask(nas, person.name, person.pin(), *OTHER_METHODS.values())
    assert [reply.code for reply in replies] == [REJECT] * len(OTHER_METHODS)
    assert (person.counter, person.failures) == (0, 0)
    check_accepted(nas, person)


@pytest.mark.statement("R-050")
def test_a_right_password_together_with_another_method_is_not_even_challenged(
    nas_from: NasFrom, person: Person
) -> None:
    replies = ask(nas_from(Source.CHALLENGE), person.name, PASSWORD, *OTHER_METHODS.values())
    assert [reply.code for reply in replies] == [REJECT] * len(OTHER_METHODS)
    methods = ["CHAP", "CHAP", "ARAP", "EAP", "MS-CHAP", "MS-CHAPv2"]
    assert sorted(map(str, unsupported(person))) == sorted(f"{name}, only PAP is supported" for name in methods)


@pytest.mark.statement("R-059")
def test_eap_and_ms_chap_are_refused_in_their_own_way(nas_from: NasFrom, person: Person) -> None:
    """EAP-Failure with the identifier of the EAP response; whatever an EAP-Message holds, there is no crash."""
    messages = [EAP_IDENTITY, b"\2", b"\2\7", b"\xff" * 253]
    eap = [[(EAP_MESSAGE, message)] for message in messages]
    replies = ask(nas_from(), person.name, None, *eap, [MS_CHAP], [MS_CHAP_2])
    assert [reply.code for reply in replies] == [REJECT] * 6
    failures = [reply.values(EAP_MESSAGE) for reply in replies]
    assert failures == [[bytes([4, 9, 0, 4])], [], [bytes([4, 7, 0, 4])], [bytes([4, 255, 0, 4])], [], []]
    assert person.failures == 0


# --- User-Password


@pytest.mark.statement("R-051")
def test_a_user_password_of_an_impossible_length_is_refused(live: Live, nas_from: NasFrom) -> None:
    """Hidden values of 112 and 128 octets are passwords like any other; here they are right."""
    impossible = (0, 1, 15, 17, 144)
    nas, long, longest, person = nas_from(Source.CHALLENGE), "x" * 112, "x" * 128, live.person()
    people = {112: live.person(password=long), 128: live.person(password=longest)}
    variants = [[(USER_PASSWORD, bytes(length))] for length in impossible]
    replies = ask(nas, person.name, None, *variants)
    assert [reply.code for reply in replies] == [REJECT] * len(impossible)
    reasons = [f"User-Password of {n} octets; 16 to 128 in steps of 16 are possible" for n in impossible]
    assert sorted(map(str, unsupported(person))) == sorted(reasons)
    assert [nas.login(people[n].name, "x" * n).code for n in (112, 128)] == [CHALLENGE] * 2


LENGTHS = (1, 15, 16, 17, 32, 127, 128)


def password_of(length: int) -> str:
    return "".join(chr(ord("!") + (at * 7) % 90) for at in range(length)).replace('"', "q").replace("\\", "b")


@pytest.mark.statement("R-052")
def test_passwords_of_these_lengths_are_right_and_an_octet_less_is_not(live: Live, nas_from: NasFrom) -> None:
    nas, people = nas_from(Source.CHALLENGE), [(live.person(password=password_of(n)), password_of(n)) for n in LENGTHS]
    right = [(person.name, password) for person, password in people]
    assert [reply.code for reply in ask_all(nas, numbered(SECRET, right))] == [CHALLENGE] * len(LENGTHS)
    shorter = [(name, password[:-1]) for name, password in right]
    assert [reply.code for reply in ask_all(nas, numbered(SECRET, shorter))] == [REJECT] * len(LENGTHS)


@pytest.mark.peer("radclient")
@pytest.mark.statement("R-052")
def test_radclient_hides_passwords_as_we_unhide_them(live: Live) -> None:
    people = {length: live.person(password=password_of(length)) for length in LENGTHS}
    requests = "\n\n".join(
        f'User-Name="{person.name}",User-Password="{password_of(length)}",Message-Authenticator=0x00'
        for length, person in people.items()
    )
    address = ":".join(map(str, live.server.address))
    command = ["radclient", "-x", "-t", "10", address, "auth", SECRET.decode()]
    done = subprocess.run(command, input=requests, capture_output=True, text=True, timeout=60)
    assert done.stdout.count("Received Access-Challenge") == len(LENGTHS), done.stdout + done.stderr


@pytest.mark.statement("R-053")
def test_what_follows_a_nul_belongs_to_the_password(live: Live, nas_from: NasFrom) -> None:
    """`abc`, and a password that itself ends in NUL, which cannot be told from padding."""
    plain, with_nul, nas = live.person(password="abc"), live.person(password="abc\0"), nas_from(Source.CHALLENGE)
    typed = [(plain, b"abc\0def"), (plain, b"\0abc"), (with_nul, b"abc\0"), (with_nul, b"abc")]
    requests = [
        access_request(nas.secret, person.name, octets, identifier=number)
        for number, (person, octets) in enumerate(typed)
    ]
    assert [reply.code for reply in ask_all(nas, requests)] == [REJECT] * 4
    assert unsupported(plain) == ["the password holds a NUL octet"] * 2
    assert nas.ask(access_request(nas.secret, plain.name, b"abc\0\0")).code == CHALLENGE


@pytest.mark.statement("R-054")
@pytest.mark.parametrize("source", [Source.CHALLENGE, Source.APPEND, Source.PASSCODE])
def test_an_empty_password_is_refused_in_every_mode(live: Live, nas_from: NasFrom, source: str) -> None:
    """Neither for a user with a password nor for one without is it a password, a PIN or the start of a challenge."""
    nas, people = nas_from(source), [live.person(), live.person(password=None)]
    requests = [
        access_request(nas.secret, person.name, b"", identifier=number, state=state)
        for number, (person, state) in enumerate((person, state) for person in people for state in (None, b"ab" * 16))
    ]
    assert [reply.code for reply in ask_all(nas, requests)] == [REJECT] * 4
    for person in people:
        assert unsupported(person) == ["an empty password"]
        assert ("reject", "state-unknown") in person.logins, "an empty answer to a challenge is an answer"


@pytest.mark.statement("R-054")
def test_a_pin_without_password_is_refused_in_append_mode(live: Live, nas_from: NasFrom) -> None:
    nas, people = nas_from(Source.APPEND), [live.person(), live.person(password=None)]
    requests = [access_request(nas.secret, p.name, p.pin(), identifier=n) for n, p in enumerate(people)]
    assert [reply.code for reply in ask_all(nas, requests)] == [REJECT] * 2
    assert [person.counter for person in people] == [0, 0]


@pytest.mark.statement("R-054")
def test_the_local_first_factor_never_proves_an_empty_password() -> None:
    """Not even against a hash of nothing, which `hash_password` would not make."""
    from argon2 import PasswordHasher

    of_nothing = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("")
    checker = LocalPasswords()
    for stored in (of_nothing, None):
        assert checker.check(Look("local", stored, 1), "").status is FirstFactor.WRONG


NOT_TEXT = "the password is not UTF-8 (--encoding latin-1 takes ISO 8859-1)"


@pytest.mark.statement("R-056")
def test_octets_that_are_no_text_are_refused_plainly(live: Live, nas_from: NasFrom, person: Person) -> None:
    octets = [bytes([octet]) for octet in range(0x80, 0x100)] + [b"\xed\xa0\x80", b"\xed\xbf\xbf"]
    nas, names = nas_from(Source.CHALLENGE), nas_from("127.0.4.56")
    passwords = [access_request(nas.secret, person.name, o, identifier=n) for n, o in enumerate(octets)]
    users = [access_request(nas.secret, b"a" + o, "x", identifier=n) for n, o in enumerate(octets)]
    assert {reply.code for reply in ask_all(nas, passwords)} == {REJECT}
    assert {reply.code for reply in ask_all(names, users)} == {REJECT}
    assert unsupported(person) == [NOT_TEXT] * len(octets)
    assert "Traceback" not in live.server.log


# --- Attributes that may occur once, and names


@pytest.mark.statement("R-060")
def test_what_may_occur_once_is_refused_twice(live: Live, nas_from: NasFrom) -> None:
    nas, victim, attacker = nas_from(), live.person(), live.person()
    hidden = hide(victim.pin().encode(), nas.secret, AUTHENTICATOR)
    doubled: list[Attributes] = [
        [(USER_NAME, attacker.name.encode())],
        [(USER_NAME, victim.name.encode())],
        [(USER_PASSWORD, hidden)],
        [(USER_PASSWORD, b"")],
        [(STATE, b"a"), (STATE, b"b")],
        [(NAS_IP_ADDRESS, b"\x7f\0\0\1"), (NAS_IP_ADDRESS, b"\x7f\0\0\2")],
        [CHAP, CHAP],
    ]
    requests = [
        access_request(
            nas.secret, victim.name, victim.pin(), extra=extra, identifier=number, authenticator=AUTHENTICATOR
        )
        for number, extra in enumerate(doubled)
    ]
    assert [reply.code for reply in ask_all(nas, requests)] == [REJECT] * len(doubled)
    for person in (victim, attacker):
        assert (person.counter, person.failures) == (0, 0)
    check_accepted(nas, victim)


@pytest.mark.statement("R-060")
@pytest.mark.parametrize("place", [0, 1])
def test_an_open_state_together_with_another_is_refused(nas_from: NasFrom, person: Person, place: int) -> None:
    nas = nas_from(Source.CHALLENGE)
    state = nas.login(person.name, PASSWORD).state
    states = [b"another", b"another"]
    states[place] = state
    both = access_request(nas.secret, person.name, person.pin(), extra=[(STATE, value) for value in states])
    assert nas.ask(both).code == REJECT
    assert nas.login(person.name, person.pin(), state=state).code == ACCEPT


@pytest.mark.statement("R-061")
def test_a_request_without_user_name_is_refused(live: Live, nas_from: NasFrom) -> None:
    nas = nas_from("127.0.4.61")
    assert nas.ask(access_request(nas.secret, None, "123456")).code == REJECT
    assert len(live.logged("from=127.0.4.61", 'why="no User-Name"')) == 1


@pytest.mark.statement("R-061")
@pytest.mark.parametrize("octets", [1, 63, 72, 253])
@pytest.mark.parametrize("letter", ["n", "ñ"])
def test_a_user_name_of_this_length_is_handled(live: Live, nas_from: NasFrom, octets: int, letter: str) -> None:
    name = (letter * octets).encode()[:octets].decode(errors="ignore").ljust(1, "m")
    person = live.person(name + "n" * (octets - len(name.encode())))
    assert len(person.name.encode()) == octets
    check_accepted(nas_from(), person)
    assert [row["user"] for row in audit_rows(live.site, person.name)] == [person.name]


# --- What is asked for, and by whom


@pytest.mark.statement("R-062")
def test_authorization_without_a_login_is_refused(live: Live, nas_from: NasFrom) -> None:
    """Whatever proof comes with it; with the State of a challenge it is the second step of a login like any other."""
    nas, person = nas_from(), live.person()
    only = [(SERVICE_TYPE, AUTHORIZE_ONLY)]
    replies = ask_all(
        nas,
        [
            access_request(nas.secret, person.name, person.pin(), extra=only, identifier=1),
            access_request(nas.secret, person.name, None, extra=only, identifier=2),
            access_request(nas.secret, person.name, person.pin(), extra=[(SERVICE_TYPE, LOGIN), *only], identifier=3),
        ],
    )
    assert [(reply.code, [kind for kind, _ in reply.attributes]) for reply in replies] == [(REJECT, [80, 18])] * 3
    assert unsupported(person)[0] == "Service-Type Authorize-Only without State"
    assert (person.counter, person.failures) == (0, 0)
    check_accepted(nas, person, extra=[(SERVICE_TYPE, LOGIN)])
    asking = nas_from(Source.CHALLENGE)
    state = asking.login(person.name, PASSWORD).state
    assert asking.login(person.name, person.pin(1), state=state, extra=only).code == ACCEPT


NAMELESS = {"nothing": [], "a link-local address": [(NAS_IPV6_ADDRESS, ip_address("fe80::1").packed)]}
NAMED = {
    "NAS-Identifier": (NAS_IDENTIFIER, b"6395aaaa00001"),
    "NAS-IP-Address": (NAS_IP_ADDRESS, bytes([0, 0, 0, 0])),
    "NAS-IPv6-Address": (NAS_IPV6_ADDRESS, ip_address("2001:db8::1").packed),
}


@pytest.mark.statement("R-027")
@pytest.mark.parametrize(("number", "extra"), list(enumerate(NAMELESS.values())), ids=list(NAMELESS))
def test_a_nas_that_does_not_say_which_one_it_is_is_answered_and_warned_about_once(
    live: Live, nas_from: NasFrom, person: Person, number: int, extra: Attributes
) -> None:
    source = f"127.0.4.{127 + number}"
    nas = nas_from(source)
    for ahead in range(3):
        check_accepted(nas, person, ahead, extra=extra)
    (line,) = live.logged("nas-not-named", f"from={source} ")
    assert "WARNING" in line
    assert "client=logged" in line


@pytest.mark.statement("R-027")
def test_a_nas_that_says_which_one_it_is_is_not_warned_about(live: Live, nas_from: NasFrom, person: Person) -> None:
    nas = nas_from("127.0.4.129")
    for ahead, name in enumerate(NAMED.values()):
        check_accepted(nas, person, ahead, extra=[name])
    assert live.lines("nas-not-named", "from=127.0.4.129 ") == []
