"""Keys as files write them: hex or Base32.

Rules: which of the two a file uses is decided once for all its keys, and said where nothing in the file settles it.
What does not decode is refused with the place of the character, never the character, the key or a part of it. How
strong a key must be is the engine's business: a short one is handed over.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass

from store.formats.fields import Bad, is_shortened

MOST_KEY_OCTETS = 1024
_HEX = frozenset("0123456789ABCDEF")
_BASE32 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
_NOT_BASE32 = frozenset("0189")
_BETWEEN = re.compile(r"[\s:-]")  # what people put between groups


@dataclass(frozen=True, slots=True)
class Encoding:
    base32: bool
    note: str = ""  # what was taken for granted, to be said with each key

    def key(self, text: str, field: str) -> bytes:
        return key_from_base32(text, field) if self.base32 else key_from_hex(text, field)


def decided(texts: Iterable[str]) -> Encoding:
    """The encoding of a file with these keys: the one that most keys can only be."""
    shapes = [(is_hex(text), is_base32(text)) for text in texts]
    base32 = shapes.count((False, True)) > shapes.count((True, False))
    settled = any(one != other for one, other in shapes)
    if settled or (True, True) not in shapes:
        return Encoding(base32)
    return Encoding(base32, "the key was read as hex; no key in this file has a character that rules Base32 out")


def is_hex(text: str) -> bool:
    return _all_in(_HEX, _cleaned(text))


def is_base32(text: str) -> bool:
    return _all_in(_BASE32, _cleaned(text).rstrip("="))


def looks_like_key(text: str) -> bool:
    """Whether a field that should hold something else may hold a key: it is then not repeated in any text."""
    return len(_cleaned(text)) >= 26 and (is_hex(text) or is_base32(text))


def key_from_hex(text: str, field: str) -> bytes:
    cleaned = _checked(text, field)
    for place, char in enumerate(cleaned, 1):
        if char not in _HEX:
            hint = "; the key looks like Base32, which must be converted to hex first" if is_base32(text) else ""
            raise Bad(field, f"character {place} is no hex digit{hint}")
    if len(cleaned) % 2:
        raise Bad(field, f"an odd number of hex digits ({len(cleaned)}); was one lost at the beginning or end?")
    return _bounded(bytes.fromhex(cleaned), field)


def key_from_base32(text: str, field: str) -> bytes:
    cleaned = _checked(text, field).rstrip("=")
    for place, char in enumerate(cleaned, 1):
        if char not in _BASE32:
            raise Bad(field, f"character {place} {_why_not_base32(text, char)}")
    if len(cleaned) % 8 in (1, 3, 6) or not cleaned:
        raise Bad(field, f"{len(cleaned)} Base32 characters are not a whole number of octets; was one lost?")
    return _bounded(base64.b32decode(cleaned + "=" * (-len(cleaned) % 8)), field)


def _why_not_base32(text: str, char: str) -> str:
    if is_hex(text):
        return "is no Base32; the key looks like hex, which must be converted to Base32 first"
    if char in _NOT_BASE32:
        return "is one of 0, 1, 8 and 9, which Base32 does not have: O, I, L, B or G may be meant; look at the source"
    return "is no Base32 (A-Z and 2-7)"


def _checked(text: str, field: str) -> str:
    if is_shortened(text):
        raise Bad(field, "a spreadsheet has made a rounded number of the key (…E+…); export again, the column as text")
    cleaned = _cleaned(text)
    if not cleaned:
        raise Bad(field, "the key is missing")
    return cleaned


def _bounded(key: bytes, field: str) -> bytes:
    if len(key) > MOST_KEY_OCTETS:
        raise Bad(field, f"{len(key)} octets are more than any token has; is the column right?")
    return key


def _cleaned(text: str) -> str:
    """In capitals, without what stands between groups. What is not ASCII stays as it is: ß in capitals is SS."""
    joined = _BETWEEN.sub("", text)
    return joined.upper() if joined.isascii() else joined


def _all_in(alphabet: frozenset[str], text: str) -> bool:
    return bool(text) and alphabet.issuperset(text)
