"""Whether octets from a security key are the CBOR that such keys write, before anybody reads them.

Rules: CTAP2 canonical form only (CTAP 2.1 section 8): definite lengths, integers, strings, arrays, maps, true, false.
Every length fits what is there, nothing is nested deeper than a key needs, nothing follows. The reader of
python-fido2 takes a cut string for a short one, so what it gets is looked at here first.
"""

DEEPEST = 8
_LENGTH_OCTETS = {24: 1, 25: 2, 26: 4, 27: 8}
_BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = 2, 3, 4, 5, 6, 7
_FALSE, _TRUE = 20, 21


def end_of_item(octets: bytes, at: int = 0, deepest: int = DEEPEST) -> int:
    """Where the item that begins `at` ends. Raises ValueError if there is none."""
    if deepest < 0:
        raise ValueError("CBOR: nested too deeply")
    major, argument, at = _head(octets, at)
    if major in (_BYTES, _TEXT):
        if argument > len(octets) - at:
            raise ValueError("CBOR: a string is cut")
        return at + argument
    for _ in range(_items_inside(major, argument, len(octets) - at)):
        at = end_of_item(octets, at, deepest - 1)
    return at


def check_whole(octets: bytes) -> None:
    """Exactly one item. Raises ValueError."""
    if end_of_item(octets) != len(octets):
        raise ValueError("CBOR: something follows the item")


def _head(octets: bytes, at: int) -> tuple[int, int, int]:
    """Major type, argument, and where what follows begins."""
    if at >= len(octets):
        raise ValueError("CBOR: an item is missing")
    major, short = octets[at] >> 5, octets[at] & 0x1F
    at += 1
    if short < min(_LENGTH_OCTETS):
        return major, short, at
    size = _LENGTH_OCTETS.get(short)
    if size is None or major == _SIMPLE or at + size > len(octets):
        raise ValueError("CBOR: a length that no security key writes")
    return major, int.from_bytes(octets[at : at + size], "big"), at + size


def _items_inside(major: int, argument: int, left: int) -> int:
    if major in (_ARRAY, _MAP):
        count = argument * (2 if major == _MAP else 1)
        if count > left:  # each item has one octet at least
            raise ValueError("CBOR: an array or map is cut")
        return count
    if major == _TAG or (major == _SIMPLE and argument not in (_FALSE, _TRUE)):
        raise ValueError("CBOR: a value that no security key writes")
    return 0
