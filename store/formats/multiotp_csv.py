"""multiOTP CSV: `serial;manufacturer;type;seed;digits;interval or counter`, seeds in hex.

A format of its own: the seed stands fourth, behind the manufacturer. mOTP rows are named and left alone.
"""

from store.formats.fields import Entry, contents, items_of, unread
from store.formats.keys import Encoding, is_hex
from store.formats.lines import Row, behind, rows_of
from store.formats.oath_row import KNOWN_KINDS, named_entry, seed_of
from store.formats.reading import Contents, Seed, Skipped, Unlock

ORDER = ("serial", "label", "type", "seed", "digits", "moving")
_HEX = Encoding(base32=False)
_LEAST_HEX = 16  # digits; a shorter number may be anything


class MultiotpCsv:
    name = "multiotp-csv"
    title = "multiOTP CSV (serial;manufacturer;type;seed;digits;interval)"

    def fits(self, octets: bytes, file_name: str) -> bool:
        return any(_is_token(row) for row in rows_of(octets))

    def read(self, octets: bytes, unlock: Unlock) -> Contents:
        rows = list(rows_of(octets))
        entries = [named_entry(row.line, dict(zip(ORDER, row.fields, strict=False))) for row in rows]
        strange = (name for row in rows for name in behind(row, len(ORDER)))
        return contents(self.name, items_of(entries, _seed), unread(strange))


def _seed(entry: Entry) -> Seed | Skipped:
    return seed_of(entry, _HEX)


def _is_token(row: Row) -> bool:
    if len(row.fields) < 4 or not row.fields[2] or is_hex(row.fields[1]):
        return False
    seed = row.fields[3]
    return row.fields[2].lower() in KNOWN_KINDS and len(seed) >= _LEAST_HEX and is_hex(seed)
