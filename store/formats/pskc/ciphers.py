"""The algorithms that encrypt a value in a PSKC file.

Rules: an algorithm is one line of a table. CBC tells nothing about changes, key wrap does. Padding is that of XML
Encryption (5.2): the last octet counts, the others may be anything; whether a value is the right one is for its MAC to
say. 3DES and Camellia are for reading old files; python-pskc asks for them where `cryptography` no longer keeps them.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal

from cryptography.hazmat.decrepit.ciphers.algorithms import Camellia, TripleDES
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

_RFC_3217_IV = bytes.fromhex("4adda22c79e82105")


class NotOpened(Exception):
    """Another key, or changed octets. Says nothing more, on purpose."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    title: str
    cipher: Literal["aes", "3des", "camellia"]
    key_lengths: tuple[int, ...]
    mode: Literal["cbc", "wrap"]

    @property
    def checks_itself(self) -> bool:
        return self.mode == "wrap"


def _table() -> dict[str, Algorithm]:
    table = {
        "tripledes-cbc": Algorithm("3DES-CBC", "3des", (24, 16), "cbc"),
        "kw-tripledes": Algorithm("3DES key wrap", "3des", (24, 16), "wrap"),
    }
    for bits in (128, 192, 256):
        table[f"aes{bits}-cbc"] = Algorithm(f"AES-{bits}-CBC", "aes", (bits // 8,), "cbc")
        table[f"kw-aes{bits}"] = Algorithm(f"AES-{bits} key wrap", "aes", (bits // 8,), "wrap")
        table[f"camellia{bits}-cbc"] = Algorithm(f"Camellia-{bits}-CBC", "camellia", (bits // 8,), "cbc")
        table[f"kw-camellia{bits}"] = Algorithm(f"Camellia-{bits} key wrap", "camellia", (bits // 8,), "wrap")
    return table


_ALGORITHMS = _table()


def algorithm_of(uri: str | None) -> Algorithm | None:
    from pskc.algorithms import normalise_algorithm

    name = (normalise_algorithm(uri) or "").rpartition("#")[2]
    return _ALGORITHMS.get(name)


def decrypt(algorithm: Algorithm, key: bytes, octets: bytes, iv: bytes | None) -> bytes:
    """Raises NotOpened."""
    if algorithm.mode == "cbc":
        return _cbc(algorithm, key, octets, iv)
    if algorithm.cipher == "3des":
        return _unwrap_3des(key, octets)
    return _unwrap(algorithm, key, octets)


def _block_cipher(algorithm: Algorithm, key: bytes) -> BlockCipherAlgorithm:
    if algorithm.cipher == "aes":
        return AES(key)
    if algorithm.cipher == "camellia":
        return Camellia(key)
    return TripleDES(key if len(key) == 24 else key + key[:8])  # two keys: the first is the third


def _cbc(algorithm: Algorithm, key: bytes, octets: bytes, iv: bytes | None) -> bytes:
    cipher = _block_cipher(algorithm, key)
    size = cipher.block_size // 8
    if iv is None:
        iv, octets = octets[:size], octets[size:]
    if len(iv) != size or not octets or len(octets) % size:
        raise NotOpened
    decryptor = Cipher(cipher, modes.CBC(iv)).decryptor()
    clear = decryptor.update(octets) + decryptor.finalize()
    if not 1 <= clear[-1] <= size:
        raise NotOpened
    return clear[: -clear[-1]]


def _unwrap(algorithm: Algorithm, key: bytes, octets: bytes) -> bytes:
    from pskc.crypto import aeskw
    from pskc.exceptions import DecryptionError

    if len(octets) < 16:
        raise NotOpened
    try:
        return aeskw.unwrap(octets, key, algorithm=type(_block_cipher(algorithm, key)))
    except DecryptionError:
        raise NotOpened from None


def _unwrap_3des(key: bytes, octets: bytes) -> bytes:
    """RFC 3217 3.2."""
    if len(octets) < 24 or len(octets) % 8:
        raise NotOpened
    cipher = TripleDES(key if len(key) == 24 else key + key[:8])
    outer = Cipher(cipher, modes.CBC(_RFC_3217_IV)).decryptor()
    reversed_ = (outer.update(octets) + outer.finalize())[::-1]
    inner = Cipher(cipher, modes.CBC(reversed_[:8])).decryptor()
    clear = inner.update(reversed_[8:]) + inner.finalize()
    wrapped, checksum = clear[:-8], clear[-8:]
    if not hmac.compare_digest(hashlib.sha1(wrapped, usedforsecurity=False).digest()[:8], checksum):
        raise NotOpened
    return wrapped
