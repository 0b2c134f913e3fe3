"""Key pairs of credentials: making one, signing, and the public half as COSE."""

from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from fido2.cose import CoseKey

from tests.software_key.knobs import EDDSA, ES256, ES384, ES512, RS256

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

_MAKE: dict[int, Callable[[], PrivateKey]] = {
    ES256: lambda: ec.generate_private_key(ec.SECP256R1()),
    ES384: lambda: ec.generate_private_key(ec.SECP384R1()),
    ES512: lambda: ec.generate_private_key(ec.SECP521R1()),
    EDDSA: ed25519.Ed25519PrivateKey.generate,
    RS256: lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
}
_HASH: dict[int, hashes.HashAlgorithm] = {
    ES256: hashes.SHA256(),
    ES384: hashes.SHA384(),
    ES512: hashes.SHA512(),
    RS256: hashes.SHA256(),
}


class KeyPair:
    def __init__(self, algorithm: int = ES256) -> None:
        self.algorithm = algorithm
        self.private = _MAKE[algorithm]()

    def sign(self, message: bytes) -> bytes:
        match self.private:
            case ec.EllipticCurvePrivateKey() as key:
                return key.sign(message, ec.ECDSA(_HASH[self.algorithm]))
            case rsa.RSAPrivateKey() as key:
                return key.sign(message, padding.PKCS1v15(), _HASH[self.algorithm])
            case ed25519.Ed25519PrivateKey() as key:
                return key.sign(message)

    def cose(self) -> Mapping[int, Any]:
        return CoseKey.for_alg(self.algorithm).from_cryptography_key(self.private.public_key())

    def point(self) -> bytes:
        """The public key as U2F writes it: an uncompressed point of P-256."""
        public = self.cose()
        return b"\x04" + bytes(public[-2]) + bytes(public[-3])
