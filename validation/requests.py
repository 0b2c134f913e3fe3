"""What the engine is asked: a login, or an admin command.

Rules: a face turns its input into one of these and nothing more. Each names, as `Wanted`, the rows its decision
must see. Passwords never come this far: a face hands in the result of the check.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import field, replace
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TypeAlias

from validation.model import (
    Client,
    Encoding,
    FirstFactorKind,
    MessageAuthenticatorRule,
    Mode,
    Origin,
    Purpose,
    RevokeReason,
    Token,
    TrailStart,
    canonical_key,
)
from validation.settings import Network, Scope, Whom
from validation.values import dataclass

Replies: TypeAlias = dict[str, tuple[str, ...]]  # RADIUS attributes as they are typed, each with all its values


class Face(StrEnum):
    RADIUS = "radius"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True)
class Channel:
    """What the way in can do. Built from our own configuration, never from what a client says."""

    face: Face
    can_challenge: bool  # a second screen can be shown
    proves_password: bool  # False: the client has checked the password itself (passcode-only)
    shows_key_in_clear: bool = True  # what is shown crosses a network unencrypted (Reply-Message)
    pin_only: bool = False  # whatever policies say, nobody is let in without a PIN here, and nobody pairs
    local: bool = False  # whoever types sits at this machine, so that it is his security key that would blink
    own: bool = False  # the kernel says that whoever types is this user
    asks_everybody: bool = False  # a PIN is asked for before anything is told of the password

    @classmethod
    def for_mode(cls, mode: Mode) -> "Channel":
        return cls(Face.RADIUS, mode.asks, mode is not Mode.PASSCODE_ONLY)

    @classmethod
    def of_client(cls, client: Client) -> "Channel":
        """A client that has checked the password itself may want to ask for the PIN, too: of everybody alike."""
        channel = cls.for_mode(client.mode)
        asks = channel.can_challenge or client.always_challenge
        if (channel.can_challenge, channel.asks_everybody) == (asks, client.always_challenge):
            return channel
        return replace(channel, can_challenge=asks, asks_everybody=client.always_challenge)

    @classmethod
    def console(
        cls, proves_password: bool = True, pin_only: bool = False, local: bool = False, own: bool = False
    ) -> "Channel":
        """A terminal on this host, or an encrypted session on it: what is shown stays here."""
        return cls(Face.CONSOLE, True, proves_password, False, pin_only, local, own)


class FirstFactor(StrEnum):
    """What became of the password."""

    PROVED = "proved"
    WRONG = "wrong"
    UNAVAILABLE = "unavailable"  # the back end did not answer: neither right nor wrong
    NOT_CHECKED = "not-checked"


@dataclass(frozen=True, slots=True)
class FirstFactorResult:
    status: FirstFactor
    password_version: int | None = None  # what the look said; None: whatever the user's is now
    rehash: str | None = field(default=None, repr=False)  # a fresh hash, if the stored one uses old costs
    kind: str = ""  # where the password was checked
    why: str = ""  # where the place that was asked said more than yes or no: a word for log and audit trail
    groups: tuple[str, ...] = ()  # of the user there; they count beside those he has here
    # RADIUS attributes for his Access-Accept: type and value.
    replies: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)


NOT_CHECKED = FirstFactorResult(FirstFactor.NOT_CHECKED)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The rows a decision must see."""

    user: str | None = None
    state: str | None = field(default=None, repr=False)
    client: str | None = None
    serial: str | None = None
    key: bytes | None = field(default=None, repr=False)
    all_clients: bool = False
    source: str | None = None
    ticket: bytes | None = field(default=None, repr=False)  # its digest; without `user`, its owner is the user
    packet: bytes | None = field(default=None, repr=False)  # its mark
    serials: tuple[str, ...] = ()  # the next three go into `Snapshot.holdings`
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    users: tuple[str, ...] = ()
    alone: bool = False  # nobody else may write until it is done: it concerns all tokens


@lru_cache(maxsize=4096)
def neighbourhood(source: str) -> str:
    """What guesses are counted together: an IPv4 address, but all of an IPv6 /64, which one subscriber has whole
    (RFC 6177)."""
    try:
        address = ip_address(source)
    except ValueError:
        return source
    return source if address.version == 4 else str(ip_network((source, 64), strict=False))


def packet_mark(client: Client, digest: bytes) -> bytes:
    """What a packet is known by on every server: who sent it, under which version of the client, and the digest of all
    its octets, of which 16 are the random Request Authenticator. A client that was changed begins anew."""
    return hashlib.sha256(f"{client.version}|{client.name}|".encode() + digest).digest()


def typed_alone(text: str) -> str:
    """A PIN as apps show it and people copy it, without blanks and dashes: `755 224` is `755224`.

    Only for a PIN that was asked for on its own; in a one-field entry every blank belongs to the password.
    """
    return text.translate(_PIN_DECORATION)


_PIN_DECORATION = {ord(" "): None, ord("-"): None, ord("\u00a0"): None}


def ticket_digest(text: str) -> bytes:
    """What the store knows a ticket by; blanks, dashes and case do not matter. 130 random bits need no salt."""
    plain = typed_alone(text).upper()
    return hashlib.sha256(plain.encode()).digest()


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a security key signed (WebAuthn 5.2.2), as octets that nobody has looked at yet."""

    credential_id: bytes = field(repr=False)
    client_data: bytes = field(repr=False)
    authenticator_data: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    user_handle: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NewCredential:
    """What a security key made at a registration (WebAuthn 5.2.1), as octets that nobody has looked at yet."""

    client_data: bytes = field(repr=False)
    attestation_object: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """One step of one login, or of a user's care for his own registrations (`purpose`)."""

    user: str
    channel: Channel
    client: str
    client_version: int
    first_factor: FirstFactorResult = NOT_CHECKED
    passcode: str | None = field(default=None, repr=False)
    state: str | None = field(default=None, repr=False)
    source: str | None = None  # address of the person, only if the client's word was signed
    request_id: str = ""
    service: str | None = None  # PAM
    purpose: Purpose = Purpose.LOGIN
    replaces: str = ""  # Purpose.RESET: serial of the app whose key is made anew
    ticket: str | None = field(default=None, repr=False)  # Purpose.REDEEM
    actor: str = ""  # who typed it, where a command on this host was the face
    where: str = ""  # the login as its user sees it: for the text that asks him to touch his key
    assertion: Assertion | None = None
    new_credential: NewCredential | None = None
    key_name: str = ""  # of the security key that is to be registered
    unsupported: str = ""  # why the face could make nothing of the request; it is then refused, and nothing counts
    nas: frozenset[str] = frozenset()  # what a RADIUS client says of itself (`Whom.nas`)
    packet: bytes = field(default=b"", repr=False)  # `packet_mark`; empty: it cannot come again, nothing is recorded
    asked: bool = False  # `passcode` answers a question that the face asked by itself: if it is wrong, another follows

    def whom(self, groups: Iterable[str] = ()) -> Whom:
        """Whose policies apply. `client` is a RADIUS client, or else only a name for the way in."""
        client = self.client if self.channel.face is Face.RADIUS else ""
        return Whom(frozenset(groups), client or None, self.service, self.source, self.nas)

    @property
    def wanted(self) -> Wanted:
        return Wanted(
            user=self.user or None,
            state=self.state,
            client=self.client,
            source=self.source,
            ticket=ticket_digest(self.ticket) if self.ticket is not None else None,
            packet=self.packet or None,
        )


@dataclass(frozen=True, slots=True)
class LookRequest:
    """A read-only question before the slow password check. `typed` is what the client sent."""

    user: str
    client: str
    mode: Mode
    typed: str = field(default="", repr=False)
    source: str | None = None
    ticket: str | None = field(default=None, repr=False)
    service: str | None = None  # PAM; `client` is then only a name for the way in
    nas: frozenset[str] = frozenset()
    packet: bytes = field(default=b"", repr=False)  # as in `LoginRequest`

    def whom(self, groups: Iterable[str] = ()) -> Whom:
        client = self.client if self.service is None else ""
        return Whom(frozenset(groups), client or None, self.service, self.source, self.nas)

    @property
    def wanted(self) -> Wanted:
        digest = ticket_digest(self.ticket) if self.ticket is not None else None
        packet = self.packet or None
        return Wanted(user=self.user or None, client=self.client, source=self.source, ticket=digest, packet=packet)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """An admin's order. `actor` goes into the audit trail."""

    actor: str

    @property
    def wanted(self) -> Wanted:
        raise TypeError(f"{type(self).__name__} does not say what it needs to see")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCommand(Command):
    name: str

    @property
    def wanted(self) -> Wanted:
        return Wanted(user=self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddUser(UserCommand):
    """Without `first_factor` policy says where the password is checked, unless one is given: then it is here."""

    first_factor: FirstFactorKind | None = None
    groups: tuple[str, ...] = ()
    password_hash: str | None = field(default=None, repr=False)
    replies: Replies = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUser(UserCommand):
    """Change what is not None. Of `replies` each attribute is set anew; one without values is taken away."""

    first_factor: FirstFactorKind | None = None
    by_policy: bool = False  # policy says from now on where the password is checked
    groups: tuple[str, ...] | None = None
    password_hash: str | None = field(default=None, repr=False)
    replies: Replies = field(default_factory=dict)


class UserAct(StrEnum):
    LOCK = "lock"
    UNLOCK = "unlock"
    DISABLE = "disable"
    ENABLE = "enable"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeUserState(UserCommand):
    act: UserAct


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveUser(UserCommand):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPairing(UserCommand):
    """Open pairing for a `pairing_window` from now, or close it."""

    open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveBypass(UserCommand):
    """A forgotten phone: the password alone is enough for so many hours; 0 ends it."""

    hours: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRecovery(UserCommand):
    """A fresh sheet of recovery codes; an older one stops working."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueTicket(UserCommand):
    """An enrolment ticket from an admin: it stands in for an open pairing window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollToken(Command):
    """Give a user a token. Without `key` a fresh one of 160 bits is made."""

    user: str
    kind: str = "totp"
    digits: int = 6
    period: int = 30
    algorithm: str = "sha1"
    label: str = ""
    serial: str | None = None
    key: bytes | None = field(default=None, repr=False)
    moving_factor: int = 0
    origin: Origin = Origin.SELF
    allow_short_key: bool = False
    public_id: str = ""  # Yubico OTP
    look_ahead: int | None = None  # HOTP; None: as the policy says

    @property
    def wanted(self) -> Wanted:
        key = canonical_key(self.key, self.algorithm) if self.key is not None else None
        return Wanted(user=self.user, serial=self.serial, key=key)


@dataclass(frozen=True, slots=True)
class NewToken:
    """One token of an import. `place` says where it stands in its file; `token.id` and `token.user_id` do not count."""

    place: str
    token: Token
    user: str = ""  # "": nobody's yet
    recovery_codes: tuple[str, ...] = field(default=(), repr=False)  # unused ones of eight digits

    @property
    def sheet_serial(self) -> str:
        """What the sheet of its recovery codes is called."""
        return f"{self.token.serial[:57]}-codes"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportTokens(Command):
    """Many tokens at once: all of them, or none; with `skip_bad` those that can be taken."""

    tokens: tuple[NewToken, ...]
    file: str
    skip_bad: bool = False
    allow_short_key: bool = False

    @property
    def wanted(self) -> Wanted:
        return Wanted(
            serials=tuple({serial for new in self.tokens for serial in _serials_of(new)}),
            keys=tuple({canonical_key(new.token.key, new.token.algorithm) for new in self.tokens}),
            users=tuple({new.user for new in self.tokens if new.user}),
        )


def _serials_of(new: NewToken) -> tuple[str, ...]:
    return (new.token.serial, new.sheet_serial) if new.recovery_codes else (new.token.serial,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTokens(Command):
    """Hand out the keys of tokens, for a file that is encrypted."""

    serials: tuple[str, ...]

    @property
    def wanted(self) -> Wanted:
        return Wanted(serials=self.serials)


@dataclass(frozen=True, slots=True, kw_only=True)
class TryPasscode(Command):
    """Whether a passcode is one that the token shows, for a helpdesk. It is not used up."""

    serial: str
    passcode: str = field(repr=False)

    @property
    def wanted(self) -> Wanted:
        return Wanted(serial=self.serial)


@dataclass(frozen=True, slots=True)
class NewUser:
    """One user of an import."""

    place: str
    name: str
    first_factor: FirstFactorKind | None = None
    groups: tuple[str, ...] = ()
    password_hash: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportUsers(Command):
    """Many users at once: all of them, or none."""

    users: tuple[NewUser, ...]
    file: str

    @property
    def wanted(self) -> Wanted:
        return Wanted(users=tuple({new.name for new in self.users}))


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignTokens(Command):
    """Give tokens out of the drawer to a user; None takes them back. All of them, or none."""

    serials: tuple[str, ...]
    user: str | None

    @property
    def wanted(self) -> Wanted:
        return Wanted(serials=self.serials, users=(self.user,) if self.user is not None else ())


@dataclass(frozen=True, slots=True)
class Pair:
    """One line of a list of tokens and who gets them."""

    place: str
    serial: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignList(Command):
    """Give tokens out of the drawer, each to its user. All of them, or none."""

    pairs: tuple[Pair, ...]

    @property
    def wanted(self) -> Wanted:
        return Wanted(
            serials=tuple({pair.serial for pair in self.pairs}), users=tuple({pair.user for pair in self.pairs})
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeToken(Command):
    """`own` names the user who revokes a registration of his; None is an admin."""

    serial: str
    reason: RevokeReason = RevokeReason.OTHER
    own: str | None = None

    @property
    def wanted(self) -> Wanted:
        return Wanted(serial=self.serial)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowKey(Command):
    """Show a user the key of an app of his once more, where policy `show_key` allows it."""

    serial: str
    own: str
    issuer: str

    @property
    def wanted(self) -> Wanted:
        return Wanted(serial=self.serial)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTokenUse(Command):
    """Disable a token for a while, or enable it again."""

    serial: str
    enabled: bool

    @property
    def wanted(self) -> Wanted:
        return Wanted(serial=self.serial)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResyncToken(Command):
    """Find a token again that has run away, by two values it showed one after the other (RFC 4226 7.4)."""

    serial: str
    first: str = field(repr=False)
    second: str = field(repr=False)

    @property
    def wanted(self) -> Wanted:
        return Wanted(serial=self.serial)


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseGuards(Command):
    """The store may have forgotten PINs that were used: let none of them work again.

    `ahead`: counters move on by so many logins; None: their tokens need a resynchronisation. `facts` go into the trail:
    what it was that took the store back.
    """

    event: str
    ahead: int | None = None
    keep_recovery: bool = False
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> Wanted:
        return Wanted(alone=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteBackup(Command):
    """Everything is about to leave the store, sealed as it is: written down before."""

    @property
    def wanted(self) -> Wanted:
        return Wanted()


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneAudit(Command):
    """The oldest rows of a chain of the audit trail go: those behind `after`, up to `start`, all from before `before`.

    `retold` are starts of other chains, of which one of those rows tells. `facts` go into the trail.
    """

    after: int
    start: TrailStart
    before: float
    retold: tuple[TrailStart, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> Wanted:
        return Wanted()


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeUserTokens(Command):
    """Revoke a user's only token, or with `every` all of them."""

    user: str
    every: bool = False
    reason: RevokeReason = RevokeReason.OTHER

    @property
    def wanted(self) -> Wanted:
        return Wanted(user=self.user)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCommand(Command):
    name: str

    @property
    def wanted(self) -> Wanted:
        return Wanted(client=self.name, all_clients=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddClient(ClientCommand):
    network: Network
    secret: bytes = field(repr=False)
    mode: Mode = Mode.CHALLENGE
    message_authenticator: MessageAuthenticatorRule = MessageAuthenticatorRule.REQUIRED
    status_server: bool = True
    always_challenge: bool = False
    encoding: Encoding = Encoding.UTF_8
    cut_at_nul: bool = False
    replies: Replies = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetClient(ClientCommand):
    """Change what is not None. Of `replies` each attribute is set anew; one without values is taken away."""

    network: Network | None = None
    secret: bytes | None = field(default=None, repr=False)
    overlap: float = 0.0  # seconds for which the old secret stays right beside a new one
    mode: Mode | None = None
    message_authenticator: MessageAuthenticatorRule | None = None
    status_server: bool | None = None
    always_challenge: bool | None = None
    encoding: Encoding | None = None
    cut_at_nul: bool | None = None
    replies: Replies = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveClient(ClientCommand):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberSigner(ClientCommand):
    """An `auto` client has signed a request from `address`: from now on it must always sign from there."""

    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopedCommand(Command):
    """A command about a policy rule or a text; its client must exist."""

    scope: Scope

    @property
    def wanted(self) -> Wanted:
        return Wanted(client=self.scope.client)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRule(ScopedCommand):
    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsetRule(ScopedCommand):
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReplies(ScopedCommand):
    """Set each of these RADIUS attributes anew for a group, a client, both or everybody; one without values is taken
    away."""

    replies: Replies


@dataclass(frozen=True, slots=True, kw_only=True)
class SetText(ScopedCommand):
    """Set a text for a language, "" for all; an empty text brings the default back."""

    key: str
    language: str
    text: str
