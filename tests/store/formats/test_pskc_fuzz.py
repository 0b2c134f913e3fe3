"""Damaged files: never anything but BadInput, never a key in a text, never another key in place of the right one."""

import traceback

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from store.formats import pskc_writer
from store.formats.reading import Seed
from tests.store.formats.pskc_files import (
    FIGURES,
    HEAD,
    MAC_KEY,
    PRESHARED,
    SECRET,
    b64,
    container,
    key,
    package,
    read,
    sealed,
    texts,
    with_password,
)
from validation.errors import BadInput

KEY = bytes(range(100, 132))
OTHER = bytes(range(200, 222))
ENCRYPTED = pskc_writer.with_key(
    [
        Seed("", "hotp", SECRET, "H1", moving_factor=7, recovery_codes=("11112222",), user="alice"),
        Seed("", "totp", SECRET, "T1", drift=-2, moving_factor=50, expires_at=2e9),
        Seed("", "yubico_otp", OTHER, "Y1", public_id="cccc"),
    ],
    KEY,
)
SEALED = container(package(key(sealed())), package(key(sealed()), serial="2"), head=HEAD)
FILES = [(octets(), PRESHARED) for octets in FIGURES.values()]
FILES += [(ENCRYPTED, KEY), (SEALED, PRESHARED), (with_password("qwerty", iterations=10), PRESHARED)]

_TOKENS = [b"<", b">", b'"', b"&", b"</Key>", b"<Key>", b"0", b"A", b"\0", b"\xff", b"]]>", b"<![CDATA[", b"=", b"\n"]


@st.composite
def _damaged(draw: st.DrawFn) -> tuple[bytes, bytes]:
    octets, secret = draw(st.sampled_from(FILES))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(octets)))
        gone = draw(st.sampled_from([0, 1, 1, 5, 40]))
        octets = octets[:at] + draw(st.one_of(st.sampled_from(_TOKENS), st.binary(max_size=4))) + octets[at + gone :]
    return octets, secret


@given(damaged=_damaged())
@settings(max_examples=400)
def test_a_damaged_file_is_bad_input_at_worst_and_tells_no_key(damaged: tuple[bytes, bytes]) -> None:
    octets, unlocking = damaged
    try:
        seen = texts(read(octets, key=unlocking))
    except BadInput as error:
        seen = "".join(traceback.format_exception(error)).rpartition("BadInput")[2]
    for secret in (SECRET, KEY, PRESHARED, MAC_KEY, OTHER[:16]):
        assert secret.hex() not in seen
        assert b64(secret) not in seen
        assert repr(secret)[2:-1] not in seen


@given(at=st.integers(0, len(SEALED) - 1), to=st.integers(0, 255))
@example(at=SEALED.index(b"urn:"), to=ord("}"))  # ElementTree refuses it in a namespace
@settings(max_examples=400)
def test_no_single_change_makes_another_key_of_an_encrypted_one(at: int, to: int) -> None:
    changed = SEALED[:at] + bytes([to]) + SEALED[at + 1 :]
    try:
        found = read(changed).items
    except BadInput:
        return
    assert {item.key for item in found if isinstance(item, Seed)} <= {SECRET}


@given(cut=st.integers(0, len(ENCRYPTED) - 30))
def test_a_file_cut_off_anywhere_gives_nothing(cut: int) -> None:
    with pytest.raises(BadInput):
        read(ENCRYPTED[:cut], key=KEY)
