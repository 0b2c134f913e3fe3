"""Lists of `otpauth://` addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.formats.choosing import choose
from store.formats.otpauth_list import OtpauthList
from tests.builders import hotp_token, totp_token
from tests.store.formats.files import BASE32, KEY, bad_rows, one_bad, one_seed, read, seeds, skipped
from validation.tokens.registry import KINDS

LIST = OtpauthList()


def test_what_an_address_says() -> None:
    text = f"# from my app\notpauth://totp/ACME%20Co:alice@example.org?secret={BASE32}&issuer=ACME%20Co&digits=8"
    text += f"&period=60&algorithm=SHA256&image=x\r\notpauth://hotp/bob?secret={BASE32.lower()}&counter=7\r\n"
    assert choose(text.encode(), "x").name == "otpauth"
    alice, bob = seeds(read(LIST, text))
    assert (alice.place, alice.kind, alice.key, alice.user, alice.label) == (
        "line 2",
        "totp",
        KEY,
        "alice@example.org",
        "ACME Co",
    )
    assert (alice.digits, alice.period, alice.algorithm, alice.notes) == (8, 60, "sha256", ())
    assert (bob.kind, bob.key, bob.user, bob.label, bob.moving_factor) == ("hotp", KEY, "bob", "", 7)


@pytest.mark.parametrize(
    ("path", "user", "label"),
    [
        ("ACME:alice", "alice", "ACME"),
        ("ACME%3Aalice", "alice", "ACME"),
        ("ACME%3A%20alice", "alice", "ACME"),
        ("ACME: alice", "alice", "ACME"),
        ("A%3AB:alice", "alice", "A:B"),
        ("alice", "alice", ""),
        ("ACME:a%3Ab", "a:b", "ACME"),
    ],
)
def test_issuer_and_account(path: str, user: str, label: str) -> None:
    seed = one_seed(read(LIST, f"otpauth://totp/{path}?secret={BASE32}"))
    assert (seed.user, seed.label) == (user, label)


def test_a_counter_taken_for_granted_and_parameters_not_read_are_said() -> None:
    seed = one_seed(read(LIST, f"otpauth://hotp/a?secret={BASE32}&pin=1"))
    assert seed.notes == ("1 of its parameters are not read", "the address does not say, so: the counter starts at 0")


def test_other_kinds_are_named() -> None:
    found = read(LIST, f"otpauth://steam/a?secret={BASE32}\notpauth://totp/b?secret={BASE32}\n")
    assert [(s.place, s.what) for s in skipped(found)] == [
        ("line 1", "an otpauth address of another kind than totp and hotp")
    ]
    assert [s.user for s in seeds(found)] == ["b"]


@pytest.mark.parametrize(
    ("address", "field"),
    [
        ("otpauth-migration://offline?data=CjEK", "address"),
        (f"otpauth://totp/a&secret={BASE32}", "address"),
        (f"https://totp/a?secret={BASE32}", "address"),
        (f"otpauth://totp/a?secret={BASE32}&secret={BASE32}", "address"),
        (f"otpauth://totp/a?secret={BASE32}" + "&x=" * 40, "address"),
        ("otpauth://totp/a?secret=", "secret"),
        ("otpauth://totp/a?digits=6", "secret"),
        (f"otpauth://totp/a?secret={BASE32[:-1]}1", "secret"),
        (f"otpauth://totp/a?secret={BASE32}&digits=5", "digits"),
        (f"otpauth://totp/a?secret={BASE32}&period=0", "period"),
        (f"otpauth://totp/a?secret={BASE32}&algorithm=MD5", "algorithm"),
        (f"otpauth://hotp/a?secret={BASE32}&counter=-1", "counter"),
    ],
)
def test_a_bad_address_is_named_and_stops_no_other(address: str, field: str) -> None:
    found = read(LIST, f"{address}\notpauth://totp/b?secret={BASE32}\n")
    (bad,) = bad_rows(found)
    assert (bad.place, bad.field) == ("line 1", field)
    assert BASE32[:8] not in repr(bad)
    assert [s.user for s in seeds(found)] == ["b"]


def test_the_packed_list_is_explained() -> None:
    text = "otpauth-migration://offline?data=CjEK"
    assert choose(text.encode(), "x").name == "otpauth"
    assert "packed list of Google Authenticator" in one_bad(read(LIST, text)).text


@given(
    key=st.binary(min_size=1, max_size=64),
    account=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20),
    issuer=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20),
    digits=st.integers(6, 8),
    moving=st.integers(1, 120),
    kind=st.sampled_from(["totp", "hotp"]),
)
def test_our_own_addresses_are_read_back(
    key: bytes, account: str, issuer: str, digits: int, moving: int, kind: str
) -> None:
    built = totp_token if kind == "totp" else hotp_token
    token = built(key=key, digits=digits, **({"period": moving} if kind == "totp" else {"moving_factor": moving}))
    seed = one_seed(read(LIST, KINDS[kind].uri(token, account, issuer)))
    assert (seed.key, seed.user, seed.label, seed.digits, seed.kind) == (key, account, issuer, digits, kind)
    assert (seed.period if kind == "totp" else seed.moving_factor) == moving
