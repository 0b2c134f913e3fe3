"""Challenges and their State, against running servers."""

import time

import pytest

from store.notices import NoNotices
from store.opening import LoggedFaults, SystemMoments
from tests.flows.crowd import ask_all, numbered
from tests.radius_server.conftest import NasFrom
from tests.radius_server.live import Live, Person, Source
from tests.site import PASSWORD, SECRET, Site
from tests.wire import (
    ACCEPT,
    CHALLENGE,
    REJECT,
    STATE,
    USER_NAME,
    USER_PASSWORD,
    Nas,
    access_request,
    hide,
)
from validation.decisions import Accept, Reason, Reject
from validation.gate import Gate
from validation.model import MOMENT_RANDOM_OCTETS, Mode, Moment
from validation.requests import Channel, LoginRequest

AUTHENTICATOR = bytes(range(16))
OTHER_END = {"first": "last", "last": "first"}
WRONG = 50  # a counter far beyond the look-ahead


@pytest.fixture
def nas(nas_from: NasFrom) -> Nas:
    return nas_from(Source.CHALLENGE)


def step_one(nas: Nas, person: Person) -> bytes:
    reply = nas.login(person.name, PASSWORD)
    assert reply.code == CHALLENGE
    return reply.state


@pytest.mark.statement("R-090")
@pytest.mark.parametrize("place", ["first", "last"])
def test_the_state_counts_wherever_the_client_puts_it(nas: Nas, person: Person, place: str) -> None:
    reply = nas.login(person.name, PASSWORD)
    (state,) = reply.values(STATE)
    assert 1 <= len(state) <= 253
    hidden = hide(person.pin().encode(), nas.secret, AUTHENTICATOR)
    typed = [(USER_NAME, person.name.encode()), (USER_PASSWORD, hidden)]
    extra = [(STATE, state), *typed] if place == "first" else [*typed, (STATE, state)]
    answer = access_request(
        nas.secret, None, None, extra=extra, authenticator=AUTHENTICATOR, message_authenticator=OTHER_END[place]
    )
    assert nas.ask(answer).code == ACCEPT


@pytest.mark.statement("R-091")
def test_100_000_states_share_no_prefix_of_64_bits() -> None:
    moments = SystemMoments()
    states = sorted(moments.moment().new_state for _ in range(100_000))
    assert {len(state) for state in states} == {32}
    assert len({state[:16] for state in states}) == 100_000
    assert len({state[16:] for state in states}) == 100_000


@pytest.mark.statement("R-091")
def test_the_state_on_the_wire_is_128_bits_written_as_hex(nas: Nas, person: Person) -> None:
    states = [step_one(nas, person) for _ in range(10)]
    assert len(set(states)) == 10
    assert all(len(bytes.fromhex(state.decode())) == 16 for state in states)


@pytest.mark.statement("R-092")
def test_no_bit_of_a_state_can_be_changed(nas: Nas, person: Person) -> None:
    """256 answers with the right PIN, each with another bit changed; then the right State is still open."""
    state = step_one(nas, person)
    forged = [state[: bit // 8] + bytes([state[bit // 8] ^ 1 << bit % 8]) + state[bit // 8 + 1 :] for bit in range(256)]
    requests = [
        access_request(nas.secret, person.name, person.pin(), state=value, identifier=number)
        for number, value in enumerate(forged)
    ]
    assert [reply.code for reply in ask_all(nas, requests)] == [REJECT] * 256
    assert (person.counter, person.failures) == (0, 0)
    assert nas.login(person.name, person.pin(), state=state).code == ACCEPT


@pytest.mark.statement("R-092")
def test_an_unknown_state_is_no_fresh_login(nas: Nas, person: Person) -> None:
    """With the right password it would be challenged, with the right PIN accepted, were the State overlooked."""
    states = [b"00" * 16, b"\0", b"\xff" * 253, b"0x" + b"ab" * 15]
    answers = [(state, typed) for state in states for typed in (PASSWORD, person.pin())]
    requests = [
        access_request(nas.secret, person.name, typed, state=state, identifier=number)
        for number, (state, typed) in enumerate(answers)
    ]
    assert [reply.code for reply in ask_all(nas, requests)] == [REJECT] * len(requests)
    assert person.logins == [("reject", "state-unknown")] * len(requests)


@pytest.mark.statement("R-093")
def test_a_state_is_bound_to_its_user_and_client(live: Live, nas: Nas, nas_from: NasFrom) -> None:
    alice, bob, elsewhere = live.person(), live.person(), nas_from(Source.UNSIGNED_CHALLENGE)
    state = step_one(nas, alice)
    others = [bob.name, f"{alice.name}@realm", alice.name.upper(), f"{alice.name} "]
    requests = [
        access_request(nas.secret, name, (bob if name == bob.name else alice).pin(), state=state, identifier=number)
        for number, name in enumerate(others)
    ]
    assert [reply.code for reply in ask_all(nas, requests)] == [REJECT] * len(others)
    assert elsewhere.login(alice.name, alice.pin(), state=state).code == REJECT
    assert (alice.counter, bob.counter) == (0, 0)
    assert nas.login(alice.name, alice.pin(), state=state).code == ACCEPT


@pytest.mark.statement("R-094")
def test_a_state_is_spent_by_success(nas: Nas, person: Person) -> None:
    state = step_one(nas, person)
    assert nas.login(person.name, person.pin(), state=state).code == ACCEPT
    assert nas.login(person.name, person.pin(1), state=state).code == REJECT
    assert person.counter == 1


@pytest.mark.statement("R-094")
def test_three_wrong_pins_end_a_challenge_and_each_closes_its_state(nas: Nas, person: Person) -> None:
    states = [step_one(nas, person)]
    for _ in range(2):
        reply = nas.login(person.name, person.pin(WRONG), state=states[-1])
        assert reply.code == CHALLENGE
        states.append(reply.state)
    assert nas.login(person.name, person.pin(WRONG), state=states[-1]).code == REJECT
    assert len(set(states)) == 3
    requests = [
        access_request(nas.secret, person.name, person.pin(), state=state, identifier=number)
        for number, state in enumerate(states)
    ]
    assert [reply.code for reply in ask_all(nas, requests)] == [REJECT] * 3
    assert (person.counter, person.failures) == (0, 1), "the same wrong PIN against the same codes counts once"


@pytest.mark.statement("R-094")
def test_a_new_challenge_does_not_forget_wrong_pins_but_a_right_one_does(nas: Nas, person: Person) -> None:
    state = nas.login(person.name, person.pin(WRONG), state=step_one(nas, person)).state
    nas.login(person.name, person.pin(WRONG + 1), state=state)
    state = step_one(nas, person)
    assert person.failures == 2
    state = nas.login(person.name, person.pin(WRONG + 2), state=state).state
    assert person.failures == 3
    assert nas.login(person.name, person.pin(), state=state).code == ACCEPT
    assert person.failures == 0


class Later:
    """The real dice, and a clock that is ahead."""

    def __init__(self, seconds: float) -> None:
        self._now = time.time() + seconds

    def moment(self) -> Moment:
        return Moment(self._now, bytes(MOMENT_RANDOM_OCTETS))


@pytest.mark.statement("R-095", "R-092")
def test_a_state_lives_120_seconds(nas: Nas, live: Live, person: Person) -> None:
    """Opened over the wire; answered through gates on the same store whose clocks are ahead."""
    state = step_one(nas, person)
    late = answer_later(live.site, person, state, 121)
    assert isinstance(late, Reject)
    assert late.reason is Reason.STATE_EXPIRED
    assert isinstance(answer_later(live.site, person, state, 119), Accept)


def answer_later(site: Site, person: Person, state: bytes, seconds: float) -> object:
    (client,) = [client for client in site.gate.clients() if client.name == "challenge"]
    request = LoginRequest(
        user=person.name,
        channel=Channel.for_mode(Mode.CHALLENGE),
        client=client.name,
        client_version=client.version,
        passcode=person.pin(),
        state=state.decode(),
    )
    (outcome,) = Gate(site.database, Later(seconds), LoggedFaults(), NoNotices()).login([request])
    return outcome


@pytest.mark.statement("R-096")
def test_the_second_step_may_reach_another_server_after_the_first_has_crashed(live: Live, person: Person) -> None:
    with live.site.server() as first, live.site.server() as second:
        with first.nas(source=Source.CHALLENGE) as nas:
            state = step_one(nas, person)
        first.kill()
        with second.nas(source=Source.CHALLENGE) as nas:
            assert nas.login(person.name, person.pin(), state=state).code == ACCEPT
    assert person.logins == [("challenge", "password-right"), ("accept", "passcode-right")]


@pytest.mark.statement("R-096")
def test_the_second_step_may_come_after_a_restart(live: Live, person: Person) -> None:
    with live.site.server() as server, server.nas(source=Source.CHALLENGE) as nas:
        state = step_one(nas, person)
        wrong = nas.login(person.name, person.pin(WRONG), state=state)
        assert wrong.code == CHALLENGE
        server.kill()
        with live.site.server("--listen", f"127.0.0.1:{server.address[1]}"):
            assert nas.login(person.name, person.pin(), state=wrong.state).code == ACCEPT


@pytest.mark.statement("R-098")
def test_a_pin_without_the_first_step_is_refused(nas: Nas, person: Person) -> None:
    logins = [(person.name, person.pin()), (person.name, f"{PASSWORD}{person.pin()}")]
    assert [reply.code for reply in ask_all(nas, numbered(SECRET, logins))] == [REJECT] * 2
    assert person.counter == 0
