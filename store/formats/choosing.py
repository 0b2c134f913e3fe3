"""The formats there are, and which one a file has.

Rules: the content decides, not the name; `--format` overrides it. The order is from what can be told for certain to
what many tables look like. What is no token file is said to be what it is, with the names that --format takes.
"""

import re

from store.formats.entra_csv import EntraCsv
from store.formats.google_authenticator import GoogleAuthenticator
from store.formats.linotp import LinOtp
from store.formats.multiotp_csv import MultiotpCsv
from store.formats.oath_csv import OathCsv
from store.formats.otpauth_list import OtpauthList
from store.formats.privacyidea import PrivacyIdea
from store.formats.pskc import Pskc
from store.formats.reading import MOST_OF_ANY, Format, named
from store.formats.safenet import SafeNet
from store.formats.users_oath import UsersOath
from store.formats.yubico_csv import YubicoCsv
from validation.errors import BadInput

AUTO = "auto"
_HEAD_OCTETS = 64 * 1024

FORMATS: tuple[Format, ...] = (
    Pskc(),  # first: its root element tells it from everything else
    SafeNet(),
    LinOtp(),
    EntraCsv(),
    OtpauthList(),
    UsersOath(),
    GoogleAuthenticator(),
    YubicoCsv(),
    PrivacyIdea(),
    MultiotpCsv(),
    OathCsv(),
)

_SIGNS = (
    (b"%PDF", "a PDF; ask the maker for the file itself"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook; unpack it, or save the sheet as CSV with the columns as text"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save the sheet as CSV with the columns as text"),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"\x89PNG", "a picture; scan it, and import the address it shows"),
    (b"\xff\xd8\xff", "a picture; scan it, and import the address it shows"),
    (b"SQLite format 3", "a database; export the table of tokens from it"),
    (b"-----BEGIN PGP MESSAGE-----", "encrypted with OpenPGP; decrypt it first"),
    (b"-----BEGIN", "a key or a certificate"),
)
_ROOT = re.compile(rb"<([A-Za-z_][\w.-]{0,40}:)?([A-Za-z_][\w.-]{0,40})[\s/>]")


def choose(octets: bytes, file_name: str, wanted: str | None = None) -> Format:
    """Raises BadInput, which says what the file is."""
    if wanted and wanted != AUTO:
        chosen = named(FORMATS, wanted)
        if chosen is None:
            raise BadInput(f"--format: there is no such format; {_names()}")
        return chosen
    if len(octets) > MOST_OF_ANY:  # a format may stop earlier
        raise BadInput(f"the file has more than {MOST_OF_ANY >> 20} MiB; split it")
    if found := _fitting(octets, file_name):
        return found
    raise BadInput(f"the file is {_what(octets)}; if it is a token file, name its format with --format: {_names()}")


def _fitting(octets: bytes, file_name: str) -> Format | None:
    if b"\0" in octets and not octets.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None  # no text; none of the formats is anything else
    head = _head(octets)
    return next((one for one in FORMATS if one.fits(head, file_name)), None)


def _head(octets: bytes) -> bytes:
    """Whole lines from the beginning of a long file: enough to tell its format, without reading it ten times."""
    if len(octets) <= _HEAD_OCTETS:
        return octets
    end = octets.rfind(b"\n", 0, _HEAD_OCTETS)
    return octets[: end + 1 if end >= 0 else _HEAD_OCTETS]


def _names() -> str:
    return ", ".join(one.name for one in FORMATS)


def _what(octets: bytes) -> str:
    text = octets.removeprefix(b"\xef\xbb\xbf").strip()
    if not text:
        return "empty"
    for sign, what in _SIGNS:
        if octets.startswith(sign) or text.startswith(sign):
            return what
    if b"\0" in octets:
        return "no text and nothing known"
    if text.startswith(b"<"):
        return _xml(text)
    if text.startswith((b"{", b"[")):
        return "JSON of some other program; have that program export a list of otpauth:// addresses"
    return "a text in none of the known formats"


def _xml(text: bytes) -> str:
    root = _ROOT.search(text)
    name = root[2].decode("ascii", "replace") if root else ""
    if name.lower() == "html" or text[:14].lower() == b"<!doctype html":
        return "a web page, perhaps in place of a download that failed"
    return f"XML with {name} at the top, which no known format has" if name else "XML, but incomplete"
