"""Waits after failures (RFC 4226 7.3): the schedule, what a wait does, what ends it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW, rejected
from tests.validation.engine import PORTAL, SSH, Engine
from validation.decisions import Accept, Challenge, Reason
from validation.messages import MessageKey
from validation.model import Factor, Throttle, TokenState
from validation.requests import ChangeUserState, FirstFactor, SetTokenUse, UserAct
from validation.settings import DAY, DEFAULTS
from validation.throttle import after_failure, is_waiting

SCHEDULE = [0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]  # seconds after the nth failure


def fail(throttle: Throttle, now: float) -> Throttle:
    return after_failure(throttle, now, DEFAULTS)


@pytest.mark.statement("O-043")
def test_waits_begin_at_the_fifth_failure_and_double_up_to_an_hour() -> None:
    throttle, now, waits = Throttle(), NOW, []
    for n in range(1, len(SCHEDULE) + 1):
        throttle = fail(throttle, now)
        assert throttle.failures == n
        waits.append(max(0, throttle.blocked_until - now))
        now = max(now, throttle.blocked_until)
    assert waits == SCHEDULE


@given(failures=st.integers(0, 10**9), now=st.floats(0, 1e11))
def test_no_number_of_failures_gives_more_than_the_longest_wait(failures: int, now: float) -> None:
    after = fail(Throttle(failures, 0.0), now)
    assert after.failures == failures + 1
    assert after.blocked_until <= now + DEFAULTS.lock_max
    assert is_waiting(after, now) is (failures + 1 >= DEFAULTS.lock_from)


def test_a_wait_ends_to_the_second() -> None:
    throttle = Throttle(5, NOW + 30)
    assert [is_waiting(throttle, NOW + s) for s in (-3600, 0, 29.999, 30, 31)] == [True, True, True, False, False]


# --- in logins


@pytest.mark.statement("O-043")
def test_the_schedule_holds_for_logins(engine: Engine, serial: str) -> None:
    for n, wait in enumerate(SCHEDULE, 1):
        outcome = engine.log_in("alice", engine.wrong_pin(serial))
        assert outcome == rejected(Reason.PASSCODE_WRONG, failures=n)
        if wait:
            engine.clock.now += wait - 1
            assert engine.log_in("alice", engine.pin(serial)) == rejected(Reason.WAITING), n
            engine.clock.now += 1


@pytest.mark.statement("O-043")
def test_the_schedule_holds_for_passwords(engine: Engine, serial: str) -> None:
    for n, wait in enumerate(SCHEDULE, 1):
        outcome = engine.log_in("alice", engine.pin(serial), password=FirstFactor.WRONG)
        assert outcome == rejected(Reason.PASSWORD_WRONG, failures=n)
        if wait:
            engine.clock.now += wait - 1
            assert engine.log_in("alice", engine.pin(serial)) == rejected(Reason.WAITING), n
            engine.clock.now += 1
    assert engine.token(serial).moving_factor == 0


def test_wrong_passwords_disable_nothing_however_many_there_are(engine: Engine, serial: str) -> None:
    """Each waits up to an hour. Anybody can type them: were they to disable, he could lock everybody out for good."""
    for n in range(1, 151):
        outcome = engine.log_in("alice", engine.pin(serial), password=FirstFactor.WRONG)
        assert outcome == rejected(Reason.PASSWORD_WRONG, failures=n)
        throttle = engine.throttle("alice", Factor.PASSWORD)
        assert throttle.blocked_until <= engine.clock.now + 3600
        engine.clock.now = max(engine.clock.now, throttle.blocked_until)
    assert (engine.token(serial).state, engine.token(serial).failures) == (TokenState.ACTIVE, 0)
    assert isinstance(engine.log_in("alice", engine.pin(serial)), Accept)


@pytest.mark.statement("O-043")
@pytest.mark.parametrize("factor", Factor)
def test_a_wait_refuses_the_right_pin_at_every_door_and_does_not_use_it_up(
    engine: Engine, serial: str, factor: Factor
) -> None:
    for _ in range(5):
        if factor is Factor.PASSCODE:
            engine.log_in("alice", engine.wrong_pin(serial))
        else:
            engine.log_in("alice", engine.pin(serial), password=FirstFactor.WRONG)
    right = engine.pin(serial)
    for client in (SSH, PORTAL):
        assert engine.log_in("alice", right, client) == rejected(Reason.WAITING)
    throttle = engine.throttle("alice", factor)
    assert (throttle.failures, throttle.blocked_until) == (5, engine.clock.now + 30)
    assert engine.token(serial).moving_factor == 0
    engine.clock.now += 30
    assert isinstance(engine.log_in("alice", right), Accept)


@pytest.mark.statement("O-043")
def test_tries_during_a_wait_neither_count_nor_lengthen_it(engine: Engine, serial: str) -> None:
    for _ in range(5):
        engine.log_in("alice", engine.wrong_pin(serial))
    until = engine.throttle("alice", Factor.PASSCODE)
    for _ in range(20):
        engine.log_in("alice", engine.wrong_pin(serial))
        engine.log_in("alice", engine.pin(serial), password=FirstFactor.WRONG)
        engine.clock.now += 1
    assert engine.throttle("alice", Factor.PASSCODE) == until
    assert engine.throttle("alice", Factor.PASSWORD) == Throttle()


def test_a_success_begins_the_count_anew(engine: Engine, serial: str) -> None:
    for _ in range(3):
        for _ in range(4):
            engine.log_in("alice", engine.wrong_pin(serial))
        assert isinstance(engine.log_in("alice", engine.pin(serial)), Accept)
        engine.clock.now += 30
    assert engine.throttle("alice", Factor.PASSCODE) == Throttle()


@pytest.mark.statement("O-044")
def test_a_pin_proved_without_a_password_does_not_forgive_wrong_passwords(engine: Engine, serial: str) -> None:
    for _ in range(4):
        engine.log_in("alice", engine.pin(serial), password=FirstFactor.WRONG)
    assert isinstance(engine.log_in("alice", engine.pin(serial), PORTAL), Accept)
    assert engine.throttle("alice", Factor.PASSWORD).failures == 4


@pytest.mark.statement("O-044")
def test_a_password_proved_without_a_pin_does_not_forgive_wrong_pins(engine: Engine, serial: str) -> None:
    for _ in range(4):
        engine.log_in("alice", engine.wrong_pin(serial))
    engine.challenge("alice")
    assert engine.throttle("alice", Factor.PASSCODE).failures == 4


def test_failures_of_one_user_are_nobody_elses(engine: Engine, serial: str) -> None:
    engine.add_user("bob")
    bobs = engine.enroll("bob")
    for _ in range(6):
        engine.log_in("alice", engine.wrong_pin(serial))
    assert isinstance(engine.log_in("bob", engine.pin(bobs)), Accept)


def test_unlocking_ends_a_wait(engine: Engine, serial: str) -> None:
    for _ in range(5):
        engine.log_in("alice", engine.wrong_pin(serial))
    engine.gate.administer(ChangeUserState(actor="admin", name="alice", act=UserAct.UNLOCK))
    assert isinstance(engine.log_in("alice", engine.pin(serial)), Accept)


# --- disabling


def fail_times(engine: Engine, serial: str, times: int, client: str) -> None:
    """Wrong PINs, each after the wait of the one before."""
    for _ in range(times):
        engine.log_in("alice", engine.wrong_pin(serial), client)
        engine.clock.now = max(engine.clock.now, engine.throttle("alice", Factor.PASSCODE).blocked_until)


@pytest.mark.statement("O-040")
def test_a_token_is_disabled_at_the_hundredth_wrong_pin_after_a_proved_password(engine: Engine, serial: str) -> None:
    fail_times(engine, serial, 99, SSH)
    assert (engine.token(serial).state, engine.token(serial).failures) == (TokenState.ACTIVE, 99)
    fail_times(engine, serial, 1, SSH)
    right = engine.pin(serial)
    assert (engine.token(serial).state, engine.token(serial).failures) == (TokenState.DISABLED, 100)
    assert engine.log_in("alice", right) == rejected(Reason.NO_TOKEN, message=MessageKey.LOST_TOKEN)


def test_wrong_pins_alone_disable_no_token(engine: Engine, serial: str) -> None:
    fail_times(engine, serial, 150, PORTAL)
    assert (engine.token(serial).state, engine.token(serial).failures) == (TokenState.ACTIVE, 0)
    assert isinstance(engine.log_in("alice", engine.pin(serial)), Accept)


def test_one_right_pin_begins_the_tokens_count_anew(engine: Engine, serial: str) -> None:
    for _ in range(3):
        fail_times(engine, serial, 60, SSH)
        assert isinstance(engine.log_in("alice", engine.pin(serial)), Accept)
        assert engine.token(serial).failures == 0
        engine.clock.now += 60
    assert engine.token(serial).state is TokenState.ACTIVE


def test_an_answer_without_a_pin_is_refused_and_is_no_guess(engine: Engine, serial: str) -> None:
    """Scripts over ssh answer nothing at all; they must not lock their owner out."""
    for _ in range(20):
        state = engine.challenge("alice")
        outcome = engine.answer("alice", state, "")
        assert isinstance(outcome, Challenge)
        assert outcome.reason is Reason.PASSCODE_MISSING
        engine.clock.now += 30
    assert engine.throttle("alice", Factor.PASSCODE) == Throttle()
    assert isinstance(engine.log_in("alice", engine.pin(serial)), Accept)


@pytest.mark.statement("O-009", "O-042")
def test_a_token_that_is_disabled_by_wrong_pins_has_a_row_and_is_told(engine: Engine, serial: str) -> None:
    fail_times(engine, serial, 99, SSH)
    engine.notices.told.clear()
    fail_times(engine, serial, 1, SSH)
    (row,) = [row for row in engine.trail if row.event == "token-disable"]
    assert (row.user, row.serial, row.client, row.detail["failures"]) == ("alice", serial, SSH, 100)
    assert [(told.notice, told.serial) for told in engine.notices.told] == [("token_disabled", serial)]
    engine.gate.administer(SetTokenUse(actor="admin", serial=serial, enabled=True))
    fail_times(engine, serial, 1, SSH)
    assert engine.token(serial).state is TokenState.ACTIVE, "one slip after an admin has acted is no second lock-out"
    assert isinstance(engine.log_in("alice", engine.pin(serial)), Accept)


def test_a_right_pin_of_one_token_ends_the_row_of_wrong_ones_at_each(engine: Engine, serial: str) -> None:
    """One slip a day at one app must not disable, after a hundred days, the other that lies in the drawer."""
    daily = engine.enroll("alice", "hotp")
    for _ in range(120):
        engine.log_in("alice", engine.wrong_pin(serial))
        assert isinstance(engine.log_in("alice", engine.pin(daily)), Accept)
        engine.clock.now += DAY
    assert (engine.token(serial).state, engine.token(serial).failures) == (TokenState.ACTIVE, 0)
    assert isinstance(engine.log_in("alice", engine.pin(serial)), Accept)


def test_the_alarm_for_a_stolen_password_stands_in_the_trail(engine: Engine, serial: str) -> None:
    fail_times(engine, serial, 7, SSH)
    assert [row.detail.get("notice") for row in engine.trail if row.decision == "reject"] == [
        *[None] * 4,
        "locked",
        "password_maybe_stolen",
        None,
    ]


def test_wrong_pins_elsewhere_do_not_step_over_the_alarm(engine: Engine, serial: str) -> None:
    """The sixth is typed where the client has checked the password, if anybody has."""
    fail_times(engine, serial, 5, SSH)
    fail_times(engine, serial, 1, PORTAL)
    fail_times(engine, serial, 2, SSH)
    assert [row.detail.get("notice") for row in engine.trail].count("password_maybe_stolen") == 1
