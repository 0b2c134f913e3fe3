"""Text files of rows: how they come from Windows, Excel and people.

Rules: UTF-8, with or without a byte order mark, or Windows-1252 where that is what it must be; any line end; trailing
blanks, blank lines and a Ctrl-Z at the end mean nothing. Lines are numbered as an editor numbers them.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from validation.errors import BadInput

_BOMS = (b"\xff\xfe", b"\xfe\xff")


def text_of(octets: bytes) -> str:
    """Raises BadInput for what is no text."""
    if octets.startswith(_BOMS):
        return octets.decode("utf-16", "replace")
    if b"\0" in octets:
        raise BadInput("the file is no text: it holds zero octets")
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = octets.decode("cp1252", "replace")
    return text.rstrip("\x1a")


def lines_of(octets: bytes) -> Iterator[tuple[int, str]]:
    """Each line with its number, without its end and trailing blanks."""
    for number, line in enumerate(text_of(octets).splitlines(), 1):
        yield number, line.rstrip()


@dataclass(frozen=True, slots=True)
class Row:
    line: int
    fields: tuple[str, ...]


def rows_of(octets: bytes) -> Iterator[Row]:
    """Comma, semicolon or tab, whichever the first row with any of them uses; blanks around fields are taken off.
    Comments (`#`) and blank lines are left out."""
    found = [(number, line) for number, line in lines_of(octets) if line.strip() and not line.lstrip().startswith("#")]
    separator = next((c for _, line in found for c in ",;\t" if c in line), ",")
    for number, line in found:
        for fields in csv.reader(io.StringIO(line), delimiter=separator, skipinitialspace=True):
            yield Row(number, tuple(each.strip() for each in fields))
