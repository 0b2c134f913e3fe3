"""What must hold for every answer about a security key, each as a plain assertion.

Rules: whoever makes an assertion or a credential writes down what it says (`Said`), so that it is known here what is
true of it without reading it. Which question it was signed for is known by the octets that were shown with that
question. Nothing here takes a signature apart.
"""

from dataclasses import dataclass
from typing import Any

from tests.validation.engine import DESK, LOCKER, SUDO
from tests.validation.invariants.ledger import Asked, Device, Ledger
from tests.validation.signing_key import BE, BS, UP, UV, SigningKey
from validation.decisions import Accept, AskKey, AskKeyName, AskNewKey, Reason, Reject
from validation.model import Purpose, Stage
from validation.requests import Assertion, LoginRequest, NewCredential

KEY_LIFETIME = 120.0  # W-001: a challenge dies within so many seconds
FORGED = {"type", "origin", "rp_id", "signature", "after", "challenge"}  # no honest key says another of these


@dataclass(frozen=True)
class Said:
    key: SigningKey  # whose private half has signed
    id: bytes
    handle: bytes | None
    challenge: bytes
    flags: int
    count: int
    forged: bool

    @property
    def contradicts_itself(self) -> bool:
        return bool(self.flags & BS) and not self.flags & BE


class KeyChecks:
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.said: dict[Assertion | NewCredential, Said] = {}
        self.used: set[Assertion] = set()
        self.shown: set[bytes] = set()  # challenges
        self.known: set[bytes] = set()  # credentials that were ever registered
        self.copied = 0  # times that a count went back and it was told

    # --- making

    def get(self, key: SigningKey, asked: AskKey, **said: Any) -> Assertion:
        made = key.get(asked, **said)
        self.said[made] = self._said(key, asked.challenge, said, handle=said.get("handle"))
        return made

    def make(self, key: SigningKey, asked: AskNewKey, **said: Any) -> NewCredential:
        made = key.make(asked, **said)
        self.said[made] = self._said(key, asked.challenge, said, handle=asked.user_handle)
        return made

    @staticmethod
    def _said(key: SigningKey, challenge: bytes, said: dict[str, Any], handle: bytes | None) -> Said:
        flags, count = said.get("flags", key.flags), said.get("count", key.count)
        return Said(key, said.get("id", key.id), handle, challenge, flags, count, bool(FORGED & set(said)))

    # --- an assertion

    def serial_of(self, request: LoginRequest) -> str:
        assert request.assertion is not None
        claimed = self.said[request.assertion].id
        held = [d.serial for d in self.ledger.keys_of(request.user) if d.signing and d.signing.id == claimed]
        assert len(held) == 1, "a credential that is not this user's, or twice"
        return held[0]

    def use(self, request: LoginRequest, asked: Asked | None, serial: str, moved: set[str], now: float) -> None:
        """The assertion was believed: it is right, and now it is used up."""
        fault = self.fault(request, asked)
        assert not fault, f"an assertion was believed: {fault}"
        assert serial == self.serial_of(request), "another token than the one that signed"
        assert request.assertion is not None
        device, count = self.ledger.devices[serial], self.said[request.assertion].count
        assert moved == ({serial} if count > device.floor else set()), "a sign count that did not move as it should"
        self.copied += self._went_back(device, count)
        self.used.add(request.assertion)
        device.floor = max(device.floor, count)

    def fault(self, request: LoginRequest, asked: Asked | None) -> str:
        """Why this assertion must not be believed, as things are; empty if it may."""
        said = self.said.get(request.assertion) if request.assertion is not None else None
        if said is None or request.assertion in self.used:
            return "nobody signed it, or it was used"
        if asked is None or asked.stage is not Stage.KEY or said.challenge != asked.challenge:
            return "it answers another question"
        if not self.ledger.keys_welcome(request.client):
            return "this is no place for a security key"
        held = [d for d in self.ledger.keys_of(request.user) if d.signing is not None and d.signing.id == said.id]
        if not held or held[0].signing is not said.key or said.handle not in (None, said.key.handle):
            return "not a usable key of this user"
        return self._fault_in(said, held[0], request.client)

    def _fault_in(self, said: Said, device: Device, client: str) -> str:
        if said.forged or not said.flags & UP:
            return "forged, or not touched"
        if self.ledger.policy("user_verification", client) == "required" and not said.flags & UV:
            return "the user was not verified"
        if said.contradicts_itself or bool(said.flags & BE) != device.eligible:
            return "backup flags"
        if self._went_back(device, said.count) and self.ledger.policy("sign_count", client) == "refuse":
            return "a sign count that did not grow"
        return ""

    @staticmethod
    def _went_back(device: Device, count: int) -> bool:
        return count <= device.floor and (count, device.floor) != (0, 0)

    def check_refusal(
        self, request: LoginRequest, reject: Reject, asked: Asked | None, barred: bool, now: float
    ) -> None:
        """An honest touch lets in, whoever is not barred; and the reason that is told is the one there is."""
        if asked is None or request.assertion is None or asked.stage is not Stage.KEY or barred:
            return
        if (asked.user, asked.client) != (request.user, request.client) or now >= asked.ends:
            return
        fault = self.fault(request, asked)
        assert fault or asked.purpose not in (Purpose.LOGIN, Purpose.CARE), "an honest touch was refused"
        reasons = {
            "this is no place for a security key": Reason.KEY_MISSING,
            "the user was not verified": Reason.KEY_UNVERIFIED,
            "backup flags": Reason.KEY_BACKUP,
            "a sign count that did not grow": Reason.KEY_COUNTER,
            "forged, or not touched": Reason.KEY_WRONG,
        }
        assert reject.reason is reasons.get(fault, reject.reason), f"{fault}, and it is told as {reject.reason}"
        self.copied += reject.reason is Reason.KEY_COUNTER

    # --- a registration

    def register(self, request: LoginRequest, accept: Accept, asked: Asked, now: float) -> None:
        """Made for this very question by a key that was never here before, and it may be so now."""
        assert request.new_credential is not None, "registered, and no key was touched"
        said = self.said[request.new_credential]
        assert self._may_register(asked, now), f"registered by {asked.purpose}, which is not allowed now"
        assert said.challenge == asked.challenge, "made for another question"
        assert not said.forged
        assert said.flags & UP, "registered without a touch"
        verified = said.flags & UV or self.ledger.policy("user_verification", request.client) == "off"
        assert verified, "registered, and the user was not verified"
        assert not said.contradicts_itself
        assert said.key.id not in self.known, "a credential was registered twice"
        names = {d.label for d in self.ledger.all_of(request.user)}
        assert request.key_name not in {"", *names}, "two keys of one name, or none"
        self.known.add(said.key.id)
        self.ledger.devices[accept.serial] = Device(
            accept.serial,
            "webauthn",
            request.user,
            floor=said.count,
            signing=said.key,
            eligible=bool(said.flags & BE),
            label=request.key_name,
        )
        self.ledger.people[request.user].registered = True
        self.ledger.end_pairing(request.user)

    def _may_register(self, told: Asked, now: float) -> bool:
        """At the machine, and after a second factor for whoever has one."""
        by = told.purpose in (Purpose.LOGIN, Purpose.ADD_KEY)
        return by and self.ledger.keys_welcome(told.client) and self.ledger.may_go_on(told, now)

    # --- questions

    def check_question(
        self, request: LoginRequest, wants: AskKey | AskNewKey | AskKeyName, told: Asked, now: float
    ) -> None:
        assert request.client in (DESK, SUDO, LOCKER), "a security key is asked for away from the machine"
        assert self.ledger.keys_welcome(request.client), "policy wants no security keys"
        match wants:
            case AskKey():
                self._check_touch_question(request, wants)
            case AskNewKey():
                held = {d.signing.id for d in self.ledger.all_of(request.user) if d.signing is not None}
                assert set(wants.exclude) == held, "keys of the user's that could be registered again"
                assert self._may_register(told, now), f"a key may be registered by {told.purpose}"
                self._check_octets(request, wants.challenge, wants.verify_user)
            case AskKeyName():
                assert self._may_register(told, now), f"asked for a name by {told.purpose}"

    def _check_touch_question(self, request: LoginRequest, wants: AskKey) -> None:
        """Of all the keys the user may use, and of no other; a PIN would do where he has one and policy lets him."""
        assert request.state is None, "a touch is the first question"
        held = {d.signing.id for d in self.ledger.keys_of(request.user) if d.signing is not None}
        assert held, "a touch of somebody who has no security key"
        assert set(wants.credentials) == held
        needed = self.ledger.key_needed(request.user, request.client)
        assert wants.or_passcode == (bool(self.ledger.typed_by(request.user)) and not needed)
        self._check_octets(request, wants.challenge, wants.verify_user)

    def _check_octets(self, request: LoginRequest, challenge: bytes, verify_user: bool) -> None:
        assert len(challenge) >= 16
        assert challenge not in self.shown, "a challenge was shown before"
        self.shown.add(challenge)
        assert verify_user == (self.ledger.policy("user_verification", request.client) == "required")

    def check_pin_question(self, request: LoginRequest) -> None:
        assert self.ledger.typed_by(request.user), "a PIN is asked of somebody who has nothing that shows one"
        needed = self.ledger.key_needed(request.user, request.client)
        assert not needed, "a PIN is asked for where policy asks for a security key"

    @staticmethod
    def octets_of(wants: AskKey | AskNewKey | AskKeyName) -> bytes:
        return b"" if isinstance(wants, AskKeyName) else wants.challenge
