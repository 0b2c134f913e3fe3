"""What a decision does to the store, as data.

Rules: a decision returns a tuple of these; the store applies them in order, inside the transaction in which the
snapshot was read. A change that names what it expects (`from_`, `version`) must find it, or the transaction fails:
check and update are one conditional write (C-004).
"""

from dataclasses import field
from typing import TypeAlias

from validation.model import (
    Answered,
    Client,
    Factor,
    KnownSource,
    Pairing,
    PendingChallenge,
    ReuseWindow,
    RevokeReason,
    SourceScore,
    Throttle,
    Ticket,
    Token,
    TokenState,
    TrailStart,
    User,
)
from validation.settings import Reply, Rule, Scope, Text
from validation.values import dataclass

CHALLENGES_OF_USER = 32  # open ones, after a proved password
CHALLENGES_OF_CLIENT = 16_384  # of either sort: those after a proved password, and all others


@dataclass(frozen=True, slots=True)
class UseToken:
    """A passcode was accepted: the moving factor goes from `from_` to `to`, which is greater, and failures are 0."""

    token_id: int
    from_: int
    to: int
    drift: int
    used_at: float


@dataclass(frozen=True, slots=True)
class UseSecurityKey:
    """An assertion was accepted: the sign count goes from `from_` to `to`, which is greater; failures are 0. `stays`:
    both are the same, since the key does not count, or policy lets a count pass that went back."""

    token_id: int
    from_: int
    to: int
    used_at: float
    stays: bool = False


@dataclass(frozen=True, slots=True)
class Resynchronise:
    """Two consecutive values were shown: the moving factor goes from `from_` to `to`, which is greater."""

    token_id: int
    from_: int
    to: int
    drift: int


@dataclass(frozen=True, slots=True)
class PassSteps:
    """No TOTP token accepts a step before that of `now` plus `steps`."""

    now: float
    steps: int


@dataclass(frozen=True, slots=True)
class PassCounters:
    """Counters move on, those of `kind` by `by`, and never beyond `most`."""

    kind: str
    by: int
    most: int


@dataclass(frozen=True, slots=True)
class NeedResync:
    """Tokens of these kinds are compared with nothing until they were resynchronised."""

    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RevokeKind:
    """All tokens of `kind` are revoked."""

    kind: str
    reason: RevokeReason
    at: float


@dataclass(frozen=True, slots=True)
class EndAllLogins:
    """Everybody's open challenges, reuse windows, enrolment tickets and recorded answers are gone."""


@dataclass(frozen=True, slots=True)
class CountTokenFailure:
    token_id: int
    failures: int
    disable: bool


@dataclass(frozen=True, slots=True)
class SetThrottle:
    user_id: int
    factor: Factor
    throttle: Throttle


@dataclass(frozen=True, slots=True)
class OpenChallenge:
    """Open `challenge`. Challenges that expired before `now` are swept out on the way, and where there are too many
    those that expire first: of the same client, and of the same user after a proved password; those without one make
    no room in the others (R-097)."""

    challenge: PendingChallenge
    now: float


@dataclass(frozen=True, slots=True)
class CloseChallenge:
    """Close an open challenge; it must still be open, so that one State ends one way."""

    state: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class EndLoginsOf:
    """Close every open challenge, reuse window and enrolment ticket of a user; with `pairing_only` what could still
    pair an app, and nothing else. Either way the answers recorded for him are forgotten."""

    user_id: int
    pairing_only: bool = False


@dataclass(frozen=True, slots=True)
class CountGuesses:
    """Codes a wrong PIN was held against, on one day. Days before `forget_before` no longer count."""

    user_id: int
    day: int
    compared: int
    forget_before: int


@dataclass(frozen=True, slots=True)
class ForgetGuesses:
    """An admin's unlock gives the whole budget back."""

    user_id: int


@dataclass(frozen=True, slots=True)
class OpenReuse:
    """After an accepted PIN; replaces an older window of the same user, client and source."""

    user_id: int
    reuse: ReuseWindow
    now: float


@dataclass(frozen=True, slots=True)
class SetKnownSource:
    """Remember a user's source as it is here; of all his sources the `keep` last accepted ones stay."""

    user_id: int
    known: KnownSource
    keep: int


@dataclass(frozen=True, slots=True)
class ClearKnownSources:
    """An admin's unlock: no failures and no waits at a user's known sources. They stay known."""

    user_id: int


@dataclass(frozen=True, slots=True)
class ForgetKnownSources:
    """After a compromise: the thief may have been accepted at one of them."""

    user_id: int


@dataclass(frozen=True, slots=True)
class SetSourceScore:
    """Of a source. Scores that have fallen to 0 since, a minute for each point, are swept out on the way."""

    source: str
    score: SourceScore
    now: float


@dataclass(frozen=True, slots=True)
class RecordAnswer:
    """Keep what a packet was answered, in place of what it was answered before. Written after all other changes.

    Whatever may end a login forgets the answers of its user in the same transaction: `EndLoginsOf`, `ReplaceUser`,
    `DeleteUser`, `SetPairing`, `SetBypass`, `SetTokenState`, `AssignToken`, and a `CountTokenFailure` that disables.
    Old answers are swept out on the way.
    """

    answered: Answered


@dataclass(frozen=True, slots=True)
class InsertTicket:
    ticket: Ticket
    now: float


@dataclass(frozen=True, slots=True)
class UseTicket:
    """A ticket works once: it must still be there."""

    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SetPairing:
    user_id: int
    pairing: Pairing
    since: float


@dataclass(frozen=True, slots=True)
class MarkRegistered:
    """The user's first registration ever, if it is the first."""

    user_id: int
    at: float


@dataclass(frozen=True, slots=True)
class SetBypass:
    user_id: int
    until: float


@dataclass(frozen=True, slots=True)
class InsertRule:
    """Add a policy rule, in place of one with the same key and scope; `rule.id` is given by the store."""

    rule: Rule


@dataclass(frozen=True, slots=True)
class DeleteRule:
    key: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class SetReply:
    """Set a RADIUS attribute for a scope, in place of what it was there; without values it is taken away."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class InsertText:
    """Set a text, in place of one with the same key, language and scope; an empty one takes it away."""

    text: Text


@dataclass(frozen=True, slots=True)
class Rehash:
    """Store the same password under newer costs, if the hash is still version `version`."""

    user_id: int
    version: int
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class InsertUser:
    """Add a user; `user.id` is given by the store."""

    user: User


@dataclass(frozen=True, slots=True)
class ReplaceUser:
    user: User


@dataclass(frozen=True, slots=True)
class DeleteUser:
    """Delete a user whose tokens have been revoked. The fingerprints of their keys stay."""

    user_id: int


@dataclass(frozen=True, slots=True)
class InsertToken:
    token: Token  # `token.id` is given by the store


@dataclass(frozen=True, slots=True)
class AssignToken:
    """Give a token to a user, or take it back (None); it must still be whose `token.user_id` says. The key is sealed
    anew, since a seal names the owner."""

    token: Token
    to: int | None


@dataclass(frozen=True, slots=True)
class SetTokenState:
    """Move a token to `state`. `REVOKED` is final and remembers the fingerprint of the key for ever; `ACTIVE` clears
    the count of wrong PINs."""

    token_id: int
    state: TokenState
    reason: RevokeReason | None
    at: float


@dataclass(frozen=True, slots=True)
class InsertClient:
    """Add a client. The store gives it a version that no client of any name ever had."""

    client: Client


@dataclass(frozen=True, slots=True)
class ReplaceClient:
    """Replace a client that is still of `client.version`; the store gives it the next version."""

    client: Client


@dataclass(frozen=True, slots=True)
class DeleteClient:
    name: str


@dataclass(frozen=True, slots=True)
class AddSignedSource:
    client: str
    address: str


@dataclass(frozen=True, slots=True)
class PruneRows:
    """The rows of a chain behind `after`, up to `start`, go. All must be there, and be from before `before`, or from
    after `now`, which is what a clock once said that was ahead. A chain's newest row stays."""

    after: int
    start: TrailStart
    before: float
    now: float


@dataclass(frozen=True, slots=True)
class Audit:
    """One row of the audit trail."""

    at: float
    event: str  # "login", or the name of an admin command
    decision: str  # accept, challenge, again, reject, done
    reason: str
    user: str = ""
    client: str = ""
    face: str = ""
    source: str = ""
    serial: str = ""
    actor: str = ""
    request_id: str = ""
    detail: dict[str, str | int] = field(default_factory=dict)
    notice: str = ""  # what `[notify] command` is told that this is: enrolled, revoked, locked, …; not stored


@dataclass(frozen=True, slots=True)
class AuditFlood:
    """An audit row of a kind that anybody can cause. One row at most every `every` seconds and `key` is written;
    those in between are counted, and the next row says how many there were (field `suppressed`)."""

    audit: Audit
    key: str
    every: float


Change: TypeAlias = (
    UseToken
    | UseSecurityKey
    | PassSteps
    | PassCounters
    | NeedResync
    | RevokeKind
    | EndAllLogins
    | CountTokenFailure
    | SetThrottle
    | OpenChallenge
    | CloseChallenge
    | EndLoginsOf
    | CountGuesses
    | ForgetGuesses
    | Resynchronise
    | OpenReuse
    | SetKnownSource
    | ClearKnownSources
    | ForgetKnownSources
    | SetSourceScore
    | RecordAnswer
    | InsertTicket
    | UseTicket
    | SetPairing
    | MarkRegistered
    | SetBypass
    | InsertRule
    | DeleteRule
    | InsertText
    | SetReply
    | Rehash
    | InsertUser
    | ReplaceUser
    | DeleteUser
    | InsertToken
    | AssignToken
    | SetTokenState
    | InsertClient
    | ReplaceClient
    | DeleteClient
    | AddSignedSource
    | PruneRows
    | Audit
    | AuditFlood
)
