"""The invariants of docs/invariants.md, whatever is done in whatever order: a passcode works once, a moving factor only
grows, who is barred stays out, revoked is final, nobody pairs who may not.

Hypothesis drives a gate on a fake store through `invariants/`; some 8,000 steps here, the same at each run. From
another seed each time: `python -m tests.validation.invariants --steps 10000`. Below stands, as a short test each, what
the machine has found.
"""

import pytest
from hypothesis import settings

from tests.validation.engine import CONSOLE, VPN, Engine, Pairing
from tests.validation.invariants.__main__ import main
from tests.validation.invariants.deciding import Deciding
from tests.validation.invariants.machine import Machine
from validation.decisions import Accept, Challenge, Reason, Reject
from validation.errors import Refused
from validation.messages import MessageKey, default_text
from validation.model import Purpose
from validation.requests import IssueRecovery, SetTokenUse, typed_alone

IN_CI = settings(
    max_examples=50, stateful_step_count=40, deadline=None, derandomize=True, database=None, report_multiple_bugs=False
)
HOME = "198.51.100.1"

TestLogins = Machine.TestCase
TestLogins.settings = IN_CI


@pytest.mark.statement("O-011", "O-024", "O-046")
def test_thousands_of_steps_from_a_seed_meet_every_way_in_and_out() -> None:
    """Else the machine would be an idle one. The counts are printed; most are in the hundreds."""
    assert main(["--steps", "6000", "--seed", "1"]) == 0
    ways_in = ["passcode-right", "registered", "reused", "second-factor-skipped", "bypass", "grace"]
    ways_out = ["passcode-wrong", "passcode-used", "password-changed", "state-foreign", "state-unknown", "user-locked"]
    ways_in += ["security-key-right"]
    ways_out += ["security-key-wrong", "security-key-counter", "security-key-user-unverified", "security-key-missing"]
    ways_out += ["security-key-backup-flags", "security-key-works-elsewhere", "security-key-known"]
    ways_out += ["user-disabled", "waiting-after-failures", "no-token", "hardware-only", "ticket-wrong"]
    assert min(Deciding.met[f"{what} again"] for what in ("accept", "challenge", "reject")) > 0, Deciding.met
    assert not [way for way in ways_in if not Deciding.met[f"accept {way}"]], Deciding.met
    assert not [way for way in ways_out if not Deciding.met[f"reject {way}"]], Deciding.met


def test_a_seed_repeats_its_run(capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for _ in range(2):
        assert main(["--steps", "200", "--seed", "7"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert said[0].startswith("seed 7\n")


# --- what it has found


def test_a_new_sheet_of_recovery_codes_ends_what_the_old_one_opened() -> None:
    engine = Engine(reuse_window="1h")
    engine.add_user("alice")
    engine.enroll("alice")
    codes = engine.gate.administer(IssueRecovery(actor="admin", name="alice")).shown_once
    assert isinstance(engine.log_in("alice", typed_alone(codes[0]), source=HOME), Accept)
    state = engine.challenge("alice")
    engine.gate.administer(IssueRecovery(actor="admin", name="alice"))
    reused = engine.log_in("alice", source=HOME)
    answered = engine.answer("alice", state, typed_alone(codes[1]))
    assert isinstance(reused, Reject)
    assert isinstance(answered, Reject)
    assert (reused.reason, answered.reason) == (Reason.PASSCODE_MISSING, Reason.STATE_UNKNOWN)


def test_a_key_made_anew_ends_what_the_old_one_opened() -> None:
    engine = Engine(reuse_window="1h")
    engine.add_user("alice")
    serial = engine.enroll("alice")
    assert isinstance(engine.log_in("alice", engine.pin(serial), source=HOME), Accept)
    engine.clock.now += 30
    state = engine.challenge("alice")
    shown = engine.log_in("alice", engine.pin(serial), CONSOLE, purpose=Purpose.RESET, replaces=serial)
    assert isinstance(Pairing(engine, "alice", CONSOLE, shown).confirm(), Accept)
    reused = engine.log_in("alice", source=HOME)
    answered = engine.answer("alice", state, "000000")
    assert isinstance(reused, Reject)
    assert isinstance(answered, Reject)
    assert (reused.reason, answered.reason) == (Reason.PASSCODE_MISSING, Reason.STATE_UNKNOWN)


@pytest.mark.parametrize("policy", ["ticket", "off"])
def test_no_key_is_shown_in_clear_once_policy_says_no_whatever_was_asked_before(policy: str) -> None:
    engine = Engine(onboarding_over_radius="key")
    engine.add_user("alice")
    welcome = engine.log_in("alice", client=VPN)
    assert isinstance(welcome, Challenge)
    engine.set_policy("onboarding_over_radius", policy)
    outcome = engine.answer("alice", welcome.state, "s")
    assert isinstance(outcome, Reject)
    assert outcome.text == default_text(MessageKey.ELSEWHERE, "en")


def test_enabling_tokens_does_not_lead_past_the_number_one_may_have() -> None:
    """More tokens are more codes that a guess is held against."""
    engine = Engine(max_registrations="2")
    engine.add_user("alice")
    serials = [engine.enroll("alice") for _ in range(2)]
    engine.gate.administer(SetTokenUse(actor="admin", serial=serials[0], enabled=False))
    engine.enroll("alice")
    with pytest.raises(Refused, match="alice has 2 registrations already"):
        engine.gate.administer(SetTokenUse(actor="admin", serial=serials[0], enabled=True))
