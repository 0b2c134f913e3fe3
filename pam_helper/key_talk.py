"""What one security key is asked, and what its answers mean: CTAP2, and U2F for older keys.

Rules: `look` is silent, and nothing but a key that it calls Ready is ever asked to blink; where a key wants its PIN
even for a silent question, it is asked again after the PIN and before the touch. A PIN is tried once, never after the
key has few tries left, and never when it cannot be right; a wrong one ends it. python-fido2's own client is not used:
it asks a wrong key for a touch, and tries again by itself. No exception that could carry a PIN is let out or logged.
"""

import threading
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol, TypeVar

from fido2.cose import ES256
from fido2.ctap import STATUS, CtapError
from fido2.ctap1 import APDU, ApduError, Ctap1
from fido2.ctap2.base import AssertionResponse, AttestationResponse, Ctap2, Info
from fido2.ctap2.pin import ClientPin, PinProtocol
from fido2.hid import CAPABILITY, CtapHidDevice
from fido2.utils import sha256
from fido2.webauthn import AttestationObject, CollectedClientData

from pam_helper.key_outcomes import (
    AlreadyRegistered,
    Blocked,
    Denied,
    Hindrance,
    Key,
    Look,
    Made,
    NoPinSet,
    Outcome,
    PinBlocked,
    PinNeeded,
    PinWrong,
    Ready,
    Signed,
    Stranger,
    Trouble,
    Unusable,
    Verifies,
    WrongKey,
)
from validation.decisions import AskKey, AskNewKey
from validation.requests import Assertion, NewCredential

KEPT_BACK = 3  # tries that are left to the owner: what a key allows until it is unplugged
_SILENT = b"\0" * 32
_PERMISSION = ClientPin.PERMISSION
_ERR = CtapError.ERR
_PIN_SHORTEST, _PIN_LONGEST = 4, 63  # characters, octets (CTAP 2.1, 6.5)
_U2F_LONGEST = 255
_U2F_AGAIN = 0.25

Ctap = Ctap1 | Ctap2
T = TypeVar("T")


class GaveUp(Exception):
    """The key waited for a touch as long as keys do. `again`: it may be asked once more."""

    def __init__(self, again: bool) -> None:
        super().__init__()
        self.again = again


class Pin:
    """What was typed, to be taken once: so it is tried once, and forgotten before the touch."""

    def __init__(self, typed: str | None) -> None:
        self.given = typed is not None
        self._typed = typed

    def take(self) -> str:
        typed, self._typed = self._typed, None
        if typed is None:
            raise ValueError("no PIN, or no longer")
        return typed


NO_PIN = Pin(None)


class Holds(Enum):
    NONE = auto()
    UNTOLD = auto()  # before its PIN


@dataclass(frozen=True, slots=True)
class Talk:
    """With one key: `blinks` is called when it waits for a touch, `stop` ends that."""

    ctap: Ctap
    key: Key
    stop: threading.Event
    blinks: Callable[[], None]

    def keepalive(self, status: int) -> None:
        if status == STATUS.UPNEEDED:
            self.blinks()


class Wish(Protocol):
    """What is wanted of a key."""

    def look(self, ctap: Ctap, key: Key) -> Look:
        """Silently."""

    def ask(self, talk: Talk, ready: Ready, pin: Pin) -> Outcome:
        """Of a key that `look` called Ready. Raises GaveUp, and what the connection raises."""


def wish(asked: AskKey | AskNewKey) -> Wish:
    return WantsAssertion(asked) if isinstance(asked, AskKey) else WantsCredential(asked)


def speak(device: CtapHidDevice) -> Ctap:
    """CTAP2 where the key knows it. Raises CtapError and ValueError."""
    if device.capabilities & CAPABILITY.CBOR:
        try:
            return Ctap2(device)
        except (ValueError, CtapError):
            if device.capabilities & CAPABILITY.NMSG:
                raise
    return Ctap1(device)


# --- Silent questions


def held(ctap: Ctap, rp_id: str, credentials: Sequence[bytes], proof: "Proof | None" = None) -> bytes | Holds:
    """The first of these credentials that the key has."""
    if isinstance(ctap, Ctap1):
        return _held_by_u2f(ctap, rp_id, credentials)
    longest = ctap.info.max_cred_id_length
    left = [one for one in credentials if not longest or len(one) <= longest]
    size = ctap.info.max_creds_in_list or 1
    while left:
        try:
            return _one_of(left[:size], ctap, rp_id, proof or Proof())
        except CtapError as error:
            match error.code:
                case _ERR.REQUEST_TOO_LARGE | _ERR.LIMIT_EXCEEDED if size > 1:
                    size -= 1
                case _ERR.NO_CREDENTIALS | _ERR.INVALID_CREDENTIAL:
                    left = left[size:]
                case _ERR.PUAT_REQUIRED if proof is None:
                    return Holds.UNTOLD
                case _:
                    raise
    return Holds.NONE


def _one_of(chunk: Sequence[bytes], ctap: Ctap2, rp_id: str, proof: "Proof") -> bytes | Holds:
    answer = ctap.get_assertion(
        rp_id, _SILENT, [_described(one) for one in chunk], None, {"up": False}, *proof.over(_SILENT)
    )
    if len(chunk) == 1:
        return chunk[0]  # then a key need not say which
    named = bytes(answer.credential["id"])
    return named if named in chunk else Holds.NONE


def _held_by_u2f(ctap: Ctap1, rp_id: str, credentials: Sequence[bytes]) -> bytes | Holds:
    application = sha256(rp_id.encode())
    for one in credentials:
        if len(one) > _U2F_LONGEST:
            continue
        try:
            ctap.authenticate(_SILENT, application, one, check_only=True)
        except ApduError as error:
            if error.code == APDU.USE_NOT_SATISFIED:  # what a key says that would sign if it were touched
                return one
    return Holds.NONE


def _described(credential: bytes) -> dict[str, Any]:
    return {"type": "public-key", "id": credential}


# --- Who touches it


@dataclass(frozen=True, slots=True)
class Proof:
    """That the user was verified, to go with a request; or that he need not be."""

    token: bytes | None = field(default=None, repr=False)
    protocol: PinProtocol | None = field(default=None, repr=False)
    options: dict[str, bool] | None = None  # keys of CTAP 2.0 with a finger verify in the request itself

    def over(self, message: bytes) -> tuple[bytes | None, int | None]:
        if self.token is None or self.protocol is None:
            return None, None
        return self.protocol.authenticate(self.token, message), self.protocol.VERSION


def readiness(ctap: Ctap, key: Key, wanted: bool, making: bool) -> Ready | Hindrance:
    """How the key will verify its user, and whether that can come to anything."""
    if isinstance(ctap, Ctap1):
        return Unusable(_NO_PIN_OF_ITS_OWN, key) if wanted else Ready(key, Verifies.NOT)
    info = ctap.info
    if not _must_verify(info, wanted, making):
        return Ready(key, Verifies.NOT)
    if info.options.get("uv"):
        return Ready(key, Verifies.BY_ITSELF)
    if not info.options.get("clientPin"):
        return NoPinSet(key)
    return _readiness_of_pin(ctap, key)


def _readiness_of_pin(ctap: Ctap2, key: Key) -> Ready | Hindrance:
    if ctap.info.force_pin_change:
        return Unusable("its PIN has to be changed first", key)
    if ctap.info.options.get("noMcGaPermissionsWithClientPin"):
        return Unusable("it takes a finger, and none is taught to it", key)
    tries, unplug = ClientPin(ctap).get_pin_retries()
    if tries == 0:
        return PinBlocked(Blocked.FOR_GOOD, 0, key)
    if unplug:
        return PinBlocked(Blocked.UNPLUG, tries, key)
    if tries <= KEPT_BACK:
        return PinBlocked(Blocked.FEW_LEFT, tries, key)
    return Ready(key, Verifies.BY_PIN, tries)


def _must_verify(info: Info, wanted: bool, making: bool) -> bool:
    if wanted or info.options.get("alwaysUv"):
        return True
    configured = info.options.get("uv") or info.options.get("clientPin")
    return bool(making and configured and not info.options.get("makeCredUvNotRqd"))


def _prove(talk: Talk, ctap: Ctap2, ready: Ready, pin: Pin, rp_id: str, making: bool) -> Proof | Outcome:
    if ready.verifies is Verifies.NOT:
        return Proof()
    permissions = _PERMISSION.MAKE_CREDENTIAL | _PERMISSION.GET_ASSERTION if making else _PERMISSION.GET_ASSERTION
    if pin.given and ctap.info.options.get("clientPin"):
        return _prove_by_pin(talk, ctap, pin, permissions, rp_id)
    if ready.verifies is Verifies.BY_PIN:
        return PinNeeded(ready.tries_left or 0, talk.key)
    if not ctap.info.options.get("pinUvAuthToken"):
        return Proof(options={"uv": True})
    client = ClientPin(ctap)
    return Proof(client.get_uv_token(permissions, rp_id, talk.stop, talk.keepalive), client.protocol)


def _prove_by_pin(talk: Talk, ctap: Ctap2, pin: Pin, permissions: ClientPin.PERMISSION, rp_id: str) -> Proof | Outcome:
    state = _readiness_of_pin(ctap, talk.key)
    if not isinstance(state, Ready):
        return state
    plain = unicodedata.normalize("NFC", pin.take())
    if not _could_be_right(plain):
        return PinWrong(state.tries_left or 0, talk.key)
    client = ClientPin(ctap)
    return Proof(client.get_pin_token(plain, permissions, rp_id), client.protocol)


def _could_be_right(pin: str) -> bool:
    """A try is not spent on what no key takes for a PIN."""
    try:
        return len(pin) >= _PIN_SHORTEST and len(pin.encode()) <= _PIN_LONGEST
    except UnicodeEncodeError:
        return False


# --- An assertion


class WantsAssertion:
    def __init__(self, asked: AskKey) -> None:
        self._asked = asked
        self._data = CollectedClientData.create(CollectedClientData.TYPE.GET, asked.challenge, asked.origin)

    def look(self, ctap: Ctap, key: Key) -> Look:
        if held(ctap, self._asked.rp_id, self._asked.credentials) is Holds.NONE:
            return Stranger(key)
        return readiness(ctap, key, self._asked.verify_user, making=False)

    def ask(self, talk: Talk, ready: Ready, pin: Pin) -> Outcome:
        if isinstance(talk.ctap, Ctap1):
            return self._ask_u2f(talk, talk.ctap)
        return _explained(talk, talk.ctap, pin, lambda ctap: self._ask(talk, ctap, ready, pin))

    def _ask(self, talk: Talk, ctap: Ctap2, ready: Ready, pin: Pin) -> Outcome:
        proof = _prove(talk, ctap, ready, pin, self._asked.rp_id, making=False)
        if not isinstance(proof, Proof):
            return proof
        credential = held(ctap, self._asked.rp_id, self._asked.credentials, proof)
        if not isinstance(credential, bytes):
            return WrongKey((talk.key,))
        answer = ctap.get_assertion(
            self._asked.rp_id,
            self._data.hash,
            [_described(credential)],
            None,
            proof.options,
            *proof.over(self._data.hash),
            event=talk.stop,
            on_keepalive=talk.keepalive,
        )
        handle = answer.user.get("id") if answer.user else None
        return self._signed(credential, answer.auth_data, answer.signature, handle)

    def _ask_u2f(self, talk: Talk, ctap: Ctap1) -> Outcome:
        credential = held(ctap, self._asked.rp_id, self._asked.credentials)
        if not isinstance(credential, bytes):
            return WrongKey((talk.key,))
        application = sha256(self._asked.rp_id.encode())
        answer = _touched(talk, lambda: ctap.authenticate(self._data.hash, application, credential))
        modern = AssertionResponse.from_ctap1(application, _described(credential), answer)
        return self._signed(credential, modern.auth_data, modern.signature, None)

    def _signed(self, credential: bytes, data: bytes, signature: bytes, handle: bytes | None) -> Signed:
        return Signed(Assertion(credential, bytes(self._data), bytes(data), bytes(signature), handle))


# --- A new credential


class WantsCredential:
    def __init__(self, asked: AskNewKey) -> None:
        self._asked = asked
        self._data = CollectedClientData.create(CollectedClientData.TYPE.CREATE, asked.challenge, asked.origin)

    def look(self, ctap: Ctap, key: Key) -> Look:
        if isinstance(held(ctap, self._asked.rp_id, self._asked.exclude), bytes):
            return Stranger(key)
        if not self._knows_an_algorithm(ctap):
            return Unusable(_NO_ALGORITHM, key)
        return readiness(ctap, key, self._asked.verify_user, making=True)

    def ask(self, talk: Talk, ready: Ready, pin: Pin) -> Outcome:
        if isinstance(talk.ctap, Ctap1):
            return self._ask_u2f(talk, talk.ctap)
        return _explained(talk, talk.ctap, pin, lambda ctap: self._ask(talk, ctap, ready, pin))

    def _ask(self, talk: Talk, ctap: Ctap2, ready: Ready, pin: Pin) -> Outcome:
        proof = _prove(talk, ctap, ready, pin, self._asked.rp_id, making=True)
        if not isinstance(proof, Proof):
            return proof
        # The key was asked for each of them: a list in the request would say no more, and may be too long for it.
        if isinstance(held(ctap, self._asked.rp_id, self._asked.exclude, proof), bytes):
            return AlreadyRegistered(talk.key)
        answer = self._made_by(talk, ctap, proof)
        return self._made(talk, AttestationObject.create(answer.fmt, answer.auth_data, answer.att_stmt))

    def _made_by(self, talk: Talk, ctap: Ctap2, proof: Proof) -> AttestationResponse:
        asked = self._asked
        proof_of_user, protocol = proof.over(self._data.hash)
        return ctap.make_credential(
            self._data.hash,
            {"id": asked.rp_id, "name": asked.rp_name},
            {"id": asked.user_handle, "name": asked.user_name, "displayName": asked.user_name},
            [{"type": "public-key", "alg": algorithm} for algorithm in asked.algorithms],
            options=proof.options,
            pin_uv_param=proof_of_user,
            pin_uv_protocol=protocol,
            event=talk.stop,
            on_keepalive=talk.keepalive,
        )

    def _ask_u2f(self, talk: Talk, ctap: Ctap1) -> Outcome:
        application = sha256(self._asked.rp_id.encode())
        answer = _touched(talk, lambda: ctap.register(self._data.hash, application))
        return self._made(talk, AttestationObject.from_ctap1(application, answer))

    def _made(self, talk: Talk, attestation: AttestationObject) -> Outcome:
        """A statement that was not wanted goes along as the key made it: what it is worth is not judged here."""
        if self._asked.attestation and not attestation.att_stmt.get("x5c"):
            return Unusable("its maker does not vouch for it", talk.key)
        return Made(NewCredential(bytes(self._data), bytes(attestation)))

    def _knows_an_algorithm(self, ctap: Ctap) -> bool:
        if isinstance(ctap, Ctap1):
            return ES256.ALGORITHM in self._asked.algorithms
        known = {one.get("alg") for one in ctap.info.algorithms}
        return not known or not known.isdisjoint(self._asked.algorithms)


_NO_PIN_OF_ITS_OWN = "it is of an older kind, without a PIN"
_NO_ALGORITHM = "it knows none of the signature algorithms that are accepted"


# --- What goes wrong


def _explained(talk: Talk, ctap: Ctap2, pin: Pin, work: Callable[[Ctap2], Outcome]) -> Outcome:
    try:
        return work(ctap)
    except CtapError as error:
        return _meaning(error, talk, ctap, pin)


def _meaning(error: CtapError, talk: Talk, ctap: Ctap2, pin: Pin) -> Outcome:
    key = talk.key
    match error.code:
        case _ERR.PIN_INVALID:
            return PinWrong(ClientPin(ctap).get_pin_retries()[0], key)
        case _ERR.PIN_AUTH_BLOCKED:
            return PinBlocked(Blocked.UNPLUG, ClientPin(ctap).get_pin_retries()[0], key)
        case _ERR.PIN_BLOCKED:
            return PinBlocked(Blocked.FOR_GOOD, 0, key)
        case _ERR.PUAT_REQUIRED | _ERR.UV_BLOCKED | _ERR.UV_INVALID | _ERR.PIN_NOT_SET:
            return _pin_instead(error, talk, ctap, pin)
        case _ERR.OPERATION_DENIED:
            return Denied(key)
        case _ERR.NO_CREDENTIALS:
            return WrongKey((key,))
        case _ERR.CREDENTIAL_EXCLUDED:
            return AlreadyRegistered(key)
        case _ERR.UNSUPPORTED_ALGORITHM:
            return Unusable(_NO_ALGORITHM, key)
        case _ERR.KEY_STORE_FULL:
            return Unusable("it has no room left", key)
        case _ERR.KEEPALIVE_CANCEL | _ERR.USER_ACTION_TIMEOUT | _ERR.ACTION_TIMEOUT:
            raise GaveUp(again=not pin.given) from None
        case _:
            return Trouble(f"{key.product} answers {error.code.name}")


def _pin_instead(error: CtapError, talk: Talk, ctap: Ctap2, pin: Pin) -> Outcome:
    """It wants more than it said, or a finger was not recognised."""
    if not ctap.info.options.get("clientPin"):
        return Denied(talk.key) if ctap.info.options.get("uv") else NoPinSet(talk.key)
    if pin.given:
        return Trouble(f"{talk.key.product} answers {error.code.name}, though its PIN was right")
    state = _readiness_of_pin(ctap, talk.key)
    return PinNeeded(state.tries_left or 0, talk.key) if isinstance(state, Ready) else state


def _touched(talk: Talk, work: Callable[[], T]) -> T:
    """U2F keys answer at once that nobody has touched them, and are asked again and again."""
    while not talk.stop.is_set():
        try:
            return work()
        except ApduError as error:
            if error.code != APDU.USE_NOT_SATISFIED:
                raise
        talk.blinks()
        talk.stop.wait(_U2F_AGAIN)
    raise GaveUp(again=False)
