"""`~/.google_authenticator` files, with their state."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.formats.choosing import choose
from store.formats.google_authenticator import GoogleAuthenticator
from store.formats.reading import Skipped
from tests.store.formats.files import BASE32, KEY, T, one_bad, one_seed, read
from validation.errors import BadInput

GOOGLE = GoogleAuthenticator()
STEP = T // 30
TIME_BASED = f"""{BASE32}
" RATE_LIMIT 3 30 {T - 60} {T}
" WINDOW_SIZE 17
" DISALLOW_REUSE {STEP - 2} {STEP + 1} {STEP}
" TIME_SKEW -2
" TOTP_AUTH
" LAST0 192.0.2.1 {T}
" RESETTING_TIME_SKEW {STEP - 1}+1 {STEP}+1
12345678
00345679
"""
COUNTER_BASED = f'{BASE32}\n" HOTP_COUNTER 8\n" WINDOW_SIZE 3\n12345678\n'


def test_a_time_based_file_with_its_state() -> None:
    assert choose(TIME_BASED.encode(), "x").name == "google-authenticator"
    seed = one_seed(read(GOOGLE, TIME_BASED))
    assert (seed.place, seed.kind, seed.key, seed.digits, seed.period) == ("line 1", "totp", KEY, 6, 30)
    assert (seed.moving_factor, seed.drift) == (STEP + 2, -2)
    assert seed.recovery_codes == ("12345678", "00345679")
    assert (seed.user, seed.serial) == ("", "")
    assert seed.notes == ("not carried over: RATE_LIMIT, WINDOW_SIZE",)


def test_a_counter_based_file_says_the_next_counter() -> None:
    seed = one_seed(read(GOOGLE, COUNTER_BASED))
    assert (seed.kind, seed.moving_factor, seed.look_ahead) == ("hotp", 8, None)


def test_a_counter_wins_over_time_as_it_does_in_the_module() -> None:
    assert one_seed(read(GOOGLE, TIME_BASED + '" HOTP_COUNTER 3\n')).kind == "hotp"


def test_a_new_file_has_used_nothing() -> None:
    assert one_seed(read(GOOGLE, f'{BASE32}\n" DISALLOW_REUSE\n" TOTP_AUTH\n')).moving_factor == 0


def test_reuse_that_was_allowed_there_is_said() -> None:
    seed = one_seed(read(GOOGLE, f'{BASE32}\n" STEP_SIZE 60\n" TOTP_AUTH\n'))
    assert (seed.period, seed.moving_factor) == (60, 0)
    assert "which ones were used is not known" in seed.notes[0]


def test_a_short_key_of_old_files_is_handed_over() -> None:
    assert len(one_seed(read(GOOGLE, f'{BASE32[:16]}\n" TOTP_AUTH\n')).key) == 10


def test_a_user_whose_token_is_switched_off_is_named() -> None:
    (item,) = read(GOOGLE, f'{BASE32}\n" OTP_DISABLED\n" TOTP_AUTH\n').items
    assert isinstance(item, Skipped)
    assert "OTP_DISABLED" in item.what


def test_lines_that_are_neither_are_said_without_their_text() -> None:
    seed = one_seed(read(GOOGLE, TIME_BASED + "1234567\n"))
    assert seed.notes[-1] == "line 11 is neither an option nor a scratch code, and was not read"
    assert seed.recovery_codes == ("12345678", "00345679")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (f'{BASE32}\n" WINDOW_SIZE 3\n', "TOTP_AUTH"),
        (f'{BASE32}\n" HOTP_COUNTER 0\n', "HOTP_COUNTER"),
        (f'{BASE32}\n" HOTP_COUNTER x\n', "HOTP_COUNTER"),
        (f'{BASE32}\n" TOTP_AUTH\n" STEP_SIZE 0\n', "STEP_SIZE"),
        (f'{BASE32}\n" TOTP_AUTH\n" TIME_SKEW x\n', "TIME_SKEW"),
        (f'{BASE32}\n" TOTP_AUTH\n" DISALLOW_REUSE 1 -2\n', "DISALLOW_REUSE"),
        (f'{BASE32[:-1]}0\n" TOTP_AUTH\n', "key"),
        (f'{BASE32[:-2]}\n" TOTP_AUTH\n', "key"),
        ('" TOTP_AUTH\n', "TOTP_AUTH"),
    ],
)
def test_what_cannot_be_right_is_named(text: str, field: str) -> None:
    assert choose(text.encode(), "x").name == "google-authenticator"
    bad = one_bad(read(GOOGLE, text))
    assert (bad.place, bad.field) == ("line 1", field)
    assert BASE32[:8] not in repr(bad)


def test_neither_key_nor_scratch_codes_are_shown() -> None:
    text = repr(read(GOOGLE, TIME_BASED))
    assert BASE32 not in text
    assert KEY.hex() not in text
    assert "12345678" not in text


def test_an_empty_file_is_an_error() -> None:
    with pytest.raises(BadInput, match="holds no token"):
        read(GOOGLE, "")


@given(
    key=st.binary(min_size=10, max_size=64),
    used=st.lists(st.integers(0, 2**62), max_size=6),
    skew=st.integers(-3000, 3000),
    codes=st.lists(st.from_regex(r"[0-9]{8}", fullmatch=True), max_size=10).map(tuple),
)
def test_what_is_written_is_read_back(key: bytes, used: list[int], skew: int, codes: tuple[str, ...]) -> None:
    secret = base64.b32encode(key).decode().rstrip("=")
    reuse = " ".join(["DISALLOW_REUSE", *map(str, used)])
    text = "\n".join([secret, f'" {reuse}', f'" TIME_SKEW {skew}', '" TOTP_AUTH', *codes])
    seed = one_seed(read(GOOGLE, text))
    assert (seed.key, seed.drift, seed.recovery_codes) == (key, skew, codes)
    assert seed.moving_factor == max(used, default=-1) + 1
