"""What an admin and the world around do: tokens, people, policies, the clock, another server.

Rules: what is ordered is written into the ledger only if it was carried out.
"""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import multiple, rule

from tests.validation.engine import SSH, VPN
from tests.validation.invariants.deciding import Deciding, often, people, seldom, serials
from tests.validation.invariants.ledger import TYPED, Device
from validation.decisions import Done
from validation.errors import Refused
from validation.model import RevokeReason
from validation.requests import (
    ChangeUserState,
    EnrollToken,
    GiveBypass,
    IssueRecovery,
    RemoveUser,
    ResyncToken,
    RevokeToken,
    RevokeUserTokens,
    SetPairing,
    SetTokenUse,
    SetUser,
    UserAct,
    typed_alone,
)
from validation.settings import HOUR

POLICIES = {
    "second_factor": ["required", "required", "required", "skip"],
    "enrolment": ["both", "both", "self", "hardware-only", "off"],
    "onboarding_over_radius": ["ticket", "key", "key", "off"],
    "pairing_window": ["14d", "1h"],
    "pairing_reopen": ["3d", "0s"],
    "grace": ["0s", "0s", "1h"],
    "reuse_window": ["1h", "5m", "0s"],
    "totp_window": ["1", "0", "3"],
    "look_ahead": ["10", "0", "3"],
    "drift_limit": ["10", "1"],
    "max_registrations": ["5", "2"],
    "tries": ["3", "1"],
    "security_key": ["allowed", "allowed", "required", "off"],
    "user_verification": ["off", "off", "required"],
    "sign_count": ["refuse", "refuse", "warn"],
}
MOST_TOKENS = 14  # that are made in one run, so that it stays quick

seconds = st.sampled_from([-86_400, -90, -30, -1, 0, 1, 29, 30, 31, 60, 119, 120, 600, 3600, 4 * 86_400])
acts = st.sampled_from([*UserAct, *[UserAct.UNLOCK, UserAct.ENABLE] * 3])
revocations = st.sampled_from(RevokeReason)
rules_ = st.sampled_from([(key, value) for key, values in POLICIES.items() for value in values])


class Admin(Deciding):
    # --- time, servers, policies

    @rule(by=seconds)
    def the_clock_is_set(self, by: int) -> None:
        self.engine.clock.now += by

    @rule()
    def the_server_is_restarted(self) -> None:
        self.engine.restarted()

    @rule(policy=rules_, client=st.sampled_from(["", "", VPN, SSH]))
    def a_policy_is_set(self, policy: tuple[str, str], client: str) -> None:
        self._set(*policy, client)

    # --- tokens

    @rule(target=serials, name=people, kind=st.sampled_from(TYPED), imported=seldom)
    def a_token_is_enrolled(self, name: str, kind: str, imported: bool) -> Any:
        return self._enroll(name, kind, imported) if self.made < MOST_TOKENS else multiple()

    @rule(target=serials, name=people)
    def recovery_codes_are_issued(self, name: str) -> Any:
        done = self._order(IssueRecovery(actor="admin", name=name))
        assert done is not None
        for old in self.ledger.all_of(name):
            if old.kind == "recovery_code":
                self.ledger.revoke(old)
        codes = tuple(typed_alone(code) for code in done.shown_once)
        self.ledger.devices[done.serials[0]] = Device(done.serials[0], "recovery_code", name, codes=codes)
        return done.serials[0]

    @rule(serial=serials, reason=revocations, now=seldom)
    def a_token_is_revoked(self, serial: str, reason: RevokeReason, now: bool) -> None:
        if now:
            done = self._order(RevokeToken(actor="admin", serial=serial, reason=reason))
            self._revoked(done, reason)

    @rule(name=people, reason=revocations, now=seldom, every=st.booleans())
    def what_a_user_has_is_revoked(self, name: str, reason: RevokeReason, now: bool, every: bool) -> None:
        if now:
            done = self._order(RevokeUserTokens(actor="admin", user=name, every=every, reason=reason))
            self._revoked(done, reason)

    def _revoked(self, done: Done | None, reason: RevokeReason) -> None:
        for serial in done.serials if done is not None else ():
            device = self.ledger.devices[serial]
            assert device.state != "revoked", "revoked twice"
            self.ledger.revoke(device)
            person = self.ledger.people[device.owner]
            after = {RevokeReason.LOST: "pairing_reopen", RevokeReason.COMPROMISE: None}
            if reason in after:
                person.pairing, person.pairing_since = after[reason], self.engine.clock.now
            if reason is RevokeReason.COMPROMISE:
                person.bypass_until = 0.0

    @rule(serial=serials, enabled=often)
    def a_token_is_disabled_or_enabled(self, serial: str, enabled: bool) -> None:
        if self._order(SetTokenUse(actor="admin", serial=serial, enabled=enabled)) is not None:
            device = self.ledger.devices[serial]
            assert device.state == ("disabled" if enabled else "active")
            device.state = "active" if enabled else "disabled"
            if not enabled:
                self.ledger.end_logins(device.owner)
            elif device.kind != "recovery_code":
                assert len(self.ledger.of(device.owner)) <= self.ledger.number("max_registrations"), "more than allowed"

    @rule(target=serials, serial=serials)
    def another_takes_the_place_of_a_disabled_one(self, serial: str) -> Any:
        """As many as there may be, and then the first is enabled again."""
        device = self.ledger.devices[serial]
        most = self.ledger.policy("max_registrations")
        self.a_token_is_disabled_or_enabled(serial, False)
        self._set("max_registrations", str(len(self.ledger.of(device.owner)) + 1))
        made = self._enroll(device.owner, "totp") if self.made < MOST_TOKENS else multiple()
        self.a_token_is_disabled_or_enabled(serial, True)
        self._set("max_registrations", most)
        return made

    @rule(serial=serials, offset=st.integers(-3, 40), second=st.sampled_from([1, 1, 1, 0, 2]))
    def a_token_is_resynchronised(self, serial: str, offset: int, second: int) -> None:
        device = self.ledger.devices[serial]
        if device.kind not in ("totp", "hotp"):
            return
        now = self.engine.clock.now
        pair = (device.shows(now, offset), device.shows(now, offset + second))
        done = self._order(ResyncToken(actor="admin", serial=serial, first=pair[0], second=pair[1]))
        if done is not None and done.serials:
            self._check_resync(device, pair)

    def _check_resync(self, device: Device, pair: tuple[str, str]) -> None:
        """Two unused values, one after the other, of a token that is not revoked; both are used up."""
        after = self.engine.token(device.serial)
        first = after.moving_factor - 2
        assert device.state != "revoked"
        assert first >= device.floor, "a used value brought a token back"
        assert pair == tuple(self._value(device, n) for n in (first, first + 1))
        device.floor, device.drift = after.moving_factor, after.drift

    @staticmethod
    def _value(device: Device, n: int) -> str:
        at = Device("", "hotp", "", device.key, floor=n)
        return at.shows(0)

    @rule(serial=serials, name=people)
    def a_known_key_is_enrolled_again(self, serial: str, name: str) -> None:
        if (key := self.keys.get(serial)) is not None and len(key) != 22:
            with pytest.raises(Refused, match="this key is already known"):
                self.engine.gate.administer(EnrollToken(actor="admin", user=name, key=key))

    # --- people

    @rule(name=people, act=acts)
    def a_user_is_changed(self, name: str, act: UserAct) -> None:
        assert self._order(ChangeUserState(actor="admin", name=name, act=act)) is not None
        person = self.ledger.people[name]
        person.locked = {UserAct.LOCK: True, UserAct.UNLOCK: False}.get(act, person.locked)
        person.disabled = {UserAct.DISABLE: True, UserAct.ENABLE: False}.get(act, person.disabled)
        if act in (UserAct.LOCK, UserAct.DISABLE):
            self.ledger.end_logins(name)

    @rule(name=people, now=seldom)
    def a_user_gets_a_new_password(self, name: str, now: bool) -> None:
        if now:
            assert self._order(SetUser(actor="admin", name=name, password_hash="another")) is not None
            self.ledger.end_logins(name)

    @rule(name=people, now=seldom, sure=seldom)
    def a_user_is_removed_and_made_anew(self, name: str, now: bool, sure: bool) -> None:
        if now and sure:
            done = self._order(RemoveUser(actor="admin", name=name))
            assert done is not None
            assert set(done.serials) == {device.serial for device in self.ledger.all_of(name)}
            for device in self.ledger.all_of(name):
                self.ledger.revoke(device)
            self.ledger.end_logins(name)
            self._add_person(name)

    @rule(name=people, is_open=often)
    def pairing_is_opened_or_closed(self, name: str, is_open: bool) -> None:
        assert self._order(SetPairing(actor="admin", name=name, open=is_open)) is not None
        person = self.ledger.people[name]
        person.pairing = "pairing_window" if is_open else None
        person.pairing_since = self.engine.clock.now
        if not is_open:
            self.ledger.end_pairing(name)

    @rule(name=people, hours=st.sampled_from([0, 0, 1]))
    def a_bypass_is_given(self, name: str, hours: int) -> None:
        assert self._order(GiveBypass(actor="admin", name=name, hours=hours)) is not None
        self.ledger.people[name].bypass_until = self.engine.clock.now + hours * HOUR if hours else 0.0
