"""The answers: `Accept`, `Challenge` or `Reject` for a login, `Done` for a command, `Look` for a read-only look.

Rules: these three are the only answers, for every face. `Accept` is built in one function (`decide.py`), which an
architecture test enforces. The reason is for the log and the audit trail, never for the person.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from validation.messages import Message


class Reason(StrEnum):
    """Why a decision fell as it did; the same word in log and audit trail."""

    PASSCODE_RIGHT = "passcode-right"
    PASSWORD_RIGHT = "password-right"
    PASSWORD_WRONG = "password-wrong"
    PASSWORD_CHANGED = "password-changed"
    PASSWORD_NOT_CHECKED = "password-not-checked"
    FIRST_FACTOR_UNAVAILABLE = "first-factor-unavailable"
    PASSCODE_WRONG = "passcode-wrong"
    PASSCODE_USED = "passcode-used"
    PASSCODE_MISSING = "passcode-missing"
    USER_UNKNOWN = "user-unknown"
    USER_DISABLED = "user-disabled"
    USER_LOCKED = "user-locked"
    WAITING = "waiting-after-failures"
    NO_TOKEN = "no-token"
    STATE_UNKNOWN = "state-unknown"
    STATE_EXPIRED = "state-expired"
    STATE_FOREIGN = "state-foreign"
    CLIENT_CHANGED = "client-changed"
    DECISION_FAILED = "decision-failed"
    REQUEST_UNSUPPORTED = "request-unsupported"


@dataclass(frozen=True, slots=True)
class Accept:
    """Let this user in. Built by `decide._accept` alone."""

    user: str
    serial: str
    kind: str
    reason: Reason = Reason.PASSCODE_RIGHT


@dataclass(frozen=True, slots=True)
class Challenge:
    """Ask for the PIN; the answer must bring `state` back."""

    state: str = field(repr=False)
    message: Message
    lifetime: int  # seconds
    reason: Reason
    tries_left: int


@dataclass(frozen=True, slots=True)
class Reject:
    reason: Reason
    failures: int = 0  # consecutive failures of the factor that failed, for the log


Decision: TypeAlias = Accept | Challenge | Reject


@dataclass(frozen=True, slots=True)
class Done:
    """A command was carried out. `warnings` are sentences for the admin; `serials` the tokens it touched."""

    warnings: tuple[str, ...] = ()
    serials: tuple[str, ...] = ()
    key: bytes | None = field(default=None, repr=False)  # of a token just made: shown once


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
    """

    first_factor: str
    password_hash: str | None = field(default=None, repr=False)
    password_version: int = 0
    split: Split | None = None
