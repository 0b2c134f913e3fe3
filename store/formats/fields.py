"""One field of a row, and how the rows of a file become items.

Rules: a field that cannot be read raises Bad, which names the field and says what to do; it becomes a BadRow and the
other rows are read on. No text repeats what stood in a field: where columns are shifted, any field may hold the key.
What spreadsheets do to numbers is recognised and explained; zeros they have dropped cannot be known, and are not
guessed.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from store.formats.reading import BadRow, Contents, Item, Seed, Skipped
from validation.errors import BadInput
from validation.messages import printable
from validation.tokens.kind import MAX_COUNTER

MOST_PERIOD = 120  # seconds
MOST_DRIFT = 1_000_000  # steps; what is too much for the policy is the engine's to say

_MOST_NAMED = 20  # characters

_SHORTENED = re.compile(r"[0-9]+(?:[.,][0-9]+)?E\+[0-9]+", re.IGNORECASE)  # 1.23457E+09
_TEXT_FORMULA = re.compile(r'="([^"]*)"')  # ="000123", how people keep the zeros of a number in a spreadsheet
_NUMERIC_DATE = re.compile(r"([0-9]{1,4})([-/.])([0-9]{1,2})\2([0-9]{1,4})")
_NAMED_DATE = re.compile(r"(?:[0-9]{1,2}-[A-Z][a-zä]{2}|[A-Z][a-zä]{2}-[0-9]{2})(?:-[0-9]{2,4})?")
_ALGORITHMS = {"1": "sha1", "160": "sha1", "256": "sha256", "512": "sha512"}
_ALGORITHM = re.compile(r"(?:hmac|hotp|totp)?-?_?sha-?_?2?-?_?(1|160|256|512)")


class Bad(Exception):
    """A field that cannot be read; a BadRow in the making."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name, self.text = name, text


@dataclass(frozen=True, slots=True)
class Entry:
    """One row before its fields are looked at. `serial` is only what a BadRow may name it by."""

    place: str
    columns: Mapping[str, str] = field(repr=False)
    serial: str = ""

    def get(self, name: str) -> str:
        return self.columns.get(name, "")


def nameable(serial: str) -> str:
    """The serial, if a BadRow may name it: what is longer may be a key, or a part of one, in the wrong column."""
    return serial if len(serial) <= _MOST_NAMED else ""


def items_of(entries: Iterable[Entry], make: Callable[[Entry], Seed | Skipped]) -> tuple[Item, ...]:
    return tuple(_item(entry, make) for entry in entries)


def _item(entry: Entry, make: Callable[[Entry], Seed | Skipped]) -> Item:
    try:
        return make(entry)
    except Bad as bad:
        return BadRow(entry.place, bad.name, bad.text, entry.serial)


def contents(name: str, items: tuple[Item, ...], facts: tuple[str, ...] = ()) -> Contents:
    """Raises BadInput for a file without a row: nothing imported must not look like success."""
    if not items:
        raise BadInput("the file holds no token: nothing but blank lines, comments or a header")
    return Contents(name, items, facts)


def unread(names: Iterable[str]) -> tuple[str, ...]:
    """The fact that columns are there which nobody looks at: one may say whose a token is, or how long it is good."""
    found = list(dict.fromkeys(printable(name, _MOST_NAMED) for name in names if name))
    return (f"not read: column{'s' if len(found) > 1 else ''} {', '.join(found)}",) if found else ()


def whole(text: str, name: str, least: int, most: int) -> int:
    """A number written in ASCII digits alone."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and least <= int(text) <= most):
        raise Bad(name, f"a whole number from {least} to {most} is expected")
    return int(text)


def signed(text: str, name: str, most: int = MOST_DRIFT) -> int:
    sign = -1 if text.startswith("-") else 1
    return sign * whole(text.removeprefix("-").removeprefix("+"), name, 0, most)


def digits(text: str) -> int:
    return whole(text, "digits", 6, 8)


def period(text: str, name: str = "step") -> int:
    return whole(text, name, 1, MOST_PERIOD)


def counter(text: str, name: str = "counter") -> int:
    return whole(text, name, 0, MAX_COUNTER - 1)


def algorithm(text: str, name: str = "hash") -> str:
    found = _ALGORITHM.fullmatch(text.lower())
    if found is None:
        raise Bad(name, "not known; sha1, sha256 and sha512 are")
    return _ALGORITHMS[found[1]]


def serial_number(text: str) -> tuple[str, tuple[str, ...]]:
    """The serial as it is printed on the device, and what was done to get it. Zeros at its beginning stay."""
    if unwrapped := _TEXT_FORMULA.fullmatch(text):
        return serial_number(unwrapped[1])[0], ("the serial stood in a spreadsheet formula, which was taken off",)
    if is_shortened(text):
        raise Bad("serial", f"a spreadsheet has rounded the number (…E+…); {_AS_TEXT}")
    if text.startswith("="):
        raise Bad("serial", f"a spreadsheet formula, not a serial; {_AS_TEXT}")
    if _is_date(text):
        raise Bad("serial", f"a date: a spreadsheet has made one of the serial; {_AS_TEXT}")
    return text, ()


_AS_TEXT = "take the file as the maker sent it, or export again with the column as text"


def is_shortened(text: str) -> bool:
    return _SHORTENED.fullmatch(text.strip()) is not None


def _is_date(text: str) -> bool:
    if _NAMED_DATE.fullmatch(text):
        return True
    found = _NUMERIC_DATE.fullmatch(text)
    if found is None:
        return False
    first, middle, last = int(found[1]), int(found[3]), int(found[4])
    if len(found[1]) == 4:  # 2013-12-31
        return 1900 <= first < 2100 and _day_and_month(middle, last)
    return len(found[4]) in (2, 4) and len(found[1]) <= 2 and _day_and_month(first, middle)


def _day_and_month(one: int, other: int) -> bool:
    return 1 <= min(one, other) <= 12 and 1 <= max(one, other) <= 31


def moment(text: str, name: str) -> float:
    """Epoch seconds of an ISO 8601 time; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Bad(name, "a time like 2026-01-31T23:59+0100 is expected") from None
