"""Accept exactly when every factor that is needed was proved: all combinations, against a rule of one sentence."""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.builders import (
    HASH_VERSION,
    NOW,
    PROVED,
    RFC_KEY,
    book,
    challenge,
    client,
    moment,
    request,
    totp_token,
    user,
)
from tests.vectors import reference
from validation import decide
from validation.changes import Audit, AuditFlood, CountTokenFailure, OpenChallenge, UseToken
from validation.decisions import Accept, Challenge, Reject
from validation.model import Factor, Mode, PendingChallenge, Snapshot, Throttle, Token, TokenState
from validation.requests import NOT_CHECKED, Channel, FirstFactor, FirstFactorResult, LoginRequest

STEP = int(NOW) // 30
USED_UP_TO = STEP + 1  # the token's moving factor: the step of now is used
RIGHT, USED = (reference.hotp(RFC_KEY, step) for step in (STEP + 1, STEP))
WRONG = "000000"
WAITING = Throttle(failures=5, blocked_until=NOW + 1)

FIRST_FACTORS = {
    "proved": PROVED,
    "proved, no version": FirstFactorResult(FirstFactor.PROVED, None),
    "proved, then changed": FirstFactorResult(FirstFactor.PROVED, HASH_VERSION - 1),
    "wrong": FirstFactorResult(FirstFactor.WRONG, HASH_VERSION),
    "unavailable": FirstFactorResult(FirstFactor.UNAVAILABLE, HASH_VERSION),
    "not checked": NOT_CHECKED,
}
PASSCODES = {"none": None, "empty": "", "right": RIGHT, "wrong": WRONG, "used": USED}
USERS: dict[str, dict[str, Any] | None] = {
    "unknown": None,
    "good": {},
    "disabled": {"disabled": True},
    "locked": {"locked": True},
    "password waits": {},
    "passcode waits": {},
}
TOKENS = ["none", *TokenState]
STATES = ["not sent", "open", "unknown", "of another user", "of another client", "of another face", "expired"]
CLIENTS = ["same", "changed", "removed"]


@dataclass(frozen=True)
class Case:
    first_factor: str
    passcode: str
    user: str
    token: str
    mode: Mode
    state: str
    client: str
    unsupported: bool

    def must_be_accepted(self) -> bool:
        """A good user of a known client typed the right PIN of an active token, and the password was proved: now, or
        before the open challenge he answers, or by the client, where that is its task."""
        first_factor = {
            "not sent": self.mode is Mode.PASSCODE_ONLY or self.first_factor in ("proved", "proved, no version"),
            "open": True,
        }
        return (
            self.client == "same"
            and not self.unsupported
            and self.user == "good"
            and self.token == TokenState.ACTIVE
            and self.passcode == "right"
            and first_factor.get(self.state, False)
        )

    def snapshot(self) -> Snapshot:
        fields = USERS[self.user]
        token = totp_token(moving_factor=USED_UP_TO, state=TokenState(self.token)) if self.token != "none" else None
        return Snapshot(
            user=user(**fields) if fields is not None else None,
            tokens=self._tokens(token) if fields is not None else (),
            throttles=self._throttles(),
            challenge=self._challenge(),
            client={"same": client(), "changed": client(version=8), "removed": None}[self.client],
            book=book(enrolment="off"),  # onboarding has a table of its own
        )

    def _tokens(self, token: Token | None) -> tuple[Token, ...]:
        """A store leaves revoked ones out. Here they are handed in: the engine must not depend on that."""
        return (token,) if token is not None else ()

    def _throttles(self) -> dict[Factor, Throttle]:
        waits = {"password waits": Factor.PASSWORD, "passcode waits": Factor.PASSCODE}
        return {waits[self.user]: WAITING} if self.user in waits else {}

    def _challenge(self) -> PendingChallenge | None:
        open_ = {
            "open": challenge(),
            "of another user": challenge(user_id=2),
            "of another client": challenge(client="other"),
            "of another face": challenge(face="console"),
            "expired": challenge(expires_at=NOW),
        }
        return open_.get(self.state)

    def request(self) -> LoginRequest:
        return replace(
            request(self.mode),
            first_factor=FIRST_FACTORS[self.first_factor],
            passcode=PASSCODES[self.passcode],
            state=None if self.state == "not sent" else "ab" * 16,
            unsupported="CHAP" if self.unsupported else "",
        )


def cases(mode: Mode) -> Iterator[Case]:
    for combination in itertools.product(
        FIRST_FACTORS, PASSCODES, USERS, TOKENS, [mode], STATES, CLIENTS, [False, True]
    ):
        yield Case(*combination)


@pytest.mark.statement("R-070")
@pytest.mark.parametrize("mode", Mode)
def test_accept_exactly_when_every_factor_was_proved(mode: Mode) -> None:
    """30,240 combinations a mode; about 2 s."""
    seen: Counter[str] = Counter()
    for case in cases(mode):
        verdict = decide.login(case.snapshot(), case.request(), moment())
        seen[type(verdict.decision).__name__] += 1
        assert isinstance(verdict.decision, Accept) is case.must_be_accepted(), (case, verdict)
        check_changes(case, verdict)
    assert seen["Accept"] == (12 if mode is Mode.PASSCODE_ONLY else 8)


def check_changes(case: Case, verdict: decide.Verdict) -> None:
    """What holds for every decision: it is recorded once, and a moving factor moves with an Accept alone."""
    kinds = Counter(type(change) for change in verdict.changes)
    accepted = isinstance(verdict.decision, Accept)
    assert kinds[UseToken] == accepted, case
    assert kinds[Audit] + kinds[AuditFlood] == 1, case
    assert kinds[OpenChallenge] == isinstance(verdict.decision, Challenge), case
    if case.user != "good":
        assert not kinds[CountTokenFailure], case
        assert isinstance(verdict.decision, Reject) or (case.state, case.user[-5:]) == ("open", "waits"), case


def test_the_modes_differ_in_who_checks_the_password_and_who_can_ask() -> None:
    channels = {mode: Channel.for_mode(mode) for mode in Mode}
    assert [mode for mode, c in channels.items() if not c.proves_password] == [Mode.PASSCODE_ONLY]
    assert [mode for mode, c in channels.items() if c.can_challenge] == [Mode.CHALLENGE, Mode.OPENVPN, Mode.AUTO]
