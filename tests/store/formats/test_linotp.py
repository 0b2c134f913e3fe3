"""LinOTP's table of tokens, opened with encKey."""

import csv
import io
import json

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from store.formats.choosing import choose
from store.formats.linotp import LinOtp
from store.formats.reading import Unlock
from tests.store.formats.files import HEX, KEY, bad_rows, one_bad, one_seed, read, seeds, skipped
from validation.errors import BadInput

LINOTP = LinOtp()
ENC_KEY = bytes(range(96))
UNLOCK = Unlock(key=lambda: ENC_KEY)
START = bytes(range(16))
NAMES = (
    "LinOtpTokenId",
    "LinOtpTokenSerialnumber",
    "LinOtpTokenType",
    "LinOtpTokenInfo",
    "LinOtpUserid",
    "LinOtpOtpLen",
    "LinOtpKeyEnc",
    "LinOtpKeyIV",
    "LinOtpIsactive",
    "LinOtpCount",
    "LinOtpTokenDesc",
)


def padded(key: bytes, old: bool) -> bytes:
    """LinOTP encrypts the key as hex; until version 2 it ended in a mark and zeros, since 3 in PKCS#7."""
    text = key.hex().encode()
    if old:
        text += b"\x01\x02"
        return text + b"\0" * (-len(text) % 16)
    count = 16 - len(text) % 16
    return text + bytes([count]) * count


def sealed(key: bytes, slot: int = 2, old: bool = False) -> str:
    encryptor = Cipher(algorithms.AES(ENC_KEY[32 * slot : 32 * slot + 32]), modes.CBC(START)).encryptor()
    return (encryptor.update(padded(key, old)) + encryptor.finalize()).hex()


def row(**facts: object) -> dict[str, str]:
    usual: dict[str, object] = {
        "LinOtpTokenId": 1,
        "LinOtpTokenSerialnumber": "OATH01",
        "LinOtpTokenType": "HMAC",
        "LinOtpTokenInfo": "",
        "LinOtpUserid": "",
        "LinOtpOtpLen": 6,
        "LinOtpKeyEnc": sealed(KEY),
        "LinOtpKeyIV": START.hex(),
        "LinOtpIsactive": 1,
        "LinOtpCount": 5,
        "LinOtpTokenDesc": "",
    }
    return {name: str(value) for name, value in (usual | {f"LinOtp{k}": v for k, v in facts.items()}).items()}


def as_csv(*rows: dict[str, str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, NAMES)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


INFO = json.dumps({"hashlib": "sha256", "timeStep": "60", "timeShift": 120, "timeWindow": "180"}, indent=2)
TOTP = row(TokenType="totp", TokenSerialnumber="TOTP02", TokenInfo=INFO, OtpLen=8, TokenDesc="the red one")


def test_a_table_as_csv_with_line_ends_inside_fields() -> None:
    text = as_csv(TOTP, row())
    assert choose(text.encode(), "x").name == "linotp"
    found = read(LINOTP, text, UNLOCK)
    totp, hotp = seeds(found)
    assert (totp.place, totp.serial, totp.kind, totp.key) == ("line 2", "TOTP02", "totp", KEY)
    assert (totp.digits, totp.period, totp.algorithm, totp.drift) == (8, 60, "sha256", 2)
    assert (totp.moving_factor, totp.label, totp.notes) == (5, "the red one", ())
    assert (hotp.place, hotp.serial, hotp.kind, hotp.moving_factor) == ("line 8", "OATH01", "hotp", 5)
    assert hotp.notes == ("the file does not say, so: sha1",)
    assert found.facts == ("PINs of tokens are not carried over",)


def test_a_table_as_mysql_prints_it() -> None:
    fields = [TOTP[name].replace("\n", "\\n") if TOTP[name] else "NULL" for name in NAMES]
    text = "\t".join(NAMES) + "\n" + "\t".join(fields) + "\n"
    seed = one_seed(read(LINOTP, text, UNLOCK))
    assert (seed.key, seed.period, seed.algorithm) == (KEY, 60, "sha256")


@pytest.mark.parametrize("slot", [0, 1, 2])
@pytest.mark.parametrize("old", [False, True])
def test_each_slot_of_enckey_and_both_paddings(slot: int, old: bool) -> None:
    assert one_seed(read(LINOTP, as_csv(row(KeyEnc=sealed(KEY, slot, old))), UNLOCK)).key == KEY


def test_what_is_not_carried_over_is_said() -> None:
    info = json.dumps({"hashlib": "sha1", "validity_period_end": "31/12/30 00:00"})
    seed = one_seed(read(LINOTP, as_csv(row(Userid="4711", Isactive=0, TokenInfo=info)), UNLOCK))
    assert seed.user == ""
    assert [note.split(",")[0].split(";")[0] for note in seed.notes] == [
        "it is assigned there",
        "the token was disabled there",
        "its period of validity is not carried over",
    ]


def test_other_kinds_are_named() -> None:
    found = read(LINOTP, as_csv(row(TokenType="spass"), row()), UNLOCK)
    assert [(s.place, s.what) for s in skipped(found)] == [("line 2", "a token of kind spass")]
    assert len(seeds(found)) == 1


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"KeyEnc": "zz"}, "linotpkeyenc"),
        ({"KeyEnc": HEX}, "LinOtpKeyEnc"),
        ({"KeyEnc": ""}, "LinOtpKeyEnc"),
        ({"KeyEnc": "00" * 32}, "LinOtpKeyEnc"),
        ({"KeyIV": "00"}, "LinOtpKeyEnc"),
        ({"OtpLen": 9}, "digits"),
        ({"Count": -1}, "LinOtpCount"),
        ({"TokenInfo": "{"}, "LinOtpTokenInfo"),
        ({"TokenInfo": "[]"}, "LinOtpTokenInfo"),
        ({"TokenInfo": '{"hashlib": "md5"}'}, "hashlib"),
    ],
)
def test_what_cannot_be_right_is_named(facts: dict[str, object], field: str) -> None:
    found = read(LINOTP, as_csv(row(**facts), row(TokenSerialnumber="OATH02")), UNLOCK)
    (bad,) = bad_rows(found)
    assert (bad.place, bad.field, bad.serial) == ("line 2", field, "OATH01")
    assert [s.serial for s in seeds(found)] == ["OATH02"]
    assert HEX[:8] not in repr(found)


@pytest.mark.parametrize(("key", "says"), [(None, "encKey with --key-file"), (b"short", "no encKey")])
def test_without_the_key_file_nothing_is_read(key: bytes | None, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read(LINOTP, as_csv(row()), Unlock(key=lambda: key))


def test_a_wrong_key_file_opens_no_row() -> None:
    bad = one_bad(read(LINOTP, as_csv(row()), Unlock(key=lambda: bytes(96))))
    assert "does not open this key" in bad.text


def test_a_missing_column_is_an_error() -> None:
    with pytest.raises(BadInput, match="line 1: the header does not name linotpkeyiv"):
        read(LINOTP, as_csv(row()).replace("LinOtpKeyIV", "IV"), UNLOCK)


@given(key=st.binary(min_size=1, max_size=64), count=st.integers(0, 2**62), digits=st.integers(6, 8), old=st.booleans())
def test_what_is_written_is_read_back(key: bytes, count: int, digits: int, old: bool) -> None:
    seed = one_seed(read(LINOTP, as_csv(row(KeyEnc=sealed(key, 2, old), Count=count, OtpLen=digits)), UNLOCK))
    assert (seed.key, seed.moving_factor, seed.digits) == (key, count, digits)
