"""What exists: users, tokens, clients, throttles, challenges, and the view of them that a decision gets.

Rules: these are frozen values, not rows; secrets have `repr=False`. Times are seconds since the epoch as float.
Nothing here decides anything.
"""

import base64
import hashlib
from dataclasses import field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from validation.errors import Damaged
from validation.settings import EMPTY, Book, Network
from validation.values import dataclass

Address: TypeAlias = IPv4Address | IPv6Address


class FirstFactorKind(StrEnum):
    """Where a user's password is checked."""

    LOCAL = "local"  # here: an argon2id hash in the store
    SYSTEM = "system"  # the host: its account of the same name, through PAM
    LDAP = "ldap"  # a directory
    RADIUS = "radius"  # another RADIUS server


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
    PREPEND = "prepend"  # one field: PIN, then password
    PASSCODE_ONLY = "passcode-only"  # the client has checked the password itself; the field is the PIN
    OPENVPN = "openvpn"  # OpenVPN's static challenge brings both apart, else as in CHALLENGE
    AUTO = "auto"  # as in CHALLENGE, unless the field is a password and a PIN that matches

    @property
    def asks(self) -> bool:
        """A question follows where no PIN came, and the client can show it and send the answer."""
        return self in (Mode.CHALLENGE, Mode.OPENVPN, Mode.AUTO)


class Encoding(StrEnum):
    """How a client writes what people type (RFC 2865 5.2 leaves it open)."""

    UTF_8 = "utf-8"
    LATIN_1 = "latin-1"  # what is no UTF-8 is taken for ISO 8859-1


class MessageAuthenticatorRule(StrEnum):
    """What a client's requests must carry (RFC 3579 3.2; CVE-2024-3596)."""

    REQUIRED = "required"
    AUTO = "auto"  # once seen from an address, required from it
    OFF = "off"


class Pairing(StrEnum):
    """Why a user may pair an app at his next login; each has its own policy key for how long."""

    NEW = "new"  # pairing_window, from account creation or an admin's --open
    REOPENED = "reopened"  # pairing_reopen, after his own revocation or an admin's with reason `lost`
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Site:
    """What is the same on every host of a site: how apps call us, and who we are to security keys.

    `rp_id` never follows a host's name: a host that is renamed must not lose the keys of its users (W-002).
    """

    issuer: str = "Twofold"
    rp_id: str = "twofold"
    origin: str = "pam://twofold"
    aaguids: frozenset[str] = frozenset()  # models of security keys that are allowed; empty: all, unasked
    attestation_roots: tuple[bytes, ...] = field(default=(), repr=False)  # DER; who vouches for those models


@dataclass(frozen=True, slots=True)
class User:
    id: int
    name: str
    created_at: float
    first_factor: FirstFactorKind | None = None  # None: where policy says
    groups: tuple[str, ...] = ()
    disabled: bool = False
    locked: bool = False  # by an admin; waits after failures are in Throttle
    password_hash: str | None = field(default=None, repr=False)
    # Grows with every new hash, and when the password is checked elsewhere from now on; a check that saw an older
    # one is void.
    password_version: int = 0
    pairing: Pairing = Pairing.NEW
    pairing_since: float = 0.0
    first_registered_at: float | None = None  # None: never had a registration
    bypass_until: float = 0.0  # a forgotten phone: the password alone is enough until then
    replies: tuple[tuple[str, tuple[str, ...]], ...] = ()  # RADIUS attributes for his Access-Accepts, and their values


@dataclass(frozen=True, slots=True)
class Token:
    """One OTP generator or security key. `moving_factor` is the next HOTP counter, the first TOTP step still
    acceptable, or the last sign count; it only grows (RFC 4226 7.2, RFC 6238 5.2, WebAuthn 6.1.1)."""

    id: int
    serial: str
    user_id: int | None  # None: in the drawer, nobody's yet
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
    public_id: str = ""  # Yubico OTP only: the modhex characters before the encrypted block
    look_ahead: int | None = None  # HOTP only: counters beyond the next; None: as the policy says
    starts_at: float | None = None  # of no use before
    expires_at: float | None = None  # of no use from then on
    needs_resync: bool = False  # its moving factor may be older than what was used: nothing is compared until then


_HMAC_BLOCK_OCTETS = {"sha1": 64, "sha256": 64, "sha512": 128}


# Of a security key the record begins with what is another at each registration; what follows is the credential.
SIGNATURES = frozenset({"es256", "eddsa", "es384", "es512", "ed448", "rs256"})
REGISTRATION_OCTETS = 18


def canonical_key(key: bytes, algorithm: str) -> bytes:
    """The shortest key that makes the same values, so that a key is recognised in every form.

    HMAC hashes a key longer than its block, and fills a shorter one with zero octets (RFC 2104 2).
    """
    if algorithm in SIGNATURES:
        return key[REGISTRATION_OCTETS:]
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
    last_guess: bytes = field(default=b"", repr=False)  # keyed mark of the last wrong PIN and what it was held against


@dataclass(frozen=True, slots=True)
class KnownSource:
    """An address a user was fully accepted from, and the wrong passwords since that came from there."""

    source: str
    last_accepted_at: float
    failures: int = 0
    blocked_until: float = 0.0


@dataclass(frozen=True, slots=True)
class SourceScore:
    """How much an address looks like one that guesses: `score` as of `at`, and until when it is held."""

    score: int = 0
    blocked_until: float = 0.0
    at: float = 0.0


class Purpose(StrEnum):
    """What a proved login leads to."""

    LOGIN = "login"
    ADD = "add"  # another authenticator, after a fresh second factor
    RESET = "reset"  # a new key for the same app; the old one works until the new one's first PIN
    REDEEM = "redeem"  # an enrolment ticket instead of an open pairing window
    CARE = "care"  # a fresh second factor before something else is done with one's registrations
    ADD_KEY = "add-key"  # a security key, after a fresh second factor


class Stage(StrEnum):
    """What the answer to a challenge is."""

    PIN = "pin"  # a PIN of a registered token
    ASKED = "asked"  # a PIN, asked of everybody, before anything was told (`Client.always_challenge`)
    WELCOME = "welcome"  # go on to the key, or to the instructions
    APPS = "apps"  # go on to the key
    FIRST_PIN = "first-pin"  # the first PIN of the candidate
    KEY = "key"  # an assertion by a security key, or a PIN instead where one would do
    KEY_NAME = "key-name"  # how the security key that is to be registered is called
    NEW_KEY = "new-key"  # what that key made


@dataclass(frozen=True, slots=True)
class PendingChallenge:
    """An open Access-Challenge: who, from which client, how many tries are left, until when.

    It exists only after the first factor was proved (or was not ours to check). Everything else is looked at again
    when the answer comes.
    """

    state: str = field(repr=False)  # RFC 2865 5.24, here 128 random bits as 32 hex characters
    user_id: int | None  # None: asked of a name that is nobody's, so that it is not told
    client: str
    face: str
    tries_left: int
    expires_at: float
    stage: Stage = Stage.PIN
    purpose: Purpose = Purpose.LOGIN
    candidate: Token | None = None  # the token being paired; it exists nowhere else until its first PIN is right
    replaces: str = ""  # serial of the token that the candidate takes the place of
    ticket: bytes = field(default=b"", repr=False)  # digest of the enrolment ticket that opened this, if one did
    proved: bool = True  # by us; False: the first factor is somebody else's to check (a PAM stack, a logged-in session)
    refusal: str = ""  # why this login is refused in the end, whatever is answered; asked so that it is not told
    groups: tuple[str, ...] = ()  # and the RADIUS attributes for the Access-Accept: what was learned with the password
    replies: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Client:
    """A NAS: where its requests come from, the shared secret, and how it speaks."""

    name: str
    network: Network
    secret: bytes = field(repr=False)
    mode: Mode = Mode.CHALLENGE
    message_authenticator: MessageAuthenticatorRule = MessageAuthenticatorRule.REQUIRED
    status_server: bool = True
    always_challenge: bool = False  # whoever asks is asked for a PIN, and nothing is told before it was typed
    encoding: Encoding = Encoding.UTF_8
    cut_at_nul: bool = False  # what stands behind the first NUL octet of a password is rubbish of the client's
    old_secret: bytes = field(default=b"", repr=False)  # still right until then
    old_secret_until: float = 0.0
    version: int = 0  # given by the store, never twice; a request that saw another one is refused
    signed_sources: frozenset[str] = frozenset()  # AUTO: addresses that have signed a request


@dataclass(frozen=True, slots=True)
class ReuseWindow:
    """After an accepted PIN: until when the same client and source need no new one."""

    client: str
    source: str
    expires_at: float
    length: float  # seconds it was opened for; a shorter policy since then cuts it
    passcode_mark: bytes = field(repr=False)  # keyed mark of the PIN that opened it


@dataclass(frozen=True, slots=True)
class Ticket:
    """A one-time enrolment ticket: whose, until when, and whether an admin made it."""

    digest: bytes = field(repr=False)
    user_id: int
    expires_at: float
    by_admin: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """What a packet was answered, for its retransmissions: whose login it was (None: nobody's), when it was decided and
    under which policies, and the decision, packed by `repeating.py`."""

    packet: bytes = field(repr=False)  # what the packet is known by (`requests.packet_mark`)
    user_id: int | None
    at: float
    generation: int  # of the book
    decision: bytes = field(repr=False)  # may hold a key or a ticket


@dataclass(frozen=True, slots=True)
class TrailStart:
    """Where what is left of a chain of the audit trail starts: behind the row `seq`, the newest that was pruned. `mac`
    is that row's, `began` the event of the chain's first row."""

    chain: str
    seq: int
    mac: bytes = field(repr=False)
    began: str


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a command about many tokens sees of those it names."""

    tokens: dict[str, Token] = field(default_factory=dict)  # by serial, without keys; revoked ones included
    keys: dict[bytes, str] = field(default_factory=dict, repr=False)  # serial by key, for every key ever known
    users: dict[str, User] = field(default_factory=dict)
    registrations: dict[int, int] = field(default_factory=dict)  # how many a user has, by his id
    sheets: frozenset[int] = frozenset()  # ids of users who have recovery codes


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
    book: Book = EMPTY  # policies and texts
    guesses: dict[int, int] = field(default_factory=dict)  # by day: codes that wrong PINs were held against
    reuse: ReuseWindow | None = None  # for this user, client and source
    known_source: KnownSource | None = None  # this source as one of this user's, however long ago
    source_score: SourceScore | None = None  # of this source
    ticket: Ticket | None = None
    answered: Answered | None = None  # what this very packet was answered before, however long ago
    holdings: Holdings = Holdings()
    damage: Damaged | None = None  # a row this request needs could not be read; deciding raises it

    def throttle(self, factor: Factor) -> Throttle:
        return self.throttles.get(factor, Throttle())


MOMENT_RANDOM_OCTETS = 192
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
    def new_ticket(self) -> str:
        """A ticket of 130 random bits, in groups (SP 800-63B-4 4.1.2.2 asks for 112 where it stands alone)."""
        text = _readable(self.random[42:68])
        return "-".join(text[at : at + 5] for at in range(0, len(text), 5))

    @property
    def new_salt(self) -> bytes:
        return self.random[68:84]

    def new_recovery_codes(self, count: int) -> tuple[str, ...]:
        """Codes of 80 random bits each."""
        octets = self.random[84 : 84 + count * 10]
        return tuple(base64.b32encode(octets[at : at + 10]).decode() for at in range(0, len(octets), 10))

    @property
    def new_serial(self) -> str:
        return "TF-" + _readable(self.random[36:42])


def _readable(octets: bytes) -> str:
    """Five bits of each octet as a character that looks like no other."""
    return "".join(_SERIAL_ALPHABET[octet % 32] for octet in octets)
