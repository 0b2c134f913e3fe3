"""OATH CSV: the variants makers and other servers write, and what Windows and spreadsheets do to them."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.formats.choosing import choose
from store.formats.oath_csv import OathCsv
from store.formats.reading import Seed
from tests.store.formats.files import BASE32, HEX, KEY, bad_rows, case, one_bad, one_seed, read, seeds, shown, skipped
from validation.errors import BadInput

CSV = OathCsv()
KEY_32, KEY_64 = bytes(range(32)), bytes(range(64))


def test_missing_columns_have_the_defaults_of_the_format_and_say_so() -> None:
    found = seeds(case("I10-oath-defaults.csv", "oath-csv"))
    assert [(s.serial, s.kind, s.digits, s.period) for s in found] == [
        ("Token001", "hotp", 6, 30),
        ("Token002", "totp", 8, 30),
        ("Token003", "hotp", 6, 30),
        ("Token004", "totp", 6, 60),
    ]
    assert [shown(s) for s in found] == [
        ["579632", "101429"],
        ["22506643", "70623692"],
        ["252984", "929683"],
        ["374060", "262092"],
    ]
    assert [s.notes for s in found] == [
        ("the file does not say, so: hotp, 6 digits",),
        ("the file does not say, so: a time step of 30 s",),
        (),
        (),
    ]


def test_a_file_saved_on_windows() -> None:
    found = seeds(case("I16-crlf-blank-comment.csv", "oath-csv"))
    assert [(s.serial, s.kind, s.place) for s in found] == [("000123", "totp", "line 3"), ("000124", "totp", "line 5")]
    assert [shown(s) for s in found] == [["905314", "848476"], ["290271", "846154"]]


def test_column_five_is_the_counter_of_a_hotp_token() -> None:
    found = seeds(case("I19-hotp-counter.csv", "oath-csv"))
    assert [(s.serial, s.moving_factor) for s in found] == [("HC1", 1234), ("HC2", 60)]
    assert [shown(s) for s in found] == [["718353", "326873"], ["68628009", "59753183"]]
    assert found[1].notes == ("a HOTP token has no time step: 60 was read as its next counter",)


@pytest.mark.parametrize(
    ("row", "counter"),
    [("A,{},hotp,30", 0), ("A,{},hotp,0", 0), ("A,{},hotp,", 0), ("A,{},hotp,1234", 1234)],
)
def test_a_column_called_step_is_a_counter_only_if_it_can_be_no_step(row: str, counter: int) -> None:
    seed = one_seed(read(CSV, f"serial,seed,type,step\n{row.format(HEX)}\n"))
    assert seed.moving_factor == counter
    assert any("read as its next counter" in note for note in seed.notes) is (counter == 1234)


@pytest.mark.parametrize(
    ("field", "algorithm"),
    [("sha1", "sha1"), ("Sha256", "sha256"), ("SHA-512", "sha512"), ("HmacSHA256", "sha256"), ("sHa512", "sha512")],
)
def test_the_hash_column(field: str, algorithm: str) -> None:
    seed = one_seed(read(CSV, f"A, {HEX}, hotp, 8 ,, {field},\n"))
    assert (seed.algorithm, seed.notes) == (algorithm, ())


@pytest.mark.parametrize(("key", "algorithm"), [(KEY, "sha1"), (KEY_32, "sha256"), (KEY_64, "sha512")])
def test_a_hash_told_by_the_length_of_the_key_is_said(key: bytes, algorithm: str) -> None:
    seed = one_seed(read(CSV, f"A,{key.hex()},totp,6,30\n"))
    assert seed.algorithm == algorithm
    assert bool(seed.notes) is (algorithm != "sha1")
    assert all(f"{algorithm}, because the key has {len(key)} octets" in note for note in seed.notes)


def test_base32_seeds_are_told_by_the_file_as_a_whole() -> None:
    ambiguous = "ABCDEF22ABCDEF22"  # hex as well as Base32
    found = seeds(read(CSV, f"A,{ambiguous},totp\nB,{BASE32},totp\n"))
    assert [s.key for s in found] == [base64.b32decode(ambiguous), KEY]
    found = seeds(read(CSV, f"A,{ambiguous},totp\nB,{HEX},totp\n"))
    assert [s.key for s in found] == [bytes.fromhex(ambiguous), KEY]


def test_seeds_that_may_be_either_are_hex_and_that_is_said() -> None:
    seed = one_seed(read(CSV, "A,ABCDEF22ABCDEF22,totp,6,30\n"))
    assert seed.key == bytes.fromhex("ABCDEF22ABCDEF22")
    assert seed.notes == ("the key was read as hex; no key in this file has a character that rules Base32 out",)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_quotation_marks(separator: str) -> None:
    row = separator.join(['"0001"', f'"{HEX}"', "totp", "6", "60"])
    seed = one_seed(read(CSV, f"\ufeff{row}\r\n\x1a\r\n"))
    assert (seed.serial, seed.key, seed.period) == ("0001", KEY, 60)


def test_a_first_line_that_tells_excel_the_separator() -> None:
    assert one_seed(read(CSV, f"sep=;\r\n1,5;{HEX};totp;6;30\r\n")).serial == "1,5"


def test_a_header_names_columns_in_any_order_and_a_user() -> None:
    text = f"Token Type,Secret Key,User Name,Serial Number,Counter,Colour,OTPlen\nhotp,{HEX},alice,007,5,red,8\n"
    seed = one_seed(read(CSV, text))
    assert (seed.kind, seed.key, seed.user, seed.serial) == ("hotp", KEY, "alice", "007")
    assert (seed.moving_factor, seed.digits, seed.notes) == (5, 8, ())


def test_columns_that_are_not_read_are_said() -> None:
    """One may say whose a token is, or until when it is good: the import would look as if that had come along."""
    found = read(CSV, f"serial,seed,Assigned To,type,Expiry,\nA,{HEX},alice,totp,2020-01-01,\n")
    assert (one_seed(found).user, found.facts) == ("", ("not read: columns Assigned To, Expiry",))
    assert read(CSV, f"serial,seed,Colour\nA,{HEX},red\n").facts == ("not read: column Colour",)
    assert read(CSV, f"A,{HEX},totp,6,30,sha1,alice\nB,{HEX},totp,6,30,,bob\n").facts == ("not read: column number 7",)
    assert read(CSV, f"serial,seed\nA,{HEX},alice,,\n").facts == ("not read: column number 3",)
    assert read(CSV, f"serial,seed,user\nA,{HEX},alice\n").facts == read(CSV, f"A,{HEX},totp\n").facts == ()


def test_utf16_from_windows_is_text() -> None:
    found = read(CSV, f"A,{HEX},totp,6,30\r\n\x1a\r\n".encode("utf-16"))
    assert one_seed(found).key == KEY


@pytest.mark.parametrize(("kind", "what"), [("ocra", "an OCRA token"), ("motp", "a Mobile-OTP token")])
def test_other_kinds_are_named_and_not_bad(kind: str, what: str) -> None:
    found = read(CSV, f"A,{HEX},{kind}, OCRA-1:HOTP-SHA1-8:QH40\nB,{HEX},totp\n")
    assert [(s.place, s.what) for s in skipped(found)] == [("line 1", what)]
    assert [s.serial for s in seeds(found)] == ["B"]


@pytest.mark.statement("O-106")
@pytest.mark.parametrize(
    ("seed", "says"),
    [
        ("1j12", "character 2 is no hex digit"),
        (HEX[:-1], "an odd number of hex digits (39)"),
        ("", "the key is missing"),
        ("3.13233E+39", "rounded number"),
        (BASE32, "looks like Base32"),
        ("12ß4", "character 3 is no hex digit"),
    ],
)
def test_a_bad_seed_is_named_by_line_and_stops_no_other(seed: str, says: str) -> None:
    text = f"tok1,{HEX},totp,6\ntok2,{seed},totp,6\ntok3, 1212, hotp, 8\ntok4,{HEX},totp,8,60\n"
    assert choose(text.encode(), "x").name == "oath-csv"
    found = read(CSV, text)
    assert [s.serial for s in seeds(found)] == ["tok1", "tok3", "tok4"]
    (bad,) = bad_rows(found)
    assert (bad.place, bad.field, bad.serial) == ("line 2", "seed", "tok2")
    assert says in bad.text
    assert not seed or seed not in repr(bad)


@pytest.mark.statement("O-106")
@pytest.mark.parametrize(
    ("seed", "says"),
    [
        ("GEZDGNBVGY3TQOJ0GEZDGNBVGY3TQOJQ", "character 16 is one of 0, 1, 8 and 9"),
        ("1EZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "character 1 is one of 0, 1, 8 and 9"),
        ("GEZDGNBVGY3TQOJQ!EZDGNBVGY3TQOJQ", "character 17 is no Base32"),
        (HEX, "looks like hex"),
        (BASE32[:-2], "30 Base32 characters are not a whole number of octets"),
    ],
)
def test_a_bad_base32_seed_is_named_by_line(seed: str, says: str) -> None:
    found = read(CSV, f"A,{BASE32},totp\nB,{seed},totp\nC,{BASE32},totp\n")
    (bad,) = bad_rows(found)
    assert (bad.place, bad.field, bad.serial) == ("line 2", "seed", "B")
    assert says in bad.text
    assert seed not in repr(bad)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("A,{},steam", "type"),
        ("A,{},totp,5", "digits"),
        ("A,{},totp,9", "digits"),
        ("A,{},totp,²", "digits"),
        ("A,{},totp,6,0", "step"),
        ("A,{},totp,6,121", "step"),
        ("A,{},hotp,6,-1", "counter"),
        ("A,{},hotp,6,9223372036854775807", "counter"),
        ("A,{},totp,6,30,md5", "hash"),
        ("{}", "seed"),
        ("{},A,totp", "serial"),
    ],
)
def test_a_field_that_cannot_be_right_is_named(row: str, field: str) -> None:
    found = read(CSV, f"{row.format(HEX)}\nB,{HEX},totp\n")
    (bad,) = bad_rows(found)
    assert (bad.place, bad.field) == ("line 1", field)
    assert HEX not in repr(bad)
    assert [s.serial for s in seeds(found)] == ["B"]


@pytest.mark.parametrize(
    ("serial", "says"),
    [
        ("1.23457E+09", "rounded the number"),
        ("1,23457E+09", "rounded the number"),
        ("=A2", "formula"),
        ("=cmd()", "formula"),
        ("12/11/2013", "a date"),
        ("2013-12-31", "a date"),
        ("11.12.13", "a date"),
        ("12-Jan", "a date"),
        ("Jan-12", "a date"),
    ],
)
def test_what_a_spreadsheet_made_of_a_serial_is_explained(serial: str, says: str) -> None:
    bad = one_bad(read(CSV, f'"{serial}",{HEX},totp\n'))
    assert bad.field == "serial"
    assert says in bad.text


@pytest.mark.parametrize("serial", ["0001234567", "1234567", "26-00-99", "2600-12-34", "12E45", "A.1", "1/2"])
def test_serials_that_only_resemble_damage_are_kept(serial: str) -> None:
    assert one_seed(read(CSV, f"{serial},{HEX},totp\n")).serial == serial


def test_a_serial_kept_whole_by_a_formula_is_taken_out_of_it() -> None:
    seed = one_seed(read(CSV, f'="000123",{HEX},totp,6,30\n'))
    assert (seed.serial, seed.notes) == ("000123", ("the serial stood in a spreadsheet formula, which was taken off",))


def test_a_missing_serial_stays_missing() -> None:
    assert one_seed(read(CSV, f",{HEX},totp,6,30\n")).serial == ""


@pytest.mark.parametrize("text", ["", "# nothing\n", "serial,seed,type\r\n\r\n"])
def test_a_file_without_a_row_is_an_error(text: str) -> None:
    with pytest.raises(BadInput, match="holds no token"):
        read(CSV, text)


def test_a_list_of_users_is_no_token_file() -> None:
    assert not CSV.fits(b"name,first_factor\nalice,local\nbob,system\n", "users.csv")


SERIALS = st.text("ABCDEFGHKLMNP0123456789", min_size=1, max_size=12).filter(lambda text: "E" not in text)
ROWS = st.builds(
    Seed,
    place=st.just(""),
    kind=st.sampled_from(["hotp", "totp"]),
    key=st.binary(min_size=1, max_size=64),
    serial=SERIALS,
    digits=st.sampled_from([6, 7, 8]),
    period=st.integers(1, 120),
    algorithm=st.sampled_from(["sha1", "sha256", "sha512"]),
    moving_factor=st.integers(0, 2**63 - 2),
)


def written(seed: Seed, separator: str, base32: bool) -> str:
    key = base64.b32encode(seed.key).decode() if base32 else seed.key.hex()
    moving = seed.period if seed.kind == "totp" else seed.moving_factor
    return separator.join([seed.serial, key, seed.kind, str(seed.digits), str(moving), seed.algorithm])


@given(rows=st.lists(ROWS, min_size=1, max_size=5), separator=st.sampled_from(",;\t"), base32=st.booleans())
def test_what_is_written_is_read_back(rows: list[Seed], separator: str, base32: bool) -> None:
    settled = "" if base32 else f"Z{separator}{HEX}{separator}hotp\n"
    settled = f"Z{separator}{BASE32}{separator}hotp\n" * 6 if base32 else settled
    text = settled + "\r\n".join(written(row, separator, base32) for row in rows)
    found = seeds(read(CSV, text))[-len(rows) :]
    assert [(s.serial, s.kind, s.key, s.digits, s.algorithm) for s in found] == [
        (r.serial, r.kind, r.key, r.digits, r.algorithm) for r in rows
    ]
    assert [s.period if s.kind == "totp" else s.moving_factor for s in found] == [
        r.period if r.kind == "totp" else r.moving_factor for r in rows
    ]


def test_the_content_is_told_without_the_name() -> None:
    assert choose(f"A,{HEX}\n".encode(), "tokens.pskc").name == "oath-csv"


def test_short_seeds_of_a_trial_file_are_told_from_other_tables() -> None:
    assert (
        choose(b"tok1, 1212\ntok2, 1j12, totp, 6\ntok3, 1212, hotp, 8\ntok4, 1212, totp, 8, 60\n", "x").name
        == "oath-csv"
    )
