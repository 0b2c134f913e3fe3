"""What the next login would do, and why: `twofold policy explain` and `twofold policy lint`.

Rule: nothing is worked out again here. The answer is what `decide.login` says to a login with a proved password,
and each setting is shown with the rule that gave it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from validation import decide
from validation.changes import InsertTicket
from validation.decisions import Accept, AskKey, AskKeyName, Challenge, Decision, Reason, Reject
from validation.model import Moment, Origin, Snapshot, User
from validation.policy import (
    Next,
    as_of,
    is_held,
    next_step_anywhere,
    pairing_open_until,
    registrations,
    security_keys,
    shows_passcodes,
    usable_tokens,
)
from validation.requests import FirstFactor, FirstFactorResult, LoginRequest
from validation.settings import KEYS, Book, Rule, Scope, Settings, Whom
from validation.throttle import budget_left


@dataclass(frozen=True, slots=True)
class Explanation:
    """The next login of one user through one door."""

    decision: Decision
    settings: Settings
    origins: dict[str, tuple[Any, Rule | None]]
    serials: tuple[str, ...]  # of what shows PINs
    security_keys: tuple[str, ...]
    pairing_until: float
    guesses_left: int
    held: bool
    hands_out_ticket: bool

    @property
    def next_step(self) -> str:
        """One of: refuse, let-in, ask, touch, touch-or-ask, register-key, onboard, ticket."""
        match self.decision:
            case Accept():
                return "let-in"
            case Challenge(wants=AskKey(or_passcode=or_passcode)):
                return "touch-or-ask" if or_passcode else "touch"
            case Challenge(wants=AskKeyName()):
                return "register-key"
            case Challenge(reason=Reason.ONBOARDING):
                return "ticket" if self.hands_out_ticket else "onboard"
            case Challenge() | Reject(reason=Reason.PASSCODE_MISSING):  # one field: the PIN comes with the password
                return "ask"
            case _:
                return "refuse"


def explain(snapshot: Snapshot, request: LoginRequest, moment: Moment) -> Explanation:
    """`request` names user, client and source; its first factor is taken as proved, unless the client checks it."""
    snapshot = as_of(snapshot, moment.now)
    user, channel = snapshot.user, request.channel
    version = user.password_version if user is not None else None
    proved = FirstFactorResult(FirstFactor.PROVED, version) if request.channel.proves_password else request.first_factor
    asked = LoginRequest(
        request.user,
        # As if nobody were asked before everything is known.
        replace(channel, asks_everybody=False, can_challenge=channel.can_challenge and channel.proves_password),
        request.client,
        request.client_version,
        proved,
        source=request.source,
        service=request.service,
        nas=request.nas,
    )
    groups = frozenset(user.groups) if user is not None else frozenset[str]()
    whom = request.whom(groups)
    settings = snapshot.book.settings(whom)
    verdict = decide.login(snapshot, asked, moment)
    return Explanation(
        decision=verdict.decision,
        settings=settings,
        origins=snapshot.book.explain(whom),
        serials=tuple(token.serial for token in usable_tokens(snapshot) if shows_passcodes(token)),
        security_keys=tuple(token.serial for token in security_keys(snapshot)),
        pairing_until=pairing_open_until(user, settings) if user is not None else 0.0,
        guesses_left=budget_left(snapshot.guesses, settings, moment.now),
        held=is_held(snapshot, settings, moment.now),
        hands_out_ticket=any(isinstance(change, InsertTicket) for change in verdict.changes),
    )


@dataclass(frozen=True, slots=True)
class Registration:
    """What its owner may see of it."""

    serial: str
    kind: str
    label: str
    origin: Origin
    created_at: float
    last_used_at: float | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a user can expect wherever he comes from, for `twofold user show` and `twofold profile`."""

    then: Next
    registrations: tuple[Registration, ...]
    pairing_until: float
    bypass_until: float
    guesses_left: int
    guess_budget: int

    @property
    def serials(self) -> tuple[str, ...]:
        return tuple(one.serial for one in self.registrations)


def outlook(snapshot: Snapshot, user: User, now: float) -> Outlook:
    snapshot = as_of(snapshot, now)
    settings = snapshot.book.settings(Whom(frozenset(user.groups)))
    return Outlook(
        then=next_step_anywhere(snapshot, user, settings, now),
        registrations=tuple(
            Registration(t.serial, t.kind, t.label, t.origin, t.created_at, t.last_used_at)
            for t in registrations(snapshot)
        ),
        pairing_until=pairing_open_until(user, settings),
        bypass_until=user.bypass_until,
        guesses_left=budget_left(snapshot.guesses, settings, now),
        guess_budget=settings.guess_budget,
    )


def lint(book: Book, groups: frozenset[str], clients: frozenset[str]) -> Iterator[str]:
    """Rules that can never apply, that change nothing, or that let everybody past the second factor."""
    for rule in book.rules:
        scope = rule.scope
        if rule.key == "second_factor" and rule.value == "skip" and scope == Scope():
            yield f"{rule}: nobody is asked for a PIN; name a group, client or network, or unset it"
        if scope.group is not None and scope.group not in groups:
            yield f"{rule}: unreachable, no user is in group {scope.group}"
        if scope.client is not None and scope.client not in clients:
            yield f"{rule}: unreachable, there is no client {scope.client}"
        if scope.network is not None and scope.network.prefixlen == 0:
            yield f"{rule}: --from {scope.network} is everywhere a source is known"
        if scope == Scope() and KEYS[rule.key].read(rule.value) == getattr(Settings(), rule.key):
            yield f"{rule}: {rule.key} {rule.value} is the default; it changes nothing"
