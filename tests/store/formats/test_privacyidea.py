"""Exports of privacyIDEA: pi (encrypted), yaml, csv."""

import base64
import json

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from store.formats.choosing import choose
from store.formats.privacyidea import PrivacyIdea
from store.formats.reading import Unlock
from tests.store.formats.files import BASE32, HEX, KEY, bad_rows, one_bad, one_seed, read, seeds, skipped
from validation.errors import BadInput

PI = PrivacyIdea()
FERNET_KEY = base64.urlsafe_b64encode(bytes(range(32)))
NO_COUNTER = "the file has no counters, so {}: export as pi or yaml to refuse codes used before"

YAML = f"""- active: true
  count: 57
  description: Alice's ''token''
  info_list:
    hashlib: sha256
    timeShift: '-60'
    timeStep: '30'
    validity_period_end: 2027-01-01T00:00+0100
    validity_period_start: ''
  otpkey: {HEX}
  otplen: 8
  owner: alice@example@realm1
  realms:
  - realm1
  revoked: false
  serial: '0001234'
  type: totp
- active: false
  count: 3
  description: null
  info_list: {{}}
  otpkey: {HEX}
  otplen: 6
  owner: n/a
  serial: OATH02
  type: hotp
- otpkey: ''
  serial: PW01
  type: pw
- otpkey: {HEX[:32]}
  serial: UBAM01
  type: yubikey
- otpkey: {HEX}
  revoked: true
  serial: OATH03
  type: hotp
"""


def test_yaml_with_state() -> None:
    assert choose(YAML.encode(), "x").name == "privacyidea"
    found = read(PI, YAML)
    alice, nobody = seeds(found)
    assert (alice.place, alice.serial, alice.kind, alice.key, alice.digits) == ("line 1", "0001234", "totp", KEY, 8)
    assert (alice.user, alice.algorithm, alice.period, alice.drift) == ("alice@example", "sha256", 30, -2)
    assert (alice.moving_factor, alice.starts_at, alice.expires_at) == (57, None, 1798758000.0)
    assert alice.notes == ("the token is -2 steps off",)
    assert (nobody.serial, nobody.user, nobody.moving_factor, nobody.label) == ("OATH02", "", 3, "")
    assert nobody.notes == (
        "the token was disabled there, and is disabled here",
        "the file does not say, so: sha1",
    )
    assert [(s.place, s.what) for s in skipped(found)] == [
        ("line 27", "a token of kind pw"),
        ("line 33", "a token that was revoked there"),
    ]
    assert [(b.place, b.field, b.serial) for b in bad_rows(found)] == [("line 30", "type", "UBAM01")]
    assert HEX[:8] not in repr(found)


def test_csv_has_an_owner_and_no_counters() -> None:
    text = f"alice@realm1, OATH01, {HEX}, hotp, 6\nn/a, TOTP02, {HEX}, totp, 8, 60\nn/a, TOTP03, {HEX}, totp, 8, None\n"
    assert choose(text.encode(), "x").name == "privacyidea"
    first, second, third = seeds(read(PI, text))
    assert (first.serial, first.user, first.kind, first.digits, first.moving_factor) == (
        "OATH01",
        "alice",
        "hotp",
        6,
        0,
    )
    assert first.notes[0] == NO_COUNTER.format("its counter starts at 0")
    assert (second.serial, second.user, second.period, second.digits) == ("TOTP02", "", 60, 8)
    assert second.notes[0] == NO_COUNTER.format("the last used step is not known")
    assert third.period == 30


def test_a_longer_key_in_csv_means_another_hash_and_that_is_said() -> None:
    seed = one_seed(read(PI, f"n/a, A, {bytes(range(64)).hex()}, totp, 6, 30\n"))
    assert seed.algorithm == "sha512"
    assert any("sha512, because the key has 64 octets" in note for note in seed.notes)


def test_keys_written_as_base32() -> None:
    assert one_seed(read(PI, f"n/a, A, {BASE32}, hotp, 6\n")).key == KEY


def packed(tokens: object) -> bytes:
    return Fernet(FERNET_KEY).encrypt(json.dumps(tokens, indent=2).encode())


TOKENS = [
    {
        "type": "hotp",
        "serial": "OATH01",
        "otpkey": HEX,
        "otplen": 6,
        "count": 9,
        "active": True,
        "description": "d",
        "info_list": {"hashlib": "sha1"},
        "user": {"login": "alice", "realm": "realm1", "uid": "7"},
    },
    {"type": "push", "serial": "PIPU01", "otpkey": None},
]


@pytest.mark.parametrize("key", [FERNET_KEY, FERNET_KEY + b"\n", bytes(range(32))], ids=["as printed", "file", "raw"])
def test_the_encrypted_export(key: bytes) -> None:
    octets = packed(TOKENS)
    assert choose(octets, "x").name == "privacyidea"
    found = read(PI, octets, Unlock(key=lambda: key))
    (alice,) = seeds(found)
    assert (alice.place, alice.user, alice.serial, alice.moving_factor, alice.key) == (
        "token 1",
        "alice",
        "OATH01",
        9,
        KEY,
    )
    assert [(s.place, s.what) for s in skipped(found)] == [("token 2", "a token of kind push")]
    assert found.facts == ("PINs and passwords of tokens are not carried over",)


def test_the_list_that_was_inside_is_read_too() -> None:
    octets = json.dumps(TOKENS).encode()
    assert choose(octets, "x").name == "privacyidea"
    assert [s.serial for s in seeds(read(PI, octets))] == ["OATH01"]


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (None, "give the key"),
        (b"short", "does not open"),
        (bytes(32), "does not open"),
        (b"\xff" * 44, "does not open"),
    ],
)
def test_a_missing_or_wrong_key_is_one_clear_error(key: bytes | None, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read(PI, packed(TOKENS), Unlock(key=lambda: key))


@pytest.mark.parametrize("inside", ["[", "[1]", "[" * 100_000])
def test_a_list_that_is_none_is_an_error(inside: str) -> None:
    with pytest.raises(BadInput, match=r"damaged|fields with names"):
        read(PI, Fernet(FERNET_KEY).encrypt(inside.encode()), Unlock(key=lambda: FERNET_KEY))


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (HEX, HEX[:-1], "otpkey"),
        ("otplen: 6", "otplen: 10", "digits"),
        ("count: 3", "count: -3", "count"),
        ("info_list: {}", "info_list:\n    hashlib: md5", "hashlib"),
        ("OATH02", "1.2E+09", "serial"),
        ("info_list: {}", "validity_period_end: tomorrow", "validity_period_end"),
    ],
)
def test_what_cannot_be_right_is_named(old: str, new: str, field: str) -> None:
    start = YAML.index("- active: false")
    text = YAML[start : YAML.index("- otpkey: ''")].replace(old, new)
    bad = one_bad(read(PI, text))
    assert (bad.place, bad.field) == ("line 1", field)
    assert HEX[:8] not in repr(bad)


WORDS = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="'\"\\"), min_size=1, max_size=10)


@given(
    key=st.binary(min_size=1, max_size=64),
    count=st.integers(0, 2**62),
    period=st.integers(1, 120),
    drift=st.integers(-100, 100),
    user=WORDS.map(lambda word: word.replace("@", "a")),
    label=WORDS,
)
def test_what_is_written_is_read_back(key: bytes, count: int, period: int, drift: int, user: str, label: str) -> None:
    info = f"  info_list:\n    hashlib: sha1\n    timeShift: '{drift * period}'\n    timeStep: '{period}'\n"
    text = f"- count: {count}\n  description: '{label}'\n{info}  otpkey: '{key.hex()}'\n  owner: '{user}@r'\n"
    text += "  serial: 'A1'\n  type: totp\n"
    seed = one_seed(read(PI, text))
    assert (seed.key, seed.moving_factor, seed.period, seed.drift) == (key, count, period, drift)
    assert (seed.user, seed.label) == (user, label if label not in ("n/a", "None") else "")


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("sms", "a token of kind sms"),
        ("brandnew", "a token of another kind than hotp and totp"),
        ("", "the name of a kind of token is expected"),
        (HEX[:20], "the name of a kind of token is expected"),
    ],
)
def test_a_kind_is_named_only_if_it_is_one(kind: str, outcome: str) -> None:
    (item,) = read(PI, f"- otpkey: {HEX}\n  serial: A\n  type: '{kind}'\n").items
    assert outcome in repr(item)
    assert HEX[:12] not in repr(item)


def test_names_that_are_not_ascii_are_written_with_escapes() -> None:
    label, owner = r'"tab\t \\ \"q\" \u20AC"', '"j\\xFCrgen \\\n    \\ x@r"'
    text = f"- description: {label}\n  otpkey: {HEX}\n  owner: {owner}\n  type: hotp\n"
    seed = one_seed(read(PI, text))
    assert (seed.user, seed.label) == ("jürgen  x", 'tab\t \\ "q" €')


def test_a_long_owner_is_read_to_its_end() -> None:
    text = f"- description: 'a: long\n    label'\n  otpkey: {HEX}\n  owner: a very long\n    name@realm\n  type: hotp\n"
    seed = one_seed(read(PI, text))
    assert (seed.user, seed.label) == ("a very long name", "a: long label")
