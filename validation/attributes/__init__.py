"""The RADIUS attributes that an admin may set for an Access-Accept: their names, types and octets.

Rules: only what stands in `table` can be set, and each value is checked when it is set, so that an Accept holds what
was meant or the setting is refused. Secrets, texts for people and what the server itself puts into a reply are never
in the table. A name is found in any case; a tunnel attribute may carry a tag (`Tunnel-Type:1`, RFC 2868 3).
"""

import difflib
from dataclasses import replace

from validation.attributes.table import NOT_SET, TABLE, Attribute
from validation.errors import BadInput
from validation.messages import printable

__all__ = ["Attribute", "canonical", "find", "read"]

MAX_VALUE = 253  # RFC 2865 5
VENDOR_SPECIFIC = 26
_VENDOR_HEADER = 6  # vendor id, vendor type, vendor length (RFC 2865 5.26)
_MAX_TAG = 0x1F  # RFC 2868 3.1
_SHOWN = 64  # characters of a name that is not ours: the longest of ours has fewer

_BY_NAME = {attribute.name.lower(): attribute for attribute in TABLE}


def find(name: str) -> Attribute:
    """The attribute called `name`, in any case; its own `name` is the spelling to store, with its tag.

    Raises BadInput if it is not known, may not be set, or has a tag where none is possible.
    """
    plain, colon, tag = name.partition(":")
    attribute = _BY_NAME.get(plain.lower())
    if attribute is None:
        raise BadInput(_not_known(plain))
    return _tagged(attribute, tag) if colon else attribute


def read(name: str, text: str) -> tuple[int, bytes]:
    """RADIUS type and value octets of the attribute with the value `text`, ready for a packet: 1 to 253 octets.

    A vendor's attribute is of type 26, with the vendor's id, type and length in front of its value (RFC 2865 5.26).
    Raises BadInput.
    """
    attribute = find(name)
    _, value = _parsed(attribute, text)
    if not attribute.vendor:
        return attribute.number, value
    inner = bytes((attribute.number, len(value) + 2)) + value
    return VENDOR_SPECIFIC, attribute.vendor.to_bytes(4, "big") + inner


def canonical(name: str, text: str) -> str:
    """The value as it is stored and shown: `VLAN` for `13`, `7` for `007`. Raises BadInput."""
    return _parsed(find(name), text)[0]


def _parsed(attribute: Attribute, text: str) -> tuple[str, bytes]:
    room = MAX_VALUE - (_VENDOR_HEADER if attribute.vendor else 0) - (1 if attribute.tagged else 0)
    parsed = attribute.kind.parse(text)
    if parsed is None or not 1 <= len(parsed[1]) <= room:
        raise BadInput(f"{attribute.name}: '{printable(text)}' cannot be: {attribute.kind.possible(room)}")
    shown, value = parsed
    return shown, _with_tag(attribute, value)


def _with_tag(attribute: Attribute, value: bytes) -> bytes:
    """A number's tag stands in place of its first octet, 0 if it has none (RFC 2868 3.1). Before a text the tag is
    one more octet, and without one there is none: a first octet over 0x1F belongs to the text (3.6)."""
    if not attribute.tagged:
        return value
    tag = bytes((attribute.tag,))
    if attribute.kind.counts:
        return tag + value[1:]
    return tag + value if attribute.tag else value


def _tagged(attribute: Attribute, tag: str) -> Attribute:
    if not attribute.tagged:
        raise BadInput(f"{attribute.name} has no tag: write it without a colon")
    if not (tag.isascii() and tag.isdigit() and len(tag) <= 2 and 1 <= int(tag) <= _MAX_TAG):
        raise BadInput(f"{attribute.name}: '{printable(tag, _SHOWN)}' is no tag; 1 to {_MAX_TAG} are possible")
    return replace(attribute, name=f"{attribute.name}:{int(tag)}", tag=int(tag))


def _not_known(name: str) -> str:
    shown = printable(name, _SHOWN)
    if why := NOT_SET.get(name.lower()):
        return f"{shown} cannot be set as a reply attribute: {why}"
    near = difflib.get_close_matches(name[:_SHOWN].lower(), _BY_NAME, n=1)
    hint = f"did you mean {_BY_NAME[near[0]].name}?" if near else "docs/radius/replies.md lists them"
    return f"'{shown}' is not a known reply attribute; {hint}"
