"""`users.oath`: what was used there is not accepted here."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.formats.choosing import choose
from store.formats.users_oath import UsersOath
from tests.store.formats.files import HEX, KEY, T, bad_rows, one_bad, one_seed, read, seeds, skipped
from tests.vectors import reference

OATH = UsersOath()
STEP = T // 30


def line_after_use(off: int, zone: timedelta, written: int, last: str | None = None) -> str:
    """What pam_oath leaves behind on a host in `zone`, after the code of a token that is `off` steps off at T."""
    local = (datetime.fromtimestamp(T, UTC) + zone).strftime("%Y-%m-%dT%H:%M:%SL")
    return f"HOTP/T30\tbob\t-\t{HEX}\t{written}\t{last or reference.hotp(KEY, STEP + off)}\t{local}\n"


def test_types_and_several_lines_for_one_user() -> None:
    text = f"# users\n # indented\nHOTP\t\tbob\t-\t{HEX}\nHOTP/E bob - 00\nHOTP/E/8 joe + 11\n"
    text += f"HOTP/E/7 joe - 22\nHOTP/T30 eve - {HEX}\nHOTP/T60/8 eve - {HEX}\r\n\n"
    assert choose(text.encode(), "x").name == "users-oath"
    found = seeds(read(OATH, text))
    assert [(s.place, s.user, s.kind, s.digits, s.period) for s in found] == [
        ("line 3", "bob", "hotp", 6, 30),
        ("line 4", "bob", "hotp", 6, 30),
        ("line 5", "joe", "hotp", 8, 30),
        ("line 6", "joe", "hotp", 7, 30),
        ("line 7", "eve", "totp", 6, 30),
        ("line 8", "eve", "totp", 8, 60),
    ]
    assert [s.moving_factor for s in found] == [0] * 6
    assert found[0].key == KEY
    assert not any(s.notes or s.serial for s in found)


def test_a_static_password_is_left_behind_and_not_repeated() -> None:
    seed = one_seed(read(OATH, f"HOTP\tbob\tgeheim47\t{HEX}\n"))
    assert "static password" in seed.notes[0]
    assert "geheim47" not in repr(seed)


@pytest.mark.parametrize(
    ("state", "following"),
    [
        ("", 0),
        ("\t10", 10),  # written by hand: where to look from
        ("\t0\t755224\t2009-12-07T17:25:42L", 1),
        ("\t15\t436521\t2006-12-07T00:00:00L", 16),
    ],
)
def test_the_offset_of_a_hotp_token_is_the_counter_that_was_used(state: str, following: int) -> None:
    assert one_seed(read(OATH, f"HOTP\tfoo\t-\t{HEX}{state}\n")).moving_factor == following


ZONES = [timedelta(0), timedelta(hours=2), timedelta(hours=5, minutes=45), timedelta(hours=-3.5), timedelta(hours=13)]


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("off", [0, 1, -2, 9])
@pytest.mark.parametrize("signed", [True, False])
def test_the_used_step_is_found_in_any_time_zone(zone: timedelta, off: int, signed: bool) -> None:
    """liboath writes how far the token was off without its sign; others write it."""
    seed = one_seed(read(OATH, line_after_use(off, zone, off if signed else abs(off))))
    assert (seed.moving_factor, seed.drift, seed.notes) == (STEP + off + 1, off, ())


def test_a_last_code_that_does_not_fit_is_said() -> None:
    seed = one_seed(read(OATH, line_after_use(2, timedelta(0), 2, last="000000")))
    assert (seed.moving_factor, seed.drift) == (STEP + 2 + 1, 2)
    assert "does not fit its time" in seed.notes[0]


def test_a_mobile_otp_line_is_named() -> None:
    found = read(OATH, f"MOTP\tbob\t1234\t{HEX}\nHOTP\tbob\t-\t{HEX}\n")
    assert [(s.place, s.what) for s in skipped(found)] == [("line 1", "a Mobile-OTP token")]
    assert len(seeds(found)) == 1


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (f"TOTP\tbob\t-\t{HEX}", "type"),
        (f"HOTP/E/5\tbob\t-\t{HEX}", "digits"),
        (f"HOTP/T0\tbob\t-\t{HEX}", "type"),
        (f"HOTP/T300\tbob\t-\t{HEX}", "type"),
        ("HOTP\tbob\t-", "seed"),
        (f"HOTP\tbob\t-\t{HEX[:-1]}", "seed"),
        (f"HOTP\tbob\t-\t{HEX}zz", "seed"),
        (f"HOTP\tbob\t-\t{HEX}\t-1\t755224\t2009-12-07T17:25:42L", "offset"),
        (f"HOTP/T30\tbob\t-\t{HEX}\tx\t755224\t2009-12-07T17:25:42L", "offset"),
        (f"HOTP/T30\tbob\t-\t{HEX}\t1\t755224\tyesterday", "last time"),
        (f"HOTP/T30\tbob\t-\t{HEX}\t99999999\t755224\t2009-12-07T17:25:42L", "offset"),
    ],
)
def test_a_bad_line_is_named_and_stops_no_other(line: str, field: str) -> None:
    found = read(OATH, f"{line}\nHOTP\teve\t-\t{HEX}\n")
    (bad,) = bad_rows(found)
    assert (bad.place, bad.field) == ("line 1", field)
    assert HEX[:8] not in repr(bad)
    assert [s.user for s in seeds(found)] == ["eve"]


def test_a_seed_is_never_repeated() -> None:
    bad = one_bad(read(OATH, f"{HEX}\tbob\t-\tHOTP\n"))
    assert (bad.field, HEX not in repr(bad)) == ("type", True)


@given(
    key=st.binary(min_size=1, max_size=64),
    counter=st.integers(0, 2**63 - 3),
    used=st.booleans(),
    digits=st.sampled_from(["", "/6", "/7", "/8"]),
)
def test_what_is_written_is_read_back(key: bytes, counter: int, used: bool, digits: str) -> None:
    state = f"{counter}\t123456\t2026-01-01T00:00:00L" if used else str(counter)
    seed = one_seed(read(OATH, f"HOTP/E{digits}\tbob\t-\t{key.hex()}\t{state}\n"))
    assert (seed.key, seed.moving_factor) == (key, counter + used)
    assert seed.digits == int(digits[1:] or 6)
