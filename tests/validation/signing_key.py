"""A security key reduced to what it signs, written from WebAuthn 6.1, 6.5 and 5.8.1, to hand the engine what it likes.

Rule: nothing here imports the product's or python-fido2's way of reading, so that a shared mistake cannot hide. The
transport, touches and PINs of a key are in tests/software_key.
"""

import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from validation.decisions import AskKey, AskNewKey
from validation.requests import Assertion, NewCredential

UP, UV, BE, BS, AT, ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80
AAGUID = bytes.fromhex("74776f666f6c642d6b65792d74657374")


def cbor(value: Any) -> bytes:
    """Integers, octets, texts, lists and maps in the order they have."""
    match value:
        case int():
            return _head(0, value) if value >= 0 else _head(1, -1 - value)
        case bytes():
            return _head(2, len(value)) + value
        case str():
            return _head(3, len(value.encode())) + value.encode()
        case list():
            return _head(4, len(value)) + b"".join(map(cbor, value))
        case dict():
            return _head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in value.items())
        case _:
            raise TypeError(type(value))


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes([major << 5 | code]) + number.to_bytes(size, "big")
    raise ValueError(number)


@dataclass
class SigningKey:
    """One credential on one key. What is said in `get` and `make` goes over what an honest key would say."""

    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    id: bytes = field(default_factory=lambda: os.urandom(32))
    count: int = 0
    step: int = 1
    flags: int = UP
    handle: bytes | None = None

    @property
    def public(self) -> bytes:
        """COSE (RFC 9053 7.1.1)."""
        numbers = self.private.public_key().public_numbers()
        return cbor({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})

    def make(self, asked: AskNewKey, **said: Any) -> NewCredential:
        self.handle = asked.user_handle
        client_data = self._client_data("webauthn.create", asked.challenge, asked.origin, said)
        attested = AAGUID + len(self.id).to_bytes(2, "big") + self.id + said.get("public", self.public)
        data = self._data(said.get("rp_id", asked.rp_id), said.get("flags", self.flags) | AT, said) + attested
        statement: dict[str, Any] = {"fmt": "none", "attStmt": {}, "authData": data + said.get("after", b"")}
        return NewCredential(client_data, said.get("object", cbor(statement)))

    def get(self, asked: AskKey, **said: Any) -> Assertion:
        client_data = self._client_data("webauthn.get", asked.challenge, asked.origin, said)
        data = self._data(said.get("rp_id", asked.rp_id), said.get("flags", self.flags), said) + said.get("after", b"")
        signed = data + hashlib.sha256(client_data).digest()
        signature = said.get("signature", self.private.sign(signed, ec.ECDSA(hashes.SHA256())))
        return Assertion(said.get("id", self.id), client_data, data, signature, said.get("handle"))

    def _client_data(self, type_: str, challenge: bytes, origin: str, said: dict[str, Any]) -> bytes:
        text = base64.urlsafe_b64encode(said.get("challenge", challenge)).rstrip(b"=").decode()
        facts = {"type": said.get("type", type_), "challenge": text, "origin": said.get("origin", origin)}
        return json.dumps(facts | {"crossOrigin": False}, separators=(",", ":")).encode()

    def _data(self, rp_id: str, flags: int, said: dict[str, Any]) -> bytes:
        self.count += self.step
        count = said.get("count", self.count)
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + int(count).to_bytes(4, "big")
