"""A store that went back in time: what was used in that time is refused, and what was not works again."""

import pytest

from tests.validation.engine import DESK, Engine
from tests.vectors import yubico
from validation.decisions import Accept, Challenge, Done, Reason, Reject
from validation.errors import BadInput, Refused
from validation.gate import Outcome
from validation.model import Factor, Throttle
from validation.requests import (
    ChangeUserState,
    Command,
    EnrollToken,
    IssueRecovery,
    RaiseGuards,
    ResyncToken,
    TryPasscode,
    UserAct,
    typed_alone,
)

CODES = yubico.CHAIN[1]


def guard(engine: Engine, **more: object) -> Done:
    return engine.gate.administer(RaiseGuards(actor="admin", event="guard", **more))  # type: ignore[arg-type]


def reason(outcome: Outcome) -> Reason:
    assert isinstance(outcome, Accept | Reject), outcome
    return outcome.reason


@pytest.fixture
def totp(engine: Engine, alice: str) -> str:
    return engine.enroll(alice)


@pytest.fixture
def hotp(engine: Engine, alice: str) -> str:
    return engine.enroll(alice, "hotp")


@pytest.fixture
def key(engine: Engine, alice: str) -> str:
    made, octets = yubico.CHAIN[0], bytes.fromhex(yubico.CHAIN[0].aes + yubico.CHAIN[0].private_id)
    command = EnrollToken(actor="x", user=alice, kind="yubico_otp", key=octets, public_id=made.public_id, serial="YK")
    return engine.gate.administer(command).serials[0]


@pytest.mark.statement("C-016", "C-007")
@pytest.mark.parametrize("drift", ["10", "0", "40"])
def test_every_step_that_could_have_been_used_by_now_is_refused(engine: Engine, totp: str, drift: str) -> None:
    """Whatever drift the token had learned when it was used: the widest window of any policy, and no step more."""
    engine.set_policy("drift_limit", drift)
    engine.set_policy("totp_window", "2")
    widest = max(int(drift), 10) + 2
    possible = [engine.pin(totp, ahead) for ahead in range(-widest, widest + 1)]
    guard(engine)
    assert engine.token(totp).moving_factor == int(engine.clock.now // 30) + widest + 1
    for ahead, used in enumerate(possible, -widest):
        engine.clock.now += 30 if ahead > 0 else 0
        assert reason(engine.log_in("alice", used)) is not Reason.PASSCODE_RIGHT
        engine.gate.administer(_unlock())
    engine.clock.now += 30
    assert reason(engine.log_in("alice", engine.pin(totp))) is Reason.PASSCODE_RIGHT


def _unlock() -> Command:
    return ChangeUserState(actor="admin", name="alice", act=UserAct.UNLOCK)


@pytest.mark.statement("C-016", "C-007")
def test_a_counter_is_compared_with_nothing_until_two_values_were_shown(engine: Engine, hotp: str) -> None:
    used = [engine.pin(hotp, n) for n in range(3)]
    fresh = [engine.pin(hotp, n) for n in range(3, 7)]
    guard(engine)
    for typed in (*used, fresh[0], "1"):
        assert reason(engine.log_in("alice", typed)) is Reason.TOKEN_NEEDS_RESYNC
    assert engine.throttle("alice", Factor.PASSCODE) == Throttle(), "nothing was compared, so nothing was guessed"
    with pytest.raises(Refused, match="needs a resynchronisation; twofold token resync"):
        engine.gate.administer(TryPasscode(actor="admin", serial=hotp, passcode=fresh[0]))
    engine.gate.administer(ResyncToken(actor="admin", serial=hotp, first=fresh[0], second=fresh[1]))
    assert reason(engine.log_in("alice", used[2])) is Reason.PASSCODE_USED
    assert reason(engine.log_in("alice", fresh[1])) is not Reason.PASSCODE_RIGHT
    assert reason(engine.log_in("alice", fresh[2])) is Reason.PASSCODE_RIGHT


@pytest.mark.statement("C-016")
def test_a_token_that_waits_is_a_registration_all_the_same(engine: Engine, hotp: str) -> None:
    """Nobody may pair another with the password alone because his token waits."""
    guard(engine)
    outcome = engine.log_in("alice", client=DESK)
    assert isinstance(outcome, Challenge)
    assert outcome.provisioning is None


def test_another_token_of_the_same_person_is_compared_as_ever(engine: Engine, hotp: str, totp: str) -> None:
    guard(engine)
    engine.clock.now += 30 * 12
    assert reason(engine.log_in("alice", engine.wrong_pin(totp))) is Reason.TOKEN_NEEDS_RESYNC
    assert engine.throttle("alice", Factor.PASSCODE).failures == 1
    assert reason(engine.log_in("alice", engine.pin(totp))) is Reason.PASSCODE_RIGHT


@pytest.mark.statement("C-016")
def test_a_key_that_types_waits_for_two_codes(engine: Engine, key: str) -> None:
    guard(engine)
    assert reason(engine.log_in("alice", CODES[4].text)) is Reason.TOKEN_NEEDS_RESYNC
    engine.gate.administer(ResyncToken(actor="admin", serial=key, first=CODES[2].text, second=CODES[3].text))
    assert reason(engine.log_in("alice", CODES[1].text)) is Reason.PASSCODE_USED
    assert reason(engine.log_in("alice", CODES[4].text)) is Reason.PASSCODE_RIGHT


@pytest.mark.statement("C-016", "C-007")
def test_counters_may_move_on_instead(engine: Engine, hotp: str, key: str) -> None:
    used, fresh = engine.pin(hotp, 4), engine.pin(hotp, 5)
    before = engine.token(key).moving_factor
    guard(engine, ahead=5)
    assert reason(engine.log_in("alice", used)) is Reason.PASSCODE_USED
    assert reason(engine.log_in("alice", fresh)) is Reason.PASSCODE_RIGHT
    assert engine.token(key).moving_factor == before + 5 * 256, "it may have been plugged in anew for each login"


@pytest.mark.statement("C-016")
@pytest.mark.parametrize("keep", [True, False])
def test_recovery_codes_are_revoked_unless_told_otherwise(engine: Engine, totp: str, keep: bool) -> None:
    code = engine.gate.administer(IssueRecovery(actor="admin", name="alice")).shown_once[0]
    done = guard(engine, keep_recovery=keep)
    assert any("work again" in line and "recovery codes" in line for line in done.warnings) is keep
    assert (reason(engine.log_in("alice", typed_alone(code))) is Reason.PASSCODE_RIGHT) is keep


@pytest.mark.statement("C-007")
def test_a_state_of_before_is_of_no_use(engine: Engine, totp: str) -> None:
    state = engine.challenge("alice")
    guard(engine)
    engine.clock.now += 30
    assert reason(engine.answer("alice", state, engine.pin(totp, 12))) is Reason.STATE_UNKNOWN


def test_it_stands_in_the_trail_with_what_was_chosen(engine: Engine, hotp: str) -> None:
    guard(engine, ahead=2, facts={"backup": "yesterday"})
    row = engine.trail[-1]
    assert (row.event, row.actor, row.decision) == ("guard", "admin", "done")
    assert row.detail == {"counters": "ahead 2", "recovery": "revoked", "steps": "12", "backup": "yesterday"}


@pytest.mark.parametrize("ahead", [0, -1, 1001])
def test_so_many_logins_cannot_have_been(engine: Engine, hotp: str, ahead: int) -> None:
    before = engine.token(hotp)
    with pytest.raises(BadInput, match="1 to 1000 are"):
        guard(engine, ahead=ahead)
    assert engine.token(hotp) == before
    assert engine.trail[-1].event != "guard"
