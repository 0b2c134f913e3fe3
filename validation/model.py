"""What exists: users, tokens, clients, throttles, challenges, and the view of them that a decision gets.

Rules: these are frozen values, not rows; secrets have `repr=False`. Times are seconds since the epoch as float.
Nothing here decides anything.
"""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from validation.errors import Damaged

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


class FirstFactorKind(StrEnum):
    """Where a user's password is checked."""

    LOCAL = "local"


class TokenState(StrEnum):
    """A token's life. `REVOKED` is final."""

    ACTIVE = "active"
    DISABLED = "disabled"
    REVOKED = "revoked"


class Origin(StrEnum):
    """Who brought a token: `SELF` may be revoked by its user, `ADMIN` (imported hardware) by an admin alone."""

    SELF = "self"
    ADMIN = "admin"


class RevokeReason(StrEnum):
    LOST = "lost"
    COMPROMISE = "compromise"
    OTHER = "other"


class Mode(StrEnum):
    """How a RADIUS client hands over password and PIN (set by the admin, never by the client)."""

    CHALLENGE = "challenge"  # password first, then an Access-Challenge asks for the PIN
    APPEND = "append"  # one field: password, then PIN
    PASSCODE_ONLY = "passcode-only"  # the client has checked the password itself; the field is the PIN


class MessageAuthenticatorRule(StrEnum):
    """What a client's requests must carry (RFC 3579 3.2; CVE-2024-3596)."""

    REQUIRED = "required"
    AUTO = "auto"  # once seen from an address, required from it
    OFF = "off"


@dataclass(frozen=True, slots=True)
class User:
    id: int
    name: str
    created_at: float
    first_factor: FirstFactorKind = FirstFactorKind.LOCAL
    groups: tuple[str, ...] = ()
    disabled: bool = False
    locked: bool = False  # by an admin; waits after failures are in Throttle
    password_hash: str | None = field(default=None, repr=False)
    password_version: int = 0  # grows with every new hash; a check that saw an older one is void


@dataclass(frozen=True, slots=True)
class Token:
    """One OTP generator. `moving_factor` is the next HOTP counter, or the first TOTP step still acceptable;
    it only grows (RFC 4226 7.2, RFC 6238 5.2)."""

    id: int
    serial: str
    user_id: int
    kind: str
    key: bytes = field(repr=False)
    created_at: float = 0.0
    origin: Origin = Origin.SELF
    state: TokenState = TokenState.ACTIVE
    label: str = ""
    digits: int = 6
    period: int = 30  # seconds, TOTP only
    algorithm: str = "sha1"
    moving_factor: int = 0
    drift: int = 0  # learned, in steps, TOTP only (RFC 6238 6)
    failures: int = 0  # consecutive wrong PINs after a proved password
    last_used_at: float | None = None


_HMAC_BLOCK_OCTETS = {"sha1": 64, "sha256": 64, "sha512": 128}


def canonical_key(key: bytes, algorithm: str) -> bytes:
    """The shortest key that makes the same values, so that a key is recognised in every form.

    HMAC hashes a key longer than its block, and fills a shorter one with zero octets (RFC 2104 2).
    """
    if len(key) > _HMAC_BLOCK_OCTETS.get(algorithm, len(key)):  # what is not known is refused elsewhere
        key = hashlib.new(algorithm, key).digest()
    return key.rstrip(b"\0")


class Factor(StrEnum):
    """Which of a user's two secrets a failure count belongs to. A success clears only the one it proved."""

    PASSWORD = "password"
    PASSCODE = "passcode"


@dataclass(frozen=True, slots=True)
class Throttle:
    """Consecutive failures of one factor of one user, and until when nothing is compared."""

    failures: int = 0
    blocked_until: float = 0.0


@dataclass(frozen=True, slots=True)
class PendingChallenge:
    """An open Access-Challenge: who, from which client, how many tries are left, until when.

    It exists only after the first factor was proved (or was the client's to check). Everything else is looked at
    again when the answer comes.
    """

    state: str = field(repr=False)  # RFC 2865 5.24, here 128 random bits as 32 hex characters
    user_id: int
    client: str
    face: str
    tries_left: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class Client:
    """A NAS: where its requests come from, the shared secret, and how it speaks."""

    name: str
    network: Network
    secret: bytes = field(repr=False)
    mode: Mode = Mode.CHALLENGE
    message_authenticator: MessageAuthenticatorRule = MessageAuthenticatorRule.REQUIRED
    status_server: bool = True
    version: int = 0  # given by the store, never twice; a request that saw another one is refused
    signed_sources: frozenset[str] = frozenset()  # AUTO: addresses that have signed a request


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of the store that one decision may see, read inside its transaction."""

    user: User | None = None
    tokens: tuple[Token, ...] = ()
    throttles: dict[Factor, Throttle] = field(default_factory=dict)
    challenge: PendingChallenge | None = None
    client: Client | None = None
    clients: tuple[Client, ...] = ()  # only for commands that change clients
    token: Token | None = None  # the token a command names by serial, revoked ones included
    token_owner: str | None = None
    key_known_as: str | None = None  # serial under which a command's key was ever known, revoked and removed included
    damage: Damaged | None = None  # a row this request needs could not be read; deciding raises it

    def throttle(self, factor: Factor) -> Throttle:
        return self.throttles.get(factor, Throttle())


MOMENT_RANDOM_OCTETS = 48
_SERIAL_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # 32 characters, none of which looks like another


@dataclass(frozen=True, slots=True)
class Moment:
    """The clock and the dice of one decision: `now` in epoch seconds, and fresh random octets.

    The slices never overlap, so no two secrets of one decision share a bit.
    """

    now: float
    random: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.random) != MOMENT_RANDOM_OCTETS:
            raise ValueError(f"a Moment needs exactly {MOMENT_RANDOM_OCTETS} random octets")

    @property
    def new_state(self) -> str:
        """A State of 128 random bits; hex, because some clients cut it at a zero octet."""
        return self.random[:16].hex()

    @property
    def new_key(self) -> bytes:
        """A token key of 160 random bits (RFC 4226 4, R6)."""
        return self.random[16:36]

    @property
    def new_serial(self) -> str:
        return "TF-" + "".join(_SERIAL_ALPHABET[octet % 32] for octet in self.random[36:42])
