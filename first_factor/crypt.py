"""Password hashes of crypt(3) that come from another host: `$6$`, `$5$` (SHA-crypt) and `$y$` (yescrypt).

Rules: nothing here makes one, and after the first right password argon2id takes its place. libcrypt checks them, with
crypt_r, so that many threads can; it is looked for when the first one comes. What a login would be taken down by is no
hash for us: as many rounds or as much memory as `_MOST_ROUNDS` and `_MOST_MEMORY` allow, and not the old methods that
can be guessed. A password with a NUL in it never matches, where C would end it, nor one that is too long for libcrypt;
either costs the same work.
"""

import ctypes
import hmac
import re
from functools import cache
from typing import Any

LIBRARY = "libcrypt.so.1"
_MOST_ROUNDS = 656_000  # what passlib and Ansible have written for years; 0.6 s
_MOST_MEMORY = 256 * 1024 * 1024  # octets, as for argon2id; 0.8 s
_LONGEST = 511  # octets; CRYPT_MAX_PASSPHRASE_SIZE less its NUL
_DATA = 256 * 1024  # octets; struct crypt_data takes 32 KiB in libxcrypt, and 128 KiB in older ones
_DIGITS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_SHA = re.compile(
    r"\$(?P<id>[56])\$(?:rounds=(?P<rounds>[1-9][0-9]{3,8})\$)?[./0-9A-Za-z]{1,16}\$(?P<sum>[./0-9A-Za-z]+)"
)
_SHA_LENGTH = {"5": 43, "6": 86}
# The flavour that everybody writes, with its two costs of one digit each: N = 2^(first + 1), r = second + 1.
_YESCRYPT = re.compile(
    r"\$y\$j(?P<n>[./0-9A-Za-j])(?P<r>[./0-9A-Za-j])\$(?P<salt>[./0-9A-Za-z]{2,86})\$[./0-9A-Za-z]{43}"
)


class NoLibrary(Exception):
    """libcrypt is not there, or does not know the method. The text says what to do."""


def is_one(text: str) -> bool:
    """Whether it says of itself that it is of one of these methods."""
    return text.startswith(("$5$", "$6$", "$y$"))


def is_usable(text: str) -> bool:
    """Whether a login can be checked against it. Raises NoLibrary if not on this host."""
    if found := _SHA.fullmatch(text):
        affordable = len(found["sum"]) == _SHA_LENGTH[found["id"]] and int(found["rounds"] or 5000) <= _MOST_ROUNDS
    elif found := _YESCRYPT.fullmatch(text):
        memory = 128 * (_DIGITS.index(found["r"]) + 1) << (_DIGITS.index(found["n"]) + 1)
        affordable = memory <= _MOST_MEMORY and _decodes(found["salt"])
    else:
        return False
    return affordable and _knows(text.rpartition("$")[0].rpartition("$")[0])


def _decodes(salt: str) -> bool:
    """Six bits a digit, whole octets, and nothing in the bits that are left over."""
    last, left = _DIGITS.index(salt[-1]), len(salt) * 6 % 8
    return left != 6 and last >> (6 - left) == 0


@cache
def _knows(beginning: str) -> bool:
    """Method and costs as libcrypt sees them: it may know other bounds."""
    setting = f"{beginning}$abcd$"
    made = _crypt(b"x", setting.encode())
    if made is None and not _crypt(b"x", b"$y$j75$abcd$" if beginning.startswith("$y$") else b"$6$abcd$"):
        raise NoLibrary(f"{LIBRARY} of this host does not know {beginning[:3]}; a newer libxcrypt does")
    return made is not None and made.startswith(setting.encode())


def matches(stored: str, password: bytes) -> bool | None:
    """None if the hash cannot be used. Raises NoLibrary."""
    possible = 0 < len(password) <= _LONGEST and b"\0" not in password
    try:
        setting = stored.encode("ascii")
    except UnicodeEncodeError:
        return None
    made = _crypt(password.replace(b"\0", b"x")[:_LONGEST], setting)
    if made is None:
        return None
    return hmac.compare_digest(made, setting) and possible


def _crypt(password: bytes, setting: bytes) -> bytes | None:
    """None for what libcrypt cannot do; it then returns NULL, or something that begins with an asterisk."""
    data = ctypes.create_string_buffer(_DATA)
    try:
        made: bytes | None = _crypt_r()(password, setting, data)
    finally:
        ctypes.memset(data, 0, _DATA)
    return None if made is None or made.startswith(b"*") else made


@cache
def _crypt_r() -> Any:
    try:
        function = ctypes.CDLL(LIBRARY).crypt_r
    except (OSError, AttributeError):
        raise NoLibrary(f"{LIBRARY} is not on this host; on Debian: apt install libcrypt1") from None
    function.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
    function.restype = ctypes.c_char_p
    return function
