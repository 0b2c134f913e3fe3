"""`--key-file`: the key of an encrypted token file, as other programs write it.

Rules: hexadecimal, Base64 (also with `-` and `_`) or raw octets, tried in this order; a last newline is ignored. Text
counts as Base64 only if it gives a key of a usual length, so a raw key that looks like text stays one. No error repeats
what stands in the file.
"""

import base64
import binascii
import re
from pathlib import Path

from validation.errors import BadInput

_MOST_OCTETS = 4096
_USUAL = frozenset({16, 24, 32, 96})  # AES, 3DES, and the file encKey of LinOTP and privacyIDEA
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2}\s*)+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")


def read_key(file: Path) -> bytes:
    """Raises BadInput."""
    try:
        with file.open("rb") as opened:
            octets = opened.read(_MOST_OCTETS + 1)
    except OSError as error:
        raise BadInput(f"--key-file {file}: cannot be read: {error.strerror}") from None
    if len(octets) > _MOST_OCTETS:
        raise BadInput(f"--key-file {file}: more than {_MOST_OCTETS} octets; is this the key?")
    if not octets.strip():
        raise BadInput(f"--key-file {file}: empty; it must hold the key, raw or in hexadecimal or Base64")
    text = octets.strip()
    if _HEX.fullmatch(text):
        return bytes.fromhex(text.decode("ascii"))
    return _from_base64(text) or _raw(octets)


def _from_base64(text: bytes) -> bytes | None:
    if not _BASE64.fullmatch(text):
        return None
    try:
        key = base64.b64decode(text.translate(bytes.maketrans(b"-_", b"+/")), validate=True)
    except binascii.Error:
        return None
    return key if len(key) in _USUAL else None


def _raw(octets: bytes) -> bytes:
    if len(octets) in _USUAL:
        return octets
    return octets.removesuffix(b"\n").removesuffix(b"\r")
