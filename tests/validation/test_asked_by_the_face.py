"""A PIN that the face asked for by itself: the answer is the first step of the login, and counts like any other."""

import pytest

from tests.validation.engine import ACTOR, GREETER, Engine
from validation.decisions import Accept, Challenge, Reason, Reject
from validation.gate import Outcome
from validation.messages import DEFAULTS, MessageKey, fill
from validation.model import Factor
from validation.requests import ChangeUserState, FirstFactor, UserAct


@pytest.fixture
def engine() -> Engine:
    made = Engine()
    made.add_user("alice")
    return made


@pytest.fixture
def serial(engine: Engine) -> str:
    return engine.enroll("alice")


def typed(engine: Engine, passcode: str, user: str = "alice") -> Outcome:
    return engine.log_in(user, passcode, GREETER, asked=True)


def rows(engine: Engine) -> list[tuple[str, str]]:
    return [(row.decision, str(row.reason)) for row in engine.trail if row.event == "login"]


def test_a_right_one_lets_in_and_that_is_all_that_is_written_down(engine: Engine, serial: str) -> None:
    assert isinstance(typed(engine, engine.pin(serial)), Accept)
    assert rows(engine) == [("accept", "passcode-right")]


def test_a_wrong_one_is_asked_for_again_like_the_first_answer_to_a_challenge(engine: Engine, serial: str) -> None:
    outcome = typed(engine, engine.wrong_pin(serial))
    assert isinstance(outcome, Challenge)
    text = fill(DEFAULTS["en"][MessageKey.ASK_PIN_AGAIN], {"tries": "2 tries left"})
    assert (outcome.texts, outcome.tries_left, outcome.reason) == ((text,), 2, Reason.PASSCODE_WRONG)
    assert rows(engine) == [("again", "passcode-wrong")]
    assert engine.throttle("alice", Factor.PASSCODE).failures == 1
    assert engine.token(serial).failures == 0, "nobody has proved a password"
    again = engine.answer("alice", outcome.state, engine.wrong_pin(serial), GREETER)
    assert isinstance(again, Challenge)
    assert isinstance(engine.answer("alice", again.state, engine.pin(serial), GREETER), Accept)


def test_the_last_try_is_the_last(engine: Engine, serial: str) -> None:
    outcome = typed(engine, engine.wrong_pin(serial))
    for _ in range(2):
        assert isinstance(outcome, Challenge)
        outcome = engine.answer("alice", outcome.state, engine.wrong_pin(serial), GREETER)
    assert isinstance(outcome, Reject)
    assert engine.throttle("alice", Factor.PASSCODE).failures == 3
    engine.set_policy("tries", "1")
    assert isinstance(typed(engine, engine.wrong_pin(serial)), Reject)


def test_an_empty_one_is_a_wrong_one_and_no_guess(engine: Engine, serial: str) -> None:
    outcome = typed(engine, "")
    assert isinstance(outcome, Challenge)
    assert (outcome.tries_left, outcome.reason) == (2, Reason.PASSCODE_MISSING)
    assert engine.throttle("alice", Factor.PASSCODE).failures == 0


def test_a_used_one_does_not_let_in(engine: Engine, serial: str) -> None:
    pin = engine.pin(serial)
    assert isinstance(typed(engine, pin), Accept)
    outcome = typed(engine, pin)
    assert isinstance(outcome, Challenge)
    assert outcome.reason is Reason.PASSCODE_USED


@pytest.mark.parametrize("act", [UserAct.LOCK, UserAct.DISABLE])
def test_what_stands_against_a_user_is_looked_at_before_it_is_compared(
    engine: Engine, serial: str, act: UserAct
) -> None:
    pin = engine.pin(serial)
    engine.gate.administer(ChangeUserState(actor=ACTOR, name="alice", act=act))
    assert isinstance(typed(engine, pin), Reject)
    assert engine.token(serial).moving_factor == 0


def test_waits_hold_it_back_too(engine: Engine, serial: str) -> None:
    for _ in range(5):
        typed(engine, engine.wrong_pin(serial))
    pin = engine.pin(serial)
    assert isinstance(typed(engine, pin), Reject)
    assert engine.token(serial).moving_factor == 0


def test_who_is_nobody_or_has_no_token_is_refused(engine: Engine) -> None:
    for user, why in (("nobody", Reason.USER_UNKNOWN), ("alice", Reason.NO_TOKEN)):
        outcome = typed(engine, "123456", user)
        assert isinstance(outcome, Reject)
        assert outcome.reason is why


@pytest.mark.parametrize("policy", [{"second_factor": "skip"}, {"grace": "7d"}, {"reuse_window": "1h"}])
def test_no_policy_lets_past_it(policy: dict[str, str]) -> None:
    engine = Engine(**policy)
    engine.add_user("alice")
    serial = engine.enroll("alice")
    source = "192.0.2.77"
    assert isinstance(engine.log_in("alice", engine.pin(serial), GREETER, asked=True, source=source), Accept)
    for passcode in ("", engine.wrong_pin(serial)):
        outcome = engine.log_in("alice", passcode, GREETER, asked=True, source=source)
        assert isinstance(outcome, Challenge)


def test_a_wrong_password_beside_it_is_refused_whatever_was_typed(engine: Engine, serial: str) -> None:
    """A face that asks by itself where passwords are proved gains nothing by it."""
    pin = engine.pin(serial)
    outcome = engine.log_in("alice", pin, "console", password=FirstFactor.WRONG, asked=True)
    assert isinstance(outcome, Reject)
    assert engine.token(serial).moving_factor == 0
