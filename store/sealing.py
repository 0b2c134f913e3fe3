"""Secrets at rest: AES-256-GCM under keys derived from one master key.

Rules: each purpose has its own key (HKDF-SHA256, RFC 5869). A sealed value is bound to where it stands: store,
purpose, owner and column are associated data, so a value moved to another row does not open. Nothing here prints a
key.

A sealed value is: version (1 octet) | id of the master key (8) | nonce (12) | ciphertext and tag.
"""

import contextlib
import errno
import hashlib
import hmac
import os
import stat
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from validation.errors import Damaged, StoreMismatch

MASTER_KEY_OCTETS = 32
_VERSION = b"\x01"
_KEY_ID_OCTETS = 8
_NONCE_OCTETS = 12
_HEADER_OCTETS = 1 + _KEY_ID_OCTETS + _NONCE_OCTETS


@dataclass(frozen=True, slots=True)
class MasterKey:
    octets: bytes = field(repr=False)

    @classmethod
    def fresh(cls) -> "MasterKey":
        return cls(os.urandom(MASTER_KEY_OCTETS))

    def derive(self, purpose: str) -> bytes:
        """The 256-bit key for one purpose."""
        hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"twofold/1/" + purpose.encode())
        return hkdf.derive(self.octets)

    @property
    def id(self) -> bytes:
        """Names this key without telling anything about it."""
        return self.derive("key-id")[:_KEY_ID_OCTETS]


Find = Callable[[bytes], MasterKey | None]


class Sealer:
    """Seals with one master key, and opens with that or with any other that `holds` was asked for and `find` has found.
    Ciphers are made once and kept."""

    def __init__(self, master: MasterKey, store_id: str, find: Find = lambda key_id: None) -> None:
        self.key_id = master.id
        self._store_id = store_id
        self._find = find
        self._ciphers: dict[tuple[bytes, str], AESGCM] = {}
        self._places: dict[str, bytes] = {}  # their beginnings, by purpose
        self._masters = {master.id: master}

    def under(self, key_id: bytes) -> "Sealer":
        """The same store's, sealing with another master key. Raises StoreMismatch if that is not held."""
        if key_id == self.key_id:
            return self
        other = copy(self)  # which shares the ciphers
        other.key_id = key_id
        if not self.holds(key_id):
            raise StoreMismatch(f"this host does not hold the master key {key_id.hex()}")
        return other

    def holds(self, key_id: bytes) -> bool:
        if key_id not in self._masters and (found := self._find(key_id)) is not None:
            self._masters[key_id] = found
        return key_id in self._masters

    def seal(self, purpose: str, owner: str, secret: bytes) -> bytes:
        nonce = os.urandom(_NONCE_OCTETS)
        sealed = self._cipher(self.key_id, purpose).encrypt(nonce, secret, self._place(purpose, owner))
        return _VERSION + self.key_id + nonce + sealed

    def open(self, purpose: str, owner: str, sealed: bytes) -> bytes:
        """The secret. Raises Damaged if it was changed, moved here from another row, or sealed with another key."""
        what = f"the sealed {purpose} of {owner}"
        if len(sealed) < _HEADER_OCTETS or sealed[:1] != _VERSION:
            raise Damaged(f"{what} is cut or not of this version; restore the row from a backup")
        key_id = key_id_of(sealed)
        if key_id not in self._masters:  # not looked for: a row may name any, and a program takes its time
            raise Damaged(f"{what} was sealed with another master key")
        nonce, ciphertext = sealed[1 + _KEY_ID_OCTETS : _HEADER_OCTETS], sealed[_HEADER_OCTETS:]
        try:
            return self._cipher(key_id, purpose).decrypt(nonce, ciphertext, self._place(purpose, owner))
        except InvalidTag:
            raise Damaged(f"{what} has been changed or comes from another row") from None

    def _cipher(self, key_id: bytes, purpose: str) -> AESGCM:
        cipher = self._ciphers.get((key_id, purpose))
        if cipher is None:
            cipher = self._ciphers[key_id, purpose] = AESGCM(self._masters[key_id].derive(purpose))
        return cipher

    def _place(self, purpose: str, owner: str) -> bytes:
        """Associated data; the parts carry their length, so no two places are spelled alike."""
        beginning = self._places.get(purpose)
        if beginning is None:
            beginning = self._places[purpose] = _measured(self._store_id) + _measured(purpose)
        return beginning + _measured(owner)


def _measured(text: str) -> bytes:
    octets = text.encode()
    return len(octets).to_bytes(4, "big") + octets


def key_id_of(sealed: bytes) -> bytes:
    """Of the master key that a value was sealed with."""
    return sealed[1 : 1 + _KEY_ID_OCTETS]


def fingerprint(key: bytes, token_key: bytes) -> bytes:
    """Recognises a token key for ever without keeping it; keyed, so that a guess cannot be tested without `key`."""
    return hmac.digest(key, token_key, hashlib.sha256)


# --- the key file -----------------------------------------------------------------------------------------------


def create_key_file(path: Path) -> MasterKey:
    """Write a fresh master key, mode 0600 whatever the umask, never over an existing file."""
    key = MasterKey.fresh()
    create_whole(path, text_of(key), 0o600)
    return key


def text_of(key: MasterKey) -> str:
    """What a key file holds."""
    return key.octets.hex() + "\n"


def create_whole(path: Path, text: str, mode: int) -> None:
    """Write a new file to the disk, or none: neither an error nor a crash leaves half of it under its name.

    What a crash leaves beside it, under a name that nobody reads, may be removed. Raises FileExistsError and OSError.
    """
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    unfinished = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        _write(unfinished, text, mode)
        os.link(unfinished, path)  # unlike a rename, never over another file
        sync_folder(path.parent)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):  # where nothing can be made, nothing can be removed
            unfinished.unlink()


def _write(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """A file is on the disk when its name is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_private(path: Path, what: str) -> bytes:
    """At most 4096 octets of a file with a secret. Raises FileNotFoundError, and StoreMismatch if it cannot be opened
    or others may read it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe must not hold us up
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreMismatch(f"{what} {path} cannot be opened: {error.strerror}") from None
    try:
        check_mode(path, os.fstat(descriptor))
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def check_mode(path: Path, status: os.stat_result) -> None:
    """Refuse a file with secrets that others may read or anybody but its owner may write (0600 or 0640)."""
    if not stat.S_ISREG(status.st_mode):
        raise StoreMismatch(f"{path} is not a regular file")
    if status.st_mode & 0o037:
        mode = stat.S_IMODE(status.st_mode)
        raise StoreMismatch(f"{path} has mode {mode:04o}, so others can get at it; run: chmod 600 {path}")
