"""Whatever is done in whatever order: a passcode works once, a moving factor only grows, who is barred stays out.

Hypothesis drives a gate on a fake store: logins by every mode with right, wrong, old and used PINs, challenges answered
late, twice and by strangers, a clock that is set forward and back, and admins who lock, disable, revoke and enroll.
"""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from tests.validation.engine import PORTAL, SSH, VPN, Engine
from tests.vectors import reference
from validation.decisions import Accept, Challenge, Reject
from validation.errors import Refused
from validation.gate import Outcome
from validation.model import Factor, Token, TokenState, User
from validation.requests import ChangeUserState, EnrollToken, FirstFactor, LoginRequest, RemoveUser, UserAct
from validation.throttle import is_waiting

PEOPLE = ["alice", "bob"]
# Locks and disabling come early, so that short runs meet them.
EARLY = {"lock_from": "3", "lock_base": "30s", "lock_max": "4m", "disable_at": "3", "max_registrations": "50"}

people = st.sampled_from(PEOPLE)
passwords = st.sampled_from([FirstFactor.PROVED] * 4 + [FirstFactor.WRONG, FirstFactor.UNAVAILABLE])
seconds = st.sampled_from([-86_400, -90, -30, -1, 0, 1, 29, 30, 31, 60, 119, 120, 3600])
offsets = st.integers(-3, 12)  # steps or counters from the expected one
near = st.integers(-1, 1)
acts = st.sampled_from([*UserAct, *[UserAct.UNLOCK, UserAct.ENABLE] * 3])
seldom = st.sampled_from([True, False, False, False, False])


class Logins(RuleBasedStateMachine):
    serials = Bundle("serials")
    states = Bundle("states")
    typed = Bundle("typed")

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(**EARLY)
        self.keys: dict[str, Token] = {}  # every token as it was made
        self.owners: dict[str, str] = {}
        self.accepted: set[tuple[str, int]] = set()  # serial and the moving factor that was used up
        self.opened: dict[str, tuple[str, str, float]] = {}  # State to user, client and the time it ends
        self.latest: dict[str, int] = {}  # the greatest moving factor seen of each token
        self.revoked: set[str] = set()

    @initialize(target=serials)
    def begin(self) -> Any:
        for name in PEOPLE:
            self.engine.add_user(name)
        return multiple(*(self._enroll(name, kind) for name in PEOPLE for kind in ("totp", "hotp")))

    def _enroll(self, name: str, kind: str) -> str:
        serial = self.engine.enroll(name, kind)
        self.keys[serial] = self.engine.token(serial)
        self.owners[serial] = name
        return serial

    # --- what happens around logins

    @rule(by=seconds)
    def the_clock_is_set(self, by: int) -> None:
        self.engine.clock.now += by

    @rule(target=serials, name=people, kind=st.sampled_from(["totp", "hotp"]))
    def a_token_is_enrolled(self, name: str, kind: str) -> Any:
        return self._enroll(name, kind) if len(self.keys) < 8 else multiple()

    @rule(serial=serials, now=seldom)
    def a_token_is_revoked(self, serial: str, now: bool) -> None:
        if now and serial not in self.revoked:
            self.engine.revoke(serial)
            self.revoked.add(serial)

    @rule(serial=serials, name=people)
    def a_known_key_is_enrolled_again(self, serial: str, name: str) -> None:
        command = EnrollToken(actor="admin", user=name, key=self.keys[serial].key)
        with pytest.raises(Refused, match="this key is already known"):
            self.engine.gate.administer(command)

    @rule(name=people, act=acts)
    def a_user_is_changed(self, name: str, act: UserAct) -> None:
        self.engine.gate.administer(ChangeUserState(actor="admin", name=name, act=act))

    @rule(name=people, now=seldom)
    def a_user_is_removed_and_made_anew(self, name: str, now: bool) -> None:
        if not now:
            return
        gone = self.engine.gate.administer(RemoveUser(actor="admin", name=name)).serials
        self.revoked |= set(gone)
        self.engine.add_user(name)

    # --- logins

    @rule(target=typed, serial=serials, offset=near, client=st.sampled_from([SSH, PORTAL]), password=passwords)
    def the_owner_logs_in(self, serial: str, offset: int, client: str, password: FirstFactor) -> str:
        passcode = self._passcode(serial, offset)
        self._decide(self.engine.request(self.owners[serial], client, passcode, password=password))
        return passcode

    @rule(target=typed, serial=serials, offset=near, wrong_first=st.booleans(), late=seconds)
    def the_owner_logs_in_at_the_gateway(self, serial: str, offset: int, wrong_first: bool, late: int) -> str:
        name = self.owners[serial]
        outcome = self._decide(self.engine.request(name, VPN))
        if wrong_first and isinstance(outcome, Challenge):
            outcome = self._decide(self.engine.request(name, VPN, "000000", outcome.state))
        self.engine.clock.now += late
        passcode = self._passcode(serial, offset)
        if isinstance(outcome, Challenge):
            self._decide(self.engine.request(name, VPN, passcode, outcome.state))
        return passcode

    @rule(target=typed, serial=serials, offset=offsets)
    def a_passcode_is_read_off(self, serial: str, offset: int) -> str:
        return self._passcode(serial, offset)

    def _passcode(self, serial: str, offset: int) -> str:
        token = self.keys[serial]
        known = self.engine.see(serial=serial).token
        counter = known.moving_factor if known is not None else 0
        expected = int(self.engine.clock.now) // 30 if token.kind == "totp" else counter
        return reference.hotp(token.key, max(0, expected + offset))

    @rule(name=people, passcode=typed, client=st.sampled_from([SSH, PORTAL]), password=passwords)
    def somebody_logs_in(self, name: str, passcode: str, client: str, password: FirstFactor) -> None:
        self._decide(self.engine.request(name, client, passcode, password=password))

    @rule(name=people, client=st.sampled_from([SSH, PORTAL]), serial=serials)
    def somebody_guesses(self, name: str, client: str, serial: str) -> None:
        self._decide(self.engine.request(name, client, "000000"))

    @rule(target=states, name=people, password=passwords)
    def somebody_begins_at_the_gateway(self, name: str, password: FirstFactor) -> Any:
        return self._state_of(self._decide(self.engine.request(name, VPN, password=password)))

    @rule(target=states, name=people, state=states, passcode=typed, client=st.sampled_from([VPN] * 3 + [SSH]))
    def somebody_answers(self, name: str, state: str, passcode: str, client: str) -> Any:
        return self._state_of(self._decide(self.engine.request(name, client, passcode, state)))

    @rule(name=people, passcode=typed, state=states)
    def the_same_passcode_comes_in_by_every_door_at_once(self, name: str, passcode: str, state: str) -> None:
        doors = [self.engine.request(name, client, passcode) for client in (SSH, PORTAL, SSH)]
        doors.append(self.engine.request(name, VPN, passcode, state))
        self._decide(*doors)

    @staticmethod
    def _state_of(outcome: Outcome) -> Any:
        return outcome.state if isinstance(outcome, Challenge) else multiple()

    # --- what must hold

    def _decide(self, *requests: LoginRequest) -> Outcome:
        now, rows = self.engine.clock.now, len(self.engine.trail)
        people_before = {name: self._person(name) for name in PEOPLE}
        before = self._tokens()
        outcomes = self.engine.gate.login(requests)
        after = self._tokens()
        moved = [(s, after[s].moving_factor) for s in before if after[s].moving_factor != before[s].moving_factor]

        assert not self.engine.faults.found
        assert len(self.engine.trail) == rows + len(requests)
        for request, outcome in zip(requests, outcomes, strict=True):
            assert isinstance(outcome, Accept | Challenge | Reject)
            if isinstance(outcome, Challenge):
                self.opened[outcome.state] = (request.user, request.client, now + 120)
            if isinstance(outcome, Accept):
                self._check_accept(request, outcome, people_before[request.user], before, after, now)
        accepts = [outcome.serial for outcome in outcomes if isinstance(outcome, Accept)]
        assert set(accepts) == {serial for serial, _ in moved}, (
            "only an Accept moves a moving factor, and it always does"
        )
        return outcomes[0]

    def _check_accept(
        self,
        request: LoginRequest,
        accept: Accept,
        person: tuple[User, bool],
        before: dict[str, Token],
        after: dict[str, Token],
        now: float,
    ) -> None:
        user, waiting = person
        old, new = before[accept.serial], after[accept.serial]
        fresh = [n for n in self._values(request, old, now) if n < new.moving_factor]
        unused = [n for n in fresh if (accept.serial, n) not in self.accepted]
        assert unused, "a passcode was accepted twice, or one that is no unused value of its token"
        self.accepted.add((accept.serial, unused[0]))
        assert old.state is TokenState.ACTIVE
        assert accept.serial not in self.revoked
        assert (accept.user, old.user_id) == (request.user, user.id)
        assert (user.locked, user.disabled, waiting) == (False, False, False)
        if request.state is not None:
            by, client, end = self.opened.pop(request.state)
            assert (by, client) == (request.user, request.client)
            assert now < end
        elif request.client != PORTAL:
            assert request.first_factor.status is FirstFactor.PROVED

    def _values(self, request: LoginRequest, old: Token, now: float) -> list[int]:
        """The moving factors whose value was typed (two values can be equal), found without the product's help."""
        expected = int(now) // 30 if old.kind == "totp" else old.moving_factor
        near = range(max(0, expected - 11), expected + 12)
        key = self.keys[old.serial].key
        return [n for n in near if n >= old.moving_factor and reference.hotp(key, n) == request.passcode]

    def _person(self, name: str) -> tuple[User, bool]:
        seen = self.engine.see(user=name)
        assert seen.user is not None
        return seen.user, any(is_waiting(seen.throttle(factor), self.engine.clock.now) for factor in Factor)

    def _tokens(self) -> dict[str, Token]:
        found = {serial: self.engine.see(serial=serial).token for serial in self.keys}
        return {serial: token for serial, token in found.items() if token is not None}

    @invariant()
    def moving_factors_only_grow(self) -> None:
        for serial, token in self._tokens().items():
            assert token.moving_factor >= self.latest.get(serial, 0)
            self.latest[serial] = token.moving_factor

    @invariant()
    def revoked_is_final(self) -> None:
        for serial, token in self._tokens().items():
            assert (token.state is TokenState.REVOKED) is (serial in self.revoked)


TestLogins = Logins.TestCase
TestLogins.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
