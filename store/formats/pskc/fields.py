"""What may stand in which element, looked at before python-pskc reads it.

Rules: Base64 is Base64 and nothing else, a number is a number, a date is a date. python-pskc leaves out what is no
Base64, reads "10" as the tenth of this month, and gives up the whole file for one bad number; so each value is looked
at here, and what is wrong is named with its element. No text here repeats a value that could be a key.
"""

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from validation.messages import printable

_NUMBER = re.compile(r"[+-]?[0-9]{1,20}")
_BLANKS = re.compile(r"\s+")
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?)?")
_OLD_DATE = re.compile(r"(\d\d)/(\d\d)/(\d{4})")
MOST_CHARACTERS = 16 * 1024  # of one value


class FieldError(ValueError):
    """What is wrong with one element of one key. Its text is for people and holds no secret."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field
        self.text = text


def base64_octets(field: str, text: str) -> bytes:
    compact = _BLANKS.sub("", text)
    if len(compact) > MOST_CHARACTERS:
        raise FieldError(field, "far too long")
    try:
        return base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        raise FieldError(field, "no valid Base64; was the file edited or cut?") from None


def number(field: str, text: str) -> int:
    if not _NUMBER.fullmatch(text.strip()):
        raise FieldError(field, "no whole number")
    return int(text)


def number_or_octets(field: str, text: str) -> int:
    """Digits, or Base64 of digits or of a big-endian number, as the drafts have it."""
    if _NUMBER.fullmatch(text.strip()):
        return int(text)
    return number_in(field, base64_octets(field, text))


def number_in(field: str, octets: bytes) -> int:
    if not 0 < len(octets) <= 20:
        raise FieldError(field, "no number")
    return int(octets) if octets.isdigit() else int.from_bytes(octets, "big")


def date(field: str, text: str) -> float:
    """Epoch seconds. A time without a zone is UTC (RFC 6030 4.2)."""
    written = text.strip()
    try:
        if _ISO_DATE.fullmatch(written):
            found = datetime.fromisoformat(written)
        else:
            found = _old_date(field, written)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise FieldError(
            field, f"no date: {printable(written, 40)}; it should look like 2031-12-31T00:00:00Z"
        ) from None


def _old_date(field: str, text: str) -> datetime:
    """Month and day in either order, where only one order is possible or both are the same day."""
    found = _OLD_DATE.fullmatch(text)
    if not found:
        raise ValueError(field)
    first, second, year = (int(part) for part in found.groups())
    month, day = (second, first) if first > 12 else (first, second)
    if first <= 12 and second <= 12 and first != second:
        raise ValueError(field)
    return datetime(year, month, day, tzinfo=UTC)


def boolean(field: str, text: str) -> bool:
    if text.lower() not in ("1", "true", "0", "false"):
        raise FieldError(field, "neither true nor false")
    return text.lower() in ("1", "true")


Check = Callable[[str, str], object]

_ELEMENTS: dict[str, Check] = {
    "CipherValue": base64_octets,
    "ValueMAC": base64_octets,
    "ValueDigest": base64_octets,
    "Specified": base64_octets,
    "IV": base64_octets,
    "PBESalt": base64_octets,
    "IterationCount": number,
    "KeyLength": number,
    "PBEIterationCount": number,
    "NumberOfTransactions": number,
    "StartDate": date,
    "ExpiryDate": date,
    "Expiry": date,
}
_NUMERIC_ATTRIBUTES = ("Length", "length", "Min", "min", "Max", "max", "MinLength", "MaxLength", "MaxFailedAttempts")
_BOOLEAN_ATTRIBUTES = ("CheckDigits", "CheckDigit", "OTP", "CR", "Integrity", "Encrypt", "Unlock")
_ATTRIBUTES: dict[str, Check] = {
    **dict.fromkeys(_NUMERIC_ATTRIBUTES, number),
    **dict.fromkeys(_BOOLEAN_ATTRIBUTES, boolean),
}
_WITH_ATTRIBUTES = ("ResponseFormat", "ChallengeFormat", "PINPolicy", "Usage")
_DATA = {
    "secret": base64_octets,
    "counter": number_or_octets,
    "time": number_or_octets,
    "timeinterval": number_or_octets,
    "time_interval": number_or_octets,
    "timedrift": number_or_octets,
}


def check(element: Element) -> None:
    """All values below `element`. Raises FieldError."""
    for each in element.iter():
        known = _ELEMENTS.get(each.tag)
        if known is not None and each.text and each.text.strip():
            known(each.tag, each.text)
        if each.tag in _WITH_ATTRIBUTES:
            _check_attributes(each)


def _check_attributes(element: Element) -> None:
    for name, value in element.attrib.items():
        known = _ATTRIBUTES.get(name)
        if known is not None and value:
            known(f"{element.tag}/{name}", value)


def check_data(key: Element) -> None:
    """The values of a key, and that there is one of each. Raises FieldError."""
    seen: set[str] = set()
    for data in key.findall("Data"):
        legacy = data.get("Name")
        for each in [data] if legacy else list(data):
            name = (legacy or each.tag).lower()
            if name in seen and name in _DATA:
                raise FieldError(legacy or each.tag, "stands there twice")
            seen.add(name)
            _check_value(legacy or each.tag, _DATA.get(name), each)
    if len(key.findall("Policy")) > 1:
        raise FieldError("Policy", "stands there twice")


def _check_value(field: str, plain: Check | None, element: Element) -> None:
    found = element.find("PlainValue")
    if found is not None and element.find("EncryptedValue") is not None:
        raise FieldError(field, "stands there both encrypted and not")
    if plain is None:
        return
    if found is not None and found.text and found.text.strip():
        plain(field, found.text)
    legacy = element.findtext("Value", "").strip()
    if legacy and not (plain is number_or_octets and _NUMBER.fullmatch(legacy)):
        base64_octets(field, legacy)  # it may be encrypted; what it says comes out later
