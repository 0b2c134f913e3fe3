"""Microsoft Entra CSV."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.formats.entra_csv import EntraCsv
from tests.store.formats.files import BASE32, HEX, bad_rows, case, one_bad, one_seed, read, seeds, shown
from validation.errors import BadInput

CSV = EntraCsv()
HEADER = "upn,serial number,secret key,time interval,manufacturer,model"


def test_byte_order_mark_and_zeros_at_the_beginning() -> None:
    found = seeds(case("I12-entra-bom.csv", "entra-csv"))
    assert [(s.serial, s.user, s.period, s.label) for s in found] == [
        ("0001234567", "alice@example.org", 60, "Contoso HardwareKey"),
        ("0001234568", "bob@example.org", 30, "Contoso HardwareKey"),
    ]
    assert [(s.kind, s.algorithm, s.digits, s.notes) for s in found] == [("totp", "sha1", 6, ())] * 2
    assert [shown(s) for s in found] == [["498150", "163023"], ["171086", "416440"]]


def test_hex_where_base32_belongs_is_recognised() -> None:
    found = case("I14-hex-in-base32-column.csv", "entra-csv")
    (bad,) = bad_rows(found)
    assert (bad.place, bad.field, bad.serial) == ("line 2", "secret key", "1000001")
    assert "looks like hex" in bad.text
    (good,) = seeds(found)
    assert (good.serial, good.user) == ("1000002", "bob@example.org")
    assert shown(good) == ["099102", "487504"]


def test_columns_in_another_order_and_semicolons() -> None:
    text = f"Secret  Key;UPN;Time Interval;Serial Number\n{BASE32};alice;;7\n"
    seed = one_seed(read(CSV, text))
    assert (seed.serial, seed.user, seed.period) == ("7", "alice", 30)
    assert seed.notes == ("the file does not say, so: a time step of 30 s",)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (f"a,1,{BASE32},121,c,m", "time interval"),
        (f"a,1,{BASE32},30 s,c,m", "time interval"),
        (f"a,1.0E+09,{BASE32},30,c,m", "serial"),
        ("a,1,,30,c,m", "secret key"),
        (f"a,1,{BASE32[:-1]}0,30,c,m", "secret key"),
        ("a,1", "secret key"),
    ],
)
def test_a_field_that_cannot_be_right_is_named(row: str, field: str) -> None:
    bad = one_bad(read(CSV, f"{HEADER}\n{row}\n"))
    assert (bad.place, bad.field) == ("line 2", field)
    assert BASE32[:8] not in repr(bad)


def test_columns_that_are_not_read_are_said() -> None:
    assert read(CSV, f"{HEADER},Valid Until\na,1,{BASE32},30,c,m,2020-01-01\n").facts == (
        "not read: column Valid Until",
    )
    assert read(CSV, f"{HEADER}\na,1,{BASE32},30,c,m,x\n").facts == ("not read: column number 7",)
    assert read(CSV, f"{HEADER}\na,1,{BASE32},30,c,m\n").facts == ()


@pytest.mark.parametrize("text", ["", f"alice,1,{BASE32},30,c,m\n"])
def test_a_missing_header_is_an_error(text: str) -> None:
    with pytest.raises(BadInput, match="header is missing"):
        read(CSV, text)


def test_a_header_alone_is_an_error() -> None:
    with pytest.raises(BadInput, match="holds no token"):
        read(CSV, HEADER)


def test_a_key_in_the_wrong_column_is_repeated_nowhere() -> None:
    assert HEX not in repr(one_bad(read(CSV, f"{HEADER}\nalice,{HEX},12,30,c,m\n")))


@given(key=st.binary(min_size=1, max_size=64), period=st.integers(1, 120), lower=st.booleans(), padded=st.booleans())
def test_what_is_written_is_read_back(key: bytes, period: int, lower: bool, padded: bool) -> None:
    text = base64.b32encode(key).decode()
    text = (text if padded else text.rstrip("=")).lower() if lower else text
    seed = one_seed(read(CSV, f"{HEADER}\r\nalice,01,{text},{period},c,m\r\n"))
    assert (seed.key, seed.period, seed.serial) == (key, period, "01")
