"""Request -> LoginRequest, decision -> reply. Translation only: nothing here decides.

Rules: what cannot be read as a PAP login with one name and one password is handed to the gate as `unsupported`, which
refuses it and writes it down. A reply names no reason; every refusal has the same text.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address

from radius_server.attributes import MICROSOFT, MS_CHAP2_RESPONSE, MS_CHAP_RESPONSE, Attribute, Code
from radius_server.packet import MAX_VALUE, BadPassword, Packet, unhide
from validation.decisions import Accept, Challenge, Decision, Look, Reject
from validation.messages import without_controls
from validation.model import Client, Mode
from validation.names import EXACT, Spelling
from validation.requests import (
    NOT_CHECKED,
    Channel,
    FirstFactorResult,
    LoginRequest,
    LookRequest,
    typed_alone,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a person typed, as the client handed it over. `unsupported` says why nothing can be made of it."""

    user: str
    typed: str = field(default="", repr=False)  # the decoded User-Password
    state: str | None = field(default=None, repr=False)
    source: str | None = None
    unsupported: str = ""
    eap_identifier: int | None = None

    @property
    def needs_password_check(self) -> bool:
        return self.state is None and not self.unsupported


class _Unsupported(Exception):
    """A phrase for the log and the audit trail."""


def read(packet: Packet, client: Client, signed: bool, names: Spelling = EXACT) -> Entry:
    """Read a well-formed Access-Request. Never raises for what a client sends."""
    user, eap = "", _eap_identifier(packet)
    try:
        user = _user(packet, names)
        state = _state(packet)
        _check_nas_address(packet)
        source = _source(packet) if signed else None
        return Entry(user, _password(packet, client.secret, state is not None), state, source, "", eap)
    except _Unsupported as why:
        return Entry(user, unsupported=str(why), eap_identifier=eap)


def _user(packet: Packet, names: Spelling) -> str:
    """The canonical spelling. What cannot be a name stays as it came: it is nobody, and refused like nobody."""
    found = packet.values(Attribute.USER_NAME)
    if not found:
        raise _Unsupported("no User-Name")
    if len(found) > 1:  # RFC 2865 5.44
        raise _Unsupported("more than one User-Name")
    text = _text(found[0], "User-Name")
    return names.canonical(text) or text


def _state(packet: Packet) -> str | None:
    states = packet.values(Attribute.STATE)
    if len(states) > 1:  # RFC 2865 5.24
        raise _Unsupported("more than one State")
    # A State that is not ours need not be text; any spelling that no challenge has will do.
    return states[0].decode("utf-8", "backslashreplace") if states else None


def _check_nas_address(packet: Packet) -> None:
    if len(packet.values(Attribute.NAS_IP_ADDRESS)) > 1:  # RFC 2865 5.44
        raise _Unsupported("more than one NAS-IP-Address")


def _source(packet: Packet) -> str | None:
    """The address in Calling-Station-Id, of a signed request only: anybody can write one.

    Some clients add the port (`192.0.2.2[4500]`). What is no address (a MAC, a telephone number) is no source.
    """
    values = packet.values(Attribute.CALLING_STATION_ID)
    if not values:
        return None
    text = values[0].decode("ascii", "replace").partition("[")[0].strip()
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def _password(packet: Packet, secret: bytes, answers: bool) -> str:
    """What was typed. Only the answer to a challenge may be empty: that is how one goes on to the next page."""
    if method := _other_method(packet):
        raise _Unsupported(f"{method}, only PAP is supported")
    # Looked for with its empty form: a User-Password of no octets is a wrong length, not an absent one.
    hidden = [value for kind, _, value in packet.attributes if kind == Attribute.USER_PASSWORD]
    if not hidden:
        if answers:
            return ""
        raise _Unsupported("no User-Password")
    if len(hidden) > 1:
        raise _Unsupported("more than one User-Password")
    try:
        clear = unhide(hidden[0], secret, packet.authenticator)
    except BadPassword as error:
        raise _Unsupported(error.reason) from None
    if not clear and not answers:
        raise _Unsupported("an empty password")
    if b"\0" in clear:
        raise _Unsupported("the password holds a NUL octet, or the shared secret is wrong")
    return _text(clear, "User-Password")


def _other_method(packet: Packet) -> str | None:
    """A way of proving a password that we cannot check against a PIN (RFC 2865 4.1: not together with PAP either)."""
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


def _eap_identifier(packet: Packet) -> int | None:
    messages = packet.values(Attribute.EAP_MESSAGE)
    return messages[0][1] if messages and len(messages[0]) >= 2 else None


def _text(octets: bytes, what: str) -> str:
    """Strict UTF-8: a wrong shared secret or another character set is told apart from a wrong password."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise _Unsupported(f"{what} is not UTF-8, or the shared secret is wrong") from None


# --- to the engine ----------------------------------------------------------------------------------------------


def look_request(entry: Entry, client: Client) -> LookRequest:
    return LookRequest(entry.user, client.name, client.mode, entry.typed, entry.source)


def password_of(entry: Entry, client: Client, look: Look) -> str:
    """The part of the field to check as a password."""
    if client.mode is Mode.APPEND:
        return look.split.password if look.split is not None else ""
    return entry.typed


def login_request(
    entry: Entry, client: Client, request_id: str, look: Look | None = None, result: FirstFactorResult = NOT_CHECKED
) -> LoginRequest:
    return LoginRequest(
        user=entry.user,
        channel=Channel.for_mode(client.mode),
        client=client.name,
        client_version=client.version,
        first_factor=result,
        passcode=_passcode(entry, client, look),
        state=entry.state,
        source=entry.source,
        request_id=request_id,
        unsupported=entry.unsupported,
    )


def _passcode(entry: Entry, client: Client, look: Look | None) -> str | None:
    if entry.unsupported:
        return None
    if entry.state is not None or client.mode is Mode.PASSCODE_ONLY:
        return typed_alone(entry.typed)
    if client.mode is Mode.APPEND and look is not None and look.split is not None:
        return look.split.passcode
    return None


# --- from the engine --------------------------------------------------------------------------------------------


def reply_to(decision: Decision, entry: Entry) -> tuple[Code, list[tuple[int, bytes]]]:
    """The reply code and attributes that tell `decision` to the client."""
    match decision:
        case Accept():
            return Code.ACCESS_ACCEPT, list(_reply_messages(decision.texts))
        case Challenge():
            # Reply-Message first: pam_radius and ocserv fail without one. Exactly one State (RFC 2865 5.44).
            attributes = list(_reply_messages(decision.texts))
            return Code.ACCESS_CHALLENGE, [*attributes, (Attribute.STATE, decision.state.encode())]
        case Reject():
            failure = _eap_failure(entry)
            return Code.ACCESS_REJECT, [*_reply_messages([decision.text]), *failure]


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
