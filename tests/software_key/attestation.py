"""A test authority that vouches for software keys: root, intermediate, and one certificate for each kind of key.

The certificate of a kind follows WebAuthn 8.2.1: its subject, no CA, and the AAGUID in an extension of its own.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

AAGUID_OID = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
DAY = datetime.timedelta(days=1)
YEAR = 365 * DAY


@dataclass(frozen=True)
class Attester:
    """Signs for a kind of key. `chain`: DER, its own certificate first, without the root."""

    key: ec.EllipticCurvePrivateKey
    chain: Sequence[bytes]

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))


class Authority:
    """`expired`: its certificates were valid until yesterday. `names_aaguid`: the last one says for which AAGUID."""

    def __init__(self, name: str = "Software Key", *, expired: bool = False, names_aaguid: bool = True) -> None:
        self.name = name
        self._until = datetime.datetime.now(datetime.UTC) + (-DAY if expired else YEAR)
        self._names_aaguid = names_aaguid
        self._root_key = ec.generate_private_key(ec.SECP256R1())
        self._key = ec.generate_private_key(ec.SECP256R1())
        root_name, own_name = _subject(f"{name} Root CA"), _subject(f"{name} CA")
        self.root = _certificate(root_name, self._root_key, root_name, self._root_key, self._until, ca=True)
        self._own = _certificate(own_name, self._key, root_name, self._root_key, self._until, ca=True)
        self._attesters: dict[bytes, Attester] = {}

    @property
    def root_der(self) -> bytes:
        return self.root.public_bytes(Encoding.DER)

    @property
    def root_pem(self) -> bytes:
        return self.root.public_bytes(Encoding.PEM)

    def attester(self, aaguid: bytes) -> Attester:
        """The same for each key of a kind, as with real ones."""
        if aaguid not in self._attesters:
            key = ec.generate_private_key(ec.SECP256R1())
            subject = _subject(f"{self.name} Attestation", unit="Authenticator Attestation")
            named = aaguid if self._names_aaguid else None
            leaf = _certificate(subject, key, self._own.subject, self._key, self._until, aaguid=named)
            chain = [certificate.public_bytes(Encoding.DER) for certificate in (leaf, self._own)]
            self._attesters[aaguid] = Attester(key, chain)
        return self._attesters[aaguid]


def _subject(name: str, unit: str = "Tests") -> x509.Name:
    parts = [
        (NameOID.COUNTRY_NAME, "SE"),
        (NameOID.ORGANIZATION_NAME, "Software Key"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        (NameOID.COMMON_NAME, name),
    ]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    until: datetime.datetime,
    ca: bool = False,
    aaguid: bytes | None = None,
) -> x509.Certificate:
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(until - 2 * YEAR).not_valid_after(until)
    builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    if aaguid is not None:  # an OCTET STRING of 16
        builder = builder.add_extension(x509.UnrecognizedExtension(AAGUID_OID, b"\x04\x10" + aaguid), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
