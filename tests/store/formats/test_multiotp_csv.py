"""multiOTP CSV: the seed stands fourth."""

from hypothesis import given
from hypothesis import strategies as st

from store.formats.choosing import choose
from store.formats.multiotp_csv import MultiotpCsv
from tests.store.formats.files import HEX, KEY, one_bad, one_seed, read, seeds, skipped

CSV = MultiotpCsv()
FILE = f"A1;ACME;HOTP;{HEX};6;7\nA2;ACME;TOTP;{HEX};8;60\nA3;ACME;mOTP;{HEX};6;10\n"


def test_kinds_and_what_the_last_column_means_for_each() -> None:
    assert choose(FILE.encode(), "x").name == "multiotp-csv"
    found = read(CSV, FILE)
    assert [(s.serial, s.label, s.kind, s.digits, s.key) for s in seeds(found)] == [
        ("A1", "ACME", "hotp", 6, KEY),
        ("A2", "ACME", "totp", 8, KEY),
    ]
    assert [(s.moving_factor, s.period) for s in seeds(found)] == [(7, 30), (0, 60)]
    assert [(s.place, s.what) for s in skipped(found)] == [("line 3", "a Mobile-OTP token")]


def test_a_bad_seed_is_named_and_not_repeated() -> None:
    bad = one_bad(read(CSV, f"A1;ACME;HOTP;{HEX[:-1]};6;0\n"))
    assert (bad.place, bad.field, bad.serial) == ("line 1", "seed", "A1")
    assert HEX[:6] not in repr(bad)


@given(key=st.binary(min_size=8, max_size=64), counter=st.integers(0, 2**63 - 2), digits=st.integers(6, 8))
def test_what_is_written_is_read_back(key: bytes, counter: int, digits: int) -> None:
    text = f"A1;ACME;HOTP;{key.hex()};{digits};{counter}\n"
    assert choose(text.encode(), "x").name == "multiotp-csv"
    seed = one_seed(read(CSV, text))
    assert (seed.key, seed.moving_factor, seed.digits) == (key, counter, digits)


def test_what_stands_behind_the_last_column_is_said_to_be_left() -> None:
    assert read(CSV, f"A1;ACME;HOTP;{HEX};6;7;alice;\n").facts == ("not read: column number 7",)
    assert read(CSV, FILE).facts == ()
