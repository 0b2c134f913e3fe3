"""Request -> LoginRequest, decision -> reply. Translation only: nothing here decides.

Rules: what cannot be read as a PAP login with one name and one password is handed to the gate as `unsupported`, which
refuses it and writes it down. A reply names no reason; every refusal has the same text. Where requests need no
signature, a password that nobody can have typed is told apart from a wrong one: it speaks of another shared secret.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from radius_server.attributes import (
    AUTHORIZE_ONLY,
    MICROSOFT,
    MS_CHAP2_RESPONSE,
    MS_CHAP_RESPONSE,
    Attribute,
    Code,
    Prompt,
)
from radius_server.clients import Signature, source_address
from radius_server.fields import Unsupported, decode, take_apart
from radius_server.packet import MAX_VALUE, BadPassword, Packet, unhide
from validation.decisions import Accept, Challenge, Decision, Look, Reason, Reject
from validation.messages import without_controls
from validation.model import Client, Mode
from validation.names import EXACT, Spelling
from validation.requests import (
    NOT_CHECKED,
    Channel,
    FirstFactorResult,
    LoginRequest,
    LookRequest,
    packet_mark,
    typed_alone,
)
from validation.settings import NAS_ATTRIBUTES

KEPT = 4096  # values that come again and again, with what was made of them


@dataclass(slots=True)
class Entry:
    """What a person typed, as the client handed it over. `unsupported` says why nothing can be made of it. Filled by
    `read`; afterwards nobody changes it."""

    user: str
    typed: str = field(
        default="", repr=False
    )  # the decoded User-Password, or the password alone where a PIN came apart
    state: str | None = field(default=None, repr=False)
    source: str | None = None
    unsupported: str = ""
    eap_identifier: int | None = None
    passcode: str | None = field(default=None, repr=False)  # the PIN that came apart
    nas: frozenset[str] = frozenset()  # what the client says of itself (`Whom.nas`)
    nas_shown: str = ""  # the same, for the log
    secret: bytes = field(default=b"", repr=False)  # the one it was written under: that of its client, or the old one
    named: str = ""  # the user, as the client wrote it

    @property
    def needs_password_check(self) -> bool:
        """The first step of a login, with something to check; nothing asks about an empty password (RFC 4513 5.1.2)."""
        return self.state is None and not self.unsupported and bool(self.typed)


def read(packet: Packet, client: Client, signature: Signature, names: Spelling = EXACT) -> Entry:
    """Read a well-formed Access-Request. Never raises for what a client sends."""
    nas = _nas(packet)
    entry = Entry("", nas=nas.said, nas_shown=nas.shown, eap_identifier=_eap_identifier(packet))
    entry.secret = signature.secret
    try:
        entry.named = _named(packet)
        # What cannot be a name stays as it came: it is nobody, and refused like nobody.
        entry.user = names.canonical(entry.named) or entry.named
        state = _state(packet)
        _check_nas_address(packet)
        _check_service(packet, state)
        clear, secret = _password(packet, client, signature, state is not None)
        typed = take_apart(clear, state, client.mode)
    except Unsupported as why:
        entry.unsupported = str(why)
        return entry
    entry.typed, entry.state, entry.passcode = typed.text, typed.state, typed.passcode
    entry.source = _source(packet) if signature.signed else None
    entry.secret = secret
    return entry


def _named(packet: Packet) -> str:
    found = packet.values(Attribute.USER_NAME)
    if not found:
        raise Unsupported("no User-Name")
    if len(found) > 1:  # RFC 2865 5.44
        raise Unsupported("more than one User-Name")
    return _text(found[0], "User-Name")


def _state(packet: Packet) -> str | None:
    states = packet.values(Attribute.STATE)
    if len(states) > 1:  # RFC 2865 5.24
        raise Unsupported("more than one State")
    # A State that is not ours need not be text; any spelling that no challenge has will do.
    return states[0].decode("utf-8", "backslashreplace") if states else None


def _check_nas_address(packet: Packet) -> None:
    if len(packet.values(Attribute.NAS_IP_ADDRESS)) > 1:  # RFC 2865 5.44
        raise Unsupported("more than one NAS-IP-Address")


def _source(packet: Packet) -> str | None:
    """The address in Calling-Station-Id, of a signed request only: anybody can write one.

    Some clients add the port (`192.0.2.2[4500]`), and some write an IPv4 address as it comes to a socket for both
    families (`::ffff:192.0.2.2`). What is no address (a MAC, a telephone number) is no source.
    """
    values = packet.values(Attribute.CALLING_STATION_ID)
    return _address(values[0]) if values else None


@lru_cache(maxsize=KEPT)
def _address(station: bytes) -> str | None:
    text = station.decode("ascii", "replace").partition("[")[0].strip()
    try:
        return str(source_address(text))
    except ValueError:
        return None


def _password(packet: Packet, client: Client, signature: Signature, answers: bool) -> tuple[str, bytes]:
    """What was typed, and the secret it was hidden with. Only the answer to a challenge may be empty, which is how one
    goes on to the next page, and what a client sends that has checked the password itself."""
    if method := _other_method(packet):
        raise Unsupported(f"{method}, only PAP is supported")
    may_be_empty = answers or (client.mode is Mode.PASSCODE_ONLY and client.always_challenge)
    # Looked for with its empty form: a User-Password of no octets is a wrong length, not an absent one.
    hidden = [value for kind, _, value in packet.attributes if kind == _PASSWORD_TYPE]
    if not hidden:
        if may_be_empty:
            return "", signature.secret
        raise Unsupported("no User-Password")
    if len(hidden) > 1:
        raise Unsupported("more than one User-Password")
    clear, secret = _unhidden(packet, hidden[0], client, signature)
    if not clear and not may_be_empty:
        raise Unsupported("an empty password")
    return clear, secret


def _unhidden(packet: Packet, hidden: bytes, client: Client, signature: Signature) -> tuple[str, bytes]:
    """Under the secret that the request is signed with; without a signature, under that which gives a text."""
    why: Unsupported | None = None
    for secret in signature.possible:
        try:
            return decode(unhide(hidden, secret, packet.authenticator), client, signature.signed), secret
        except BadPassword as error:
            why = why or Unsupported(error.reason)
        except Unsupported as error:
            why = why or error
    raise why or Unsupported("no shared secret")


def _other_method(packet: Packet) -> str | None:
    """A way of proving a password that we cannot check against a PIN (RFC 2865 4.1: not together with PAP either)."""
    if not packet.has_any(_OTHER_METHODS):
        return None
    if packet.values(Attribute.EAP_MESSAGE):
        return "EAP"
    if packet.values(Attribute.CHAP_PASSWORD):
        return "CHAP"
    if packet.values(Attribute.ARAP_PASSWORD):
        return "ARAP"
    microsoft = packet.vendor_types(MICROSOFT)
    if MS_CHAP2_RESPONSE in microsoft:
        return "MS-CHAPv2"
    return "MS-CHAP" if MS_CHAP_RESPONSE in microsoft else None


_PASSWORD_TYPE = int(Attribute.USER_PASSWORD)  # compared with the type of each attribute
_OTHER_METHODS: frozenset[int] = frozenset(
    {Attribute.EAP_MESSAGE, Attribute.CHAP_PASSWORD, Attribute.ARAP_PASSWORD, Attribute.VENDOR_SPECIFIC}
)


def _eap_identifier(packet: Packet) -> int | None:
    messages = packet.values(Attribute.EAP_MESSAGE)
    return messages[0][1] if messages and len(messages[0]) >= 2 else None


def _text(octets: bytes, what: str) -> str:
    """Strict UTF-8 (RFC 2865 5)."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Unsupported(f"{what} is not UTF-8") from None


def _check_service(packet: Packet, state: str | None) -> None:
    """Authorize-Only asks for what may be done after a login, and names no password (RFC 5080 2.1.1)."""
    if state is None and AUTHORIZE_ONLY in packet.values(Attribute.SERVICE_TYPE):
        raise Unsupported("Service-Type Authorize-Only without State")


class _Nas(NamedTuple):
    """What the client says of itself."""

    said: frozenset[str]  # as rules may be bound to it (`Whom.nas`)
    shown: str  # for the log


def _nas(packet: Packet) -> _Nas:
    return _nas_of(tuple([b"".join(packet.values(kind)[:1]) for kind in _NAS_TYPES]))


@lru_cache(maxsize=KEPT)  # a client says the same each time
def _nas_of(values: tuple[bytes, ...]) -> _Nas:
    """`values` in the order of `_NAS_TYPES`, empty where there is none."""
    said = {name: _said(kind, value) for (kind, name), value in zip(_NAS_TYPES.items(), values, strict=True)}
    # What is missing is said so, since rules may be bound to that.
    return _Nas(
        frozenset([f"{name}={said[name]}" for name in NAS_ATTRIBUTES]),
        said["NAS-Identifier"] or said["NAS-IP-Address"],
    )


def _said(kind: Attribute, value: bytes) -> str:
    if kind is Attribute.NAS_IP_ADDRESS:  # one of another size counts as absent (RFC 6929 2.8)
        return str(ip_address(value)) if len(value) == 4 else ""
    return without_controls(value.decode("utf-8", "replace"))


_NAS_TYPES = {
    Attribute.NAS_IDENTIFIER: "NAS-Identifier",
    Attribute.NAS_IP_ADDRESS: "NAS-IP-Address",
    Attribute.CALLED_STATION_ID: "Called-Station-Id",
}


# --- to the engine ----------------------------------------------------------------------------------------------


def look_request(entry: Entry, client: Client, packet: bytes = b"") -> LookRequest:
    return LookRequest(
        entry.user, client.name, client.mode, entry.typed, entry.source, nas=entry.nas, packet=_mark(client, packet)
    )


def _mark(client: Client, packet: bytes) -> bytes:
    return packet_mark(client, packet) if packet else b""


def password_of(entry: Entry, client: Client, look: Look) -> str:
    """The part of the field to check as a password."""
    if look.split is not None:
        return look.split.password
    return "" if client.mode in (Mode.APPEND, Mode.PREPEND) else entry.typed


def login_request(
    entry: Entry,
    client: Client,
    request_id: str,
    look: Look | None = None,
    result: FirstFactorResult = NOT_CHECKED,
    packet: bytes = b"",
) -> LoginRequest:
    """`packet` is the digest of its octets; empty: it does not come from a gateway, and cannot come again."""
    return LoginRequest(
        user=entry.user,
        channel=Channel.of_client(client),
        client=client.name,
        client_version=client.version,
        first_factor=result,
        passcode=_passcode(entry, client, look),
        state=entry.state,
        source=entry.source,
        request_id=request_id,
        unsupported=entry.unsupported,
        nas=entry.nas,
        packet=_mark(client, packet),
    )


def _passcode(entry: Entry, client: Client, look: Look | None) -> str | None:
    if entry.unsupported:
        return None
    if entry.passcode is not None:
        return typed_alone(entry.passcode)
    if entry.state is not None or client.mode is Mode.PASSCODE_ONLY:
        return typed_alone(entry.typed)
    return look.split.passcode if look is not None and look.split is not None else None


# --- from the engine --------------------------------------------------------------------------------------------


def reply_to(decision: Decision, entry: Entry) -> tuple[Code, list[tuple[int, bytes]]]:
    """The reply code and attributes that tell `decision` to the client."""
    match decision:
        case Accept():
            attributes = [*_reply_messages(decision.texts), *_user_name(decision.user, entry)]
            return Code.ACCESS_ACCEPT, [*attributes, *decision.replies]
        case Challenge():
            # Reply-Message first: pam_radius and ocserv fail without one. Exactly one State (RFC 2865 5.44).
            attributes = list(_reply_messages(decision.texts))
            prompt = Prompt.ECHO if decision.reason is Reason.ONBOARDING else Prompt.NO_ECHO
            answer = (Attribute.STATE, decision.state.encode()), (Attribute.PROMPT, prompt.to_bytes(4, "big"))
            return Code.ACCESS_CHALLENGE, [*attributes, *answer]
        case Reject():
            failure = _eap_failure(entry)
            return Code.ACCESS_REJECT, [*_reply_messages([decision.text]), *failure]


def _user_name(user: str, entry: Entry) -> list[tuple[int, bytes]]:
    """Whom we know him as, where the client wrote him otherwise: it should go on with ours (RFC 2865 5.1)."""
    return [(Attribute.USER_NAME, user.encode())] if entry.named not in ("", user) else []


def _eap_failure(entry: Entry) -> list[tuple[int, bytes]]:
    """A Reject of an EAP request carries EAP-Failure (RFC 3579 2.2)."""
    if entry.eap_identifier is None:
        return []
    return [(Attribute.EAP_MESSAGE, bytes([4, entry.eap_identifier, 0, 4]))]


def _reply_messages(texts: Iterable[str]) -> Iterator[tuple[int, bytes]]:
    """Each text in attributes of its own; line breaks begin a new one."""
    for text in texts:
        for line in text.split("\n"):
            for chunk in chunks(without_controls(line)):
                yield Attribute.REPLY_MESSAGE, chunk


def chunks(text: str, most: int = MAX_VALUE) -> Iterator[bytes]:
    """UTF-8 pieces of at most `most` octets, cut between characters, in order (RFC 2865 5.18, R-073)."""
    piece = bytearray()
    for char in text:
        octets = char.encode()
        if len(piece) + len(octets) > most:
            yield bytes(piece)
            piece.clear()
        piece += octets
    if piece:
        yield bytes(piece)
