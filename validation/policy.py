"""EVERY rule about who may do what next. Rules are tables where they can be; deciding is looking up.

What belongs here: which token is usable, where a user stands and what his next login does, who may pair an app, the
lifecycle of a token and who may move it, what names and secrets are acceptable. What does not: which setting
applies to whom (`settings.py`), the order in which a login is looked at (`decide.py`), the arithmetic of codes
(`tokens/`).
"""

import unicodedata
from dataclasses import replace
from enum import Enum, StrEnum

from validation.decisions import Reason
from validation.errors import BadInput
from validation.messages import MessageKey
from validation.model import Factor, FirstFactorKind, Origin, Pairing, RevokeReason, Snapshot, Token, TokenState, User
from validation.settings import Settings
from validation.sources import is_source_held, password_throttle
from validation.throttle import budget_left, is_waiting
from validation.tokens.kind import Window
from validation.tokens.registry import kind_of
from validation.values import dataclass


def window(settings: Settings) -> Window:
    return Window(settings.totp_window, settings.drift_limit, settings.look_ahead)


# --- where a user stands, and what his next login does ----------------------------------------------------------


def first_factor_of(user: User, settings: Settings) -> FirstFactorKind:
    """Where this user's password is checked: his own place, else what policy says for his groups, else for the way in
    (`Key.group_first`), else here."""
    return user.first_factor or FirstFactorKind(settings.first_factor)


class Standing(Enum):
    """Where a user stands when a login begins."""

    SOURCE_HELD = "comes from a source that is held"
    UNKNOWN = "unknown"
    DISABLED = "disabled"
    LOCKED = "locked"
    WAITING = "waiting after failures"
    NEW = "no registration"
    REGISTERED = "registered"


def standing(snapshot: Snapshot, settings: Settings, now: float) -> Standing:
    user = snapshot.user
    if is_source_held(snapshot, settings, now):  # before everything else, so that all users look alike
        return Standing.SOURCE_HELD
    if user is None:
        return Standing.UNKNOWN
    if user.disabled:
        return Standing.DISABLED
    if user.locked:
        return Standing.LOCKED
    if is_held(snapshot, settings, now):
        return Standing.WAITING
    return Standing.REGISTERED if registrations(snapshot) else Standing.NEW


def is_held(snapshot: Snapshot, settings: Settings, now: float) -> bool:
    """Nothing is compared now: a wait is running, or the guesses of 30 days are used up."""
    throttles = password_throttle(snapshot, now), snapshot.throttle(Factor.PASSCODE)
    return any(is_waiting(throttle, now) for throttle in throttles) or budget_left(snapshot.guesses, settings, now) == 0


# What stands against a login before anything is compared. The others go on to the first factor.
OBSTACLE: dict[Standing, Reason] = {
    Standing.SOURCE_HELD: Reason.SOURCE_HELD,
    Standing.UNKNOWN: Reason.USER_UNKNOWN,
    Standing.DISABLED: Reason.USER_DISABLED,
    Standing.LOCKED: Reason.USER_LOCKED,
    Standing.WAITING: Reason.WAITING,
}


class Step(Enum):
    """What happens once the first factor is proved."""

    LET_IN = "let in without a PIN"
    ASK = "ask for a PIN"
    ONBOARD = "pair an app now"
    TICKET = "hand out an enrolment ticket"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Next:
    """The next step, and why; `message` is what a refused person reads."""

    step: Step
    reason: Reason
    message: MessageKey = MessageKey.REFUSED


@dataclass(frozen=True, slots=True)
class Door:
    """What of the way in matters to the rules."""

    proves_password: bool
    can_challenge: bool
    shows_key_in_clear: bool  # RADIUS: Reply-Message is not encrypted
    local: bool = False  # a security key may be asked for: whoever touches it is whoever logs in


def next_step(snapshot: Snapshot, user: User, door: Door, settings: Settings, now: float) -> Next:
    """What a login of a user without obstacle does, with the first factor proved (or the client's to check)."""
    if door.proves_password and (reason := let_in_without_pin(user, settings, now)):
        return Next(Step.LET_IN, reason)
    if registrations(snapshot):
        return asking_for(snapshot, door, settings)
    refusal = pairing_refusal(snapshot, user, door, settings, now)
    if refusal is not None:
        return refusal
    hidden = showing_refusal(door, settings)
    if hidden is None:
        return Next(Step.ONBOARD, Reason.ONBOARDING)
    return Next(Step.TICKET, Reason.ONBOARDING) if settings.onboarding_over_radius == "ticket" else hidden


# A way in that can do all: what it leads to is what the user can hope for wherever he comes from.
ANY_DOOR = Door(proves_password=True, can_challenge=True, shows_key_in_clear=True, local=True)


def next_step_anywhere(snapshot: Snapshot, user: User, settings: Settings, now: float) -> Next:
    """What a login with a right password does, whatever the door; what stands against the user comes first."""
    obstacle = OBSTACLE.get(standing(snapshot, settings, now))
    return Next(Step.REFUSE, obstacle) if obstacle else next_step(snapshot, user, ANY_DOOR, settings, now)


def asking_for(snapshot: Snapshot, door: Door, settings: Settings) -> Next:
    """Who has a registration is asked for it, unless all he has are security keys and this is no place for them."""
    if any(shows_passcodes(t) for t in usable_tokens(snapshot)) or askable_keys(snapshot, door, settings):
        return Next(Step.ASK, Reason.PASSWORD_RIGHT)
    return Next(Step.REFUSE, Reason.KEY_ELSEWHERE, MessageKey.KEY_ELSEWHERE)


def let_in_without_pin(user: User, settings: Settings, now: float) -> Reason | None:
    """The only three ways past the second factor; each needs a password proved by us and is written down."""
    if settings.second_factor == "skip":
        return Reason.SKIPPED
    if now < user.bypass_until:
        return Reason.BYPASS
    # From the creation on: a clock that is set back must not make anybody's grace.
    if user.first_registered_at is None and user.created_at <= now < user.created_at + settings.grace:
        return Reason.GRACE
    return None


def pairing_refusal(snapshot: Snapshot, user: User, door: Door, settings: Settings, now: float) -> Next | None:
    """Why this user may not pair an app at this login; None if he may. Asked again when the first PIN is confirmed."""
    if settings.enrolment == "hardware-only":
        return Next(Step.REFUSE, Reason.HARDWARE_ONLY, MessageKey.HARDWARE_ONLY)
    if settings.enrolment == "off":
        return Next(Step.REFUSE, Reason.NO_TOKEN, MessageKey.LOST_TOKEN)
    if not door.proves_password or registrations(snapshot) or disabled_registrations(snapshot):
        return Next(Step.REFUSE, Reason.NO_TOKEN, MessageKey.LOST_TOKEN)
    if not pairing_open(user, settings, now):
        return Next(Step.REFUSE, Reason.PAIRING_CLOSED, MessageKey.LOST_TOKEN)
    return None if door.can_challenge else Next(Step.REFUSE, Reason.NO_TOKEN, MessageKey.ELSEWHERE)


def showing_refusal(door: Door, settings: Settings) -> Next | None:
    """Why no key may be shown here; None if it may. Asked again when it is about to be shown."""
    if not door.shows_key_in_clear or settings.onboarding_over_radius == "key":
        return None
    return Next(Step.REFUSE, Reason.NO_TOKEN, MessageKey.ELSEWHERE)


def pairing_open_until(user: User, settings: Settings) -> float:
    """0 if closed. Within the grace nobody is asked to pair, so the window of a new account begins when that ends."""
    length = {Pairing.NEW: settings.pairing_window, Pairing.REOPENED: settings.pairing_reopen, Pairing.CLOSED: 0.0}
    grace_ends = user.created_at + settings.grace if user.first_registered_at is None else 0.0
    since = max(user.pairing_since, grace_ends) if user.pairing is Pairing.NEW else user.pairing_since
    return since + length[user.pairing] if length[user.pairing] else 0.0


def pairing_open(user: User, settings: Settings, now: float) -> bool:
    return now < pairing_open_until(user, settings)


# --- tokens -----------------------------------------------------------------------------------------------------


def usable(token: Token) -> bool:
    return token.state is TokenState.ACTIVE


def as_of(snapshot: Snapshot, now: float) -> Snapshot:
    """As a login sees it: a token before its start or past its end is out of use, like one that an admin disabled. So
    it opens no pairing either: who knows the password of somebody whose token has run out must not pair a phone."""
    if not any(token.starts_at or token.expires_at for token in snapshot.tokens):
        return snapshot
    tokens = (token if in_time(token, now) else _out_of_use(token) for token in snapshot.tokens)
    return replace(snapshot, tokens=tuple(tokens))


def in_time(token: Token, now: float) -> bool:
    begun = token.starts_at is None or now >= token.starts_at
    return begun and (token.expires_at is None or now < token.expires_at)


def _out_of_use(token: Token) -> Token:
    return replace(token, state=TokenState.DISABLED) if usable(token) else token


def usable_tokens(snapshot: Snapshot) -> tuple[Token, ...]:
    return tuple([token for token in snapshot.tokens if token.state is TokenState.ACTIVE])


def comparable_tokens(snapshot: Snapshot) -> tuple[Token, ...]:
    """What a typed PIN is held against. A token that needs a resynchronisation counts as a registration, and stands in
    the way of pairing, but no PIN of it is right: nobody knows which were used."""
    return tuple([token for token in usable_tokens(snapshot) if not token.needs_resync])


def is_registration(token: Token) -> bool:
    """An active token of a kind that counts; a sheet of recovery codes alone is no second factor."""
    return usable(token) and kind_of(token.kind).is_registration


def shows_passcodes(token: Token) -> bool:
    """Something to type comes from it; else it is a security key."""
    return bool(kind_of(token.kind).lengths(token))


def security_keys(snapshot: Snapshot) -> tuple[Token, ...]:
    return tuple(token for token in registrations(snapshot) if not shows_passcodes(token))


def keys_welcome(door: Door, settings: Settings) -> bool:
    """Whether a security key may be asked for, or registered, here: on a local console alone."""
    return door.local and settings.security_key != "off"


def askable_keys(snapshot: Snapshot, door: Door, settings: Settings) -> tuple[Token, ...]:
    """The user's security keys, where they may be asked for."""
    return security_keys(snapshot) if keys_welcome(door, settings) else ()


def registrations(snapshot: Snapshot) -> tuple[Token, ...]:
    return tuple([token for token in usable_tokens(snapshot) if kind_of(token.kind).is_registration])


def disabled_registrations(snapshot: Snapshot) -> tuple[Token, ...]:
    """Tokens out of use until an admin acts. They let nobody in, and stand in the way of pairing: else whoever knows
    the password could type wrong PINs until the token is disabled, and then pair a phone of his own."""
    found = (token for token in snapshot.tokens if token.state is TokenState.DISABLED)
    return tuple(token for token in found if kind_of(token.kind).is_registration)


# A token's life: from a state to the states it may move to. Revoked is final.
LIFECYCLE: dict[TokenState, frozenset[TokenState]] = {
    TokenState.ACTIVE: frozenset({TokenState.DISABLED, TokenState.REVOKED}),
    TokenState.DISABLED: frozenset({TokenState.ACTIVE, TokenState.REVOKED}),
    TokenState.REVOKED: frozenset(),
}


def may_move(token: Token, to: TokenState) -> bool:
    return to in LIFECYCLE[token.state]


class By(StrEnum):
    """Who acts."""

    USER = "user"
    ADMIN = "admin"


# Who may revoke what: a user what he brought himself, an admin everything.
MAY_REVOKE: dict[By, frozenset[Origin]] = {
    By.USER: frozenset({Origin.SELF}),
    By.ADMIN: frozenset(Origin),
}

# What a revocation does to pairing, by who revokes and why. None: it stays as it is.
PAIRING_AFTER: dict[tuple[By, RevokeReason], Pairing | None] = {
    (By.USER, RevokeReason.LOST): Pairing.REOPENED,
    (By.USER, RevokeReason.OTHER): Pairing.REOPENED,
    (By.USER, RevokeReason.COMPROMISE): Pairing.CLOSED,
    (By.ADMIN, RevokeReason.LOST): Pairing.REOPENED,
    (By.ADMIN, RevokeReason.OTHER): None,
    (By.ADMIN, RevokeReason.COMPROMISE): Pairing.CLOSED,
}


# --- names and secrets ------------------------------------------------------------------------------------------

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
