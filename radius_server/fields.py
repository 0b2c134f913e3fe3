"""What a person typed into one field, taken out of the octets that came.

Rules: UTF-8 strictly, or what the client is set to; nothing is guessed. Octets that nobody can have typed, in a request
without a signature, speak of another shared secret and not of a wrong password: they are refused, and count nothing.

OpenVPN puts two things into the field (its management-notes): `SCRV1:base64:base64` is password and PIN of a static
challenge; `CRV1::state::answer` answers a dynamic one. They are taken apart for clients in `Mode.OPENVPN`, and named in
the log for others.
"""

import base64
import binascii
from typing import NamedTuple

from validation.model import Client, Encoding, Mode

_STATIC, _DYNAMIC = "SCRV1:", "CRV1::"


class Unsupported(Exception):
    """A phrase for the log and the audit trail."""


def decode(octets: bytes, client: Client, signed: bool) -> str:
    """The text of a password. Raises Unsupported."""
    doubt = "" if signed else ", or the shared secrets differ"
    if b"\0" in octets and not client.cut_at_nul:
        raise Unsupported(f"the password holds a NUL octet{doubt}")
    text = _decoded(octets.partition(b"\0")[0], client.encoding, doubt)
    if not signed and not text.isprintable():
        raise Unsupported("the shared secrets differ: nobody can type such a password")
    return text


def _decoded(octets: bytes, encoding: Encoding, doubt: str) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        if encoding is Encoding.LATIN_1:
            return octets.decode("latin-1")
        raise Unsupported(f"the password is not UTF-8 (--encoding latin-1 takes ISO 8859-1){doubt}") from None


class Typed(NamedTuple):
    """What came out of the field: a password, or all that was typed, the State that it answers, and a PIN."""

    text: str
    state: str | None
    passcode: str | None = None


def take_apart(text: str, state: str | None, mode: Mode) -> Typed:
    """`state` is that of the State attribute. Raises Unsupported."""
    if mode is Mode.OPENVPN and text.startswith(_DYNAMIC):
        return _dynamic(text, state)
    if state is not None or not text.startswith(_STATIC):
        return Typed(text, state)
    if mode is not Mode.OPENVPN:
        raise Unsupported("SCRV1, OpenVPN's static challenge; --mode openvpn takes it")
    return _static(text)


def _static(text: str) -> Typed:
    """An empty PIN is none: it is then asked for."""
    parts = text.split(":")
    if len(parts) != 3:
        raise Unsupported(f"SCRV1 with {len(parts) - 1} parts, not 2")
    password, pin = _base64(parts[1]), _base64(parts[2])
    if not password:
        raise Unsupported("SCRV1 with an empty password")
    return Typed(password, None, pin or None)


def _base64(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise Unsupported("SCRV1 that is no Base64 of UTF-8") from None


def _dynamic(text: str, sent: str | None) -> Typed:
    state, sign, answer = text.removeprefix(_DYNAMIC).partition("::")
    if not sign or not state or sent not in (None, state):
        raise Unsupported("CRV1 without its State, or with another one")
    return Typed(answer, state)
