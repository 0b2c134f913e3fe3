"""Enrolment tickets as the engine sees them: whose they are, what replaces them, how long their login waits."""

import re

import pytest

from tests.validation.engine import CONSOLE, VPN, Engine
from validation.decisions import Accept, Challenge, Reason, Reject
from validation.model import Purpose
from validation.requests import IssueTicket


@pytest.fixture
def engine() -> Engine:
    engine = Engine()
    engine.add_user("alice")
    return engine


def issued(engine: Engine) -> str:
    """An admin's ticket."""
    (text,) = engine.gate.administer(IssueTicket(actor="admin", name="alice")).shown_once
    return text


def handed_out(engine: Engine) -> tuple[str, str]:
    """The ticket a login over RADIUS shows, and its State."""
    outcome = engine.log_in("alice", client=VPN)
    assert isinstance(outcome, Challenge)
    (text,) = re.findall(r"(?:[2-9A-Z]{5}-){5}[2-9A-Z]", " ".join(outcome.texts))
    return text, outcome.state


def test_a_login_does_not_take_an_admins_ticket_away(engine: Engine) -> None:
    """Whoever knows the password could else keep its owner from ever using the one he was handed."""
    by_admin = issued(engine)
    first, _ = handed_out(engine)
    second, _ = handed_out(engine)
    gone = engine.log_in("", client=CONSOLE, purpose=Purpose.REDEEM, ticket=first)
    assert isinstance(gone, Reject)
    for text in (second, by_admin):
        assert isinstance(engine.log_in("alice", client=CONSOLE, purpose=Purpose.REDEEM, ticket=text), Challenge)


def test_of_two_tickets_of_one_user_the_first_to_be_redeemed_ends_the_other(engine: Engine) -> None:
    by_admin, (by_login, _) = issued(engine), handed_out(engine)
    pairing = engine.pair("alice", purpose=Purpose.REDEEM, ticket=by_login)
    assert isinstance(pairing.confirm(purpose=Purpose.REDEEM, ticket=by_login), Accept)
    outcome = engine.log_in("alice", client=CONSOLE, purpose=Purpose.REDEEM, ticket=by_admin)
    assert isinstance(outcome, Reject)
    assert outcome.reason is Reason.TICKET_WRONG


def test_an_early_answer_does_not_cost_the_time_the_ticket_needs(engine: Engine) -> None:
    text, state = handed_out(engine)
    engine.clock.now += 30
    early = engine.answer("alice", state, "123456")
    assert isinstance(early, Challenge)
    assert early.lifetime == 570
    engine.clock.now += 400
    pairing = engine.pair("alice", purpose=Purpose.REDEEM, ticket=text)
    assert isinstance(pairing.confirm(purpose=Purpose.REDEEM, ticket=text), Accept)
    engine.clock.now += 30
    assert isinstance(engine.answer("alice", early.state, pairing.pin()), Accept)


def test_who_redeems_stands_in_the_trail(engine: Engine) -> None:
    engine.log_in("alice", client=CONSOLE, purpose=Purpose.REDEEM, ticket=issued(engine), actor="alice as root")
    assert engine.trail[-1].actor == "alice as root"
