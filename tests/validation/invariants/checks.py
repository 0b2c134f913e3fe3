"""What must hold for every answer (DESIGN section 4, docs/invariants.md), each as a plain assertion.

Rules: an answer is held against the ledger as it was when the request came, and then written into it. Nothing here
asks the product why it answered so; the one thing taken from the store is whether a wait was running.
"""

import re
from dataclasses import replace

from tests.validation.engine import CONSOLE, PORTAL, VPN, key_of
from tests.validation.invariants.ledger import Asked, Device, Handed, Ledger, Opened
from validation.decisions import Accept, Challenge, Decision, Reason, Reject
from validation.model import Purpose, Stage
from validation.requests import FirstFactor, LoginRequest

TICKET = re.compile(r"(?:[2-9A-HJ-NP-Z]{5}-){5}[2-9A-HJ-NP-Z]")
TICKET_LIFETIME = 600.0  # SP 800-63B-4 4.1.2.2
MAX_LIFETIME = 600.0  # seconds of a question; no run sets more
CARE = (Purpose.ADD, Purpose.RESET)  # for one's own registrations; lets nobody in
# Of these the State was not this user's to answer, or had ended before: it is not answered.
NOT_ANSWERED = (Reason.STATE_UNKNOWN, Reason.STATE_FOREIGN, Reason.STATE_EXPIRED, Reason.CLIENT_CHANGED)


class Checks:
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def check_answer(
        self, request: LoginRequest, outcome: Decision, moved: set[str], barred: bool, stale: bool, now: float
    ) -> None:
        """`moved` are the tokens whose moving factor moved; `barred`: waiting, locked or disabled; `stale`: the
        password was changed while it was checked."""
        asked = self.ledger.open.get(request.state or "")
        match outcome:
            case Accept():
                assert not barred, "somebody was let in who waits, is locked or disabled"
                self._check_first_factor(request, asked, stale, now)
                self._check_accept(request, outcome, asked, moved, now)
            case Challenge():
                self._check_challenge(request, outcome, asked, moved, barred, stale, now)
            case Reject():
                self._check_care(request, asked, moved, now)
        if request.state in self.ledger.open and outcome.reason not in NOT_ANSWERED:
            del self.ledger.open[request.state]
        if isinstance(outcome, Challenge):
            self._written(request, outcome, asked, after_pin=bool(moved), now=now)

    def _check_first_factor(self, request: LoginRequest, asked: Asked | None, stale: bool, now: float) -> None:
        """Proved by us now, or before a challenge that is open and this user's; or the client's to check."""
        if request.state is not None:
            assert asked is not None, "a State that is not open led somewhere"
            assert (asked.user, asked.client) == (request.user, request.client), "a State of somebody else"
            assert now < asked.ends, "a State led somewhere after its time"
        elif request.client != PORTAL:
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
                self._open_reuse(request, now)
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
        fresh = self.ledger.fresh(device, request.passcode or "", now, request.client)
        assert fresh, "a PIN was accepted that is no unused value of its token"
        device.use(fresh[0], now, self.ledger.number("drift_limit", request.client))

    def _open_reuse(self, request: LoginRequest, now: float) -> None:
        length = self.ledger.seconds("reuse_window", request.client)
        if length and request.source is not None and request.client != PORTAL:
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
        assert request.client in (VPN, CONSOLE), "a question where none can be shown"
        self._check_first_factor(request, asked, stale, now)
        if barred:
            assert asked is not None, "a login went on that waits, is locked or disabled"
            assert (moved, challenge.provisioning) == (set(), None)
        self._check_care(request, asked, moved, now)
        if challenge.provisioning is not None:
            self._check_key_shown(request, asked, bool(moved), now)
        if challenge.reason is Reason.ONBOARDING and challenge.provisioning is None:
            assert self.ledger.may_pair(request.user, request.client, now), "offered to pair"

    def _check_care(self, request: LoginRequest, asked: Asked | None, moved: set[str], now: float) -> None:
        """What lets nobody in moves nothing, but for the fresh PIN that caring for one's registrations asks for."""
        if not moved:
            return
        assert self._purpose(request, asked) in CARE, "a PIN was used up, and nobody was let in"
        self._check_first_factor(request, asked, False, now)
        (serial,) = moved
        self._use_pin(request, serial, now)

    @staticmethod
    def _purpose(request: LoginRequest, asked: Asked | None) -> Purpose:
        return asked.purpose if asked is not None else request.purpose

    def _check_key_shown(self, request: LoginRequest, asked: Asked | None, pin_shown: bool, now: float) -> None:
        """Nobody sees a key who may not pair; in clear only where policy says so."""
        shown = self._conversation(request, asked, after_pin=pin_shown)
        assert self.ledger.may_go_on(shown, now), f"a key was shown for {shown.purpose}, which is not allowed now"
        if request.client == VPN:
            assert self.ledger.policy("onboarding_over_radius", VPN) == "key", "a key was shown in clear"

    def _conversation(self, request: LoginRequest, asked: Asked | None, after_pin: bool) -> Asked:
        """What the answered question and the request say of the one that follows. Whoever has no registration to care
        for pairs as at a login."""
        if asked is not None:
            purpose, replaces, ticket = asked.purpose, asked.replaces, asked.ticket
        else:
            purpose, replaces, ticket = request.purpose, request.replaces, request.ticket or ""
            if purpose in CARE and not self.ledger.of(request.user):
                purpose, replaces = Purpose.LOGIN, ""
        proved = after_pin or (asked is not None and asked.after_pin)
        return Asked(request.user, request.client, 0.0, Stage.PIN, purpose, None, replaces, ticket, proved)

    def _written(
        self, request: LoginRequest, challenge: Challenge, asked: Asked | None, after_pin: bool, now: float
    ) -> None:
        told = self._conversation(request, asked, after_pin)
        candidate, stage = None, Stage.PIN
        if challenge.provisioning is not None:
            key, serial = key_of(challenge.provisioning.uri), challenge.provisioning.serial
            candidate, stage = Device(serial, "totp", request.user, key), Stage.FIRST_PIN
        elif ticket := TICKET.search("\n".join(challenge.texts)):
            self._handed_out(request.user, ticket.group(), now)
            told = replace(told, purpose=Purpose.LOGIN)  # a PIN of whatever is registered by then
        elif challenge.reason is Reason.ONBOARDING:
            stage = Stage.WELCOME
        elif asked is not None:  # the same question again
            candidate, stage = asked.candidate, asked.stage
        ends = self._ends(challenge, asked, now)
        self.ledger.open[challenge.state] = replace(told, ends=ends, stage=stage, candidate=candidate)

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
