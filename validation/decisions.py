"""The answers: `Accept`, `Challenge` or `Reject` for a login, `Done` for a command, `Look` for a read-only look.

Rules: these three are the only answers, for every face. `Accept` is built in one function (`decide._accept`), and one
that was built there is said again in one other (`decide._accept_again`); an architecture test enforces it. The reason
is for the log and the audit trail, never for the person.
"""

from dataclasses import field
from enum import StrEnum
from typing import TypeAlias

from validation.model import Token
from validation.values import dataclass


class Reason(StrEnum):
    """Why a decision fell as it did; the same word in log and audit trail."""

    PASSCODE_RIGHT = "passcode-right"
    REUSED = "reused"
    SKIPPED = "second-factor-skipped"
    BYPASS = "bypass"
    GRACE = "grace"
    REGISTERED = "registered"
    PASSWORD_RIGHT = "password-right"
    ONBOARDING = "onboarding"
    ASKED = "asked"  # as everybody is; what is known of him is told after the answer
    PASSWORD_WRONG = "password-wrong"
    PASSWORD_CHANGED = "password-changed"
    PASSWORD_NOT_CHECKED = "password-not-checked"
    FIRST_FACTOR_UNAVAILABLE = "first-factor-unavailable"
    PASSCODE_WRONG = "passcode-wrong"
    PASSCODE_USED = "passcode-used"
    PASSCODE_REPEATED = "passcode-repeated"
    PASSCODE_LAYOUT = "passcode-keyboard-layout"
    TOKEN_NEEDS_RESYNC = "token-needs-resync"  # after a restore or a failover, nothing of it is compared
    PASSCODE_MISSING = "passcode-missing"
    KEY_RIGHT = "security-key-right"
    KEY_WRONG = "security-key-wrong"
    KEY_UNVERIFIED = "security-key-user-unverified"
    KEY_BACKUP = "security-key-backup-flags"
    KEY_COUNTER = "security-key-counter"
    KEY_NOT_ALLOWED = "security-key-not-allowed"
    KEY_KNOWN = "security-key-known"
    KEY_MISSING = "security-key-missing"
    KEY_ELSEWHERE = "security-key-works-elsewhere"
    FIRST_PIN_WRONG = "first-pin-wrong"
    USER_UNKNOWN = "user-unknown"
    USER_DISABLED = "user-disabled"
    USER_LOCKED = "user-locked"
    WAITING = "waiting-after-failures"
    SOURCE_HELD = "source-held"
    NO_TOKEN = "no-token"
    HARDWARE_ONLY = "hardware-only"
    PAIRING_CLOSED = "pairing-closed"
    TICKET_WRONG = "ticket-wrong"
    STATE_UNKNOWN = "state-unknown"
    STATE_EXPIRED = "state-expired"
    STATE_FOREIGN = "state-foreign"
    CLIENT_CHANGED = "client-changed"
    DECISION_FAILED = "decision-failed"
    REQUEST_UNSUPPORTED = "request-unsupported"


@dataclass(frozen=True, slots=True)
class Accept:
    """Let this user in. Built by `decide._accept` alone, and said again by `decide._accept_again`.

    `serial` and `kind` name the token, if one was used."""

    user: str
    reason: Reason
    serial: str = ""
    kind: str = ""
    texts: tuple[str, ...] = ()
    replies: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)  # RADIUS attributes: type and value


@dataclass(frozen=True, slots=True)
class Provisioning:
    """The key of a token that is being paired, in the ways a person can take it."""

    uri: str = field(repr=False)
    key_text: str = field(repr=False)  # Base32 in groups of four
    serial: str = ""


@dataclass(frozen=True, slots=True)
class AskKey:
    """An assertion by one of these credentials is wanted (WebAuthn 7.2)."""

    rp_id: str
    origin: str
    challenge: bytes = field(repr=False)
    credentials: tuple[bytes, ...] = field(repr=False)  # their ids
    verify_user: bool  # the key must ask for its own PIN, or for a finger
    or_passcode: bool  # a PIN would do as well


@dataclass(frozen=True, slots=True)
class AskNewKey:
    """A new credential is wanted (WebAuthn 7.1)."""

    rp_id: str
    rp_name: str
    origin: str
    challenge: bytes = field(repr=False)
    user_handle: bytes = field(repr=False)
    user_name: str
    exclude: tuple[bytes, ...] = field(repr=False)  # ids of the user's credentials: no key is registered twice
    algorithms: tuple[int, ...]  # COSE, the preferred first
    verify_user: bool
    attestation: bool  # the key must say, signed by its maker, what it is


@dataclass(frozen=True, slots=True)
class AskKeyName:
    """How a security key that is to be registered is called: as it is typed, blanks and all."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Show `texts` and ask; the answer must bring `state` back."""

    state: str = field(repr=False)
    texts: tuple[str, ...] = field(repr=False)  # may hold a key or a ticket
    lifetime: float  # seconds
    reason: Reason
    tries_left: int
    provisioning: Provisioning | None = None
    wants: AskKey | AskNewKey | AskKeyName | None = None  # None: a passcode, or a page to turn


@dataclass(frozen=True, slots=True)
class Reject:
    reason: Reason
    text: str = ""
    failures: int = 0  # consecutive failures of the factor that failed, for the log
    delay: float = 0.0  # seconds from arrival that a refusal over the network is held back


Decision: TypeAlias = Accept | Challenge | Reject


class Fate(StrEnum):
    """What becomes of one row of an import."""

    READY = "ready"
    UNCHANGED = "unchanged"  # the same token is here already
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class RowResult:
    """`text` says why it is refused, or what else is to be said of it; never a key."""

    place: str
    serial: str
    fate: Fate
    text: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """A command was carried out. `warnings` are sentences for the admin; `serials` the tokens it touched.

    `refused` is set where an attempt was not successful but had to be written down (a resynchronisation).
    """

    warnings: tuple[str, ...] = ()
    refused: str = ""
    serials: tuple[str, ...] = ()
    key: bytes | None = field(default=None, repr=False)  # of a token just made: shown once
    shown_once: tuple[str, ...] = field(default=(), repr=False)  # recovery codes or a ticket
    rows: tuple[RowResult, ...] = ()  # of an import, in the order of its file
    tokens: tuple[Token, ...] = field(default=(), repr=False)  # of an export, with their keys
    owners: tuple[str, ...] = ()  # of these tokens, in their order; "" for nobody's


@dataclass(frozen=True, slots=True)
class Split:
    """A one-field entry taken apart."""

    password: str = field(repr=False)
    passcode: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Look:
    """What a face must know before it has the password checked.

    `password_hash` is None for unknown, locked, waiting, disabled and password-less users: the checker then does the
    same work on a dummy, so that they look alike in time. `split` is None where a one-field entry cannot hold a PIN.
    `user` is whose password it is where another place keeps it; empty where nobody may log in.
    """

    first_factor: str
    password_hash: str | None = field(default=None, repr=False)
    password_version: int = 0
    split: Split | None = None
    user: str = ""
