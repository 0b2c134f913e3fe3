"""Users without a registration: what they are told before a password is proved by us; recovery codes and no token."""

import pytest

from tests.validation.engine import PORTAL, VPN, Engine
from validation.decisions import Challenge, Reason, Reject
from validation.model import Factor, Throttle
from validation.requests import IssueRecovery, typed_alone


@pytest.fixture
def engine() -> Engine:
    engine = Engine()
    engine.add_user("alice")
    return engine


@pytest.mark.parametrize("enrolment", ["both", "off", "hardware-only"])
def test_a_client_that_checks_the_password_itself_is_told_nothing_of_who_exists(engine: Engine, enrolment: str) -> None:
    engine.set_policy("enrolment", enrolment)
    known, unknown = (engine.log_in(name, "123456", PORTAL) for name in ("alice", "nobody"))
    assert isinstance(known, Reject)
    assert isinstance(unknown, Reject)
    assert known.reason is not unknown.reason
    assert (known.text, known.delay) == (unknown.text, unknown.delay)


def test_where_a_ticket_is_shown_a_recovery_code_does_not_replace_it(engine: Engine) -> None:
    done = engine.gate.administer(IssueRecovery(actor="admin", name="alice"))
    code = typed_alone(done.shown_once[0])
    outcome = engine.log_in("alice", code, VPN, state=engine.challenge("alice"))
    assert isinstance(outcome, Challenge)
    assert outcome.reason is Reason.NO_TOKEN
    assert engine.throttle("alice", Factor.PASSCODE) == Throttle()
    assert engine.token(done.serials[0]).moving_factor == 0
