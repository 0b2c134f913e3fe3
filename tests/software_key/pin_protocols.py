"""The key's side of PIN/UV auth protocols 1 and 2 (CTAP 2.1, 6.5.6 and 6.5.7), written from the text.

Nothing of python-fido2 is used here, so that a mistake cannot be shared with the side that is tested.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

BLOCK = 16


class Secret:
    """What both sides share for one exchange; made by `agree`. Protocol 1."""

    def __init__(self, z: bytes) -> None:
        self._aes = self._hmac = hashlib.sha256(z).digest()

    def encrypt(self, plain: bytes) -> bytes:
        return self._cbc(bytes(BLOCK), plain)

    def decrypt(self, sealed: bytes) -> bytes:
        return self._open(bytes(BLOCK), sealed)

    def is_mac(self, mac: bytes, message: bytes) -> bool:
        return hmac.compare_digest(self.mac(self._hmac, message), mac)

    @staticmethod
    def mac(key: bytes, message: bytes) -> bytes:
        return hmac.digest(key, message, "sha256")[:16]

    def _cbc(self, start: bytes, plain: bytes) -> bytes:
        encryptor = Cipher(algorithms.AES(self._aes), modes.CBC(start)).encryptor()
        return encryptor.update(plain) + encryptor.finalize()

    def _open(self, start: bytes, sealed: bytes) -> bytes:
        decryptor = Cipher(algorithms.AES(self._aes), modes.CBC(start)).decryptor()
        return decryptor.update(sealed) + decryptor.finalize()


class SecretOfProtocol2(Secret):
    def __init__(self, z: bytes) -> None:
        self._hmac = _hkdf(z, b"CTAP2 HMAC key")
        self._aes = _hkdf(z, b"CTAP2 AES key")

    def encrypt(self, plain: bytes) -> bytes:
        start = os.urandom(BLOCK)
        return start + self._cbc(start, plain)

    def decrypt(self, sealed: bytes) -> bytes:
        return self._open(sealed[:BLOCK], sealed[BLOCK:])

    @staticmethod
    def mac(key: bytes, message: bytes) -> bytes:
        return hmac.digest(key, message, "sha256")


PROTOCOLS: dict[int, type[Secret]] = {1: Secret, 2: SecretOfProtocol2}


def new_agreement_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_half(key: ec.EllipticCurvePrivateKey) -> Mapping[int, Any]:
    numbers = key.public_key().public_numbers()
    return {1: 2, 3: -25, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}


def agree(protocol: int, ours: ec.EllipticCurvePrivateKey, theirs: Mapping[int, Any]) -> Secret:
    x, y = (int.from_bytes(theirs[part], "big") for part in (-2, -3))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    return PROTOCOLS[protocol](ours.exchange(ec.ECDH(), public))


def _hkdf(z: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=bytes(32), info=info).derive(z)
