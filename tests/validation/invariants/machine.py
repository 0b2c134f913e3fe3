"""The whole machine: pairing, tickets and care for one's registrations, on top of logins and of what an admin does."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import multiple, rule

from tests.validation.engine import CONSOLE, DESK, VPN
from tests.validation.invariants.admin import revocations
from tests.validation.invariants.checks import TICKET_LIFETIME
from tests.validation.invariants.deciding import near, often, passwords, people, serials, states
from tests.validation.invariants.ledger import Handed
from tests.validation.invariants.logins import ssh_or_vpn
from tests.validation.invariants.touches import Touches
from validation.decisions import Accept, Challenge, Decision, Reason
from validation.model import Purpose, RevokeReason, Stage
from validation.requests import FirstFactor, IssueTicket, LoginRequest, UserAct

pairing_doors = st.sampled_from([CONSOLE, CONSOLE, VPN, DESK])
meanwhile = st.sampled_from(
    ["hardware-only", "off", "no key in clear", "closed", "a token", "locked", "waiting", "too late", "password"]
)


class Machine(Touches):
    # --- pairing

    @rule(target=states, name=people, door=pairing_doors, words=st.sampled_from(["s", "", "n"]))
    def somebody_begins_to_pair(self, name: str, door: str, words: str) -> Any:
        return self._state_of(self._key_shown(name, door, words))

    def _key_shown(self, name: str, door: str, words: str = "s") -> Decision:
        outcome = self._decide(self._request(name, door))
        while isinstance(outcome, Challenge) and outcome.reason is Reason.ONBOARDING and outcome.provisioning is None:
            if self.ledger.open[outcome.state].stage is not Stage.WELCOME:
                break
            outcome = self._decide(self._request(name, door, words, outcome.state))
            words = "s"
        return outcome

    @rule(target=states, state=states, offset=near, again=st.booleans())
    def the_first_pin_is_typed(self, state: str, offset: int, again: bool) -> Any:
        asked = self.ledger.open.get(state)
        if asked is None or asked.candidate is None:
            return multiple()
        passcode = asked.candidate.shows(self.engine.clock.now, offset)
        outcome = self._decide(self._request(asked.user, asked.client, passcode, state))
        if again:
            self._decide(self._request(asked.user, asked.client, passcode, state))
        return self._state_of(outcome)

    @rule(target=serials, name=people, door=pairing_doors)
    def somebody_pairs(self, name: str, door: str) -> Any:
        shown = self._key_shown(name, door)
        if not isinstance(shown, Challenge) or (candidate := self.ledger.open[shown.state].candidate) is None:
            return multiple()
        outcome = self._decide(self._request(name, door, candidate.shows(self.engine.clock.now), shown.state))
        return candidate.serial if isinstance(outcome, Accept) else multiple()

    @rule(name=people, door=pairing_doors, reason=revocations)
    def somebody_comes_after_a_revocation(self, name: str, door: str, reason: RevokeReason) -> None:
        """New accounts can pair; whose token was stolen cannot."""
        for act in (UserAct.UNLOCK, UserAct.ENABLE):
            self.a_user_is_changed(name, act)
        self.pairing_is_opened_or_closed(name, True)
        self._enroll(name, "totp")
        self.what_a_user_has_is_revoked(name, reason, True, True)
        self._key_shown(name, door)

    @rule(name=people, one=pairing_doors, other=pairing_doors)
    def two_pair_at_once(self, name: str, one: str, other: str) -> None:
        shown = [self._key_shown(name, door) for door in (one, other)]
        states = [o.state for o in shown if isinstance(o, Challenge) and o.provisioning is not None]
        before = len(self.ledger.of(name))
        self._decide(*(self._first_pin(state) for state in states))
        assert len(self.ledger.of(name)) <= before + 1, "two sessions paired at once"

    def _first_pin(self, state: str) -> LoginRequest:
        asked = self.ledger.open[state]
        assert asked.candidate is not None
        passcode = asked.candidate.shows(self.engine.clock.now)
        return self._request(asked.user, asked.client, passcode, state)

    @rule(name=people, door=pairing_doors, what=meanwhile, ready=st.booleans())
    def something_happens_while_somebody_pairs(self, name: str, door: str, what: str, ready: bool) -> None:
        """Between the question and the answer, at either page."""
        if ready:
            self._free_to_pair(name)
        shown = self._key_shown(name, door) if what != "no key in clear" else self._decide(self._request(name, door))
        if not isinstance(shown, Challenge):
            return
        enrolment = self.ledger.policy("enrolment")
        self._happens(name, what)
        asked = self.ledger.open.get(shown.state)
        passcode = asked.candidate.shows(self.engine.clock.now) if asked is not None and asked.candidate else "s"
        self._decide(self._request(name, door, passcode, shown.state))
        self._set("enrolment", enrolment)

    # --- caring for one's registrations, and tickets

    @rule(
        target=states,
        serial=serials,
        offset=near,
        purpose=st.sampled_from([Purpose.ADD, Purpose.RESET]),
        at_once=st.booleans(),
        go_on=often,
    )
    def somebody_cares_for_his_registrations(
        self, serial: str, offset: int, purpose: Purpose, at_once: bool, go_on: bool
    ) -> Any:
        device = self.ledger.devices[serial]
        more: dict[str, Any] = {"purpose": purpose, "replaces": serial if purpose is Purpose.RESET else ""}
        passcode = device.shows(self.engine.clock.now, offset)
        outcome = self._decide(self._request(device.owner, CONSOLE, passcode if at_once else None, **more))
        if not at_once and isinstance(outcome, Challenge):
            outcome = self._decide(self._request(device.owner, CONSOLE, passcode, outcome.state))
        if go_on and isinstance(outcome, Challenge) and self.ledger.open[outcome.state].candidate is not None:
            outcome = self._decide(self._first_pin(outcome.state))
        return self._state_of(outcome)

    @rule(serial=serials, door=ssh_or_vpn)
    def somebody_makes_his_key_anew_and_comes_back(self, serial: str, door: str) -> None:
        """What the old key has opened is over."""
        self._log_in(serial, 0, door, FirstFactor.PROVED, "198.51.100.1")
        self.engine.clock.now += 30
        self.somebody_cares_for_his_registrations(serial, 0, Purpose.RESET, True, True)
        self._decide(self._request(self.ledger.owner_of(serial), door, source="198.51.100.1"))

    @rule(one=people, other=people)
    def somebody_redeems_a_ticket_of_somebody_else(self, one: str, other: str) -> None:
        for name in (one, other):
            self._free_to_pair(name)
        self.a_ticket_is_issued(one)
        for text in [text for text, ticket in self.ledger.tickets.items() if ticket.user == one]:
            self._decide(self._request(other, CONSOLE, purpose=Purpose.REDEEM, ticket=text))

    @rule(name=people)
    def a_ticket_is_issued(self, name: str) -> None:
        done = self._order(IssueTicket(actor="admin", name=name))
        if done is not None:
            assert not self.ledger.of(name), "a ticket for somebody who has a registration"
            ends = self.engine.clock.now + TICKET_LIFETIME
            self.ledger.hand_out(done.shown_once[0], Handed(name, ends, by_admin=True))

    @rule(target=states, name=people, which=st.integers(0, 3), go_on=often, password=passwords)
    def a_ticket_is_redeemed(self, name: str, which: int, go_on: bool, password: FirstFactor) -> Any:
        """The person's own, somebody else's, or one that is none."""
        mine = [text for text, ticket in self.ledger.tickets.items() if ticket.user == name] * 2
        text = [*mine, *self.ledger.tickets, "AAAAA-AAAAA"][:4][
            which % min(4, len(mine) + len(self.ledger.tickets) + 1)
        ]
        request = self._request(name, CONSOLE, password=password, purpose=Purpose.REDEEM, ticket=text)
        outcome = self._decide(request)
        if go_on and isinstance(outcome, Challenge) and self.ledger.open[outcome.state].candidate is not None:
            outcome = self._decide(self._first_pin(outcome.state))
        return self._state_of(outcome)
