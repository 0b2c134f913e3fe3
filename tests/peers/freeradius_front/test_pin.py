"""The site twofold-pin: FreeRADIUS checks the password, and Twofold hears the PIN alone."""

import hashlib
from collections.abc import Iterator

import pytest

from tests.peers.freeradius_front import front as fronts
from tests.peers.freeradius_front.front import RADDB, Front, settings
from tests.peers.freeradius_front.test_pap import ODD, command, radclient_text, signed
from tests.peers.road import Person

pytestmark = pytest.mark.peer(*fronts.PROGRAMS)

USERS = f"{RADDB}/mods-config/files/authorize"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with fronts.front(tmp_path_factory.mktemp("pin"), "--preset", "freeradius", "--mode", "passcode-only") as made:
        people = [made.newcomer(), made.newcomer(password=ODD), made.newcomer()]
        lines = [f'{one.name} SHA2-Password := "{digest(one.password)}"\n' for one in people]
        made.world.write(USERS, "".join(lines) + "open Auth-Type := Accept\n", 0o640)
        made.world.run("chown", "freerad:freerad", USERS)
        made.install("pin")
        made.write_settings(settings())
        made.start()
        yield made


def digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


@pytest.fixture(params=["plain", "odd"])
def person(request: pytest.FixtureRequest, front: Front) -> Person:
    """Somebody with a plain password, and somebody with every sign in it. Each test shows new PINs."""
    return front.people[0 if request.param == "plain" else 1]


def test_password_and_pin_in_one_field(front: Front, person: Person) -> None:
    password = radclient_text(person.password)
    before = len(front.reasons(person.name))
    wrong = [front.ask(person.name, f"{password}x{person.pin()}"), front.ask(person.name, f"x{person.last_pin}")]
    assert [answer.code for answer in wrong] == ["Access-Reject"] * 2
    assert len(front.reasons(person.name)) == before, "a wrong password costs no PIN"
    refused = front.ask(person.name, password + person.wrong_pin())
    accepted = front.ask(person.name, password + person.last_pin)
    replayed = front.ask(person.name, password + person.last_pin)
    answers = refused, accepted, replayed
    assert [answer.code for answer in answers] == ["Access-Reject", "Access-Accept", "Access-Reject"]
    assert all(signed(answer) for answer in (*wrong, *answers))
    assert front.reasons(person.name)[before:] == ["passcode-wrong", "passcode-right", "passcode-used"]


def test_the_pin_in_a_second_step(front: Front, person: Person) -> None:
    asked = front.ask(person.name, radclient_text(person.password))
    assert (asked.code, asked.text, signed(asked)) == ("Access-Challenge", "PIN: ", True)
    accepted = front.ask(person.name, person.pin(), f"State = {asked.state}")
    assert (accepted.code, signed(accepted)) == ("Access-Accept", True), accepted.output
    again = front.ask(person.name, person.pin(), f"State = {asked.state}")
    assert again.code == "Access-Reject", "a State is good for one answer"
    assert front.reasons(person.name)[-1] == "passcode-right", "nobody was asked"


def test_a_wrong_pin_in_the_second_step_ends_the_login(front: Front, person: Person) -> None:
    asked = front.ask(person.name, radclient_text(person.password))
    refused = front.ask(person.name, person.wrong_pin(), f"State = {asked.state}")
    assert (refused.code, front.reasons(person.name)[-1]) == ("Access-Reject", "passcode-wrong")


def test_a_state_is_its_owners_and_cannot_be_made_up(front: Front) -> None:
    owner, other = front.people[:2]
    asked = front.ask(owner.name, owner.password)
    before = len(front.reasons(other.name))
    stolen = front.ask(other.name, other.pin(), f"State = {asked.state}")
    made_up = front.ask(other.name, other.last_pin, "State = 0x00112233445566778899aabbccddeeff")
    assert [stolen.code, made_up.code] == ["Access-Reject"] * 2
    assert len(front.reasons(other.name)) == before, "Twofold was not asked"


@pytest.mark.parametrize(
    ("name", "typed"), [("open", "x"), ("open", "x123456"), ("nobody", "x123456"), ("nobody", "x"), ("open", "123456")]
)
def test_who_has_no_password_here_is_refused(front: Front, name: str, typed: str) -> None:
    """Also one whom the file lets in without a password: nothing but a right one counts."""
    refused = front.ask(name, typed)
    assert (refused.code, signed(refused)) == ("Access-Reject", True)
    assert front.reasons(name) == []


def test_what_is_not_pap_is_refused(front: Front) -> None:
    name = f'User-Name = "{front.people[0].name}"'
    for other in ('CHAP-Password = "x"', "EAP-Message = 0x0201000a017573657231"):
        refused = front.send([name, other, "Message-Authenticator = 0x00"])
        assert (refused.code, signed(refused)) == ("Access-Reject", True)


def test_a_revoked_token_lets_nobody_in(front: Front) -> None:
    last = front.people[2]
    command(front, "token", "revoke", last.token.serial, "--reason", "compromise")
    assert front.ask(last.name, last.password + last.pin()).code == "Access-Reject"


def test_passwords_may_end_in_digits_where_the_pin_is_always_asked_for(front: Front) -> None:
    """Last in this file: FreeRADIUS is started with another setting."""
    person = front.people[0]
    front.write_settings(settings(pin_digits="0"))
    front.start()
    assert front.ask(person.name, person.password + person.pin()).code == "Access-Reject", "no such password"
    asked = front.ask(person.name, person.password)
    assert front.ask(person.name, person.last_pin, f"State = {asked.state}").code == "Access-Accept"
