"""Distinguished names (RFC 4514), as far as it takes to say what a group is called and where it stands. Pure.

Rules: a name is cut only where a comma is not escaped, and its values are compared as they are meant, not as they are
written, or a group called `vpn,ou=groups,…` would stand where it does not. What is not plain (several values in one
part, values in hexadecimal or in quotes) is an error.
"""

import re
from typing import TypeAlias

Part: TypeAlias = tuple[str, str]  # attribute in small letters, value

_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+")
_PIECE = re.compile(r'\\(?P<hex>[0-9A-Fa-f]{2})|\\(?P<special>[ "#+,;<=>\\])|(?P<plain>[^\\"+,;<>])', re.DOTALL)


def parts(dn: str) -> tuple[Part, ...]:
    """From the entry to the root. Raises ValueError."""
    found: list[Part] = []
    rest = dn
    while rest or not found:
        attribute, equals, rest = rest.partition("=")
        if not equals or not _ATTRIBUTE.fullmatch(attribute.strip()):
            raise ValueError("no attribute")
        value, rest, more = _value(rest.lstrip(" "))
        found.append((attribute.strip().lower(), value))
        if more and not rest:
            raise ValueError("ends with a comma")
    return tuple(found)


def _value(text: str) -> tuple[str, str, bool]:
    """The value at the start, what stands behind its comma, and whether there was one."""
    octets, blanks, at = b"", 0, 0
    if text.startswith("#"):
        raise ValueError("a value in hexadecimal")
    while at < len(text) and text[at] != ",":
        piece = _PIECE.match(text, at)
        if piece is None:
            raise ValueError("a value that is not plain")
        octets += bytes.fromhex(piece["hex"]) if piece["hex"] else (piece["special"] or piece["plain"]).encode()
        blanks = blanks + 1 if piece["plain"] == " " else 0
        at = piece.end()
    value = (octets[:-blanks] if blanks else octets).decode()  # a UnicodeDecodeError is a ValueError
    return value, text[at + 1 :], at < len(text)


def name_below(dn: str, base: tuple[Part, ...], attribute: str) -> str | None:
    """The value of `attribute` in the first part of `dn`, if that stands below `base`; else None."""
    try:
        found = parts(dn)
    except ValueError:
        return None
    inside = len(found) > len(base) and _alike(found[len(found) - len(base) :]) == _alike(base)
    return found[0][1] if inside and found[0][0] == attribute.lower() else None


def _alike(found: tuple[Part, ...]) -> list[Part]:
    """Case does not matter in the attributes that names are made of (RFC 4519)."""
    return [(attribute, value.casefold()) for attribute, value in found]
