"""Logs of the Yubico personalization tool, and ykksm files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.formats.choosing import choose
from store.formats.reading import Seed
from store.formats.yubico_csv import YubicoCsv
from tests.store.formats.files import HEX, KEY, bad_rows, case, one_bad, one_seed, read, seeds, shown, skipped
from validation.model import Token
from validation.tokens.kind import Window
from validation.tokens.yubico_otp import YubicoOtp, modhex

CSV = YubicoCsv()
WINDOW = Window(totp_window=1, drift_limit=10, look_ahead=10)
AES, PRIVATE = "cf64810f205e07ee9c491a748cf2ce2a", "3151368d087a"
REST = ",,,0,0,0,6,0,0,0,0,0,0"
CODE_OF_A_KEY = "ccccccrcvvuuguredkrurhjfbtnrvhhrrvddvlcncvnr"  # made with AES and PRIVATE above


def accepted(seed: Seed, passcode: str) -> bool:
    token = Token(1, "S", 1, seed.kind, seed.key, public_id=seed.public_id)
    YubicoOtp().check(token)
    return YubicoOtp().compare(token, passcode, 0.0, WINDOW).match is not None


@pytest.mark.statement("O-092")
def test_the_traditional_layout_with_mixed_rows() -> None:
    found = case("I08-yubico-traditional.csv", "yubico-csv")
    otp, first, second = seeds(found)
    assert (otp.kind, otp.public_id, otp.label) == ("yubico_otp", "ccccccrcvvuu", "slot 1")
    assert accepted(otp, CODE_OF_A_KEY)
    assert (first.kind, first.digits, first.label) == ("hotp", 6, "cccccccccccc slot 1")
    assert (second.kind, second.digits, second.label, second.serial) == ("hotp", 8, "slot 2", "")
    assert [shown(s) for s in (first, second)] == [["793078", "799475"], ["78178488", "32021072"]]
    assert [(s.place, s.what) for s in skipped(found)] == [("line 5", "a static password")]


@pytest.mark.statement("O-092")
def test_the_yubico_layout() -> None:
    found = case("I09-yubico-format.csv", "yubico-csv")
    first, second, otp = seeds(found)
    assert [(s.serial, s.kind) for s in (first, second)] == [("508326", "hotp"), ("1382042", "hotp")]
    assert [shown(s) for s in (first, second)] == [["679761", "395337"], ["673019", "755042"]]
    assert first.notes == (
        "the file does not say, so: 6 digits",
        "taken for OATH-HOTP; a challenge-response slot looks the same here",
    )
    assert (otp.serial, otp.kind, otp.public_id) == ("508327", "yubico_otp", "cccccccccccd")
    assert otp.key.hex() == "b9f6cdec005bfd1f48f922d98d44ca2c" + "01e486986169"
    assert [(s.place, s.what) for s in skipped(found)] == [("line 5", "a static password")]


@pytest.mark.statement("O-092")
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_ykksm_file_with_comments(end: str) -> None:
    lines = [
        "# ykksm 1",
        "# a batch of keys",
        f"4711,ccccccrcvvuu,{PRIVATE},{AES},000000000000,2009-01-22 00:25:11,",
        f"4712,,{PRIVATE},{AES},be70aeca62ba,2009-01-22 00:25:11,2009-02-13 00:05:40 # spare",
        f"4713,ccccccrcvvuuccdd,{PRIVATE},{AES},000000000000,2009-01-22 00:25:11,2009-02-13 00:05:40,4711",
    ]
    text = end.join(lines) + end
    assert choose(text.encode(), "keys").name == "yubico-csv"
    first, second, third = seeds(read(CSV, text))
    assert [(s.serial, s.kind, s.public_id) for s in (first, second, third)] == [
        ("4711", "yubico_otp", "ccccccrcvvuu"),
        ("4712", "yubico_otp", ""),
        ("4713", "yubico_otp", "ccccccrcvvuuccdd"),
    ]
    assert accepted(first, CODE_OF_A_KEY)
    assert accepted(second, CODE_OF_A_KEY[12:])
    assert first.notes == ()
    assert second.notes == ("the access code of the slot is not carried over; keep it elsewhere",)
    assert "programming flags" in third.notes[0]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("LOGGING START,11.12.13 18:55", "an entry of the log, no slot"),
        ("Configuration Update,11.12.13 18:55,1,,,,,,0,0,0,0,0,0,0,0,0,0", "an entry of the log, no slot"),
        ("Static Password: Scan Code,17.04.12 12:25,1,051212172c092728,,,,,0,0,0,0,0,0,0,0,0,0", "a static password"),
        (
            f"Challenge-Response: HMAC-SHA1,11.12.13 18:55,2,,,{HEX},,,0,0,0,0,0,0,0,0,0,1",
            "a challenge-response slot",
        ),
        (f"Yubico OTP,14.02.17 18:00,1,,,{AES},,,0,0,0,0,0,0,0,0,0,0", "a Yubico OTP slot without any id"),
    ],
)
def test_rows_that_make_no_passcodes_are_named(row: str, what: str) -> None:
    found = read(CSV, f"{row}\nOATH-HOTP,x,1,,,{HEX}{REST}\n")
    assert [(s.place, s.what[: len(what)]) for s in skipped(found)] == [("line 1", what)]
    assert [s.key for s in seeds(found)] == [KEY]


def test_a_time_with_a_comma_in_it() -> None:
    seed = one_seed(read(CSV, f"OATH-HOTP,12/11/2013, 11:10,2,,,{HEX},,,0,0,0,8,16,0,0,0,0,0\n"))
    assert (seed.key, seed.digits, seed.moving_factor, seed.label) == (KEY, 8, 16, "slot 2")


def test_the_moving_factor_of_the_yubico_layout() -> None:
    assert one_seed(read(CSV, f"4711,,1024,{HEX},,2013-12-12T08:41:07,\n")).moving_factor == 1024


def test_an_identifier_that_the_key_types_is_pointed_out() -> None:
    notes = one_seed(read(CSV, f"OATH-HOTP,x,1,cccccccccccc,,{HEX}{REST}\n")).notes
    assert any("types its identifier" in note or "type its identifier" in note for note in notes)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (f"4711,cccccccccccd,{PRIVATE},{AES}00,,2013-12-12T08:43:17,", "key"),
        (f"4711,cccccccccccd,{PRIVATE},{AES[:-1]},,2013-12-12T08:43:17,", "key"),
        (f"4711,abcd,{PRIVATE},{AES},,2013-12-12T08:43:17,", "public id"),
        (f"4711,ccc,{PRIVATE},{AES},,2013-12-12T08:43:17,", "public id"),
        (f"4711,,12345678901,{HEX},,2013-12-12T08:43:17,", "moving factor"),
        (f"Yubico OTP,x,1,ccccccrcvvuu,{PRIVATE}00,{AES}{REST}", "private id"),
        (f"Yubico OTP,x,1,ccccccrcvvuu,,{AES}{REST}", "private id"),
        (f"OATH-HOTP,x,1,,,{HEX},,,0,0,0,0,0,0,0,0,0,0", "digits"),
        (f"{HEX[:12]},cccccccccccd,{PRIVATE},{AES},,2013-12-12T08:43:17,", "serial"),
        ("something else", "row"),
    ],
)
def test_a_field_that_cannot_be_right_is_named(row: str, field: str) -> None:
    found = read(CSV, f"{row}\n4712,,0,{HEX},,2013-12-12T08:43:17,\n")
    (bad,) = bad_rows(found)
    assert (bad.place, bad.field) == ("line 1", field)
    assert not any(secret in repr(bad) for secret in (AES[:8], HEX[:8], PRIVATE))
    assert len(seeds(found)) == 1


def test_a_log_without_keys_is_told_row_by_row() -> None:
    bad = one_bad(read(CSV, "1,,0,0,000000000000,2021-07-20T12:42:35,\n"))
    assert (bad.place, bad.field, bad.serial) == ("line 1", "key", "1")


@given(
    aes=st.binary(min_size=16, max_size=16),
    private=st.binary(min_size=6, max_size=6),
    public=st.binary(max_size=16),
    serial=st.integers(1, 10**9),
)
def test_what_is_written_is_read_back(aes: bytes, private: bytes, public: bytes, serial: int) -> None:
    text = f"# ykksm 1\n{serial},{modhex(public)},{private.hex()},{aes.hex()},000000000000,2009-01-22 00:25:11,\n"
    seed = one_seed(read(CSV, text))
    assert (seed.key, seed.public_id, seed.serial) == (aes + private, modhex(public), str(serial))
    assert aes.hex() not in repr(seed)
