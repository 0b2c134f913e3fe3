"""What a security key says, octet by octet: only a whole, honest, fitting answer passes."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW
from tests.validation import certificates
from tests.validation.signing_key import AAGUID, AT, BE, ED, UP, UV, SigningKey, cbor
from tests.vectors.webauthn import ORIGIN, RP_ID, W3C, Vector
from validation.errors import BadInput, Damaged
from validation.model import SIGNATURES, Site, Token, canonical_key
from validation.requests import Assertion, NewCredential
from validation.tokens import webauthn
from validation.tokens.cbor import check_whole
from validation.tokens.kind import NOTHING, Window
from validation.tokens.webauthn import _ALGORITHM_NAMES, ALGORITHMS, Credential, Flaw, Made, Used, Webauthn

SITE = Site()
HANDLE = b"h" * 16
SIGNED = webauthn.challenge("here", "now")


def made_by(key: SigningKey, site: Site = SITE, verify_user: bool = False, **said: Any) -> Made | Flaw:
    asked = webauthn.ask_new(site, "alice", HANDLE, (), SIGNED, verify_user)
    return webauthn.check_new(site, HANDLE, (), key.make(asked, **said), SIGNED, verify_user)


def token_of(key: SigningKey, **said: Any) -> Token:
    made = made_by(key, **said)
    assert isinstance(made, Made), made
    return Token(7, "TF-KEY", 1, "webauthn", made.credential.pack(), algorithm=made.algorithm, moving_factor=key.count)


def check(token: Token, answer: Assertion, verify_user: bool = False) -> Used | Flaw:
    return webauthn.check_assertion(SITE, [token], answer, SIGNED, verify_user)


def signed_by(key: SigningKey, token: Token, **said: Any) -> Assertion:
    return key.get(webauthn.ask(SITE, [token], SIGNED, False, False), **said)


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey()


@pytest.fixture(scope="module")
def token(key: SigningKey) -> Token:
    return token_of(key)


def test_what_was_registered_is_recognised(key: SigningKey, token: Token) -> None:
    used = check(token, signed_by(key, token))
    assert isinstance(used, Used)
    assert (used.token, used.sign_count, used.went_back) == (token, key.count, False)


# --- algorithms


@pytest.mark.statement("W-006", "V-010")
@pytest.mark.parametrize(
    "public",
    [
        {1: 2, 3: 0, -1: 1, -2: b"x" * 32, -3: b"y" * 32},
        {1: 2, 3: -47, -1: 8, -2: b"x" * 32, -3: b"y" * 32},
        {1: 3, 3: -65535, -1: b"\xff" * 256, -2: b"\1\0\1"},
        {1: 2, 3: -7, -1: 1, -2: b"x" * 32, -3: b"y" * 32},
        {1: 2, 3: -7, -1: 1, -2: b"\0" * 32, -3: b"\0" * 32},
        {1: 2, 3: -7, -1: 2, -2: b"x" * 32, -3: b"y" * 32},
        {1: 2, 3: -7, -1: 1, -2: b"x" * 31, -3: b"y" * 32},
        {1: 1, 3: -8, -1: 6, -2: b"x" * 31},
        {1: 1, 3: -8, -1: 7, -2: b"x" * 32},
        {1: 3, 3: -257, -1: b"\xff" * 128, -2: b"\1\0\1"},
        {1: 3, 3: -257, -1: b"\xff" * 1024, -2: b"\1\0\1"},
        {1: 3, 3: -257, -1: b"\xff" * 256, -2: b"\xff" * 200},
        {1: 2, -1: 1, -2: b"x" * 32, -3: b"y" * 32},
        {},
        [],
        7,
    ],
    ids=str,
)
def test_a_public_key_is_of_a_fixed_list_and_a_point_of_its_curve(public: Any) -> None:
    assert made_by(SigningKey(), public=cbor(public)) in (Flaw.ALGORITHM, Flaw.UNSIGNED)


def test_the_key_is_told_the_fixed_list() -> None:
    assert (
        webauthn.ask_new(SITE, "alice", HANDLE, (), SIGNED, False).algorithms
        == ALGORITHMS
        == (
            -7,
            -8,
            -35,
            -36,
            -53,
            -257,
        )
    )


@pytest.mark.statement("W-006")
def test_the_stored_algorithm_is_the_one_that_counts(key: SigningKey, token: Token) -> None:
    """A signature over another hash, as another algorithm of the same curve would make it."""
    honest = signed_by(key, token)
    data = honest.authenticator_data + hashes_of(honest.client_data)
    other = key.private.sign(data, ec.ECDSA(hashes.SHA384()))
    assert check(token, replace(honest, signature=other)) is Flaw.UNSIGNED


def hashes_of(octets: bytes) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(octets)
    return digest.finalize()


# --- octets that do not fit


@pytest.mark.statement("W-019")
def test_a_record_that_is_cut_or_too_long_is_damage(token: Token) -> None:
    for length in range(len(token.key)):
        with pytest.raises(Damaged, match="revoke it and register the key again"):
            Credential.unpack(token.key[:length])
    for longer in (token.key + b"\0", b"\2" + token.key[1:], token.key[:1] + b"\7" + token.key[2:]):
        with pytest.raises(Damaged):
            Credential.unpack(longer)


def test_a_record_comes_back_as_it_was() -> None:
    made = made_by(SigningKey(flags=UP | BE))
    assert isinstance(made, Made)
    assert Credential.unpack(made.credential.pack()) == made.credential
    assert made.credential.backup_eligible


@pytest.mark.statement("W-014")
@pytest.mark.parametrize(
    ("flags", "after", "fits"),
    [
        (UP, b"", True),
        (UP, b"\0", False),
        (UP | ED, b"", False),
        (UP | ED, cbor({"credProtect": 2}), True),
        (UP | ED, cbor({"a": b"x" * 8}) + b"\0", False),
        (UP | ED, cbor({"a": b"x" * 8})[:-1], False),
        (UP | ED, b"\x81" * 30 + b"\0", False),
        (UP | ED, b"\x9b" + b"\xff" * 8, False),
        (UP | ED, b"\xbf\xff", False),
        (UP | ED, b"\xa1\x80\x01", False),
        (UP | ED, b"\xc0\x01", False),
        (UP | ED, b"\xf9\x00\x00", False),
        (UP | ED, cbor({"a": b"x" * 5000}), False),
        (UP | AT, b"\0" * 18, False),
    ],
)
def test_what_follows_the_flags_must_be_what_they_say(
    key: SigningKey, token: Token, flags: int, after: bytes, fits: bool
) -> None:
    outcome = check(token, signed_by(key, token, flags=flags, after=after))
    assert isinstance(outcome, Used) if fits else outcome is Flaw.UNSIGNED


@pytest.mark.statement("W-014", "V-043")
@given(octets=st.binary(max_size=200))
def test_no_octets_make_the_check_of_cbor_do_anything_but_agree_or_refuse(octets: bytes) -> None:
    try:
        check_whole(octets)
    except ValueError:
        return
    from fido2 import cbor as reader

    try:
        reader.decode(octets)
    except (TypeError, UnicodeDecodeError):  # a key that cannot be one, a text that is none: its caller refuses
        return


@given(position=st.integers(0, 400), octet=st.integers(0, 255), where=st.integers(0, 3))
def test_a_spoiled_answer_is_refused_and_nothing_raises(
    key: SigningKey, token: Token, position: int, octet: int, where: int
) -> None:
    honest = signed_by(key, token)
    name = ("credential_id", "client_data", "authenticator_data", "signature")[where]
    before = getattr(honest, name)
    at = position % len(before)
    spoiled = before[:at] + bytes([octet]) + before[at + 1 :]
    outcome = check(token, replace(honest, **{name: spoiled}))
    assert isinstance(outcome, Used) if spoiled == before else isinstance(outcome, Flaw)


@given(octets=st.binary(max_size=300), client_data=st.binary(max_size=100))
def test_no_octets_make_a_registration_raise(octets: bytes, client_data: bytes) -> None:
    assert isinstance(webauthn.check_new(SITE, HANDLE, (), NewCredential(client_data, octets), SIGNED, False), Flaw)


@pytest.mark.parametrize(
    "said",
    [
        {"type": "webauthn.get"},
        {"origin": "https://twofold"},
        {"challenge": bytes(32)},
        {"rp_id": "web-7"},
        {"flags": 0},
        {"object": b""},
        {"object": cbor({"fmt": "none", "attStmt": {}, "authData": b"x" * 37})},
        {"object": cbor({"fmt": "none", "attStmt": {}})},
        {"after": b"\0"},
    ],
    ids=str,
)
def test_a_registration_that_says_anything_else_is_refused(said: dict[str, Any]) -> None:
    assert made_by(SigningKey(), **said) is Flaw.UNSIGNED


def test_a_credential_id_is_not_longer_than_the_standard_allows() -> None:
    assert isinstance(made_by(SigningKey(id=b"x" * 1023)), Made)
    assert made_by(SigningKey(id=b"x" * 1024)) is Flaw.UNSIGNED
    assert made_by(SigningKey(id=b"")) is Flaw.UNSIGNED


# --- what stands for whom


def test_the_handle_says_nothing_of_the_user_and_is_new_each_time() -> None:
    handles = {webauthn.handle_for(state) for state in ("a" * 32, "b" * 32)}
    assert {len(handle) for handle in handles} == {16}
    assert len(handles) == 2


def test_what_a_challenge_is_bound_to_cannot_run_together() -> None:
    assert webauthn.challenge("ab", "c") != webauthn.challenge("a", "bc") != webauthn.challenge("abc")


# --- a security key is no token that shows values


def test_no_passcode_is_a_security_keys(token: Token) -> None:
    kind = Webauthn()
    assert kind.compare(token, "123456", NOW, Window(1, 10, 10)) == NOTHING
    assert kind.lengths(token) == ()
    for refused in (lambda: kind.uri(token, "alice", "x"), lambda: kind.resync(token, "1", "2", NOW, Window(1, 1, 1))):
        with pytest.raises(BadInput):
            refused()
    kind.check(token)
    with pytest.raises(BadInput, match="twofold profile device add"):
        kind.check(replace(token, key=b"x" * 20))


# --- attestation


@pytest.fixture(scope="module")
def maker() -> certificates.Maker:
    return certificates.Maker()


def trusting(maker: certificates.Maker, *models: str) -> Site:
    return Site(aaguids=frozenset(models), attestation_roots=(maker.root,))


OURS = "74776f66-6f6c-642d-6b65-792d74657374"


@pytest.mark.statement("W-015")
def test_an_allowed_model_must_be_vouched_for_by_its_maker(maker: certificates.Maker) -> None:
    site = trusting(maker, OURS)
    key = SigningKey()
    asked = webauthn.ask_new(site, "alice", HANDLE, (), SIGNED, False)
    assert asked.attestation

    def outcome(new: NewCredential, at: Site = site) -> Made | Flaw:
        return webauthn.check_new(at, HANDLE, (), new, SIGNED, False)

    assert AAGUID.hex() == OURS.replace("-", "")
    assert isinstance(outcome(maker.attested(key, asked)), Made)
    assert outcome(key.make(asked)) is Flaw.UNTRUSTED  # says what it is, with nobody to confirm it
    assert outcome(maker.attested(key, asked, by_itself=True)) is Flaw.UNTRUSTED
    assert outcome(certificates.Maker().attested(key, asked)) is Flaw.UNTRUSTED
    assert outcome(maker.attested(key, asked), trusting(maker, "00000000-0000-0000-0000-000000000001")) is (
        Flaw.UNTRUSTED
    )
    assert outcome(maker.attested(key, asked, spoiled=True)) is Flaw.UNTRUSTED
    assert outcome(maker.attested(key, asked, model=None)) is Flaw.UNTRUSTED
    assert outcome(maker.attested(key, asked, model=bytes(16))) is Flaw.UNTRUSTED
    assert x509.load_der_x509_certificate(maker.root)


def test_a_leaf_cannot_vouch_for_another_leaf(maker: certificates.Maker) -> None:
    """Whoever has one key of the maker's must not be able to make certificates with it."""
    site = trusting(maker, OURS)
    asked = webauthn.ask_new(site, "alice", HANDLE, (), SIGNED, False)
    new = maker.attested(SigningKey(), asked, through_a_leaf=True)
    assert webauthn.check_new(site, HANDLE, (), new, SIGNED, False) is Flaw.UNTRUSTED


def test_without_a_list_nobody_is_asked_what_he_has(maker: certificates.Maker) -> None:
    made = made_by(SigningKey(), verify_user=True, flags=UP | UV)
    assert isinstance(made, Made)
    assert not webauthn.ask_new(SITE, "alice", HANDLE, (), SIGNED, False).attestation


# --- the vectors of the standard


@pytest.mark.statement("W-005", "V-021")
@pytest.mark.parametrize("vector", W3C, ids=lambda vector: vector.name)
def test_what_the_standard_prints_is_registered_and_recognised(vector: Vector) -> None:
    site = Site(rp_id=RP_ID, origin=ORIGIN)
    new = NewCredential(vector.registration.client_data, vector.registration.attestation_object)
    made = webauthn.check_new(site, HANDLE, (), new, vector.registration.challenge, False)
    assert isinstance(made, Made), made
    token = Token(7, "TF-KEY", 1, "webauthn", made.credential.pack(), moving_factor=made.sign_count)
    asserted = vector.assertion
    answer = Assertion(made.credential.id, asserted.client_data, asserted.authenticator_data, asserted.signature)
    used = webauthn.check_assertion(site, [token], answer, asserted.challenge, False)
    assert isinstance(used, Used), used
    for spoiled in (
        replace(answer, signature=answer.signature[:-1] + bytes([answer.signature[-1] ^ 1])),
        replace(answer, client_data=answer.client_data + b" "),
    ):
        assert webauthn.check_assertion(site, [token], spoiled, asserted.challenge, False) is Flaw.UNSIGNED
    assert webauthn.check_assertion(site, [token], answer, bytes(32), False) is Flaw.UNSIGNED


@pytest.mark.parametrize("handle", [b"a" * 16, b"b" * 16])
def test_a_credential_is_recognised_under_whatever_handle_it_was_registered(handle: bytes) -> None:
    packed = Credential(handle, b"data", backup_eligible=handle[0] == 97).pack()
    assert {canonical_key(packed, algorithm) for algorithm in SIGNATURES} == {b"data"}
    assert set(_ALGORITHM_NAMES.values()) == SIGNATURES
