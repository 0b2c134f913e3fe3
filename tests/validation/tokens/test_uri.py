"""The address apps scan, and keys as people type them."""

import base64
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import RFC_KEY, hotp_token, totp_token
from validation.errors import BadInput
from validation.tokens.registry import KINDS
from validation.tokens.uri import base32, grouped, key_from_text

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


def test_the_address_of_a_totp_token_says_everything() -> None:
    uri = KINDS["totp"].uri(totp_token(digits=8, period=60, algorithm="sha256"), "alice", "Example")
    assert uri == (f"otpauth://totp/Example:alice?secret={SECRET}&issuer=Example&algorithm=SHA256&digits=8&period=60")


def test_the_address_of_a_hotp_token_says_where_its_counter_stands() -> None:
    uri = KINDS["hotp"].uri(hotp_token(moving_factor=7), "alice", "Example")
    assert uri == f"otpauth://hotp/Example:alice?secret={SECRET}&issuer=Example&algorithm=SHA1&digits=6&counter=7"


@given(account=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), issuer=st.text(min_size=1))
def test_any_account_and_issuer_come_back_from_the_address(account: str, issuer: str) -> None:
    issuer = issuer.encode(errors="ignore").decode()
    parts = urlsplit(KINDS["totp"].uri(totp_token(), account, issuer))
    shown_issuer, colon, shown_account = parts.path.removeprefix("/").partition(":")
    assert (unquote(shown_issuer), colon, unquote(shown_account)) == (issuer, ":", account)
    assert "+" not in parts.query
    assert parse_qs(parts.query, keep_blank_values=True)["issuer"] == [issuer]


def test_a_key_for_typing_is_in_groups_of_four() -> None:
    assert grouped(RFC_KEY) == "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ"


@given(st.binary(min_size=1, max_size=80))
def test_a_key_comes_back_however_it_is_typed(key: bytes) -> None:
    padded = base64.b32encode(key).decode()
    for typed in (
        base32(key),
        grouped(key),
        padded,
        base32(key).lower(),
        grouped(key).replace(" ", "-"),
        f" {padded}\n",
    ):
        assert key_from_text(typed) == key


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("", "empty"),
        (" - == ", "empty"),
        ("GEZDGNB1GY3TQOJQ", "the character '1' does not occur in Base32"),
        ("GEZDGNBVGY3TQO", "14 Base32 characters are not a whole number of octets"),
        ("GEZDGNBV!", "the character '!'"),
        ("3132333435363738393031323334353637383930", "it looks like hex"),
        ("GEZDGNBVGY3TQOJÖ", "the character 'Ö'"),
        ("GEZDGNBVGY3TQOß", "the character 'ß'"),
    ],
)
def test_what_is_no_base32_is_refused_with_its_first_bad_character(typed: str, complaint: str) -> None:
    with pytest.raises(BadInput) as refusal:
        key_from_text(typed)
    assert complaint in str(refusal.value)
    assert str(refusal.value).startswith("key: ")


@pytest.mark.statement("C-031")
@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=16, max_size=64), st.sampled_from("018!é"))
def test_a_refused_key_is_not_in_the_message(key: str, bad: str) -> None:
    with pytest.raises(BadInput) as refusal:
        key_from_text(key + bad)
    assert not any(key[i : i + 4] in str(refusal.value) for i in range(len(key) - 3))
