"""Plain lists of `otpauth://` addresses, one a line, as apps and password managers export them.

Rules (Google's key URI format): `otpauth://KIND/ISSUER:ACCOUNT?secret=...&issuer=...&algorithm=...&digits=...` with
`period` or `counter`. The account is whose token it is, the issuer its label. Steam's codes and other kinds are named
and left alone; the packed lists of Google Authenticator (`otpauth-migration`) are refused with the way out.
"""

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote

from store.formats import fields
from store.formats.fields import Bad, Entry, contents, items_of
from store.formats.keys import key_from_base32
from store.formats.lines import content_of
from store.formats.reading import Contents, Seed, Skipped, Unlock

_ADDRESS = re.compile(r"otpauth://([^/?#]*)/([^?#]*)\?([^#]*)(?:#.*)?", re.IGNORECASE)
_SCHEME = "otpauth://"
_PACKED = "otpauth-migration:"
_READ = frozenset({"secret", "issuer", "algorithm", "digits", "period", "counter"})
_LOOKS = frozenset({"image", "icon", "color", "colour", "font"})  # how an app shows it
_MOST_PARAMETERS = 32


class OtpauthList:
    name = "otpauth"
    title = "list of otpauth:// addresses"

    def fits(self, octets: bytes, file_name: str) -> bool:
        first = next(content_of(octets), (0, ""))[1].lower()
        return first.startswith((_SCHEME, _PACKED))

    def read(self, octets: bytes, unlock: Unlock) -> Contents:
        return contents(self.name, items_of(_entries(octets), _item))


def _entries(octets: bytes) -> Iterator[Entry]:
    for number, line in content_of(octets):
        yield Entry(f"line {number}", {"address": line})


def _item(entry: Entry) -> Seed | Skipped:
    address = entry.get("address")
    if address.lower().startswith(_PACKED):
        raise Bad("address", "a packed list of Google Authenticator; export one address for each account instead")
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise Bad("address", "otpauth://totp/... or otpauth://hotp/... with a ? and parameters is expected")
    kind = found[1].lower()
    if kind not in ("totp", "hotp"):
        return Skipped(entry.place, "an otpauth address of another kind than totp and hotp")
    return _seed(entry.place, kind, found[2], _parameters(found[3]))


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise Bad("address", f"more than {_MOST_PARAMETERS} parameters") from None
    found = {name.lower(): value.strip() for name, value in pairs}
    if len(found) != len(pairs):
        raise Bad("address", "a parameter stands in it twice; which one is meant cannot be known")
    return found


def _seed(place: str, kind: str, path: str, given: dict[str, str]) -> Seed:
    issuer, account = _label(path)
    unread = len(set(given) - _READ - _LOOKS)
    said = [f"{unread} of its parameters are not read"] if unread else []
    if kind == "hotp" and "counter" not in given:
        said.append("the address does not say, so: the counter starts at 0")
    return Seed(
        place,
        kind,
        key_from_base32(given.get("secret", ""), "secret"),
        digits=fields.digits(given.get("digits") or "6"),
        period=fields.period(given.get("period") or "30", "period") if kind == "totp" else 30,
        algorithm=fields.algorithm(given.get("algorithm") or "sha1", "algorithm"),
        moving_factor=fields.counter(given.get("counter") or "0") if kind == "hotp" else 0,
        user=account,
        label=given.get("issuer") or issuer,
        notes=tuple(said),
    )


def _label(path: str) -> tuple[str, str]:
    """A colon parts issuer and account; some apps send it encoded, and one inside either is sent encoded, too."""
    issuer, colon, account = path.partition(":")
    if colon:
        return unquote(issuer).strip(), unquote(account).strip()
    issuer, colon, account = unquote(path).partition(":")
    return (issuer.strip(), account.strip()) if colon else ("", issuer.strip())
