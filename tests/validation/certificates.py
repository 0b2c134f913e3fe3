"""A maker of security keys with a certificate authority of its own, for attestation (WebAuthn 8.2)."""

import datetime
import hashlib
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.validation.signing_key import AAGUID, SigningKey, cbor
from validation.decisions import AskNewKey
from validation.requests import NewCredential

_BEGIN = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
_END = datetime.datetime(2045, 1, 1, tzinfo=datetime.UTC)


def _name(common: str) -> x509.Name:
    """What 8.2.1 asks of an attestation certificate."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "SE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Makers of keys"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Authenticator Attestation"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


class Maker:
    def __init__(self) -> None:
        self._root_key = ec.generate_private_key(ec.SECP256R1())
        self._batch_key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._certificate("root", self._root_key, "root", self._root_key, may_issue=True)

    def _of_model(self, model: bytes | None) -> bytes:
        return self._certificate("batch", self._batch_key, "root", self._root_key, model=model)

    def attested(
        self,
        key: SigningKey,
        asked: AskNewKey,
        by_itself: bool = False,
        spoiled: bool = False,
        through_a_leaf: bool = False,
        model: bytes | None = AAGUID,
    ) -> NewCredential:
        """What `key` makes, and who vouches for it: the maker's batch certificate unless something else is said."""
        plain = key.make(asked)
        data = _authenticator_data(plain.attestation_object)
        signed = data + hashlib.sha256(plain.client_data).digest()
        signer, chain = self._batch_key, [self._of_model(model)]
        if through_a_leaf:
            signer = ec.generate_private_key(ec.SECP256R1())
            chain = [
                self._certificate("forged", signer, "batch", self._batch_key, model=AAGUID),
                self._of_model(AAGUID),
            ]
        if by_itself:
            signer, chain = key.private, []
        signature = signer.sign(signed + (b"x" if spoiled else b""), ec.ECDSA(hashes.SHA256()))
        statement: dict[str, Any] = {"alg": -7, "sig": signature} | ({"x5c": chain} if chain else {})
        return NewCredential(plain.client_data, cbor({"fmt": "packed", "attStmt": statement, "authData": data}))

    def _certificate(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        issuer: str,
        by: ec.EllipticCurvePrivateKey,
        may_issue: bool = False,
        model: bytes | None = None,
    ) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_BEGIN)
            .not_valid_after(_END)
            .add_extension(x509.BasicConstraints(ca=may_issue, path_length=None), critical=True)
        )
        if model is not None:
            named = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4"), b"\x04\x10" + model)
            builder = builder.add_extension(named, critical=False)
        return builder.sign(by, hashes.SHA256()).public_bytes(Encoding.DER)


def _authenticator_data(attestation_object: bytes) -> bytes:
    """It stands last in what SigningKey makes, after a head of three octets at most."""
    label = cbor("authData")
    rest = attestation_object[attestation_object.index(label) + len(label) :]
    head = {24: 2, 25: 3}[rest[0] & 0x1F]
    return rest[head:]
