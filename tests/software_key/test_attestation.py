"""How new credentials are vouched for, verified by python-fido2."""

import pytest
from fido2.attestation.base import (
    AttestationResult,
    AttestationVerifier,
    InvalidAttestation,
    InvalidData,
    InvalidSignature,
    UntrustedAttestation,
)
from fido2.webauthn import AuthenticatorData

from tests.software_key.attestation import Authority
from tests.software_key.authenticator import SoftwareKey
from tests.software_key.ctaphid import plugged
from tests.software_key.knobs import Attestation
from tests.software_key.relying import Relying


class Trusting(AttestationVerifier):
    def __init__(self, authority: Authority) -> None:
        super().__init__()
        self.authority = authority

    def ca_lookup(self, attestation_result: AttestationResult, auth_data: AuthenticatorData) -> bytes | None:
        return self.authority.root_der if attestation_result.trust_path else None


def verify(relying: Relying, authority: Authority) -> None:
    response, _ = relying.response_to_register()
    answer = response.response
    Trusting(authority).verify_attestation(answer.attestation_object, answer.client_data.hash)


def test_a_chain_leads_to_its_authority(key: SoftwareKey, relying: Relying) -> None:
    key.knobs.attestation = Attestation.CHAIN
    verify(relying, key.authority)
    with pytest.raises(UntrustedAttestation):
        verify(relying, Authority())


def test_self_attestation_has_no_authority(key: SoftwareKey, relying: Relying) -> None:
    response, _ = relying.response_to_register()
    assert set(response.response.attestation_object.att_stmt) == {"alg", "sig"}
    with pytest.raises(UntrustedAttestation):
        verify(relying, key.authority)


def test_keys_of_one_maker_share_their_certificate() -> None:
    authority = Authority()
    kind, other = bytes(15) + b"1", bytes(15) + b"2"
    assert authority.attester(kind).chain == authority.attester(kind).chain
    assert authority.attester(kind).chain[0] != authority.attester(other).chain[0]


@pytest.mark.parametrize("attestation", Attestation)
def test_a_wrong_signature(key: SoftwareKey, relying: Relying, attestation: Attestation) -> None:
    key.knobs.attestation, key.knobs.wrong_signature = attestation, True
    with pytest.raises(InvalidSignature):
        verify(relying, key.authority)


def test_a_certificate_for_another_kind(key: SoftwareKey, relying: Relying) -> None:
    key.knobs.attestation, key.knobs.certificate_aaguid = Attestation.CHAIN, bytes(16)
    with pytest.raises(InvalidData):
        verify(relying, key.authority)


@pytest.mark.parametrize("authority", [Authority(expired=True), Authority(names_aaguid=False)])
def test_what_the_library_lets_pass(authority: Authority) -> None:
    """It looks at no dates, and takes a certificate without an AAGUID for any: an allow-list has to look itself."""
    key = SoftwareKey(authority=authority)
    key.knobs.attestation = Attestation.CHAIN
    refused: InvalidAttestation | None = None
    with plugged(key) as device:
        try:
            verify(Relying(device), authority)
        except InvalidAttestation as error:
            refused = error
    assert refused is None
