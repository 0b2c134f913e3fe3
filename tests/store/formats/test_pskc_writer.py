"""What is written is read back equal, by us and, without what is ours alone, by others."""

import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.formats import pskc_writer
from store.formats.reading import Contents, Seed
from tests.store.formats.pskc_files import SECRET, b64, read
from validation.errors import BadInput

PASSWORD = "correct Pferd 電池"
KEY = bytes(range(32))
FEW = 1000  # iterations, so that a test is quick; how many there are by default has a test of its own

_SERIALS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
_TEXTS = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=30)
_USERS = st.one_of(st.just(""), st.from_regex(r"[a-z][a-z0-9._-]{0,20}", fullmatch=True), _TEXTS)
_DATES = st.one_of(st.none(), st.integers(0, 4_000_000_000).map(float), st.integers(0, 10**9).map(lambda n: n + 0.5))
_CODES = st.lists(st.text("0123456789", min_size=8, max_size=8), max_size=5).map(tuple)
_COMMON = {
    "serial": _SERIALS,
    "place": st.just("here"),
    "label": _TEXTS,
    "user": _USERS,
    "starts_at": _DATES,
    "expires_at": _DATES,
    "recovery_codes": _CODES,
}
_OATH = {
    **_COMMON,
    "key": st.binary(min_size=1, max_size=64),
    "digits": st.integers(6, 8),
    "algorithm": st.sampled_from(["sha1", "sha256", "sha512"]),
}
_HOTPS = st.builds(
    Seed,
    kind=st.just("hotp"),
    moving_factor=st.integers(0, 2**63 - 2),
    look_ahead=st.one_of(st.none(), st.integers(0, 100)),
    **_OATH,
)
_TOTPS = st.builds(
    Seed,
    kind=st.just("totp"),
    period=st.integers(10, 120),
    moving_factor=st.integers(0, 30_000_000),
    drift=st.integers(-1000, 1000),
    **_OATH,
)
_YUBIKEYS = st.builds(
    Seed,
    kind=st.just("yubico_otp"),
    key=st.binary(min_size=22, max_size=22),
    public_id=st.lists(st.sampled_from("cbdefghijklnrtuv"), max_size=16).map(lambda half: "".join(half + half)),
    moving_factor=st.integers(0, 2**23),
    **_COMMON,
)
SEEDS = st.lists(st.one_of(_HOTPS, _TOTPS, _YUBIKEYS), min_size=1, max_size=6, unique_by=lambda seed: seed.serial)

HOTP = Seed("here", "hotp", SECRET, "H1", digits=8, moving_factor=7, look_ahead=20, label="Lager", user="alice")
TOTP = Seed("here", "totp", bytes(range(32)), "T1", period=60, algorithm="sha256", moving_factor=9_000, drift=-3)
YUBIKEY = Seed("here", "yubico_otp", bytes(range(22)), "Y1", public_id="ekhgjhbctrgn", moving_factor=770, user="bob")
ALL = [HOTP, TOTP, YUBIKEY]


def _facts(seeds: object) -> list[Seed]:
    """Without what belongs to one file alone."""
    assert isinstance(seeds, (list, tuple))
    assert all(isinstance(seed, Seed) for seed in seeds), seeds
    return [replace(seed, place="", notes=()) for seed in seeds]


def _sealed(seeds: list[Seed]) -> bytes:
    return pskc_writer.with_password(seeds, PASSWORD, FEW)


def _opened(octets: bytes) -> Contents:
    return read(octets, key=None, password=PASSWORD)


@pytest.mark.statement("O-105")
@given(seeds=SEEDS)
def test_any_tokens_are_read_back_equal(seeds: list[Seed]) -> None:
    assert _facts(_opened(_sealed(seeds)).items) == _facts(seeds)


@pytest.mark.statement("O-105")
@given(seeds=SEEDS)
@settings(max_examples=20)
def test_import_export_import_is_equal_for_ever(seeds: list[Seed]) -> None:
    once = _facts(read(pskc_writer.with_key(seeds, KEY), key=KEY).items)
    again = _facts(read(pskc_writer.with_key(once, KEY), key=KEY).items)
    assert again == once == _facts(seeds)


@pytest.mark.statement("O-105")
@pytest.mark.parametrize("octets", [16, 24, 32])
def test_a_key_of_each_length_opens(octets: int) -> None:
    contents = read(pskc_writer.with_key(ALL, KEY[:octets]), key=KEY[:octets])
    assert _facts(contents.items) == _facts(ALL)
    assert f"encrypted with AES-{octets * 8}-CBC, MAC verified" in contents.facts
    assert all(isinstance(item, Seed) and not item.notes for item in contents.items)


@pytest.mark.statement("O-105")
def test_python_pskc_opens_it_and_finds_what_pskc_has_elements_for() -> None:
    from pskc import PSKC

    opened = PSKC(io.BytesIO(_sealed([replace(seed, recovery_codes=("11111111",)) for seed in ALL])))
    opened.encryption.derive_key(PASSWORD)
    hotp, totp, yubikey = opened.keys
    assert all(key.check() for key in opened.keys)
    assert (hotp.serial, hotp.secret, hotp.counter, hotp.response_length) == ("H1", SECRET, 7, 8)
    assert (hotp.friendly_name, hotp.userid) == ("Lager", "CN=alice")
    assert (totp.secret, totp.time_interval, totp.time_drift, totp.algorithm_suite) == (TOTP.key, 60, -3, "HMAC-SHA256")
    assert (totp.time_offset, totp.policy.key_usage) == (8_999, ["OTP"])
    assert (yubikey.secret, yubikey.userid) == (bytes(range(16)), "CN=ekhgjhbctrgn, UID=101112131415")


def test_no_secret_stands_in_the_clear() -> None:
    octets = _sealed([replace(seed, recovery_codes=("11112222", "33334444")) for seed in ALL])
    for secret in (SECRET, TOTP.key, YUBIKEY.key[:16], b"11112222", PASSWORD.encode()):
        assert secret not in octets
        assert b64(secret).encode() not in octets
        assert secret.hex().encode() not in octets


def test_the_same_tokens_are_never_written_alike() -> None:
    def encrypted(octets: bytes) -> set[bytes]:
        return set(re.findall(rb"<(?:\w+:)?(?:CipherValue|Specified|ValueMAC)>([^<]+)<", octets))

    first, second = encrypted(_sealed([HOTP, replace(HOTP, serial="H2")])), encrypted(_sealed([HOTP]))
    assert len(first) == 6  # salt, MAC key, and value and MAC of each token
    assert not first & second


def test_a_password_is_hashed_as_often_as_is_advised_today() -> None:
    octets = pskc_writer.with_password([HOTP], PASSWORD)
    assert b"<IterationCount>600000</IterationCount>" in octets
    assert b'<PRF Algorithm="http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"/>' in octets
    assert _facts(_opened(octets).items) == _facts([HOTP])


@pytest.mark.statement("O-101")
def test_recovery_codes_carry_a_mac() -> None:
    octets = _sealed([replace(HOTP, recovery_codes=("11112222",)), TOTP])
    start = octets.index(b"RecoveryCodes>")
    at = octets.index(b"CipherValue>", start) + 20
    changed = octets[:at] + (b"A" if octets[at : at + 1] != b"A" else b"B") + octets[at + 1 :]
    bad, whole = _opened(changed).items
    assert not isinstance(bad, Seed)
    assert isinstance(whole, Seed)


def test_a_moving_factor_never_goes_back_whatever_the_extension_says() -> None:
    octets = _sealed([TOTP]).replace(b'movingFactor="9000"', b'movingFactor="1"')
    (seed,) = _opened(octets).items
    assert isinstance(seed, Seed)
    assert seed.moving_factor == 9_000


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda: _sealed([]), "no token"),
        (lambda: pskc_writer.with_password([HOTP], ""), "password is empty"),
        (lambda: pskc_writer.with_key([HOTP], b"short"), "the key has 5 octets"),
        (lambda: _sealed([replace(HOTP, serial="")]), "serial"),
        (lambda: _sealed([HOTP, HOTP]), "there twice"),
        (lambda: _sealed([replace(HOTP, kind="webauthn")]), "no profile for kind webauthn"),
        (lambda: _sealed([replace(HOTP, label="a\x1bb")]), "label"),
        (lambda: _sealed([replace(HOTP, user="a\nb")]), "user"),
        (lambda: _sealed([replace(HOTP, expires_at=1e15)]), "date"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(write: Callable[[], bytes], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        write()
