"""OATH CSV: `serial, seed[, type[, digits[, step or counter[, hash]]]]`.

Makers, privacyIDEA, LinOTP and NetIQ write it with small differences. Rules: without a header the columns have this
order; a header may give them in any order, and more of them: a user, who gets the token at once, and a label. Columns
that it names otherwise are not read, and that is said. Whether seeds are hex or Base32 is decided for the whole file.
"""

from collections.abc import Iterator

from store.formats.fields import Bad, Entry, contents, items_of, unread
from store.formats.keys import decided, is_base32, is_hex
from store.formats.lines import Row, behind, rows_of
from store.formats.oath_row import KNOWN_KINDS, named_entry, seed_of
from store.formats.reading import Contents, Seed, Skipped, Unlock

ORDER = ("serial", "seed", "type", "digits", "moving", "hash")
_NAMES = {
    "serial": ("serial", "serial number", "serialnumber", "serial no", "serialno", "token serial", "token"),
    "seed": ("seed", "secret", "secret key", "key", "otpkey", "otp key", "hmac key", "token seed"),
    "type": ("type", "token type", "tokentype", "kind", "mode"),
    "digits": ("digits", "otplen", "otp length", "length"),
    "step": ("step", "time step", "timestep", "time interval", "interval", "period"),
    "counter": ("counter", "moving factor", "movingfactor", "count"),
    "moving": ("step or counter", "counter or step", "step|counter", "step/counter", "counter/step"),
    "hash": ("hash", "hashlib", "algorithm", "hash algorithm", "sha"),
    "user": ("user", "username", "user name", "login", "owner", "upn", "account"),
    "label": ("label", "description", "model", "comment"),
}
_COLUMN = {name: column for column, names in _NAMES.items() for name in names}
_LEAST_BASE32 = 16  # characters; a shorter word may be anything


class OathCsv:
    name = "oath-csv"
    title = "OATH CSV (serial, seed, type, digits, step or counter)"

    def fits(self, octets: bytes, file_name: str) -> bool:
        rows = list(rows_of(octets))
        if rows and header_of(rows[0]):
            return True
        return bool(rows) and 2 * sum(_is_token(row) for row in rows) >= len(rows)

    def read(self, octets: bytes, unlock: Unlock) -> Contents:
        rows = list(rows_of(octets))
        entries = list(_entries(rows))
        encoding = decided(entry.get("seed") for entry in entries)

        def made(entry: Entry) -> Seed | Skipped:
            if "seed" not in entry.columns:
                raise Bad("seed", "there is one column alone; serial and seed are needed, with a comma between")
            return seed_of(entry, encoding)

        return contents(self.name, items_of(entries, made), unread(_unread(rows)))


def _unread(rows: list[Row]) -> Iterator[str]:
    order: tuple[str, ...] = ORDER
    for row in rows:
        if header := header_of(row):
            order = header
            yield from (name for name, column in zip(row.fields, header, strict=True) if not column)
        else:
            yield from behind(row, len(order))


def header_of(row: Row) -> tuple[str, ...] | None:
    """The columns a header line names ("" for one that is not read); None if this is no header."""
    names = tuple(_COLUMN.get(each.lower().replace("_", " "), "") for each in row.fields)
    if "seed" not in names or "serial" not in names:
        return None
    return names


def _is_token(row: Row) -> bool:
    if len(row.fields) < 2 or not row.fields[1]:
        return False
    if len(row.fields) > 2 and row.fields[2] and row.fields[2].lower() not in KNOWN_KINDS:
        return False
    seed = row.fields[1]
    return is_hex(seed) or (is_base32(seed) and len(seed) >= _LEAST_BASE32)


def _entries(rows: list[Row]) -> Iterator[Entry]:
    order: tuple[str, ...] = ORDER
    for row in rows:
        if header := header_of(row):
            order = header
            continue
        yield named_entry(row.line, {name: field for name, field in zip(order, row.fields, strict=False) if name})
