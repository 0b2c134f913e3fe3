"""Logins by every door: with right, wrong, old and used PINs, without one, late, twice, at once, and by strangers."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.validation.engine import CONSOLE, DESK, PORTAL, SSH, VPN
from tests.validation.invariants.admin import Admin
from tests.validation.invariants.deciding import (
    EARLY,
    KEPT,
    doors,
    near,
    passwords,
    people,
    seldom,
    serials,
    states,
    typed,
)
from validation.decisions import Challenge
from validation.model import RevokeReason
from validation.requests import FirstFactor, UserAct

ssh_or_vpn = st.sampled_from([SSH, VPN])
offsets = st.integers(-3, 12)  # steps or counters from the expected one
sources = st.sampled_from([None, "198.51.100.1", "198.51.100.1", "198.51.100.2"])
before_the_answer = st.sampled_from(["waiting", "locked", "password", "too late"])
copies_end = st.sampled_from(["revoked", "disabled", "locked for good", "locked", "password", "waiting", "another PIN"])
windows_end = st.sampled_from(["revoked", "disabled", "another sheet", "locked", "password", "too late"])


class Logins(Admin):
    # --- one login

    @rule(target=typed, serial=serials, offset=near, door=doors, password=passwords, source=sources)
    def the_owner_logs_in(self, serial: str, offset: int, door: str, password: FirstFactor, source: str | None) -> str:
        return self._log_in(serial, offset, door, password, source)

    def _log_in(self, serial: str, offset: int, door: str, password: FirstFactor, source: str | None) -> str:
        """With a PIN in one field, or after a question."""
        device = self.ledger.devices[serial]
        passcode = device.shows(self.engine.clock.now, offset)
        if door in (SSH, PORTAL):
            self._decide(self._request(device.owner, door, passcode, password=password, source=source))
            return passcode
        outcome = self._decide(self._request(device.owner, door, password=password, source=source))
        if isinstance(outcome, Challenge) and outcome.provisioning is None:
            self._decide(self._request(device.owner, door, passcode, outcome.state, source=source))
        return passcode

    @rule(
        serial=serials, door=st.sampled_from([SSH, VPN]), later=st.sampled_from([1, 60, 301, 3600]), same=st.booleans()
    )
    def the_owner_comes_back(self, serial: str, door: str, later: int, same: bool) -> None:
        """Without a PIN or with the same one, as in a reuse window."""
        passcode = self._log_in(serial, 0, door, FirstFactor.PROVED, "198.51.100.1")
        self.engine.clock.now += later
        owner = self.ledger.owner_of(serial)
        self._decide(self._request(owner, door, passcode if same else None, source="198.51.100.1"))

    @rule(name=people, door=doors, password=passwords, source=sources, stale=seldom)
    def somebody_comes_without_a_pin(
        self, name: str, door: str, password: FirstFactor, source: str | None, stale: bool
    ) -> None:
        self._decide(self._request(name, door, password=password, source=source, stale=stale), stale=stale)

    @rule(target=typed, serial=serials, offset=offsets)
    def a_passcode_is_read_off(self, serial: str, offset: int) -> str:
        return self.ledger.devices[serial].shows(self.engine.clock.now, offset)

    @rule(name=people, passcode=typed, door=doors, password=passwords, source=sources, stale=seldom)
    def somebody_types_it(
        self, name: str, passcode: str, door: str, password: FirstFactor, source: str | None, stale: bool
    ) -> None:
        request = self._request(name, door, passcode, password=password, source=source, stale=stale)
        self._decide(request, stale=stale)

    @rule(which=st.integers(1, KEPT), later=st.sampled_from([0, 0, 1, 29, 31]), restarted=st.booleans())
    def a_packet_comes_again(self, which: int, later: int, restarted: bool) -> None:
        """To the same server or to another."""
        self.engine.clock.now += later
        if restarted:
            self.engine.restarted()
        if which <= len(self.sent):
            self._send_again(self.sent[-which])

    @rule(serial=serials, door=st.sampled_from([SSH, PORTAL, VPN]), what=copies_end)
    def something_happens_before_a_copy_comes(self, serial: str, door: str, what: str) -> None:
        self._log_in(serial, 0, door, FirstFactor.PROVED, "198.51.100.1")
        owner, sent = self.ledger.owner_of(serial), self.sent[-1]
        match what:
            case "revoked":
                self.a_token_is_revoked(serial, RevokeReason.OTHER, True)
            case "disabled":
                self.a_token_is_disabled_or_enabled(serial, False)
            case "locked for good":
                self.a_user_is_changed(owner, UserAct.LOCK)
            case "another PIN":
                self._log_in(serial, 1, SSH, FirstFactor.PROVED, "198.51.100.1")
            case _:
                self._happens(owner, what)
        self._send_again(sent)

    @rule(name=people, door=doors)
    def somebody_guesses(self, name: str, door: str) -> None:
        self._decide(self._request(name, door, "000000"))

    @rule(target=states, name=people, password=passwords, door=st.sampled_from([VPN, CONSOLE, DESK]))
    def somebody_begins(self, name: str, password: FirstFactor, door: str) -> Any:
        return self._state_of(self._decide(self._request(name, door, password=password)))

    @rule(
        target=states, name=people, state=states, passcode=typed, door=st.sampled_from([VPN] * 3 + [CONSOLE, DESK, SSH])
    )
    def somebody_answers(self, name: str, state: str, passcode: str, door: str) -> Any:
        return self._state_of(self._decide(self._request(name, door, passcode, state)))

    @rule(target=states, state=states, serial=serials, offset=near)
    def it_is_answered_with_a_pin(self, state: str, serial: str, offset: int) -> Any:
        """By the person who was asked, where he was asked, if it is open."""
        asked = self.ledger.open.get(state)
        name, door = (asked.user, asked.client) if asked is not None else (self.ledger.owner_of(serial), VPN)
        mine = [d for d in self.ledger.all_of(name) if d.serial == serial] or self.ledger.all_of(name)
        passcode = mine[0].shows(self.engine.clock.now, offset) if mine else "000000"
        return self._state_of(self._decide(self._request(name, door, passcode, state)))

    @rule(serial=serials, state=states)
    def the_same_passcode_comes_in_by_every_door_at_once(self, serial: str, state: str) -> None:
        device = self.ledger.devices[serial]
        passcode = device.shows(self.engine.clock.now)
        requests = [self._request(device.owner, door, passcode) for door in (SSH, PORTAL, SSH, CONSOLE)]
        self._decide(*requests, self._request(device.owner, VPN, passcode, state))

    # --- logins without a PIN

    @rule(name=people, door=doors, way=st.sampled_from(["skip", "bypass", "grace"]), password=passwords)
    def somebody_may_be_let_past(self, name: str, door: str, way: str, password: FirstFactor) -> None:
        match way:
            case "skip":
                self._set("second_factor", "skip", SSH)
            case "grace":
                self._set("grace", "1d")
            case _:
                self.a_bypass_is_given(name, 1)
        self._decide(self._request(name, door, password=password))
        self._set("second_factor", "required", SSH)
        self.a_bypass_is_given(name, 0)

    @rule(serial=serials, door=ssh_or_vpn, what=windows_end)
    def something_happens_in_a_reuse_window(self, serial: str, door: str, what: str) -> None:
        self._log_in(serial, 0, door, FirstFactor.PROVED, "198.51.100.1")
        owner, other = self.ledger.owner_of(serial), self.ledger.of(self.ledger.owner_of(serial))
        match what:
            case "revoked":
                self.a_token_is_revoked(serial, RevokeReason.OTHER, len(other) > 1)
            case "disabled":
                self.a_token_is_disabled_or_enabled(serial, False)
                self.a_token_is_disabled_or_enabled(serial, True)
            case "another sheet":
                self.recovery_codes_are_issued(owner)
            case _:
                self._happens(owner, what)
        self._decide(self._request(owner, door, source="198.51.100.1"))
        self._decide(self._request(owner, door, source="198.51.100.2"))

    @rule(serial=serials, what=before_the_answer)
    def something_happens_before_the_answer(self, serial: str, what: str) -> None:
        owner = self.ledger.owner_of(serial)
        outcome = self._decide(self._request(owner, VPN))
        if isinstance(outcome, Challenge):
            self._happens(owner, what)
            passcode = self.ledger.devices[serial].shows(self.engine.clock.now)
            self._decide(self._request(owner, VPN, passcode, outcome.state))

    def _happens(self, name: str, what: str) -> None:
        match what:
            case "hardware-only" | "off":
                self._set("enrolment", what)
            case "no key in clear":
                self._set("onboarding_over_radius", "ticket")
            case "closed":
                self.pairing_is_opened_or_closed(name, False)
            case "a token":
                self._enroll(name, "totp")
            case "locked":
                self.a_user_is_changed(name, UserAct.LOCK)
                self.a_user_is_changed(name, UserAct.UNLOCK)
            case "waiting":
                for _ in range(int(EARLY["lock_from"])):
                    self._decide(self._request(name, SSH, "000000", password=FirstFactor.WRONG))
            case "too late":
                self.engine.clock.now += 601
            case _:
                self.a_user_gets_a_new_password(name, True)
