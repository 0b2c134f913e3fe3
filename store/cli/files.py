"""Files that an administrator names: token files, lists, keys.

Rules: a file is a regular one, because a pipe or a device may never end; it is read once and whole, up to a bound. What
is wrong is a BadInput that begins with the file's name, and never shows what the file holds.
"""

import base64
import binascii
import os
import pwd
import re
import stat
import sys
from pathlib import Path

from validation.errors import BadInput

KEY_LENGTHS = (16, 24, 32, 96)  # octets; the last is LinOTP's encKey, which holds three keys
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_MOST_KEY_OCTETS = 1024
_PIECE = 1 << 20


def why_not(error: OSError) -> str:
    """What the system says; and to whom, because a command that root types runs as the account of the store."""
    said = error.strerror or str(error)
    return f"{said} for the account {account_name(os.geteuid())}" if isinstance(error, PermissionError) else said


def account_name(uid: int) -> str:
    """As the host calls whoever has that number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def read_file(path: Path, most: int) -> bytes:
    """All octets of a regular file. Raises BadInput."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not hold us up
    except ValueError:  # a zero octet in the name
        raise BadInput(f"{path}: cannot be read: no such name") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {why_not(error)}") from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise BadInput(f"{path}: is a directory; name one file")
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(f"{path}: is no regular file; save what it gives into one")
        return _whole(descriptor, path, most)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {why_not(error)}") from None
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
    """The key of a --key-file: in hexadecimal, in Base64, or the octets as they are, without a final line end."""
    octets = read_file(path, _MOST_KEY_OCTETS)
    found = _in_text(octets.strip())
    if found is None:
        bare = octets.removesuffix(b"\n").removesuffix(b"\r")
        found = bare if len(octets) not in KEY_LENGTHS else octets
    if not found:
        raise BadInput(f"--key-file {path}: holds no key")
    return found


def _in_text(text: bytes) -> bytes | None:
    """Only what gives a key of a usual length: octets may look like a text by accident."""
    if re.fullmatch(rb"([0-9A-Fa-f]{2})+", text):
        found = bytes.fromhex(text.decode("ascii"))
        return found if len(found) in KEY_LENGTHS else None
    try:
        found = base64.b64decode(text.translate(_URL_SAFE), validate=True)
    except binascii.Error:
        return None
    return found if len(found) in KEY_LENGTHS else None
