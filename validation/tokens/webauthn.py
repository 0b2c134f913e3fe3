"""FIDO2 security keys: WebAuthn credentials, looked at with the server half of python-fido2.

Rules: a ceremony is begun and completed; between the two, nothing is remembered here: the challenge is made from the
State, and whom, where and what for it is (`challenge`), so what was signed for one login fits no other. Checked in
the signed data: purpose, origin, challenge, RP id, user presence, user verification where it is asked for, backup
flags, signature, sign count (WebAuthn 7.1, 7.2). Algorithms come from a fixed list. The moving factor is the sign
count; a key that does not count stays at 0 for ever. What a key says may be anything: whatever goes wrong with it is
a `Flaw`, and nothing raises.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING

from validation.decisions import AskKey, AskNewKey
from validation.errors import BadInput, Damaged
from validation.model import Site, Token
from validation.requests import Assertion, NewCredential
from validation.tokens import attestation, cbor
from validation.tokens.kind import NOTHING, Comparison, Match, Window

if TYPE_CHECKING:
    from fido2.cose import CoseKey
    from fido2.server import Fido2Server
    from fido2.webauthn import AttestedCredentialData, AuthenticatorData

# COSE numbers, the preferred first: ES256, EdDSA (Ed25519), ES384, ES512, Ed448, RS256.
ALGORITHMS = (-7, -8, -35, -36, -53, -257)
_ALGORITHM_NAMES = dict(zip(ALGORITHMS, ("es256", "eddsa", "es384", "es512", "ed448", "rs256"), strict=True))

HANDLE_OCTETS = 16
CREDENTIAL_ID_MOST = 1023  # octets, WebAuthn 4 "Credential ID"
_CLIENT_DATA_MOST = 4096
_AUTHENTICATOR_DATA_MOST = 4096
_ATTESTATION_MOST = 32_768  # with certificates
_SIGNATURE_MOST = 1024
_RSA_BITS = range(2048, 4097)
_FIXED = 37  # octets: RP id hash, flags, sign count (WebAuthn 6.1)
_UP, _UV, _BE, _BS, _AT, _ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80


class Webauthn:
    """No passcode is ever a security key's."""

    name = "webauthn"
    is_registration = True

    def check(self, token: Token) -> None:
        """Raises BadInput: a security key is registered by touching it."""
        try:
            Credential.unpack(token.key)
        except Damaged:
            raise BadInput("kind: a security key is registered at a console: twofold profile device add") from None

    def lengths(self, token: Token) -> tuple[int, ...]:
        return ()

    def compare(self, token: Token, passcode: str, now: float, window: Window) -> Comparison:
        return NOTHING

    def resync(self, token: Token, first: str, second: str, now: float, window: Window) -> Match | None:
        raise BadInput("a security key shows no values; it cannot run away")

    def uri(self, token: Token, account: str, issuer: str) -> str:
        raise BadInput("a security key cannot be scanned; its key never leaves it")


# --- the stored credential --------------------------------------------------------------------------------------

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Credential:
    """What is kept of a security key: sealed like every token key, though only its ids are worth hiding."""

    handle: bytes = field(repr=False)  # the user, as the key knows him; random
    data: bytes = field(repr=False)  # attested credential data: AAGUID, credential id, public key (WebAuthn 6.5.1)
    backup_eligible: bool = False

    def pack(self) -> bytes:
        return bytes([_VERSION, self.backup_eligible]) + self.handle + self.data

    @classmethod
    def unpack(cls, record: bytes) -> "Credential":
        """Raises Damaged for anything but a whole record."""
        handle, data = record[2 : 2 + HANDLE_OCTETS], record[2 + HANDLE_OCTETS :]
        try:
            if record[0] != _VERSION or record[1] not in (0, 1):
                raise ValueError("not a record of this version")
            _attested(data)
        except Exception:  # whatever its reader says of it, it is not what was written
            raise Damaged("the record of a security key is damaged; revoke it and register the key again") from None
        return cls(handle, data, bool(record[1]))

    @property
    def id(self) -> bytes:
        return _attested(self.data).credential_id


def credential_id(token: Token) -> bytes:
    """Raises Damaged."""
    return Credential.unpack(token.key).id


# --- ceremonies -------------------------------------------------------------------------------------------------


class Flaw(Enum):
    """Why a security key's answer is refused."""

    UNREADABLE = "unreadable"
    FOREIGN = "not this user's key"
    UNSIGNED = "signature, origin, purpose or challenge do not fit"
    UNVERIFIED = "the user was not verified"
    BACKUP = "backup flags that contradict themselves or the registration"
    UNTRUSTED = "not of an allowed model"
    ALGORITHM = "an algorithm that is not allowed"
    KNOWN = "registered already"


@dataclass(frozen=True, slots=True)
class Used:
    """The assertion is right. `sign_count` becomes the token's moving factor, unless it `went_back` (or stood still,
    though not at 0): then a copy of the key may exist (WebAuthn 6.1.1)."""

    token: Token
    sign_count: int
    went_back: bool


@dataclass(frozen=True, slots=True)
class Made:
    """The new credential is right."""

    credential: Credential
    sign_count: int
    algorithm: str


def challenge(*bound_to: str) -> bytes:
    """32 octets that only this State, user, place and purpose make (W-001, W-013). A State has 128 random bits."""
    return hashlib.sha256("\0".join(("twofold webauthn 1", *bound_to)).encode("utf-8", "surrogatepass")).digest()


def handle_for(state: str) -> bytes:
    """A user handle that says nothing of the user (WebAuthn 14.6.1), another one for each registration."""
    return hashlib.sha256(f"twofold user handle\0{state}".encode()).digest()[:HANDLE_OCTETS]


def ask(site: Site, tokens: Iterable[Token], signed: bytes, verify_user: bool, or_passcode: bool) -> AskKey:
    """Begin an authentication. Raises Damaged."""
    ids = tuple(credential_id(token) for token in tokens)
    return AskKey(site.rp_id, site.origin, signed, ids, verify_user, or_passcode)


def ask_new(
    site: Site, user_name: str, handle: bytes, tokens: Iterable[Token], signed: bytes, verify_user: bool
) -> AskNewKey:
    """Begin a registration. Raises Damaged."""
    return AskNewKey(
        site.rp_id,
        site.issuer,
        site.origin,
        signed,
        handle,
        user_name,
        tuple(credential_id(token) for token in tokens),
        ALGORITHMS,
        verify_user,
        attestation=bool(site.aaguids),
    )


def check_assertion(
    site: Site, tokens: Iterable[Token], answer: Assertion, signed: bytes, verify_user: bool
) -> Used | Flaw:
    """Complete an authentication (WebAuthn 7.2). Raises Damaged if a stored credential is."""
    held = {credential_id(token): token for token in tokens}
    token = held.get(answer.credential_id)
    if token is None:
        return Flaw.FOREIGN
    credential = Credential.unpack(token.key)
    if answer.user_handle is not None and not hmac.compare_digest(answer.user_handle, credential.handle):
        return Flaw.FOREIGN
    try:
        data = _verified(site, credential, answer, signed)
    except Exception:
        return Flaw.UNSIGNED
    return _judged(token, credential, data, verify_user)


def _judged(token: Token, credential: Credential, data: "AuthenticatorData", verify_user: bool) -> Used | Flaw:
    """What the signed flags and the sign count say."""
    if verify_user and not data.flags & _UV:
        return Flaw.UNVERIFIED
    if _contradicts_itself(data.flags) or bool(data.flags & _BE) != credential.backup_eligible:
        return Flaw.BACKUP
    counts = data.counter > 0 or token.moving_factor > 0
    return Used(token, data.counter, went_back=counts and data.counter <= token.moving_factor)


def _verified(site: Site, credential: Credential, answer: Assertion, signed: bytes) -> "AuthenticatorData":
    """Type, origin, challenge, RP id, user presence and signature. Raises whatever python-fido2 does."""
    from fido2.webauthn import (
        AuthenticationResponse,
        AuthenticatorAssertionResponse,
        AuthenticatorData,
        CollectedClientData,
    )

    _within(answer.client_data, _CLIENT_DATA_MOST)
    _within(answer.signature, _SIGNATURE_MOST)
    _check_authenticator_data(answer.authenticator_data)
    response = AuthenticatorAssertionResponse(
        client_data=CollectedClientData(answer.client_data),
        authenticator_data=AuthenticatorData(answer.authenticator_data),
        signature=answer.signature,
        user_handle=answer.user_handle,
    )
    whole = AuthenticationResponse(raw_id=answer.credential_id, response=response)
    _server(site).authenticate_complete(_state(signed), [_attested(credential.data)], whole)
    return response.authenticator_data


def check_new(
    site: Site, handle: bytes, tokens: Iterable[Token], answer: NewCredential, signed: bytes, verify_user: bool
) -> Made | Flaw:
    """Complete a registration (WebAuthn 7.1)."""
    known = {credential_id(token) for token in tokens}
    try:
        data = _registered(site, answer, signed)
        made = data.credential_data
        if made is None:
            return Flaw.UNREADABLE
        attested = _attested(bytes(made))
    except attestation.NotTrusted:
        return Flaw.UNTRUSTED
    except UnknownAlgorithm:
        return Flaw.ALGORITHM
    except Exception:
        return Flaw.UNSIGNED
    if verify_user and not data.flags & _UV:
        return Flaw.UNVERIFIED
    if _contradicts_itself(data.flags):
        return Flaw.BACKUP
    if attested.credential_id in known:
        return Flaw.KNOWN
    credential = Credential(handle, bytes(attested), bool(data.flags & _BE))
    return Made(credential, data.counter, _ALGORITHM_NAMES[attested.public_key[3]])


def _registered(site: Site, answer: NewCredential, signed: bytes) -> "AuthenticatorData":
    """Type, origin, challenge, RP id, user presence, attestation. Raises NotTrusted, or whatever python-fido2 does."""
    from fido2.webauthn import (
        AttestationObject,
        AuthenticatorAttestationResponse,
        CollectedClientData,
        RegistrationResponse,
    )

    _within(answer.client_data, _CLIENT_DATA_MOST)
    _within(answer.attestation_object, _ATTESTATION_MOST)
    cbor.check_whole(answer.attestation_object)
    made = AttestationObject(answer.attestation_object)
    _check_authenticator_data(bytes(made.auth_data))
    if made.auth_data.credential_data is None:
        raise ValueError("no credential")
    response = AuthenticatorAttestationResponse(
        client_data=CollectedClientData(answer.client_data), attestation_object=made
    )
    whole = RegistrationResponse(raw_id=made.auth_data.credential_data.credential_id, response=response)
    return _server(site).register_complete(_state(signed), whole)


@lru_cache(maxsize=4)  # it keeps nothing of a ceremony, and making it costs more than a signature
def _server(site: Site) -> "Fido2Server":
    from fido2.server import Fido2Server
    from fido2.webauthn import AttestationConveyancePreference, PublicKeyCredentialRpEntity

    return Fido2Server(
        PublicKeyCredentialRpEntity(id=site.rp_id, name=site.issuer),
        attestation=AttestationConveyancePreference.DIRECT if site.aaguids else AttestationConveyancePreference.NONE,
        verify_origin=lambda origin: origin == site.origin,  # exact: no suffix is a match (W-012)
        verify_attestation=lambda made, hashed: attestation.check(site, made, hashed),
    )


def _state(signed: bytes) -> dict[str, object]:
    """What python-fido2 would have us keep between begin and complete. User verification is looked at by us, in the
    signed flags, so that its absence has a name of its own."""
    from fido2.utils import websafe_encode

    return {"challenge": websafe_encode(signed), "user_verification": None}


# --- octets -----------------------------------------------------------------------------------------------------


class UnknownAlgorithm(ValueError):
    """A public key of an algorithm that is not on the list."""


def _contradicts_itself(flags: int) -> bool:
    """Backed up, but not eligible for backup (WebAuthn 6.1.3)."""
    return bool(flags & _BS) and not flags & _BE


def _within(octets: bytes, most: int) -> None:
    if len(octets) > most:
        raise ValueError(f"{len(octets)} octets; {most} are possible")


def _check_authenticator_data(octets: bytes) -> None:
    """Whole, nothing after it, and CBOR that can be read safely (WebAuthn 6.1). Raises ValueError."""
    _within(octets, _AUTHENTICATOR_DATA_MOST)
    if len(octets) < _FIXED:
        raise ValueError("authenticator data is cut")
    at, flags = _FIXED, octets[32]
    if flags & _AT:
        at = _end_of_attested(octets, at)
    if flags & _ED:
        at = cbor.end_of_item(octets, at)
    if at != len(octets):
        raise ValueError("something follows the authenticator data")


def _end_of_attested(octets: bytes, at: int) -> int:
    """AAGUID 16, length 2, credential id, public key in CBOR (WebAuthn 6.5.1)."""
    if len(octets) < at + 18:
        raise ValueError("attested credential data is cut")
    length = int.from_bytes(octets[at + 16 : at + 18], "big")
    if not 0 < length <= CREDENTIAL_ID_MOST or len(octets) < at + 18 + length:
        raise ValueError("a credential id that cannot be")
    return cbor.end_of_item(octets, at + 18 + length)


def _attested(octets: bytes) -> "AttestedCredentialData":
    """Whole, in canonical form, with a public key that is one. Raises ValueError and others."""
    from fido2.webauthn import AttestedCredentialData

    if _end_of_attested(octets, 0) != len(octets):
        raise ValueError("something follows the attested credential data")
    data = AttestedCredentialData(octets)
    if bytes(AttestedCredentialData.create(data.aaguid, data.credential_id, data.public_key)) != octets:
        raise ValueError("not in canonical form")
    _check_public_key(data.public_key)
    return data


def _check_public_key(key: "CoseKey") -> None:
    """An algorithm of ours, and a point on its curve (RFC 9053; V-010)."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    curves: dict[int, tuple[int, ec.EllipticCurve, int]] = {
        -7: (1, ec.SECP256R1(), 32),
        -35: (2, ec.SECP384R1(), 48),
        -36: (3, ec.SECP521R1(), 66),
    }
    algorithm = key.get(3)
    if algorithm not in ALGORITHMS:
        raise UnknownAlgorithm(str(algorithm))
    if algorithm in curves:
        number, curve, size = curves[algorithm]
        if (key[1], key[-1], len(key[-2]), len(key[-3])) != (2, number, size, size):
            raise ValueError("not a point of its curve")
        x, y = int.from_bytes(key[-2], "big"), int.from_bytes(key[-3], "big")
        ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
    elif algorithm == -8:
        _octet_key(key, 6)
        ed25519.Ed25519PublicKey.from_public_bytes(key[-2])
    elif algorithm == -53:
        _octet_key(key, 7)
        ed448.Ed448PublicKey.from_public_bytes(key[-2])
    else:
        modulus, exponent = int.from_bytes(key[-1], "big"), int.from_bytes(key[-2], "big")
        if key[1] != 3 or modulus.bit_length() not in _RSA_BITS or exponent.bit_length() > 64:
            raise ValueError("an RSA key of a size that is not allowed")
        rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _octet_key(key: "CoseKey", curve: int) -> None:
    if (key[1], key[-1]) != (1, curve):
        raise ValueError("not a key of its curve")
