"""Files that an administrator names: token files, lists, keys.

Rules: a file is a regular one, because a pipe or a device may never end; it is read once and whole, up to a bound. What
is wrong is a BadInput that begins with the file's name, and never shows what the file holds.
"""

import base64
import binascii
import os
import re
import stat
import sys
from pathlib import Path

from validation.errors import BadInput

KEY_LENGTHS = (16, 24, 32)  # octets
_MOST_KEY_OCTETS = 1024
_PIECE = 1 << 20


def read_file(path: Path, most: int) -> bytes:
    """All octets of a regular file. Raises BadInput."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not hold us up
    except (OSError, ValueError) as error:  # ValueError: a zero octet in the name
        raise BadInput(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'no such name'}") from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise BadInput(f"{path}: is a directory; name one file")
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(f"{path}: is no regular file; save what it gives into one")
        return _whole(descriptor, path, most)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _whole(descriptor: int, path: Path, most: int) -> bytes:
    """One octet more than is allowed is asked for: a file in /proc has a size of 0."""
    found = bytearray()
    while len(found) <= most and (piece := os.read(descriptor, min(_PIECE, most + 1 - len(found)))):
        found += piece
    if len(found) > most:
        raise BadInput(f"{path}: more than {most >> 20} MiB; split it")
    return bytes(found)


def read_list(path: Path, most: int) -> bytes:
    """The same; `-` is standard input."""
    if str(path) != "-":
        return read_file(path, most)
    octets = sys.stdin.buffer.read(most + 1)
    if len(octets) > most:
        raise BadInput(f"standard input: more than {most >> 20} MiB; split it")
    return octets


def key_in(path: Path) -> bytes:
    """The key of a --key-file: in hexadecimal, in Base64, or as it is; a final line end does not count."""
    octets = read_file(path, _MOST_KEY_OCTETS)
    text = octets.strip()
    if re.fullmatch(rb"([0-9A-Fa-f]{2})+", text) and len(text) // 2 in KEY_LENGTHS:
        return bytes.fromhex(text.decode("ascii"))
    if len(octets) in KEY_LENGTHS and not _is_base64(text):
        return octets
    if (found := _from_base64(text)) is not None:
        return found
    bare = octets.removesuffix(b"\n").removesuffix(b"\r")
    if len(bare) in KEY_LENGTHS:
        return bare
    lengths = ", ".join(map(str, KEY_LENGTHS))
    raise BadInput(f"--key-file {path}: must hold a key of {lengths} octets, in hexadecimal, in Base64 or as it is")


def _is_base64(text: bytes) -> bool:
    return _from_base64(text) is not None


def _from_base64(text: bytes) -> bytes | None:
    try:
        found = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return found if len(found) in KEY_LENGTHS else None
