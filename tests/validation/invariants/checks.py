"""What must hold for every answer (DESIGN section 4, docs/invariants.md), each as a plain assertion.

Rules: an answer is held against the ledger as it was when the request came, and then written into it. Nothing here
asks the product why it answered so; the one thing taken from the store is whether a wait was running.
"""

import re
from dataclasses import replace

from tests.validation.engine import VPN, key_of
from tests.validation.invariants.key_checks import KeyChecks
from tests.validation.invariants.ledger import ASKING, UNPROVED, Asked, Device, Handed, Ledger, Opened
from validation.decisions import Accept, AskKey, AskKeyName, AskNewKey, Challenge, Decision, Reason, Reject
from validation.model import Purpose, Stage
from validation.requests import FirstFactor, LoginRequest

TICKET = re.compile(r"(?:[2-9A-HJ-NP-Z]{5}-){5}[2-9A-HJ-NP-Z]")
TICKET_LIFETIME = 600.0  # SP 800-63B-4 4.1.2.2
MAX_LIFETIME = 600.0  # seconds of a question; no run sets more
CARE = (Purpose.ADD, Purpose.RESET, Purpose.ADD_KEY)  # for one's own registrations; lets nobody in
# Of these the State was not this user's to answer, or had ended before: it is not answered.
NOT_ANSWERED = (Reason.STATE_UNKNOWN, Reason.STATE_FOREIGN, Reason.STATE_EXPIRED, Reason.CLIENT_CHANGED)


class Checks:
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.keys = KeyChecks(ledger)
        self.touched = False  # the answer in work says that an assertion was right, and lets nobody in

    def check_answer(
        self, request: LoginRequest, outcome: Decision, moved: set[str], barred: bool, stale: bool, now: float
    ) -> None:
        """`moved` are the tokens whose moving factor moved; `barred`: waiting, locked or disabled; `stale`: the
        password was changed while it was checked."""
        asked = self.ledger.open.get(request.state or "")
        self.touched = self._touched(request, outcome, asked, moved)
        match outcome:
            case Accept():
                assert not barred, "somebody was let in who waits, is locked or disabled"
                self._check_first_factor(request, asked, stale, now)
                self._check_accept(request, outcome, asked, moved, now)
            case Challenge():
                self._check_challenge(request, outcome, asked, moved, barred, stale, now)
            case Reject():
                self._check_care(request, asked, moved, now)
                self.keys.check_refusal(request, outcome, asked, barred, now)
        if request.state in self.ledger.open and outcome.reason not in NOT_ANSWERED:
            del self.ledger.open[request.state]
        if isinstance(outcome, Challenge):
            self._written(request, outcome, asked, fresh=bool(moved) or self.touched, now=now)

    def _check_first_factor(self, request: LoginRequest, asked: Asked | None, stale: bool, now: float) -> None:
        """Proved by us now, or before a challenge that is open and this user's; or the client's to check."""
        if request.state is not None:
            assert asked is not None, "a State that is not open led somewhere"
            assert (asked.user, asked.client) == (request.user, request.client), "a State of somebody else"
            assert now < asked.ends, "a State led somewhere after its time"
        elif request.client not in UNPROVED:
            assert request.first_factor.status is FirstFactor.PROVED, "without a proved password"
            assert not stale, "with a password that was changed"

    # --- let in

    def _check_accept(
        self, request: LoginRequest, accept: Accept, asked: Asked | None, moved: set[str], now: float
    ) -> None:
        assert accept.user == request.user
        match accept.reason:
            case Reason.PASSCODE_RIGHT:
                assert moved == {accept.serial}, "a PIN was accepted that is not used up by it"
                assert self._purpose(request, asked) not in CARE, "a PIN for care let somebody in"
                self._use_pin(request, accept.serial, now)
                due = self._purpose(request, asked) is Purpose.LOGIN and self.ledger.key_due(
                    request.user, request.client
                )
                assert not due, "let in without the security key that policy asks for"
                self._open_reuse(request, now)
            case Reason.KEY_RIGHT:
                assert self._purpose(request, asked) not in CARE, "a touch for care let somebody in"
                self.keys.use(request, asked, accept.serial, moved, now)
            case Reason.REGISTERED if asked is not None and asked.stage is Stage.NEW_KEY:
                assert moved == set()
                self.keys.register(request, accept, asked, now)
            case Reason.REGISTERED:
                assert moved == set()
                self._register(request, accept, asked, now)
            case Reason.REUSED:
                assert (moved, request.state) == (set(), None)
                assert request.purpose is Purpose.LOGIN
                allowed = self.ledger.may_reuse(request.user, request.client, request.source, request.passcode, now)
                assert allowed, "reused, and no window is open"
            case _:
                assert (moved, request.state) == (set(), None)
                assert request.purpose is Purpose.LOGIN
                ways = self.ledger.way_past(request.user, request.client, now)
                assert accept.reason in ways, f"let in without a PIN: {accept.reason}"

    def _use_pin(self, request: LoginRequest, serial: str, now: float) -> None:
        """The PIN was an unused value of an active token of this user; now it is used up."""
        device = self.ledger.devices[serial]
        assert (device.owner, device.state) == (request.user, "active"), "a token that may let nobody in here"
        assert not self.ledger.key_needed(request.user, request.client), "a PIN where policy asks for a security key"
        fresh = self.ledger.fresh(device, request.passcode or "", now, request.client)
        assert fresh, "a PIN was accepted that is no unused value of its token"
        device.use(fresh[0], now, self.ledger.number("drift_limit", request.client))

    def _open_reuse(self, request: LoginRequest, now: float) -> None:
        length = self.ledger.seconds("reuse_window", request.client)
        if length and request.source is not None and request.client not in UNPROVED:
            key = (request.user, request.client, request.source)
            self.ledger.reuse[key] = Opened(now, length, request.passcode or "")

    def _register(self, request: LoginRequest, accept: Accept, asked: Asked | None, now: float) -> None:
        """The candidate was shown in this very conversation, its first PIN is right, and it may be so now."""
        assert asked is not None
        assert asked.candidate is not None, "registered, and no key was shown"
        assert accept.serial == asked.candidate.serial
        assert self.ledger.may_go_on(asked, now), f"paired by {asked.purpose}, which is not allowed now"
        candidate = asked.candidate
        fresh = self.ledger.fresh(candidate, request.passcode or "", now, request.client)
        assert fresh, "paired without a right first PIN"
        candidate.use(fresh[0], now, self.ledger.number("drift_limit", request.client))
        self.ledger.devices[candidate.serial] = candidate
        self.ledger.people[request.user].registered = True
        if asked.purpose is Purpose.RESET:
            self.ledger.revoke(self.ledger.devices[asked.replaces])
        self.ledger.end_pairing(request.user)

    # --- asked

    def _check_challenge(
        self,
        request: LoginRequest,
        challenge: Challenge,
        asked: Asked | None,
        moved: set[str],
        barred: bool,
        stale: bool,
        now: float,
    ) -> None:
        assert request.client in ASKING, "a question where none can be shown"
        self._check_first_factor(request, asked, stale, now)
        if barred:
            assert asked is not None, "a login went on that waits, is locked or disabled"
            assert (moved, challenge.provisioning, challenge.wants) == (set(), None, None)
        self._check_care(request, asked, moved, now)
        fresh = bool(moved) or self.touched
        if challenge.provisioning is not None:
            self._check_key_shown(request, asked, fresh, now)
        elif challenge.wants is not None:
            self.keys.check_question(request, challenge.wants, self._conversation(request, asked, fresh), now)
        elif challenge.reason is Reason.PASSWORD_RIGHT:
            self.keys.check_pin_question(request)
        elif challenge.reason is Reason.ONBOARDING:
            assert self.ledger.may_pair(request.user, request.client, now), "offered to pair"

    def _check_care(self, request: LoginRequest, asked: Asked | None, moved: set[str], now: float) -> None:
        """What lets nobody in moves nothing, but for the fresh PIN or touch that caring for one's registrations asks
        for, and the PIN of whoever must register a key."""
        if not moved and not self.touched:
            return
        purpose = self._purpose(request, asked)
        due = purpose is Purpose.LOGIN and not self.touched and self.ledger.key_due(request.user, request.client)
        assert purpose in CARE or due, "a second factor was used up, and nobody was let in"
        self._check_first_factor(request, asked, False, now)
        if self.touched:
            self.keys.use(request, asked, self.keys.serial_of(request), moved, now)
            return
        (serial,) = moved
        self._use_pin(request, serial, now)

    @staticmethod
    def _touched(request: LoginRequest, outcome: Decision, asked: Asked | None, moved: set[str]) -> bool:
        """Asked for a touch, he shows one, and it is not the touch that he is refused for, if he is."""
        if request.assertion is None or asked is None or asked.stage is not Stage.KEY:
            return False
        for_care = (Reason.HARDWARE_ONLY, Reason.NO_TOKEN)
        refused_later = isinstance(outcome, Reject) and (bool(moved) or outcome.reason in for_care)
        return isinstance(outcome, Challenge) or refused_later

    @staticmethod
    def _purpose(request: LoginRequest, asked: Asked | None) -> Purpose:
        return asked.purpose if asked is not None else request.purpose

    def _check_key_shown(self, request: LoginRequest, asked: Asked | None, fresh: bool, now: float) -> None:
        """Nobody sees a key who may not pair; in clear only where policy says so."""
        shown = self._conversation(request, asked, fresh)
        assert self.ledger.may_go_on(shown, now), f"a key was shown for {shown.purpose}, which is not allowed now"
        if request.client == VPN:
            assert self.ledger.policy("onboarding_over_radius", VPN) == "key", "a key was shown in clear"

    def _conversation(self, request: LoginRequest, asked: Asked | None, fresh: bool) -> Asked:
        """What the answered question and the request say of the one that follows. Whoever has no registration to care
        for pairs as at a login."""
        if asked is not None:
            purpose, replaces, ticket = asked.purpose, asked.replaces, asked.ticket
        else:
            purpose, replaces, ticket = request.purpose, request.replaces, request.ticket or ""
            if purpose in CARE and not self.ledger.of(request.user):
                purpose, replaces = Purpose.LOGIN, ""
        if purpose is Purpose.LOGIN and fresh:  # a key must be registered
            purpose = Purpose.ADD_KEY
        shown = fresh or (asked is not None and asked.fresh)
        return Asked(request.user, request.client, 0.0, Stage.PIN, purpose, None, replaces, ticket, shown)

    def _written(
        self, request: LoginRequest, challenge: Challenge, asked: Asked | None, fresh: bool, now: float
    ) -> None:
        told = self._conversation(request, asked, fresh)
        candidate, stage, octets = None, Stage.PIN, b""
        if challenge.provisioning is not None:
            key, serial = key_of(challenge.provisioning.uri), challenge.provisioning.serial
            candidate, stage = Device(serial, "totp", request.user, key), Stage.FIRST_PIN
        elif challenge.wants is not None:
            stage = {AskKey: Stage.KEY, AskKeyName: Stage.KEY_NAME, AskNewKey: Stage.NEW_KEY}[type(challenge.wants)]
            octets = self.keys.octets_of(challenge.wants)
        elif ticket := TICKET.search("\n".join(challenge.texts)):
            self._handed_out(request.user, ticket.group(), now)
            told = replace(told, purpose=Purpose.LOGIN)  # a PIN of whatever is registered by then
        elif challenge.reason is Reason.ONBOARDING:
            stage = Stage.WELCOME
        elif asked is not None and asked.stage is not Stage.KEY:  # the same question again; after a touch, a PIN
            candidate, stage = asked.candidate, asked.stage
        ends = self._ends(challenge, asked, now)
        self.ledger.open[challenge.state] = replace(told, ends=ends, stage=stage, candidate=candidate, challenge=octets)

    @staticmethod
    def _ends(challenge: Challenge, asked: Asked | None, now: float) -> float:
        """Every question ends; after a wrong first PIN not later than before."""
        if challenge.reason is Reason.FIRST_PIN_WRONG and asked is not None:
            assert now + challenge.lifetime <= asked.ends
        else:
            assert 0 < challenge.lifetime <= MAX_LIFETIME
        return now + challenge.lifetime

    def _handed_out(self, name: str, text: str, now: float) -> None:
        self.ledger.hand_out(text, Handed(name, now + TICKET_LIFETIME, by_admin=False))

    # --- what the store holds

    def check_tokens(self, stored: dict[str, tuple[str, str]]) -> None:
        """`stored`: the state and owner of every token in the store. Nothing is there that nobody made: an abandoned
        pairing leaves nothing, and nothing comes back."""
        known = {d.serial: (d.state, d.owner) for d in self.ledger.devices.values()}
        for serial, found in stored.items():
            assert serial in known, "a token that nobody made"
            assert found == known[serial], f"{serial} is {found} and should be {known[serial]}"
        gone = [serial for serial, (state, _) in known.items() if state != "revoked" and serial not in stored]
        assert not gone, "a token is lost"
