"""What a security key is, where its maker vouches for it: an AAGUID counts only on a verified attestation.

Rules: without an allow-list nothing is asked and nothing looked at. With one, the statement must verify, its
certificates must lead to a root that the admin named, and the AAGUID must be on the list; a key that vouches for
itself (self attestation, `none`) is none of these (WebAuthn 7.1, steps 22 to 25).
"""

from typing import TYPE_CHECKING

from validation.model import Site

if TYPE_CHECKING:
    from fido2.webauthn import AttestationObject


class NotTrusted(Exception):
    """The key's maker does not vouch for it, or it is of no model that is allowed."""


def check(site: Site, attestation: "AttestationObject", client_data_hash: bytes) -> None:
    """Raises NotTrusted."""
    from fido2.attestation.base import Attestation, InvalidAttestation, verify_x509_chain

    data = attestation.auth_data.credential_data
    if data is None or str(data.aaguid) not in site.aaguids:
        raise NotTrusted("of no allowed model")
    try:
        kind = Attestation.for_type(attestation.fmt)()
        path = kind.verify(attestation.att_stmt, attestation.auth_data, client_data_hash).trust_path
        if not path:  # nobody but the key itself has signed
            raise NotTrusted("no certificate")
        _check_model(path[0], bytes(data.aaguid))
        verify_x509_chain([*path, _root(site, path)])
    except InvalidAttestation as error:
        raise NotTrusted(type(error).__name__) from None


_MODEL = "1.3.6.1.4.1.45724.1.1.4"  # id-fido-gen-ce-aaguid (WebAuthn 8.2.1)


def _check_model(leaf: bytes, aaguid: bytes) -> None:
    """The certificate itself names the model: else one maker's simplest key could pass for his best. Dates are not
    looked at: a key does not get worse when the certificate it was made with has run out."""
    from cryptography import x509

    certificate = x509.load_der_x509_certificate(leaf)
    try:
        named = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(_MODEL)).value
    except x509.ExtensionNotFound:
        raise NotTrusted("a certificate that names no model") from None
    # An OCTET STRING of 16 octets inside the extension's own.
    if not isinstance(named, x509.UnrecognizedExtension) or named.value != b"\x04\x10" + aaguid:
        raise NotTrusted("a certificate of another model")


def _root(site: Site, path: list[bytes]) -> bytes:
    """The admin's root that has issued the last certificate of `path`, each of which may issue the one before it."""
    from cryptography import x509

    certificates = [x509.load_der_x509_certificate(der) for der in path]
    for issuer in certificates[1:]:
        if not issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise NotTrusted("a certificate that may not issue others")
    for der in site.attestation_roots:
        root = x509.load_der_x509_certificate(der)
        if root.subject == certificates[-1].issuer:
            return der
    raise NotTrusted("no root of ours")
