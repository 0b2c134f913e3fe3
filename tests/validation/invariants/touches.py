"""Security keys: registered at first logins and later, touched, declined, copied, forged, exchanged and revoked."""

import hashlib
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, multiple, rule

from tests.validation.engine import CONSOLE, CONSOLES, DESK, GREETER, LOCKER, PORTAL, SSH, SUDO, VPN
from tests.validation.invariants.admin import MOST_TOKENS, revocations
from tests.validation.invariants.deciding import near, often, passwords, people, seldom, serials, states
from tests.validation.invariants.ledger import Device
from tests.validation.invariants.logins import Logins
from tests.validation.signing_key import BE, BS, UP, UV, SigningKey
from validation.decisions import Accept, AskKey, AskKeyName, AskNewKey, Challenge, Decision
from validation.model import Purpose, RevokeReason, Stage
from validation.requests import Assertion, FirstFactor, RevokeToken, UserAct

touches = Bundle("touches")  # assertions, sent or not

desks = st.sampled_from([DESK, DESK, SUDO, LOCKER])
away = st.sampled_from([VPN, SSH, PORTAL, CONSOLE, GREETER])
desks_or_away = st.one_of(desks, away)
honest: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{"flags": UP}, {"flags": UP | UV}])
LIES: list[dict[str, Any]] = [
    {"flags": 0},
    {"flags": UV},
    {"flags": UP | BS},
    {"flags": UP | BE},
    {"flags": UP | UV | BE | BS},
    {"rp_id": "web-7"},
    {"origin": "pam://eviltwofold"},
    {"type": "webauthn.create"},
    {"signature": b"x" * 70},
    {"challenge": bytes(32)},
    {"after": b"\0"},
    {"handle": b"h" * 16},
    {"id": b"nobody's"},
]
lies = st.sampled_from(LIES)
lies_of_a_new_key = st.sampled_from(
    [one for one in LIES if not {"type", "signature", "handle", "id"} & set(one)] + [{"type": "webauthn.get"}]
)
other_purposes = st.sampled_from([Purpose.LOGIN, Purpose.LOGIN, Purpose.CARE, Purpose.ADD_KEY])
care = st.sampled_from([Purpose.ADD, Purpose.RESET, Purpose.CARE, Purpose.ADD_KEY])
counts = st.sampled_from(["next", "next", "the same", "back", "zero", "far"])
ways = st.sampled_from(["by PIN", "by touch", "first", "required"])
before_the_touch = st.sampled_from(
    [
        *("disabled", "disabled, enabled", "revoked", "no keys", "verified", "locked", "waiting", "too late"),
        *("password", "key required", "key required", "another key"),
    ]
)
while_registering = st.sampled_from(
    [
        *("a token", "a token", "another key", "no keys", "hardware-only", "closed", "waiting", "locked", "too late"),
        *("off", "verified", "revoked"),
    ]
)


class Touches(Logins):
    # --- registering

    def _new_key(self, counting: bool = True, flags: int = UP) -> SigningKey:
        self.made += 1
        private = ec.derive_private_key(self.made, ec.SECP256R1())
        id_ = hashlib.sha256(b"%d" % self.made).digest()
        return SigningKey(private, id_, step=int(counting), flags=flags)

    @rule(
        target=serials,
        name=people,
        door=desks,
        how=ways,
        counting=often,
        flags=st.sampled_from([UP, UP | UV, UP | UV | BE]),
    )
    def a_key_is_registered(self, name: str, door: str, how: str, counting: bool, flags: int) -> Any:
        return self._registered(name, door, how, counting, flags) if self.made < MOST_TOKENS else multiple()

    def _registered(self, name: str, door: str, how: str, counting: bool = True, flags: int = UP | UV) -> Any:
        if how == "first":
            self._free_to_pair(name)
        if how == "required":
            self._without_key(name)
            self._set("security_key", "required")
        asked = self._asked_for_new_key(name, door, how)
        if how == "required":
            self._set("security_key", "allowed")
        if not isinstance(asked, Challenge) or not isinstance(asked.wants, AskNewKey):
            return multiple()
        key = self._new_key(counting, flags)
        outcome = self._make(asked, name, door, key)
        return outcome.serial if isinstance(outcome, Accept) else multiple()

    def _without_key(self, name: str) -> None:
        """Somebody who has PINs, and can show a fresh one."""
        for key in self.ledger.keys_of(name) if self.ledger.typed_by(name) else []:
            self.a_user_revokes_his_own(key.serial, RevokeReason.LOST)
        self._unbarred(name)
        self.engine.clock.now += 30

    def _unbarred(self, name: str) -> None:
        for act in (UserAct.UNLOCK, UserAct.ENABLE):
            self.a_user_is_changed(name, act)

    def _make(self, asked: Challenge, name: str, door: str, key: SigningKey, label: str = "", **said: Any) -> Decision:
        assert isinstance(asked.wants, AskNewKey)
        made = self.checks.keys.make(key, asked.wants, **said)
        label = label or f"key {key.id.hex()[:6]}"
        return self._decide(self._request(name, door, state=asked.state, key_name=label, new_credential=made))

    def _asked_for_new_key(self, name: str, door: str, how: str) -> Decision:
        """Answers what is asked until the key is wanted."""
        purpose = Purpose.LOGIN if how in ("first", "required") else Purpose.ADD_KEY
        label = f"key {self.made}"
        outcome = self._decide(self._request(name, door, purpose=purpose))
        for _ in range(4):
            if not isinstance(outcome, Challenge) or isinstance(outcome.wants, AskNewKey):
                break
            more = self._answer_to(outcome, name, how, label)
            outcome = self._decide(self._request(name, door, state=outcome.state, purpose=purpose, **more))
        return outcome

    def _answer_to(self, asked: Challenge, name: str, how: str, label: str) -> dict[str, Any]:
        typed = [d for d in self.ledger.of(name) if d.kind != "webauthn"]
        if isinstance(asked.wants, AskKeyName):
            return {"key_name": label}
        if isinstance(asked.wants, AskKey) and (how == "by touch" or not typed):
            return {"assertion": self._get(self.ledger.keys_of(name)[0], asked.wants)}
        if self.ledger.open[asked.state].stage is Stage.WELCOME:
            return {"passcode": "k"}
        return {"passcode": typed[0].shows(self.engine.clock.now) if typed else "000000"}

    @rule(name=people, door=desks, said=st.one_of(honest, lies_of_a_new_key), taken=seldom)
    def a_key_says_something_at_its_registration(self, name: str, door: str, said: dict[str, Any], taken: bool) -> None:
        """And it is called like another, or like none."""
        if self.made < MOST_TOKENS:
            asked = self._asked_for_new_key(name, door, "by PIN")
            if isinstance(asked, Challenge) and isinstance(asked.wants, AskNewKey):
                names = [held.label for held in self.ledger.keys_of(name)] if taken else []
                self._make(asked, name, door, self._new_key(), label="".join(names[:1]), **said)

    @rule(name=people, door=desks)
    def two_register_at_once(self, name: str, door: str) -> None:
        """Of two conversations, each with a PIN of its own, the second to end is over."""
        asked = []
        for _ in range(2):
            self.engine.clock.now += 30
            asked.append(self._asked_for_new_key(name, door, "by PIN"))
        for one in asked:
            if isinstance(one, Challenge) and isinstance(one.wants, AskNewKey) and self.made < MOST_TOKENS:
                self._make(one, name, door, self._new_key())

    @rule(name=people, how=ways, what=while_registering, named=st.booleans())
    def something_happens_while_a_key_is_registered(self, name: str, how: str, what: str, named: bool) -> None:
        """Between the question for a name or for the key and its answer."""
        if how == "first":
            self._free_to_pair(name)
        purpose = Purpose.LOGIN if how in ("first", "required") else Purpose.ADD_KEY
        self._set("security_key", "required" if how == "required" else "allowed")
        asked = self._asked_for_new_key(name, DESK, how)
        enrolment = self.ledger.policy("enrolment")
        if isinstance(asked, Challenge) and isinstance(asked.wants, AskNewKey) and self.made < MOST_TOKENS:
            self._meanwhile(name, what)
            self._make(asked, name, DESK, self._new_key())
        elif named:
            asked = self._decide(self._request(name, DESK, purpose=purpose))
            if isinstance(asked, Challenge) and isinstance(asked.wants, AskKeyName):
                self._meanwhile(name, what)
                self._decide(self._request(name, DESK, state=asked.state, key_name="a name", purpose=purpose))
        self._after_all(enrolment)

    def _meanwhile(self, name: str, what: str) -> None:
        match what:
            case "no keys":
                self._set("security_key", "off")
            case "verified":
                self._set("user_verification", "required")
            case "key required":
                self._set("security_key", "required")
            case "another key":
                if self.made < MOST_TOKENS:
                    self._registered(name, DESK, "by PIN")
            case "revoked":
                self.what_a_user_has_is_revoked(name, RevokeReason.LOST, True, True)
            case _:
                self._happens(name, what)

    def _after_all(self, enrolment: str) -> None:
        self._set("enrolment", enrolment)
        self._set("security_key", "allowed")
        self._set("user_verification", "off")

    @rule(which=st.integers(0, 9), name=people)
    def a_key_that_was_registered_once_comes_again(self, which: int, name: str) -> None:
        """No honest key does that. The store takes none twice, or the engine sees it."""
        ever = [device for device in self.ledger.devices.values() if device.signing is not None]
        if ever and (device := ever[which % len(ever)]).signing is not None:
            asked = self._asked_for_new_key(name, DESK, "by PIN")
            if isinstance(asked, Challenge) and isinstance(asked.wants, AskNewKey):
                made = self.checks.keys.make(replace(device.signing), asked.wants)
                again = self._request(name, DESK, state=asked.state, key_name="again", new_credential=made)
                outcome = self._decide(again, faulty=True)
                assert not isinstance(outcome, Accept), "a credential was registered twice"

    # --- touching

    def _get(self, device: Device, wants: AskKey, **said: Any) -> Assertion:
        assert device.signing is not None
        return self.checks.keys.get(device.signing, wants, **said)

    def _key(self, owner: str) -> Device | None:
        """A key of this person's, who gets one if he has none and may."""
        if not self.ledger.keys_of(owner) and self.made < MOST_TOKENS:
            self._unbarred(owner)
            self._registered(owner, DESK, "by PIN" if self.ledger.typed_by(owner) else "first")
        held = self.ledger.keys_of(owner)
        return held[0] if held else None

    def _asked(self, owner: str, door: str, **more: Any) -> tuple[Device, Challenge, AskKey] | None:
        """A question that this key may answer."""
        device = self._key(owner)
        outcome = self._decide(self._request(owner, door, **more))
        if device is not None and isinstance(outcome, Challenge) and isinstance(outcome.wants, AskKey):
            return device, outcome, outcome.wants
        return None

    def _touch(self, name: str, door: str, asked: Challenge, made: Assertion, **more: Any) -> Decision:
        return self._decide(self._request(name, door, state=asked.state, assertion=made, **more))

    @staticmethod
    def _counted(device: Device, how: str) -> dict[str, int]:
        """What a key says of its count; a copy says less."""
        floor = device.floor
        said = {"the same": floor, "back": max(0, floor - 1), "zero": 0, "far": floor + 1000}
        return {"count": said[how]} if how in said else {}

    @rule(target=touches, owner=people, door=desks, said=honest, count=counts, again=often, warn=seldom)
    def a_key_is_touched(self, owner: str, door: str, said: dict[str, Any], count: str, again: bool, warn: bool) -> Any:
        """And the same comes in once more."""
        self._set("sign_count", "warn" if warn else "refuse")
        if (found := self._asked(owner, door)) is None:
            return multiple()
        device, asked, wants = found
        made = self._get(device, wants, **said, **self._counted(device, count))
        self._touch(owner, door, asked, made)
        if again:
            self._touch(owner, door, asked, made)
        return made

    @rule(owner=people, door=desks, said=lies)
    def a_key_lies(self, owner: str, door: str, said: dict[str, Any]) -> None:
        if (found := self._asked(owner, door)) is not None:
            device, asked, wants = found
            self._touch(owner, door, asked, self._get(device, wants, **said))

    @rule(owner=people, victim=people, door=desks, as_whom=st.sampled_from(["himself", "the other", "handle"]))
    def a_key_of_somebody_else_is_touched(self, owner: str, victim: str, door: str, as_whom: str) -> None:
        device, found = self._key(owner), self._asked(victim, door)
        if device is None or found is None:
            return
        theirs, asked, wants = found
        assert theirs.signing is not None
        id_, handle = theirs.signing.id, theirs.signing.handle
        said: dict[str, dict[str, Any]] = {"the other": {"id": id_}, "handle": {"id": id_, "handle": handle}}
        self._touch(victim, door, asked, self._get(device, wants, **said.get(as_whom, {})))

    @rule(owner=people, victim=people, door=desks)
    def a_key_says_the_handle_of_somebody_else(self, owner: str, victim: str, door: str) -> None:
        device, found = self._key(owner), self._asked(victim, door)
        if device is not None and device.signing is not None and found is not None:
            theirs, asked, wants = found
            self._touch(victim, door, asked, self._get(theirs, wants, handle=device.signing.handle))

    @rule(target=touches, owner=people, one=desks, other=desks, purpose=other_purposes, first_too=st.booleans())
    def what_was_signed_for_one_question_answers_another(
        self, owner: str, one: str, other: str, purpose: Purpose, first_too: bool
    ) -> Any:
        """Another host, service or purpose, or just the next login. Then the first is answered, at last."""
        first, second = self._asked(owner, one), self._asked(owner, other, purpose=purpose)
        if first is None or second is None:
            return multiple()
        made = self._get(first[0], first[2])
        self._touch(owner, other, second[1], made)
        self._touch(owner, other, first[1], made)
        if first_too:
            self._touch(owner, one, first[1], made)
        return made

    @rule(owner=people, door=desks, ahead=st.sampled_from([1, 1, 0]))
    def a_key_and_its_copy_answer_two_logins_at_once(self, owner: str, door: str, ahead: int) -> None:
        """With one count; and each answer comes in twice."""
        both = [found for _ in range(2) if (found := self._asked(owner, door)) is not None]
        made = [self._get(device, wants, count=device.floor + ahead) for device, _, wants in both]
        answers = [
            self._request(owner, door, state=asked.state, assertion=one)
            for (_, asked, _), one in zip(both, made, strict=True)
        ]
        if answers:
            self._decide(*answers, *answers)

    @rule(name=people, state=states, made=touches, door=desks_or_away)
    def an_old_touch_comes_again(self, name: str, state: str, made: Assertion, door: str) -> None:
        """To whatever question, by whomever and anywhere."""
        asked = self.ledger.open.get(state)
        if asked is not None:
            self._decide(self._request(asked.user, asked.client, state=state, assertion=made))
        self._decide(self._request(name, door, state=state, assertion=made))

    @rule(name=people, made=touches, door=desks_or_away, password=passwords)
    def a_touch_comes_unasked(self, name: str, made: Assertion, door: str, password: FirstFactor) -> None:
        self._decide(self._request(name, door, password=password, assertion=made))

    @rule(target=states, name=people, door=desks, password=passwords)
    def somebody_begins_at_the_machine(self, name: str, door: str, password: FirstFactor) -> Any:
        return self._state_of(self._decide(self._request(name, door, password=password)))

    @rule(owner=people, door=away)
    def a_touch_is_carried_away(self, owner: str, door: str) -> None:
        """Asked for at the machine, answered somewhere else; and nothing is asked for there."""
        found = self._asked(owner, DESK)
        self._decide(self._request(owner, door))
        if found is not None:
            device, asked, wants = found
            made = self._get(device, wants)
            self._touch(owner, door, asked, made)
            self._touch(owner, DESK, asked, made)

    @rule(owner=people)
    def the_answer_comes_from_far_away(self, owner: str) -> None:
        """Asked for at the machine; the answer comes under the same name, and from far away."""
        if (found := self._asked(owner, DESK)) is not None:
            device, asked, wants = found
            request = self._request(owner, DESK, state=asked.state, assertion=self._get(device, wants))
            outcome = self.engine.gate.login([replace(request, channel=CONSOLES[CONSOLE])])[0]
            assert not isinstance(outcome, Accept), "a touch was believed away from the machine"
            self.ledger.open.pop(asked.state)

    @rule(target=states, owner=people, door=desks, offset=near, declined=st.booleans(), required=st.booleans())
    def somebody_types_a_pin_instead(self, owner: str, door: str, offset: int, declined: bool, required: bool) -> Any:
        """At once, or after he has declined to touch. Then policy wants a touch, all the same."""
        if (found := self._asked(owner, door)) is None:
            return multiple()
        self.engine.clock.now += 30  # for a PIN that is not used
        outcome: Decision = found[1]
        if declined:
            outcome = self._decide(self._request(owner, door, None, found[1].state))
        if required:
            self._set("security_key", "required")
        if isinstance(outcome, Challenge):
            typed = self.ledger.typed_by(owner)
            passcode = typed[0].shows(self.engine.clock.now, offset) if typed else "000000"
            outcome = self._decide(self._request(owner, door, passcode, outcome.state))
        self._set("security_key", "allowed")
        return self._state_of(outcome)

    # --- between question and answer

    @rule(owner=people, what=before_the_touch, typed=st.booleans())
    def something_happens_before_the_touch(self, owner: str, what: str, typed: bool) -> None:
        """Then the key is touched, or a PIN typed that was asked for in its place."""
        if (found := self._asked(owner, DESK)) is None:
            return
        device, asked, wants = found
        self.engine.clock.now += 30 * typed  # for a PIN that is not used
        outcome: Decision = self._decide(self._request(owner, DESK, None, asked.state)) if typed else asked
        enrolment = self.ledger.policy("enrolment")
        self._before_the_touch(device, what)
        if isinstance(outcome, Challenge):
            others = self.ledger.typed_by(owner)
            passcode = others[0].shows(self.engine.clock.now) if typed and others else None
            made = None if typed else self._get(device, wants, flags=UP)
            self._decide(self._request(owner, DESK, passcode, outcome.state, assertion=made))
        self._after_all(enrolment)

    def _before_the_touch(self, device: Device, what: str) -> None:
        match what:
            case "disabled" | "disabled, enabled":
                self.a_token_is_disabled_or_enabled(device.serial, False)
                if what == "disabled, enabled":
                    self.a_token_is_disabled_or_enabled(device.serial, True)
            case "revoked":
                self.a_user_revokes_his_own(device.serial, RevokeReason.LOST)
            case _:
                self._meanwhile(device.owner, what)

    @rule(owner=people, alone=st.booleans())
    def a_disabled_key_is_touched(self, owner: str, alone: bool) -> None:
        """Beside another that may be used. Who has a key that is disabled, and nothing else, is not offered another."""
        device = self._key(owner)
        if device is None:
            return
        if self.made < MOST_TOKENS and not alone:
            self._registered(owner, DESK, "by touch")
        others = self.ledger.of(owner) if alone else [device]
        for one in others:
            self.a_token_is_disabled_or_enabled(one.serial, False)
        asked = self._decide(self._request(owner, DESK))
        if isinstance(asked, Challenge) and isinstance(asked.wants, AskKey):
            self._touch(owner, DESK, asked, self._get(device, asked.wants))
        for one in others:
            self.a_token_is_disabled_or_enabled(one.serial, True)

    # --- a key alone, and care

    @rule(name=people, door=away, reopened=st.booleans())
    def who_has_a_key_alone_comes_from_elsewhere(self, name: str, door: str, reopened: bool) -> None:
        if self.made < MOST_TOKENS:
            self._registered(name, DESK, "first")
        if reopened:
            self.pairing_is_opened_or_closed(name, True)
        self._decide(self._request(name, door))
        self._decide(self._request(name, door, "123456"))
        self._decide(self._request(name, DESK, purpose=Purpose.ADD))

    @rule(target=states, owner=people, door=desks, purpose=care, count=counts, go_on=often)
    def somebody_cares_for_his_registrations_by_touch(
        self, owner: str, door: str, purpose: Purpose, count: str, go_on: bool
    ) -> Any:
        self._set("sign_count", "warn" if count in ("back", "zero") else "refuse")
        typed = self.ledger.typed_by(owner)
        more: dict[str, Any] = {"purpose": purpose, "replaces": typed[0].serial if typed else ""}
        if (found := self._asked(owner, door, **more)) is None:
            return multiple()
        device, asked, wants = found
        made = self._get(device, wants, flags=UP | UV, **self._counted(device, count))
        outcome = self._touch(owner, door, asked, made, **more)
        if go_on and isinstance(outcome, Challenge) and (new := self.ledger.open[outcome.state].candidate) is not None:
            passcode = new.shows(self.engine.clock.now)
            outcome = self._decide(self._request(owner, door, passcode, outcome.state, **more))
        return self._state_of(outcome)

    @rule(owner=people, reason=revocations, now=seldom)
    def a_user_revokes_a_key_of_his(self, owner: str, reason: RevokeReason, now: bool) -> None:
        device = self._key(owner) if now else None
        if device is not None:
            self.a_user_revokes_his_own(device.serial, reason)
            self._decide(self._request(owner, DESK))

    def a_user_revokes_his_own(self, serial: str, reason: RevokeReason) -> None:
        """Whoever types the command has shown a fresh second factor: that is the face's to see to."""
        device = self.ledger.devices[serial]
        done = self._order(RevokeToken(actor=device.owner, own=device.owner, serial=serial, reason=reason))
        assert (done is not None) == (device.state != "revoked" and device.self_made), "not his to revoke, or so"
        if done is not None:
            self.ledger.revoke(device)
            person = self.ledger.people[device.owner]
            person.pairing = None if reason is RevokeReason.COMPROMISE else "pairing_reopen"
            person.pairing_since = self.engine.clock.now
            if reason is RevokeReason.COMPROMISE:
                person.bypass_until = 0.0

    def _free_to_pair(self, name: str) -> None:
        self._unbarred(name)
        self.what_a_user_has_is_revoked(name, RevokeReason.LOST, True, True)
        self.pairing_is_opened_or_closed(name, True)
