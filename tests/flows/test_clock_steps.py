"""C-024: the clock jumps, by a second or by a day, forward, back, or once more over a leap second.

No PIN is accepted twice whatever the clock says, and nobody is locked out for longer than the clock was wrong. The time
is handed in; waits over such steps stand in test_guessing.py, where two hosts differ in test_several_servers.py.
"""

from dataclasses import replace

import pytest

from store import opening
from store.notices import NoNotices
from tests.builders import NOW
from tests.desk import PROVED
from tests.flows.worker import FixedMoments, told
from tests.postgres import on_both
from tests.site import Site, pin
from validation.decisions import Challenge
from validation.gate import Gate
from validation.model import Mode, Token
from validation.requests import (
    Channel,
    FirstFactor,
    FirstFactorResult,
    IssueRecovery,
    LoginRequest,
    SetRule,
    typed_alone,
)
from validation.settings import Scope

ACCEPTED, USED = ("accept", "passcode-right"), "passcode-used"
DAY = 86_400.0
STEPS = [1.0, 40.0, DAY]
IDS = ["a second", "40 s", "a day"]
BORDER = NOW  # 2026-01-01T00:00:00Z: a time step begins, and leap seconds come just before such a moment


class Person:
    """alice with one token, who types PINs at times that the test says."""

    def __init__(self, site: Site) -> None:
        site.add_client(mode=Mode.PASSCODE_ONLY)
        site.add_user("alice", password=None)
        self.site = site
        self.token = site.enroll("alice")
        (client,) = site.gate.clients()
        channel = Channel.for_mode(Mode.PASSCODE_ONLY)
        self._login = LoginRequest("alice", channel, client.name, client.version)

    def types(self, passcode: str, now: float) -> tuple[str, str]:
        gate = Gate(self.site.database, FixedMoments(now), opening.LoggedFaults(), NoNotices())
        (outcome,) = gate.login([replace(self._login, passcode=passcode)])
        return told(outcome)

    def shows(self, now: float) -> str:
        """The PIN of that time."""
        return pin(self.token, now=now)

    @property
    def accepts(self) -> int:
        return [decision for decision, _ in self.site.logins()].count("accept")


@pytest.fixture
def alice(site: Site) -> Person:
    return Person(site)


@pytest.mark.statement("C-024")
@on_both
@pytest.mark.parametrize("step", STEPS, ids=IDS)
def test_after_a_step_back_no_pin_is_good_twice_and_the_next_one_is_good(alice: Person, step: float) -> None:
    """What was right before the step is used; so is everything until the clock is there again. Then a PIN is right."""
    assert alice.types(alice.shows(NOW), NOW) == ACCEPTED
    for typed in (alice.shows(NOW), alice.shows(NOW - step)):
        assert alice.types(typed, NOW - step)[0] == "reject"
    assert alice.accepts == 1
    assert alice.types(alice.shows(NOW + 30), NOW + 30) == ACCEPTED
    assert alice.accepts == 2


@pytest.mark.statement("C-024")
@pytest.mark.parametrize("step", STEPS, ids=IDS)
def test_a_clock_that_was_ahead_and_is_put_right_locks_out_for_as_long_as_it_was_ahead(
    alice: Person, step: float
) -> None:
    """No longer; and a recovery code, which knows no time, lets in meanwhile."""
    (code, *_) = alice.site.gate.administer(IssueRecovery(actor="test", name="alice")).shown_once
    ahead = NOW + step
    assert alice.types(alice.shows(ahead), ahead) == ACCEPTED
    assert alice.types(alice.shows(ahead), NOW)[0] == "reject", "a PIN is good once, whatever the clock says"
    assert alice.types(typed_alone(code), NOW) == ACCEPTED
    assert alice.types(alice.shows(ahead), ahead)[0] == "reject"
    assert alice.types(alice.shows(ahead + 30), ahead + 30) == ACCEPTED
    assert alice.accepts == 3


@pytest.mark.statement("C-024")
@on_both
def test_a_second_that_comes_twice_makes_no_pin_good_twice(alice: Person) -> None:
    """A leap second as Unix time has it: the second before midnight is told twice. PINs change just then."""
    before, after = BORDER - 0.5, BORDER + 0.5
    assert alice.shows(before) != alice.shows(after)
    assert alice.types(alice.shows(before), before) == ACCEPTED
    assert alice.types(alice.shows(after), after) == ACCEPTED
    for typed in (alice.shows(before), alice.shows(after)):
        assert alice.types(typed, before)[0] == "reject"
    assert alice.types(alice.shows(after), after)[0] == "reject"
    assert alice.accepts == 2
    assert alice.types(alice.shows(BORDER + 30), BORDER + 30) == ACCEPTED


@pytest.mark.statement("C-024")
def test_after_a_suspend_an_open_question_has_ended_and_a_new_login_is_asked_again(site: Site) -> None:
    """The host slept for eight hours: the wall clock went on, and nothing else did."""
    token, login = asked_in_two_steps(site)
    (asked,) = gate_at(site, NOW).login([login])
    assert isinstance(asked, Challenge)
    later = NOW + 8 * 3600
    late = answer(login, asked, pin(token, now=later))
    assert told(gate_at(site, later).login([late])[0]) == ("reject", "state-expired")
    (again,) = gate_at(site, later).login([login])
    assert isinstance(again, Challenge)
    (accepted,) = gate_at(site, later).login([answer(login, again, pin(token, now=later))])
    assert told(accepted) == ACCEPTED, "a PIN that came too late was not used up"


@pytest.mark.statement("C-024")
@pytest.mark.parametrize("step", [*STEPS, *(-step for step in STEPS)])
def test_over_any_step_a_question_is_answered_once(site: Site, step: float) -> None:
    """After its 120 s it is not, and where the clock is then put right it is once more, for one answer in all."""
    token, login = asked_in_two_steps(site)
    (asked,) = gate_at(site, NOW).login([login])
    assert isinstance(asked, Challenge)
    outcomes = []
    for now in (NOW + step, NOW, NOW + 30, NOW + step, NOW - DAY):
        (outcome,) = gate_at(site, now).login([answer(login, asked, pin(token, now=now))])
        outcomes.append(told(outcome))
    assert outcomes[0] == (ACCEPTED if step < 120 else ("reject", "state-expired"))
    assert [decision for decision, _ in outcomes].count("accept") == 1


@pytest.mark.statement("C-024")
@pytest.mark.parametrize(("step", "open_"), [(-DAY, False), (-1.0, False), (1.0, True), (599.0, True), (600.0, False)])
def test_a_clock_that_is_set_back_does_not_lengthen_a_reuse_window(site: Site, step: float, open_: bool) -> None:
    site.gate.administer(SetRule(actor="test", key="reuse_window", value="10m", scope=Scope()))
    token, login = asked_in_two_steps(site)
    login = replace(login, source="192.0.2.77")
    (asked,) = gate_at(site, NOW).login([login])
    assert isinstance(asked, Challenge)
    assert told(gate_at(site, NOW).login([answer(login, asked, pin(token, now=NOW))])[0]) == ACCEPTED
    (outcome,) = gate_at(site, NOW + step).login([login])
    assert told(outcome)[0] == ("accept" if open_ else "again"), outcome


def gate_at(site: Site, now: float) -> Gate:
    return Gate(site.database, FixedMoments(now), opening.LoggedFaults(), NoNotices())


def asked_in_two_steps(site: Site) -> tuple[Token, LoginRequest]:
    """alice's token, and her first step at a gateway that asks for the PIN: her password was right."""
    site.add_client(mode=Mode.CHALLENGE)
    site.add_user("alice", password=None)
    token = site.enroll("alice")
    (client,) = site.gate.clients()
    return token, LoginRequest("alice", Channel.for_mode(client.mode), "vpn", client.version, first_factor=PROVED)


def answer(login: LoginRequest, asked: Challenge, passcode: str) -> LoginRequest:
    unchecked = FirstFactorResult(FirstFactor.NOT_CHECKED)
    return replace(login, first_factor=unchecked, state=asked.state, passcode=passcode)
