"""SafeNet and Aladdin eToken files: XML, and the records of SafeWord.

    <Tokens><Token serial="..."><ProductName>..</ProductName><Applications><Application><Seed>hex</Seed>
    <MovingFactor>1</MovingFactor></Application></Applications></Token></Tokens>

    sccAuthenticatorId: SERIAL
    sccTokenData: sccKey=hex;sccMode=E or T;sccPwLen=6;sccTick=30;crypto=HmacSHA256;...

Either may be called .dat. Rules: an XML file with a document type or entities is refused before it is parsed, and its
nesting is bounded. XML tokens are HOTP with 6 digits. The hash is what the file says, or told by the length of the key
and said.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from store.formats import fields
from store.formats.fields import Bad, Entry, contents, items_of, nameable
from store.formats.keys import key_from_hex
from store.formats.lines import lines_of, text_of
from store.formats.reading import Contents, Seed, Unlock, infer_hash
from validation.errors import BadInput

_FORBIDDEN = re.compile(r"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
_ROOT = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<Tokens[\s>]", re.DOTALL)
_RECORD = re.compile(r"sccTokenData\s*:", re.IGNORECASE)
_MODES = {"E": "hotp", "T": "totp"}
MOST_DEPTH = 16


class SafeNet:
    name = "safenet"
    title = "SafeNet/Aladdin XML or SafeWord records (.xml, .dat)"

    def fits(self, octets: bytes, file_name: str) -> bool:
        text = text_of(octets)
        return _ROOT.match(text) is not None or _RECORD.search(text) is not None

    def read(self, octets: bytes, unlock: Unlock) -> Contents:
        text = text_of(octets)
        if text.lstrip().startswith("<"):
            return contents(self.name, items_of(_xml_entries(text), _xml_seed))
        return contents(self.name, items_of(_records(octets), _record_seed))


def _xml_entries(text: str) -> Iterator[Entry]:
    for number, token in enumerate(_root(text).iter("Token"), 1):
        serial = (token.get("serial") or "").strip()
        shown = nameable(serial)
        facts = {"serial": serial, "label": (token.findtext("ProductName") or "").strip()}
        for name in ("Seed", "MovingFactor"):
            found = [(each.text or "").strip() for each in token.iter(name)]
            facts |= {name: found[0] if found else "", f"{name}s": str(len(found))}
        yield Entry(f"Token {number} (serial {shown})" if shown else f"Token {number}", facts, shown)


class _Bounded(ET.TreeBuilder):
    """Builds the tree, and stops where it gets too deep."""

    depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> ET.Element:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise BadInput(f"the XML file is nested more than {MOST_DEPTH} deep")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ET.Element:
        self.depth -= 1
        return super().end(tag)


def _root(text: str) -> ET.Element:
    if _FORBIDDEN.search(text):
        raise BadInput("the XML file declares a document type or entities; no token file needs any, so it is refused")
    parser = ET.XMLParser(target=_Bounded())  # noqa: S314 - there are no entities left to expand
    try:
        parser.feed(text)
        root: ET.Element = parser.close()
    except ET.ParseError as error:
        line, column = error.position
        raise BadInput(f"the XML file is damaged or incomplete at line {line}, column {column + 1}") from None
    if root.tag != "Tokens":
        raise BadInput("the XML file has no element Tokens at the top")
    return root


def _xml_seed(entry: Entry) -> Seed:
    if entry.get("Seeds") != "1":
        raise Bad("Seed", f"there are {entry.get('Seeds')} of them; a token has one")
    key = key_from_hex(entry.get("Seed"), "Seed")
    serial, serial_notes = fields.serial_number(entry.get("serial"))
    algorithm, notes = infer_hash(key)
    return Seed(
        entry.place,
        "hotp",
        key,
        serial=serial,
        algorithm=algorithm,
        moving_factor=fields.counter(entry.get("MovingFactor") or "0", "MovingFactor"),
        label=entry.get("label"),
        notes=(*serial_notes, "the file does not say, so: hotp, 6 digits", *notes),
    )


def _records(octets: bytes) -> Iterator[Entry]:
    """Records are parted by blank lines; a line that begins with a blank goes on with the one before (LDIF)."""
    facts: dict[str, str] = {}
    first, last = 0, ""
    for number, line in (*lines_of(octets), (0, "")):
        if not line:
            if facts:
                yield _record(first, facts)
            facts, first = {}, 0
        elif line.startswith((" ", "\t")) and last in facts:
            facts[last] += line.strip()
        elif not line.startswith("#"):
            name, _, value = line.partition(":")
            last, first = name.strip().lower(), first or number
            facts[last] = value.strip()


def _record(first: int, facts: dict[str, str]) -> Entry:
    serial = facts.get("sccauthenticatorid", "")
    return Entry(f"line {first}", facts, nameable(serial))


def _record_seed(entry: Entry) -> Seed:
    data = _data(entry.get("scctokendata"))
    if data.get("scckey", "").startswith("("):
        raise Bad("sccKey", "the key is encrypted for the SafeWord server; ask the maker for the plain file")
    kind = _MODES.get(data.get("sccmode", "").upper())
    if kind is None:
        raise Bad("sccMode", "not known; E (event) and T (time) are")
    key = key_from_hex(data.get("scckey", ""), "sccKey")
    serial, notes = fields.serial_number(entry.get("sccauthenticatorid"))
    algorithm, hash_notes = _hash(data, key)
    return Seed(
        entry.place,
        kind,
        key,
        serial=serial,
        digits=fields.digits(data.get("sccpwlen") or "6"),
        period=fields.period(data.get("scctick") or "30", "sccTick") if kind == "totp" else 30,
        algorithm=algorithm,
        label=entry.get("scctokentype"),
        notes=(*notes, *hash_notes, *_taken(data, kind)),
    )


def _data(text: str) -> dict[str, str]:
    pairs = (each.partition("=") for each in text.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _hash(data: dict[str, str], key: bytes) -> tuple[str, tuple[str, ...]]:
    if data.get("crypto"):
        return fields.algorithm(data["crypto"], "crypto"), ()
    return infer_hash(key)


def _taken(data: dict[str, str], kind: str) -> tuple[str, ...]:
    taken = [] if data.get("sccpwlen") else ["6 digits"]
    if kind == "totp" and not data.get("scctick"):
        taken.append("a time step of 30 s")
    notes = [f"the file does not say, so: {', '.join(taken)}"] if taken else []
    if kind == "totp" and data.get("sccprtime"):
        notes.append("some of these tokens count time from 2000 and not 1970; test one before handing them out")
    return tuple(notes)
