"""Secrets at rest: what was sealed opens only unchanged, in its own place, in its own store."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.config import KeySource
from store.key_sources import read
from store.sealing import MasterKey, Sealer, create_key_file, fingerprint
from validation.errors import Damaged, StoreMismatch

MASTER = MasterKey(bytes(range(32)))
STORE = "5f" * 16
SECRET = b"12345678901234567890"


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(MASTER, STORE)


@given(secret=st.binary(max_size=200), owner=st.text(st.characters(codec="utf-8"), max_size=40))
def test_what_was_sealed_opens_in_its_place(secret: bytes, owner: str) -> None:
    sealer = Sealer(MASTER, STORE)
    assert sealer.open("token-key", owner, sealer.seal("token-key", owner, secret)) == secret


def test_another_process_opens_it(sealer: Sealer) -> None:
    """Nothing that opening needs is kept in the sealer."""
    sealed = sealer.seal("token-key", "TF-1|totp|1", SECRET)
    assert Sealer(MasterKey(bytes(range(32))), STORE).open("token-key", "TF-1|totp|1", sealed) == SECRET


def test_a_secret_is_sealed_otherwise_each_time(sealer: Sealer) -> None:
    sealed = {sealer.seal("token-key", "TF-1|totp|1", SECRET) for _ in range(100)}
    assert len(sealed) == 100
    assert all(SECRET not in value for value in sealed)


def test_each_flipped_bit_is_noticed(sealer: Sealer) -> None:
    sealed = sealer.seal("token-key", "TF-1|totp|1", SECRET)
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Damaged):
            sealer.open("token-key", "TF-1|totp|1", bytes(changed))


def test_each_cut_is_noticed(sealer: Sealer) -> None:
    sealed = sealer.seal("token-key", "TF-1|totp|1", SECRET)
    for octets in [sealed[:length] for length in range(len(sealed))] + [sealed + b"\0"]:
        with pytest.raises(Damaged):
            sealer.open("token-key", "TF-1|totp|1", octets)


@pytest.mark.parametrize(
    ("purpose", "owner"),
    [
        ("token-key", "TF-2|totp|1"),  # another serial
        ("token-key", "TF-1|hotp|1"),  # another kind
        ("token-key", "TF-1|totp|2"),  # another owner
        ("token-key", ""),
        ("client-secret", "TF-1|totp|1"),  # another column
        ("token-keyT", "F-1|totp|1"),  # the same letters, divided otherwise
    ],
)
def test_a_value_moved_to_another_row_does_not_open(sealer: Sealer, purpose: str, owner: str) -> None:
    sealed = sealer.seal("token-key", "TF-1|totp|1", SECRET)
    with pytest.raises(Damaged):
        sealer.open(purpose, owner, sealed)


@pytest.mark.parametrize(
    "other", [Sealer(MASTER, "60" * 16), Sealer(MasterKey(bytes(32)), STORE)], ids=["store", "master key"]
)
def test_a_value_of_another_store_or_key_does_not_open(sealer: Sealer, other: Sealer) -> None:
    with pytest.raises(Damaged):
        other.open("token-key", "TF-1|totp|1", sealer.seal("token-key", "TF-1|totp|1", SECRET))


def test_no_two_places_are_spelled_alike() -> None:
    """Store, purpose and owner one after the other are the same letters here."""
    one, other = Sealer(MASTER, "store"), Sealer(MASTER, "storetoken-key")
    sealed = one.seal("token-key", "token-keyTF-1", SECRET)
    with pytest.raises(Damaged):
        other.open("token-key", "TF-1", sealed)


def test_an_error_names_the_row_and_no_secret(sealer: Sealer) -> None:
    sealed = sealer.seal("token-key", "TF-1|totp|1", SECRET)
    with pytest.raises(Damaged, match=r"TF-1\|totp\|1") as caught:
        sealer.open("token-key", "TF-1|totp|1", sealed[:-1])
    assert SECRET.decode() not in str(caught.value)


def test_purposes_have_keys_of_their_own() -> None:
    derived = {purpose: MASTER.derive(purpose) for purpose in ("token-key", "client-secret", "store-key", "key-id")}
    assert len(set(derived.values())) == 4
    assert MASTER.octets not in derived.values()


def test_the_key_is_derived_as_rfc_5869_says() -> None:
    """HKDF-SHA256 without salt, spelled out: a store written today opens in every later version."""
    prk = hashlib.sha256(bytes(x ^ 0x5C for x in bytes(64)) + _inner(bytes(64), MASTER.octets)).digest()
    assert MASTER.derive("token-key") == _hmac(prk, b"twofold/1/token-key\x01")


def _inner(key: bytes, message: bytes) -> bytes:
    return hashlib.sha256(bytes(x ^ 0x36 for x in key) + message).digest()


def _hmac(key: bytes, message: bytes) -> bytes:
    padded = key.ljust(64, b"\0")
    return hashlib.sha256(bytes(x ^ 0x5C for x in padded) + _inner(padded, message)).digest()


def test_the_name_of_a_key_tells_nothing_of_it() -> None:
    assert len(MASTER.id) == 8
    assert MASTER.id not in MASTER.octets
    assert MasterKey(bytes(32)).id != MASTER.id


def test_a_fingerprint_is_stable_and_keyed() -> None:
    """The same token key is recognised for ever, but nobody can test a guess without the fingerprint key."""
    assert fingerprint(b"k" * 32, SECRET) == fingerprint(b"k" * 32, SECRET)
    assert fingerprint(b"k" * 32, SECRET) != fingerprint(b"l" * 32, SECRET)
    assert fingerprint(b"k" * 32, SECRET) != fingerprint(b"k" * 32, SECRET + b"\0")
    assert fingerprint(b"k" * 32, SECRET) == _hmac(b"k" * 32, SECRET)


# --- The key file


def test_a_key_file_is_read_back(tmp_path: Path) -> None:
    made = create_key_file(tmp_path / "master.key")
    assert read(KeySource(tmp_path / "master.key")) == made
    assert made != create_key_file(tmp_path / "other.key")


def test_a_key_file_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    create_key_file(path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        create_key_file(path)
    assert path.read_bytes() == before


def test_a_key_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "master.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="exists"):
        create_key_file(tmp_path / "master.key")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "text",
    [b"", b"\n", b"00" * 31, b"00" * 33, b"zz" * 32, b"00" * 31 + b"0", b"\xff" * 64, b"00" * 32 + b"\n" + b"00" * 32],
)
def test_what_is_no_key_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "master.key"
    path.touch(mode=0o600)
    path.write_bytes(text)
    with pytest.raises(StoreMismatch, match="no key file"):
        read(KeySource(path))


def test_a_link_a_folder_or_a_pipe_is_no_key_file(tmp_path: Path) -> None:
    create_key_file(tmp_path / "real.key")
    (tmp_path / "link.key").symlink_to(tmp_path / "real.key")
    (tmp_path / "folder.key").mkdir()
    os.mkfifo(tmp_path / "pipe.key", 0o600)
    for name in ("link.key", "folder.key", "pipe.key"):
        with pytest.raises(StoreMismatch, match=name):
            read(KeySource(tmp_path / name))
