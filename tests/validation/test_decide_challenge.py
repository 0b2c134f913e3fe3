"""State and challenges (RFC 2865 5.24), through the gate on a fake store with a clock that is set by hand."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from tests.builders import NOW, rejected
from tests.validation.engine import ACTOR, CONSOLE, PORTAL, SSH, VPN, Engine
from validation.changes import Audit
from validation.decisions import Accept, Challenge, Reason, Reject
from validation.gate import Outcome
from validation.model import Factor, Mode
from validation.requests import AddClient, ChangeUserState, Channel, SetUser, UserAct
from validation.settings import DEFAULTS


def reason_of(outcome: object) -> Reason:
    assert isinstance(outcome, Reject | Challenge | Accept), outcome
    return outcome.reason


@pytest.mark.statement("R-090")
def test_a_challenge_has_one_state_that_every_client_can_echo(engine: Engine, serial: str) -> None:
    states = [engine.challenge("alice") for _ in range(3)]
    assert all(1 <= len(state) <= 253 and state.isascii() and state.isalnum() for state in states)
    assert len(set(states)) == 3


def test_password_then_pin_is_accepted(engine: Engine, serial: str) -> None:
    state = engine.challenge("alice")
    assert engine.answer("alice", state, engine.pin(serial)) == Accept("alice", Reason.PASSCODE_RIGHT, serial, "totp")


# --- which State is one


def altered(state: str) -> list[str]:
    """`state` with each of its bits turned, and cut, doubled, in capitals, empty."""
    octets = state.encode()
    turned = [
        (octets[:n] + bytes([octets[n] ^ 1 << bit]) + octets[n + 1 :]).decode("utf-8", "backslashreplace")
        for n in range(len(octets))
        for bit in range(8)
    ]
    others = [*turned, state[:-1], state[1:], state + state, state + "\0", " " + state, state.upper(), ""]
    return [other for other in others if other != state]


@pytest.mark.statement("R-092")
def test_an_altered_state_is_refused_with_the_right_pin_and_harms_nobody(engine: Engine, serial: str) -> None:
    state = engine.challenge("alice")
    for other in altered(state):
        assert engine.answer("alice", other, engine.pin(serial)) == rejected(Reason.STATE_UNKNOWN), other
    assert engine.throttle("alice", Factor.PASSCODE).failures == 0
    assert engine.token(serial).moving_factor == 0
    assert isinstance(engine.answer("alice", state, engine.pin(serial)), Accept)


@pytest.mark.statement("R-092")
@pytest.mark.parametrize("client", [VPN, SSH, PORTAL])
def test_an_invented_state_is_never_a_fresh_login(engine: Engine, serial: str, client: str) -> None:
    """Not even where the same PIN without a State would be accepted (`portal`)."""
    for state in ("00" * 16, "x", "\udc80", ""):
        assert engine.answer("alice", state, engine.pin(serial), client) == rejected(Reason.STATE_UNKNOWN)
    assert isinstance(engine.log_in("alice", engine.pin(serial), PORTAL), Accept)


@pytest.mark.statement("R-093", "R-092")
def test_a_state_is_good_for_its_user_and_client_alone(engine: Engine, serial: str) -> None:
    engine.add_user("bob")
    bobs = engine.enroll("bob")
    engine.add_user("alice@realm")
    state = engine.challenge("alice")
    strangers = {
        "bob with his PIN": engine.answer("bob", state, engine.pin(bobs)),
        "bob with hers": engine.answer("bob", state, engine.pin(serial)),
        "alice elsewhere": engine.answer("alice", state, engine.pin(serial), SSH),
        "alice at a client that checks passwords": engine.answer("alice", state, engine.pin(serial), PORTAL),
        "another form of her name": engine.answer("alice@realm", state, engine.pin(serial)),
        "a name nobody has": engine.answer("Alice", state, engine.pin(serial)),
    }
    assert strangers == dict.fromkeys(strangers, rejected(Reason.STATE_FOREIGN))
    assert [engine.throttle(name, Factor.PASSCODE).failures for name in ("alice", "bob")] == [0, 0]
    assert [engine.token(s).moving_factor for s in (serial, bobs)] == [0, 0]
    assert isinstance(engine.answer("alice", state, engine.pin(serial)), Accept)


@pytest.mark.statement("R-093")
def test_a_state_of_a_console_is_foreign_to_a_gateway_of_the_same_name(engine: Engine, serial: str) -> None:
    """And the other way round."""
    network = ip_network("192.0.2.77/32")
    engine.gate.administer(AddClient(actor=ACTOR, name=CONSOLE, network=network, secret=b"s" * 24, mode=Mode.CHALLENGE))

    def over_radius(passcode: str | None = None, state: str | None = None) -> Outcome:
        request = engine.request("alice", CONSOLE, passcode, state)
        (outcome,) = engine.gate.login([replace(request, channel=Channel.for_mode(Mode.CHALLENGE))])
        return outcome

    here, there = engine.challenge("alice", CONSOLE), over_radius()
    assert isinstance(there, Challenge)
    right = engine.pin(serial)
    assert reason_of(over_radius(right, here)) is Reason.STATE_FOREIGN
    assert reason_of(engine.answer("alice", there.state, right, CONSOLE)) is Reason.STATE_FOREIGN
    assert isinstance(over_radius(right, there.state), Accept)


# --- how often


@pytest.mark.statement("R-094")
def test_a_state_is_good_once(engine: Engine, serial: str) -> None:
    state = engine.challenge("alice")
    assert isinstance(engine.answer("alice", state, engine.pin(serial)), Accept)
    engine.clock.now += 30
    assert engine.answer("alice", state, engine.pin(serial)) == rejected(Reason.STATE_UNKNOWN)


@pytest.mark.statement("R-094")
@pytest.mark.parametrize("tries", [1, 2, 3])
def test_after_so_many_tries_there_is_a_refusal(tries: int) -> None:
    """Each wrong PIN gets a new State and closes the old one; the last gets none."""
    engine = Engine(tries=str(tries))
    engine.add_user("alice")
    serial = engine.enroll("alice")
    first = state = engine.challenge("alice")
    for left in range(tries - 1, 0, -1):
        again = engine.answer("alice", state, engine.wrong_pin(serial))
        assert isinstance(again, Challenge)
        assert (again.tries_left, again.state != state) == (left, True)
        assert again.texts[0].endswith({1: "1 try left: ", 2: "2 tries left: "}[left])
        assert engine.answer("alice", state, engine.pin(serial)) == rejected(Reason.STATE_UNKNOWN)
        state = again.state
    assert engine.answer("alice", state, engine.wrong_pin(serial)) == rejected(Reason.PASSCODE_WRONG, failures=tries)
    for spent in (first, state):
        assert engine.answer("alice", spent, engine.pin(serial)) == rejected(Reason.STATE_UNKNOWN)


@pytest.mark.statement("R-094")
def test_three_tries_are_the_default(engine: Engine, serial: str) -> None:
    assert DEFAULTS.tries == 3
    outcome = engine.log_in("alice", client=VPN)
    assert isinstance(outcome, Challenge)
    assert outcome.tries_left == 3


@pytest.mark.statement("R-094")
def test_a_later_try_can_succeed(engine: Engine, serial: str) -> None:
    state = engine.challenge("alice")
    for _ in range(2):
        again = engine.answer("alice", state, engine.wrong_pin(serial))
        assert isinstance(again, Challenge)
        state = again.state
    assert isinstance(engine.answer("alice", state, engine.pin(serial)), Accept)
    assert engine.throttle("alice", Factor.PASSCODE).failures == 0


@pytest.mark.statement("R-094")
def test_a_new_login_does_not_clear_the_count_of_wrong_pins(engine: Engine, serial: str) -> None:
    """SP 800-63B-4 3.1.3.2; the fifth one over two logins starts the wait."""
    for failures in range(1, 6):
        state = engine.challenge("alice")
        engine.answer("alice", state, engine.wrong_pin(serial))
        assert engine.throttle("alice", Factor.PASSCODE).failures == failures
    assert engine.log_in("alice", client=VPN) == rejected(Reason.WAITING)


@pytest.mark.statement("R-094")
def test_during_a_wait_an_answer_costs_a_try_and_no_failure(engine: Engine, serial: str) -> None:
    """It looks like a wrong PIN and is none: nothing is compared, and the right PIN stays good."""
    state = engine.challenge("alice")
    for _ in range(5):
        engine.log_in("alice", engine.wrong_pin(serial))
    right = engine.pin(serial)
    for left in (2, 1):
        again = engine.answer("alice", state, right)
        assert isinstance(again, Challenge)
        assert (again.reason, again.tries_left) == (Reason.WAITING, left)
        state = again.state
    assert engine.answer("alice", state, right) == rejected(Reason.WAITING)
    assert engine.throttle("alice", Factor.PASSCODE).failures == 5
    engine.clock.now += 30
    assert isinstance(engine.log_in("alice", right), Accept)


# --- how long


@pytest.mark.statement("R-095")
@pytest.mark.parametrize(
    ("seconds", "good"), [(0, True), (119, True), (119.9, True), (120, False), (121, False), (86_400, False)]
)
def test_a_state_lives_for_120_seconds(engine: Engine, serial: str, seconds: float, good: bool) -> None:
    state = engine.challenge("alice")
    engine.clock.now += seconds
    outcome = engine.answer("alice", state, engine.pin(serial))
    assert reason_of(outcome) is (Reason.PASSCODE_RIGHT if good else Reason.STATE_EXPIRED)


@pytest.mark.statement("R-095")
def test_all_tries_of_one_password_are_over_within_ten_minutes(engine: Engine, serial: str) -> None:
    assert DEFAULTS.challenge_lifetime == 120
    start, state = engine.clock.now, engine.challenge("alice")
    while isinstance(outcome := engine.answer("alice", state, engine.wrong_pin(serial)), Challenge):
        assert outcome.lifetime == 120
        state = outcome.state
        engine.clock.now += 119
    assert engine.clock.now - start < 600


@pytest.mark.statement("R-092", "R-095")
def test_an_expired_state_is_no_new_challenge(engine: Engine, serial: str) -> None:
    state = engine.challenge("alice")
    engine.clock.now += 120
    assert engine.answer("alice", state, engine.pin(serial)) == rejected(Reason.STATE_EXPIRED)
    assert engine.throttle("alice", Factor.PASSCODE).failures == 0
    assert engine.token(serial).moving_factor == 0


def test_a_clock_set_back_does_not_refuse_an_open_challenge(engine: Engine, serial: str) -> None:
    state = engine.challenge("alice")
    engine.clock.now = NOW - 3600
    assert isinstance(engine.answer("alice", state, engine.pin(serial)), Accept)


# --- everything else is looked at again


@pytest.mark.parametrize(("act", "reason"), [(UserAct.LOCK, "user-locked"), (UserAct.DISABLE, "user-disabled")])
def test_locking_or_disabling_a_user_closes_the_open_challenge(
    engine: Engine, serial: str, act: UserAct, reason: str
) -> None:
    state = engine.challenge("alice")
    engine.gate.administer(ChangeUserState(actor="admin", name="alice", act=act))
    assert engine.answer("alice", state, engine.pin(serial)) == rejected(Reason.STATE_UNKNOWN)
    assert reason_of(engine.log_in("alice", engine.pin(serial))) == reason


def test_a_new_password_closes_the_open_challenge(engine: Engine, serial: str) -> None:
    state = engine.challenge("alice")
    engine.gate.administer(SetUser(actor="admin", name="alice", password_hash="other"))
    assert engine.answer("alice", state, engine.pin(serial)) == rejected(Reason.STATE_UNKNOWN)


def test_new_groups_leave_it_open(engine: Engine, serial: str) -> None:
    state = engine.challenge("alice")
    engine.gate.administer(SetUser(actor="admin", name="alice", groups=("staff",)))
    assert isinstance(engine.answer("alice", state, engine.pin(serial)), Accept)


def test_a_challenge_open_at_another_terminal_stays_good(engine: Engine, serial: str) -> None:
    """Each State is its own login (R-100); the PIN still works once."""
    here, there = engine.challenge("alice"), engine.challenge("alice")
    assert isinstance(engine.answer("alice", there, engine.pin(serial)), Accept)
    again = engine.answer("alice", here, engine.pin(serial))
    assert reason_of(again) is Reason.PASSCODE_USED
    engine.clock.now += 30
    assert isinstance(again, Challenge)
    assert isinstance(engine.answer("alice", again.state, engine.pin(serial)), Accept)


def test_a_token_that_wrong_pins_disable_ends_the_challenges_elsewhere(engine: Engine, serial: str) -> None:
    engine = Engine(disable_at="3", enrolment="off")
    engine.add_user("alice")
    serial = engine.enroll("alice")
    state = engine.challenge("alice")
    for _ in range(3):
        engine.log_in("alice", engine.wrong_pin(serial))
    assert engine.answer("alice", state, engine.pin(serial)) == rejected(Reason.STATE_UNKNOWN)


def test_both_factors_stand_in_the_trail(engine: Engine, serial: str) -> None:
    engine.answer("alice", engine.challenge("alice"), engine.pin(serial))
    rows = [row for row in engine.trail if row.event == "login"]
    assert [(row.decision, row.reason, row.detail["password"]) for row in rows] == [
        ("challenge", "password-right", "proved"),
        ("accept", "passcode-right", "earlier-step"),
    ]
    assert all(isinstance(row, Audit) and row.serial == ("" if row.decision == "challenge" else serial) for row in rows)
