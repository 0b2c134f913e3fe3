"""Microsoft Entra ID: `upn,serial number,secret key,time interval,manufacturer,model`.

Rules: the header is there and names the columns, in any order. Tokens are TOTP with SHA-1 and 6 digits, the only kind
this file can describe; keys are Base32. The upn is whose token it is. Columns of other names are not read, and that is
said.
"""

from store.formats import fields
from store.formats.fields import Bad, Entry, contents, items_of, unread
from store.formats.keys import key_from_base32
from store.formats.lines import Row, behind, rows_of
from store.formats.oath_row import named_entry
from store.formats.reading import Contents, Seed, Unlock
from validation.errors import BadInput

_NEEDED = frozenset({"serial number", "secret key", "time interval"})
_READ = _NEEDED | {"upn", "manufacturer", "model"}


class EntraCsv:
    name = "entra-csv"
    title = "Microsoft Entra CSV (upn,serial number,secret key,time interval,manufacturer,model)"

    def fits(self, octets: bytes, file_name: str) -> bool:
        first = next(rows_of(octets), None)
        return first is not None and set(_header(first)) >= _NEEDED

    def read(self, octets: bytes, unlock: Unlock) -> Contents:
        rows = list(rows_of(octets))
        names = _header(rows[0]) if rows else ()
        if not set(names) >= _NEEDED:
            raise BadInput(f"line 1: the header is missing; it names {', '.join(sorted(_NEEDED))} and upn")
        entries = [_entry(names, row) for row in rows[1:]]
        strange = [said for said, name in zip(rows[0].fields, names, strict=True) if name not in _READ]
        strange += [name for row in rows[1:] for name in behind(row, len(names))]
        return contents(self.name, items_of(entries, _seed), unread(strange))


def _header(row: Row) -> tuple[str, ...]:
    return tuple(" ".join(each.lower().split()) for each in row.fields)


def _entry(names: tuple[str, ...], row: Row) -> Entry:
    found = dict(zip(names, row.fields, strict=False))
    same = {"serial": found.get("serial number", "")}
    return named_entry(row.line, found | same | ({"seed": found["secret key"]} if "secret key" in found else {}))


def _seed(entry: Entry) -> Seed:
    if "secret key" not in entry.columns:
        raise Bad("secret key", "the row has too few columns; compare it with the header")
    key = key_from_base32(entry.get("secret key"), "secret key")
    serial, notes = fields.serial_number(entry.get("serial"))
    step = entry.get("time interval")
    said = () if step else ("the file does not say, so: a time step of 30 s",)
    return Seed(
        entry.place,
        "totp",
        key,
        serial=serial,
        period=fields.period(step or "30", "time interval"),
        user=entry.get("upn"),
        label=" ".join(filter(None, (entry.get("manufacturer"), entry.get("model")))),
        notes=(*notes, *said),
    )
