"""LinOTP: its table of tokens, exported as CSV or TSV with a header, and opened with the file `encKey`.

    sqlite3 -header -csv linotp.db 'select * from Token'        psql -c "\\copy ... to tokens.csv csv header"
    mysql --batch linotp2 -e 'select * from Token'

LinOTP itself exports no keys in the clear; what it imports (PSKC, OATH CSV, SafeNet, Yubico) has formats of its own
here. Rules: keys are AES-256-CBC under one of the three 32-octet keys of encKey, the one that gives hex in good
padding, old or new. `LinOtpCount` is the first counter or step that is still acceptable. The owner is an id of a
directory and no name, so it is said and nobody gets the token.
"""

import csv
import io
import json
import re
from collections.abc import Iterator

from store.formats import fields
from store.formats.fields import Bad, Entry, contents, items_of, nameable
from store.formats.lines import text_of
from store.formats.other_kinds import other_kind
from store.formats.reading import Contents, Seed, Skipped, Unlock
from validation.errors import BadInput

_NEEDED = frozenset({"linotptokenserialnumber", "linotptokentype", "linotpkeyenc", "linotpkeyiv"})
_KINDS = {"hmac": "hotp", "hotp": "hotp", "totp": "totp"}
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2})+")
_SLOT_OCTETS = 32
_SLOTS = 3
_BLOCK = 16
_OLD_END = b"\x01\x02"  # and zeros behind
_NO = frozenset({"0", "f", "false"})


class LinOtp:
    name = "linotp"
    title = "table Token of LinOTP (CSV or TSV with header)"

    def fits(self, octets: bytes, file_name: str) -> bool:
        return set(_header(text_of(octets))[1]) >= _NEEDED

    def read(self, octets: bytes, unlock: Unlock) -> Contents:
        text = text_of(octets)
        missing = _NEEDED - set(_header(text)[1])
        if missing:
            raise BadInput(f"line 1: the header does not name {', '.join(sorted(missing))}")
        keys = _slots(unlock)

        def made(entry: Entry) -> Seed | Skipped:
            return _item(entry, keys)

        return contents(self.name, items_of(_entries(text), made), ("PINs of tokens are not carried over",))


def _slots(unlock: Unlock) -> tuple[bytes, ...]:
    octets = unlock.key()
    if octets is None:
        raise BadInput("the keys are encrypted; give LinOTP's file encKey with --key-file")
    found = tuple(octets[at : at + _SLOT_OCTETS] for at in range(0, _SLOTS * _SLOT_OCTETS, _SLOT_OCTETS))
    whole = tuple(key for key in found if len(key) == _SLOT_OCTETS)
    if not whole:
        raise BadInput(f"the key file is no encKey: it has fewer than {_SLOT_OCTETS} octets")
    return whole


def _header(text: str) -> tuple[str, tuple[str, ...]]:
    """The separator, and the names in small letters."""
    first = text.split("\n", 1)[0].rstrip("\r")
    separator = next((c for c in "\t;," if c in first), ",")
    return separator, tuple(each.strip().strip('"').lower() for each in first.split(separator))


def _entries(text: str) -> Iterator[Entry]:
    separator, names = _header(text)
    lines = io.StringIO(text, newline="")
    if separator == "\t":  # mysql --batch quotes nothing and writes line ends inside a field as \n; the others quote
        reader = csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, delimiter=separator)
    try:
        next(reader, None)
        first = reader.line_num + 1
        for row in reader:
            if row:
                yield _entry(first, dict(zip(names, (each.strip() for each in row), strict=False)))
            first = reader.line_num + 1
    except csv.Error:
        raise BadInput(f"line {reader.line_num} cannot be taken apart into fields") from None


def _entry(line: int, facts: dict[str, str]) -> Entry:
    return Entry(f"line {line}", facts, nameable(facts.get("linotptokenserialnumber", "")))


def _item(entry: Entry, keys: tuple[bytes, ...]) -> Seed | Skipped:
    named = entry.get("linotptokentype").lower()
    kind = _KINDS.get(named)
    if kind is None:
        return other_kind(entry.place, named)
    return _seed(entry, kind, keys)


def _seed(entry: Entry, kind: str, keys: tuple[bytes, ...]) -> Seed:
    info = _info(entry)
    step = fields.period(info.get("timeStep") or "30", "timeStep")
    shift = fields.signed((info.get("timeShift") or "0").removesuffix(".0"), "timeShift", 10**9)
    return Seed(
        entry.place,
        kind,
        _key(entry, keys),
        serial=entry.get("linotptokenserialnumber"),
        digits=fields.digits(entry.get("linotpotplen") or "6"),
        period=step if kind == "totp" else 30,
        algorithm=fields.algorithm(info.get("hashlib") or "sha1", "hashlib"),
        moving_factor=fields.counter(entry.get("linotpcount") or "0", "LinOtpCount"),
        drift=round(shift / step) if kind == "totp" else 0,
        label=_text(entry, "linotptokendesc"),
        disabled=entry.get("linotpisactive").lower() in _NO,
        notes=_notes(entry, info),
    )


def _text(entry: Entry, name: str) -> str:
    """An empty field of the database has a word for it."""
    found = entry.get(name)
    return "" if found in ("NULL", "\\N") else found


def _info(entry: Entry) -> dict[str, str]:
    text = _text(entry, "linotptokeninfo").replace("\\n", "\n")
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        raise Bad("LinOtpTokenInfo", "no JSON; export again, with quotation marks kept") from None
    if not isinstance(found, dict):
        raise Bad("LinOtpTokenInfo", "fields with names are expected")
    return {name: str(value) for name, value in found.items() if isinstance(value, str | int | float)}


def _notes(entry: Entry, info: dict[str, str]) -> tuple[str, ...]:
    notes = [] if info.get("hashlib") else ["the file does not say, so: sha1"]
    if _text(entry, "linotpuserid"):
        notes.append("it is assigned there, to an id of a directory; assign it here with twofold token assign")
    if entry.get("linotpisactive").lower() in _NO:
        notes.append("the token was disabled there, and is disabled here")
    if any(info.get(name) for name in ("validity_period_start", "validity_period_end")):
        notes.append("its period of validity is not carried over")
    return tuple(notes)


def _key(entry: Entry, keys: tuple[bytes, ...]) -> bytes:
    sealed, start = _octets(entry, "linotpkeyenc"), _octets(entry, "linotpkeyiv")
    if len(start) != _BLOCK or not sealed or len(sealed) % _BLOCK:
        raise Bad("LinOtpKeyEnc", "this and LinOtpKeyIV are whole blocks of 16 octets; is the column cut off?")
    for key in keys:
        hexed = _unpadded(_decrypted(sealed, start, key))
        if hexed and _HEX.fullmatch(hexed):
            return bytes.fromhex(hexed.decode("ascii"))
    raise Bad("LinOtpKeyEnc", "the file given with --key-file does not open this key; is it LinOTP's encKey?")


def _octets(entry: Entry, name: str) -> bytes:
    try:
        return bytes.fromhex(entry.get(name))
    except ValueError:
        raise Bad(name, "hex is expected") from None


def _decrypted(sealed: bytes, start: bytes, key: bytes) -> bytes:
    # Imported here: a command that only prints its help should not wait for it.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    decryptor = Cipher(algorithms.AES(key), modes.CBC(start)).decryptor()
    return decryptor.update(sealed) + decryptor.finalize()


def _unpadded(padded: bytes) -> bytes:
    """PKCS#7 since version 3; before, a mark and zeros."""
    count = padded[-1]
    if 1 <= count <= _BLOCK and padded.endswith(bytes([count]) * count):
        return padded[:-count]
    stripped = padded.rstrip(b"\0")
    return stripped.removesuffix(_OLD_END) if stripped.endswith(_OLD_END) else b""
