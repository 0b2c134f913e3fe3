"""A gate and its ledger: making requests, having them decided and checked, and what must hold at every moment.

Rules: every login of the machine goes through `_decide`, and every answer through `checks.py`. Waits, disabling and
the budget of guesses come early, so that short runs meet them. `steps` counts what was done and `met` the answers, so
that a run can say that it was no idle one.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple

from tests.validation.engine import CONSOLE, DESK, GREETER, LOCKER, PORTAL, SSH, VPN, Engine
from tests.validation.invariants.checks import Checks
from tests.validation.invariants.ledger import PUBLIC_ID, Device, Ledger, Person
from validation.decisions import Accept, Challenge, Decision, Done, Reason, Reject
from validation.errors import Refused
from validation.gate import Outcome
from validation.model import Factor, Origin, Token, TokenState, User
from validation.requests import Command, EnrollToken, Face, FirstFactor, LoginRequest, Wanted
from validation.settings import DAY, Scope

PEOPLE = ["alice", "bob", "carol"]  # carol has nothing at the beginning
DOORS = [SSH, PORTAL, VPN, CONSOLE, DESK, LOCKER, GREETER]
EARLY = {
    "lock_from": "4",
    "lock_base": "30s",
    "lock_max": "4m",
    "disable_at": "4",
    "guess_budget": "120",
    "reuse_window": "1h",
    "onboarding_over_radius": "key",
}

KEPT = 8  # packets that may come again
REPEATED_FOR = 30.0  # seconds

serials = Bundle("serials")  # of devices
states = Bundle("states")  # of challenges, answered or not
typed = Bundle("typed")  # passcodes that were typed or read off

people = st.sampled_from(PEOPLE)
passwords = st.sampled_from([FirstFactor.PROVED] * 6 + [FirstFactor.WRONG, FirstFactor.UNAVAILABLE])
near = st.sampled_from([0, 0, 0, -1, 1])
often = st.sampled_from([True, True, True, False])
seldom = st.sampled_from([True, False, False, False, False])
doors = st.sampled_from(DOORS)


@dataclass(frozen=True)
class Sent:
    """A packet, and what it was answered when."""

    request: LoginRequest
    outcome: Decision
    at: float

    @property
    def used(self) -> str:
        """The serial of the token that it was accepted with."""
        return self.outcome.serial if isinstance(self.outcome, Accept) else ""


class Deciding(RuleBasedStateMachine):
    steps: ClassVar[int] = 0
    met: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(**EARLY)
        self.ledger = Ledger(policies={(key, ""): value for key, value in EARLY.items()})
        self.checks = Checks(self.ledger)
        self.latest: dict[str, int] = {}  # the greatest moving factor seen of each token
        self.keys: dict[str, bytes] = {}  # of every token there ever was
        self.made = 0
        self.packets = 0
        self.sent: list[Sent] = []  # the newest, oldest first

    @initialize(target=serials)
    def begin(self) -> Any:
        for name in PEOPLE:
            self._add_person(name)
        return multiple(*(self._enroll(name, kind) for name in PEOPLE[:2] for kind in ("totp", "hotp")))

    def _add_person(self, name: str) -> None:
        self.engine.add_user(name)
        now = self.engine.clock.now
        self.ledger.people[name] = Person(name, created_at=now, pairing_since=now)

    def _order(self, command: Command) -> Done | None:
        """None if the command was refused."""
        try:
            return self.engine.gate.administer(command)
        except Refused:
            return None

    def _enroll(self, name: str, kind: str, imported: bool = False) -> Any:
        self.made += 1
        yubico: dict[str, Any] = (
            {"key": bytes([self.made]) * 22, "public_id": PUBLIC_ID} if kind == "yubico_otp" else {}
        )
        origin = Origin.ADMIN if imported else Origin.SELF
        done = self._order(EnrollToken(actor="admin", user=name, kind=kind, origin=origin, **yubico))
        if done is None:
            assert len(self.ledger.of(name)) >= self.ledger.number("max_registrations")
            return multiple()
        assert done.key is not None
        self._known(Device(done.serials[0], kind, name, done.key, self_made=not imported))
        self.ledger.people[name].registered = True
        return done.serials[0]

    def _known(self, device: Device) -> None:
        self.ledger.devices[device.serial] = device
        self.keys[device.serial] = device.key

    def _set(self, key: str, value: str, client: str = "") -> None:
        self.engine.set_policy(key, value, Scope(client=client or None))
        self.ledger.policies[key, client] = value

    # --- deciding

    @staticmethod
    def _state_of(outcome: Outcome) -> Any:
        return outcome.state if isinstance(outcome, Challenge) else multiple()

    def _request(
        self,
        name: str,
        door: str,
        passcode: str | None = None,
        state: str | None = None,
        password: FirstFactor = FirstFactor.PROVED,
        stale: bool = False,
        **more: Any,
    ) -> LoginRequest:
        request = self.engine.request(name, door, passcode, state, password, **more)
        if not stale:
            return request
        result = request.first_factor
        older = replace(result, password_version=(result.password_version or 0) - 1)
        return replace(request, first_factor=older)

    def _decide(self, *requests: LoginRequest, stale: bool = False, faulty: bool = False) -> Decision:
        """Several come in at once, and are decided one after the other. `faulty`: the store may refuse what it is to
        write; else nothing raises."""
        if not (stale or faulty):
            requests = tuple(self._in_a_packet(request) for request in requests)
        rows, told, copied = len(self.engine.trail), len(self.engine.notices.told), self.checks.keys.copied
        barred = {id(request): self._barred(request) for request in requests}
        before = self._moving_factors()
        outcomes = self.engine.gate.login(requests)
        held = self._held()
        moved = {t.serial for t in held if t.serial in before and t.moving_factor != before[t.serial]}
        assert faulty or not self.engine.faults.found, self.engine.faults.found
        self.engine.faults.found.clear()
        last: Decision = Reject(Reason.DECISION_FAILED)
        said: Counter[tuple[str, str]] = Counter()
        for request, outcome in zip(requests, outcomes, strict=True):
            assert isinstance(outcome, Accept | Challenge | Reject)
            mine = self._moved_by(outcome, moved, len(requests))
            self.checks.check_answer(request, outcome, mine, barred[id(request)], stale, self.engine.clock.now)
            self.met[f"{type(outcome).__name__.lower()} {outcome.reason}"] += 1
            moved -= mine
            if not isinstance(outcome, Challenge):
                said[str(outcome.reason), outcome.serial if isinstance(outcome, Accept) else ""] += 1
            last = outcome
            if request.packet:
                others = [sent for sent in self.sent if sent.request.packet != request.packet]
                self.sent = [*others, Sent(request, outcome, self.engine.clock.now)][-KEPT:]
        self._see_what_wrong_pins_disabled(held)
        assert not moved, "a moving factor moved, and no answer says why"
        written = [
            row for row in self.engine.trail[rows:] if row.decision in ("accept", "challenge", "again", "reject")
        ]
        assert len(written) == len(requests), "an answer that is not in the trail"
        final = Counter((str(row.reason), row.serial) for row in written if row.decision in ("accept", "reject"))
        assert final == said, "the trail tells another reason or another token"
        notices = [row.notice for row in self.engine.notices.told[told:]]
        assert notices.count("security_key_copied") == self.checks.keys.copied - copied, "a copied key, told or not"
        return last

    # --- packets that come again

    def _in_a_packet(self, request: LoginRequest) -> LoginRequest:
        """What a gateway sends comes in a packet that is like no other, unless it is sent again."""
        if request.channel.face is not Face.RADIUS or request.packet:
            return request
        self.packets += 1
        return replace(request, packet=self.packets.to_bytes(32, "big"))

    def _send_again(self, sent: Sent) -> None:
        """It gets the same answer, and nothing happens; or it is decided anew, like any other."""
        if self._is_withheld(sent):
            anew = self._decide(sent.request)
            assert not (sent.used and isinstance(anew, Accept) and anew.serial), "one packet used two PINs"
            return
        before, rows = self._everything(sent.request.user), len(self.engine.trail)
        (outcome,) = self.engine.gate.login([sent.request])
        assert outcome == sent.outcome, "a copy was answered otherwise"
        assert {row.event for row in self.engine.trail[rows:]} <= {"retransmission"}, "a copy counts as a login"
        assert self._everything(sent.request.user) == before, "a copy changed something"
        self.met[f"{type(outcome).__name__.lower()} again"] += 1

    def _is_withheld(self, sent: Sent) -> bool:
        """Its time is over, or whoever it let in waits or is locked or disabled, or its token is; or the store has no
        record of it, because there was nothing to keep or something has ended this user's logins."""
        request, person = sent.request, self.ledger.people[sent.request.user]
        over = abs(self.engine.clock.now - sent.at) > REPEATED_FOR or person.locked or person.disabled
        if sent.used:
            over = over or self._barred(request) or self.ledger.devices[sent.used].state != "active"
        (seen,) = self.engine.store.look([request.wanted])
        kept = seen.answered
        return over or kept is None or (kept.at, kept.generation) != (sent.at, seen.book.generation)

    def _everything(self, name: str) -> Any:
        seen = self.engine.see(user=name)
        return seen.user, seen.tokens, seen.throttles, seen.guesses

    @staticmethod
    def _moved_by(outcome: Decision, moved: set[str], of: int) -> set[str]:
        """Of several answers, each moves what it names."""
        if of == 1:
            return set(moved)
        return moved & {outcome.serial} if isinstance(outcome, Accept) else set()

    def _barred(self, request: LoginRequest) -> bool:
        """Locked, disabled, waiting after failures, or without guesses left. Wrong passwords make those wait who come
        from where they were typed: a place where the user is known, or all others."""
        person, now = self.ledger.people[request.user], self.engine.clock.now
        (seen,) = self.engine.store.look([Wanted(user=request.user, source=request.source)])
        place = seen.known_source
        known = place is not None and now < place.last_accepted_at + 30 * DAY
        passwords = place if place is not None and known else seen.throttle(Factor.PASSWORD)
        waits = now < max(seen.throttle(Factor.PASSCODE).blocked_until, passwords.blocked_until)
        spent = sum(n for day, n in seen.guesses.items() if day >= int(now // DAY) - 30) >= int(EARLY["guess_budget"])
        return person.locked or person.disabled or waits or spent

    def _moving_factors(self) -> dict[str, int]:
        return {token.serial: token.moving_factor for token in self._held()}

    def _held(self) -> list[Token]:
        """What people have in the store, but for what is revoked."""
        return [token for name in PEOPLE for token in self.engine.see(user=name).tokens]

    def _stored(self) -> dict[str, Any]:
        """Every token in the store with its owner: by serial, and whatever else people have."""
        serials = {*self.ledger.devices, *(token.serial for token in self._held())}
        found = {serial: self.engine.see(serial=serial) for serial in serials}
        return {serial: (seen.token, seen.token_owner) for serial, seen in found.items() if seen.token is not None}

    def _see_what_wrong_pins_disabled(self, held: list[Token]) -> None:
        for token in held:
            device = self.ledger.devices.get(token.serial)
            if device is not None and device.state == "active" and token.state is TokenState.DISABLED:
                assert token.failures >= int(EARLY["disable_at"]), "disabled by neither admin nor wrong PINs"
                device.state = "disabled"

    # --- at every moment

    @invariant()
    def what_is_stored_is_what_was_done(self) -> None:
        Deciding.steps += 1
        stored = self._stored()
        for serial, (token, _) in stored.items():
            assert token.moving_factor >= self.latest.get(serial, 0), "a moving factor went back"
            self.latest[serial] = token.moving_factor
        self.checks.check_tokens({serial: (str(token.state), owner) for serial, (token, owner) in stored.items()})
        for name in PEOPLE:
            user = self.engine.see(user=name).user
            assert isinstance(user, User)
            person = self.ledger.people[name]
            assert (user.locked, user.disabled) == (person.locked, person.disabled)
