"""EVERY rule about who may do what next. Rules are tables where they can be; deciding is looking up.

What belongs here: the settings and their defaults, which token is usable, where a user stands and what his next login
does, the lifecycle of a token, what names and secrets are acceptable. What does not: the order in which a login is
looked at (`decide.py`) and arithmetic of codes (`tokens/`).
"""

import unicodedata
from dataclasses import dataclass
from enum import Enum

from validation.decisions import Reason
from validation.errors import BadInput
from validation.model import Factor, Snapshot, Token, TokenState
from validation.throttle import is_waiting
from validation.tokens.kind import Window


@dataclass(frozen=True, slots=True)
class Settings:
    """The policy keys and their defaults. Times in seconds."""

    totp_window: int = 1
    drift_limit: int = 10
    look_ahead: int = 10
    tries: int = 3
    challenge_lifetime: int = 120
    lock_from: int = 5
    lock_base: float = 30
    lock_max: float = 3600
    disable_at: int = 100  # consecutive wrong PINs of one token (SP 800-63B-4 3.2.2)
    reject_delay: float = 1.0

    @property
    def window(self) -> Window:
        return Window(self.totp_window, self.drift_limit, self.look_ahead)


DEFAULTS = Settings()


class Standing(Enum):
    """Where a user stands when a login begins."""

    UNKNOWN = "unknown"
    DISABLED = "disabled"
    LOCKED = "locked"
    WAITING = "waiting"
    NO_TOKEN = "no token"
    HAS_TOKEN = "has token"


# The login table: what stands against this user's login, whatever he types. None: nothing; ask for password and PIN.
OBSTACLE: dict[Standing, Reason | None] = {
    Standing.UNKNOWN: Reason.USER_UNKNOWN,
    Standing.DISABLED: Reason.USER_DISABLED,
    Standing.LOCKED: Reason.USER_LOCKED,
    Standing.WAITING: Reason.WAITING,
    Standing.NO_TOKEN: Reason.NO_TOKEN,
    Standing.HAS_TOKEN: None,
}

# Looked at before anything is compared; a missing token is only told (to the log) after a proved password.
BEFORE_FIRST_FACTOR = frozenset({Standing.UNKNOWN, Standing.DISABLED, Standing.LOCKED, Standing.WAITING})


def standing(snapshot: Snapshot, now: float) -> Standing:
    user = snapshot.user
    if user is None:
        return Standing.UNKNOWN
    if user.disabled:
        return Standing.DISABLED
    if user.locked:
        return Standing.LOCKED
    if any(is_waiting(snapshot.throttle(factor), now) for factor in Factor):
        return Standing.WAITING
    return Standing.HAS_TOKEN if usable_tokens(snapshot) else Standing.NO_TOKEN


def usable(token: Token) -> bool:
    return token.state is TokenState.ACTIVE


def usable_tokens(snapshot: Snapshot) -> tuple[Token, ...]:
    return tuple(token for token in snapshot.tokens if usable(token))


# A token's life: from a state to the states it may move to. Revoked is final.
LIFECYCLE: dict[TokenState, frozenset[TokenState]] = {
    TokenState.ACTIVE: frozenset({TokenState.DISABLED, TokenState.REVOKED}),
    TokenState.DISABLED: frozenset({TokenState.ACTIVE, TokenState.REVOKED}),
    TokenState.REVOKED: frozenset(),
}


def may_move(token: Token, to: TokenState) -> bool:
    return to in LIFECYCLE[token.state]


MAX_NAME_OCTETS = 253  # what a RADIUS attribute holds; RFC 7542 2.3 asks for 253
_BAD_IN_NAMES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def check_name(what: str, name: str) -> None:
    """Refuse names that could not be typed back or would trick a reader. Raises BadInput."""
    if not name or name != name.strip():
        raise BadInput(f"{what} name: must not be empty, nor begin or end with a blank")
    if name.startswith("-"):
        raise BadInput(f"{what} name: must not begin with '-', which looks like an option")
    if any(unicodedata.category(char) in _BAD_IN_NAMES for char in name):
        raise BadInput(f"{what} name: control, invisible and unassigned characters are not allowed")
    if len(name.encode()) > MAX_NAME_OCTETS:
        raise BadInput(f"{what} name: {len(name.encode())} octets are too long; at most {MAX_NAME_OCTETS}")


MAX_SERIAL = 64


def check_serial(serial: str) -> None:
    if not (0 < len(serial) <= MAX_SERIAL and serial.isascii() and serial.isprintable() and " " not in serial):
        raise BadInput(f"serial: use 1 to {MAX_SERIAL} printable ASCII characters without blanks")
    if serial.startswith("-"):
        raise BadInput("serial: must not begin with '-', which looks like an option")


MAX_LABEL = 64


def check_label(label: str) -> None:
    if len(label) > MAX_LABEL or any(unicodedata.category(char) in _BAD_IN_NAMES for char in label):
        raise BadInput(f"label: at most {MAX_LABEL} characters, none of them invisible")


ADVISED_SECRET_OCTETS = 24  # draft-ietf-radext-deprecating-radius, "Shared Secrets"


def check_secret(secret: bytes) -> tuple[str, ...]:
    """Refuse an empty shared secret (RFC 2865 3) and return warnings about a short one. Raises BadInput."""
    if not secret:
        raise BadInput("secret: must not be empty (RFC 2865 section 3)")
    if len(secret) < ADVISED_SECRET_OCTETS:
        return (
            f"the secret has {len(secret)} characters; {ADVISED_SECRET_OCTETS} or more are advised, "
            "--generate-secret makes one",
        )
    return ()
