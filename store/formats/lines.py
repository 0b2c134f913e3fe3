"""Text files of rows: how they come from Windows, Excel and people.

Rules: UTF-8, with or without a byte order mark, or Windows-1252 where that is what it must be; any line end; trailing
blanks, blank lines and a Ctrl-Z at the end mean nothing. Lines are numbered as an editor numbers them.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from store.formats.reading import MOST_OCTETS
from validation.errors import BadInput

_BOMS = (b"\xff\xfe", b"\xfe\xff")
_END = "\x1a\r\n\t "
_SEPARATORS = ",;\t"
_EXCEL_SEPARATOR = re.compile(r"sep=([,;\t])", re.IGNORECASE)  # a first line that spreadsheets write and read


def text_of(octets: bytes) -> str:
    """Raises BadInput for what is no text."""
    if len(octets) > MOST_OCTETS:
        raise BadInput(f"the file has more than {MOST_OCTETS >> 20} MiB; split it")
    if octets.startswith(_BOMS):
        return octets.decode("utf-16", "replace").rstrip(_END)
    if b"\0" in octets:
        raise BadInput("the file is no text: it holds zero octets")
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = octets.decode("cp1252", "replace")
    return text.rstrip(_END)


def lines_of(octets: bytes) -> Iterator[tuple[int, str]]:
    """Each line with its number, without its end and trailing blanks."""
    text = text_of(octets).replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), 1):
        yield number, line.rstrip()


def content_of(octets: bytes) -> Iterator[tuple[int, str]]:
    """The lines that say something: no comments (`#`), no blank ones; without blanks at either end."""
    for number, line in lines_of(octets):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


@dataclass(frozen=True, slots=True)
class Row:
    line: int
    fields: tuple[str, ...]


def rows_of(octets: bytes) -> Iterator[Row]:
    """Comma, semicolon or tab, whichever the first row with any of them uses; blanks around fields are taken off.
    Comments (`#`) and blank lines are left out."""
    found = list(content_of(octets))
    separator = next((c for _, line in found for c in _SEPARATORS if c in line), ",")
    if found and (told := _EXCEL_SEPARATOR.fullmatch(found[0][1])):
        separator = told[1]
        del found[0]
    for number, line in found:
        yield Row(number, _fields(number, line, separator))


def _fields(number: int, line: str, separator: str) -> tuple[str, ...]:
    try:
        row = next(csv.reader(io.StringIO(line), delimiter=separator, skipinitialspace=True))
    except csv.Error:
        raise BadInput(f"line {number} cannot be taken apart into fields; is a quotation mark missing?") from None
    return tuple(each.strip() for each in row)


def behind(row: Row, columns: int) -> Iterator[str]:
    """What fields that stand behind so many columns may be called: what is in them is not to be repeated."""
    yield from (f"number {number}" for number, text in enumerate(row.fields, 1) if text and number > columns)
