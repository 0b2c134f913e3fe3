"""python-fido2 and the test vectors of the W3C: what it verifies, before anything here is built on it."""

import hashlib
import json

import pytest
from cryptography.exceptions import InvalidSignature
from fido2.utils import websafe_decode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData

from tests.vectors.webauthn import ORIGIN, RP_ID, W3C, Vector

each_vector = pytest.mark.parametrize("vector", W3C, ids=[vector.name for vector in W3C])


def credential_of(vector: Vector) -> AttestedCredentialData:
    credential = AttestationObject(vector.registration.attestation_object).auth_data.credential_data
    assert credential is not None
    return credential


def signed(vector: Vector) -> bytes:
    return vector.assertion.authenticator_data + hashlib.sha256(vector.assertion.client_data).digest()


def test_there_are_fifteen() -> None:
    assert len({vector.name for vector in W3C}) == 15
    assert {vector.algorithm for vector in W3C} == {-7, -8, -35, -36, -53, -257}


@each_vector
def test_the_assertion_verifies(vector: Vector) -> None:
    key = credential_of(vector).public_key
    assert key[3] == vector.algorithm
    key.verify(signed(vector), vector.assertion.signature)
    with pytest.raises(InvalidSignature):
        key.verify(signed(vector) + b"!", vector.assertion.signature)


@each_vector
def test_the_parts_belong_together(vector: Vector) -> None:
    data = AuthenticatorData(vector.assertion.authenticator_data)
    assert data.rp_id_hash == hashlib.sha256(RP_ID.encode()).digest()
    for part in (vector.registration, vector.assertion):
        said = json.loads(part.client_data)
        assert (websafe_decode(said["challenge"]), said["origin"]) == (part.challenge, ORIGIN)
