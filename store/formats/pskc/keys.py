"""One Key element into one item: a token, a row that is none, or what is wrong with it.

Rules: what kind of key it is comes first, because nothing is asked of a key that is no OTP token. Then its fields are
looked at, its policy, and last its values, which may cost a decryption. Defaults are those of RFC 6030 and its
profiles, and are said. `Time` is the interval last seen (RFC 6030 4.2, as TimeDrift tells), so the first acceptable one
is the next.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Required, TypedDict
from xml.etree.ElementTree import Element

from store.formats.pskc import extension, fields, policy, users
from store.formats.pskc.fields import FieldError
from store.formats.reading import BadRow, Item, Seed, Skipped
from validation.messages import printable
from validation.tokens.kind import MAX_COUNTER
from validation.tokens.yubico_otp import AES_OCTETS, BLOCK_CHARACTERS

if TYPE_CHECKING:
    from pskc.device import Device
    from pskc.key import Key

    from store.formats.pskc.opening import Opener

_OATH = re.compile(
    r"(?:urn:ietf:params:xml:ns:keyprov:pskc[:#]|http://www\.ietf\.org/keyprov/pskc#"
    r"|http://www\.openauthentication\.org/oath/\d{4}/\d\d/pskc#|urn:ietf:rfc:\d+:|)(hotp|totp|pin|ocra\b.*)",
    re.IGNORECASE,
)
_YUBICO_AES = re.compile(r"http://www\.yubico\.com/#yubikey-aes", re.IGNORECASE)
_OTHERS = (
    (re.compile(r"SecurID", re.IGNORECASE), "an RSA SecurID key"),
    (re.compile(r"ActivIdentity-(3DES|AES)", re.IGNORECASE), "a key for ActivIdentity's own algorithm"),
)
_SKIPPED = {"pin": "the PIN of a device", "ocra": "an OCRA key, for challenge and response"}
_SUITE = re.compile(r"(?:HMAC-?)?SHA-?(1|256|512)", re.IGNORECASE)
_MODHEX = re.compile(r"(?:[cbdefghijklnrtuv]{2}){0,16}")
_LAST_SECOND = 4102444800  # 2100: intervals beyond are no intervals, but seconds
# What python-pskc raises for what it does not understand.
STUMBLES = (ValueError, TypeError, AttributeError, LookupError, OverflowError)
MOST_DRIFT = 1_000_000
MOST_KEY_OCTETS = 1024


class Place(NamedTuple):
    """Where a key stands, and what its device says about it."""

    name: str
    device: "Device"
    info: Element | None


def item_of(element: Element, place: Place, opener: "Opener") -> Item:
    from pskc.key import Key
    from pskc.parser import PSKCParser

    serial = place.device.serial or ""
    try:
        skipped = _skipped(_algorithm(element))
        if skipped:
            return Skipped(place.name, skipped)
        fields.check(element)
        fields.check_data(element)
        key = Key(place.device)
        PSKCParser.parse_key(key, element)
        return _seed(key, element, place, opener)
    except FieldError as error:
        return BadRow(place.name, error.field, error.text, serial)
    except STUMBLES:
        # What python-pskc stumbled over and no rule above foresaw. Its own words could hold a value.
        return BadRow(place.name, "Key", "cannot be read as PSKC", serial)


def _algorithm(element: Element) -> str:
    found = element.get("Algorithm") or element.get("KeyAlgorithm") or element.get("SecretAlgorithm") or ""
    return found.strip()


def _skipped(algorithm: str) -> str | None:
    found = _OATH.fullmatch(algorithm)
    if found:
        return _SKIPPED.get(found.group(1).lower()[:4].rstrip(":"))
    return next((what for known, what in _OTHERS if known.search(algorithm)), None)


def _kind(algorithm: str) -> str:
    if not algorithm:
        raise FieldError("Algorithm", "missing: the file does not say what the key is for")
    found = _OATH.fullmatch(algorithm)
    if found:
        return found.group(1).lower()
    if _YUBICO_AES.fullmatch(algorithm):
        return "yubico_otp"
    raise FieldError("Algorithm", f"{printable(algorithm, 80)} is not known; HOTP, TOTP and Yubico OTP are")


class _Facts(TypedDict, total=False):
    """What the algorithm of a key says of its token; the rest has the defaults of `Seed`."""

    key: Required[bytes]
    digits: int
    period: int
    algorithm: str
    moving_factor: int
    drift: int
    public_id: str
    period_assumed: bool


def _seed(key: "Key", element: Element, place: Place, opener: "Opener") -> Seed:
    kind = _kind(_algorithm(element))
    notes = list(policy.check(key.policy))
    starts_at, expires_at = policy.validity(place.info, element)
    values = _Values(key, opener, element)
    make = {"hotp": _hotp, "totp": _totp, "yubico_otp": _yubico}[kind]
    user = _user(key, element, kind, notes)
    facts = make(key, values, notes)
    if values.plain_in_encrypted:
        notes.append("the key stands unencrypted in a file that encrypts others")
    seed = Seed(
        place.name,
        kind,
        serial=_serial(key, notes),
        user=user,
        label=_label(key),
        starts_at=starts_at,
        expires_at=expires_at,
        notes=tuple(notes),
        **facts,
    )
    return extension.added(seed, element, opener)


def _serial(key: "Key", notes: list[str]) -> str:
    if key.device.serial:
        return key.device.serial
    if key.id:
        notes.append("serial from the Id of the key, because the file has no SerialNo")
    return key.id or ""


def _label(key: "Key") -> str:
    made_by = (key.device.manufacturer, key.device.model)
    return key.friendly_name or " ".join(each for each in made_by if each)


def _user(key: "Key", element: Element, kind: str, notes: list[str]) -> str:
    ours = extension.user_in(element)
    if ours is not None:
        return ours
    text = key.device.device_userid if kind == "yubico_otp" else key.userid
    found = users.user_in(text)
    if found is None:
        notes.append(f"UserId {printable(text or '', 80)} is not plainly a user name; nobody is assigned")
    return found or ""


class _Values:
    """The values of a key, opened when they are asked for."""

    def __init__(self, key: "Key", opener: "Opener", element: Element) -> None:
        self._key = key
        self._opener = opener
        self._element = element
        self.plain_in_encrypted = False

    def secret(self) -> bytes:
        found = self._raw("secret")
        if isinstance(found, bytes):
            self._check_plain()
        elif found is None:
            raise FieldError("Secret", self._why_missing())
        else:
            found = self._opener.open("Secret", found)
        if not 0 < len(found) <= MOST_KEY_OCTETS:
            raise FieldError("Secret", f"{len(found)} octets are not possible")
        return found

    def number(self, name: str, field: str, least: int, most: int) -> int | None:
        found = self._raw(name)
        if found is None:
            return None
        value = found if isinstance(found, int) else fields.number_in(field, self._opener.open(field, found))
        if not least <= value <= most:
            raise FieldError(field, f"outside {least} … {most}")
        return value

    def _raw(self, name: str) -> Any:
        """What python-pskc keeps: the clear value, or an EncryptedValue that it would open without asking for a MAC."""
        return getattr(self._key, f"_{name}", None)

    def _check_plain(self) -> None:
        """A Value without a digest is clear to python-pskc. In a file that encrypts, its digest was taken away."""
        encryption = self._key.device.pskc.encryption
        if encryption.algorithm and self._element.find("Data/Value") is not None:
            raise FieldError("Secret", "the MAC (ValueDigest) is missing: the value may have been changed by anybody")
        self.plain_in_encrypted = self._key.device.pskc.mac.algorithm is not None and (
            encryption.key_name is not None or encryption.derivation.algorithm is not None
        )

    def _why_missing(self) -> str:
        named = self._key.key_reference or self._key.key_profile
        if named:
            return f"not in the file, which names a key kept elsewhere ({printable(named, 80)}); ask its maker for that"
        return "missing: the file holds no key here"


Make = Callable[["Key", _Values, list[str]], dict[str, object]]


def _hotp(key: "Key", values: _Values, notes: list[str]) -> _Facts:
    digits, algorithm = _digits(key, notes), _hash(key)
    counter = values.number("counter", "Counter", 0, MAX_COUNTER - 1)
    if counter is None:
        notes.append("counter 0, because the file does not say")
    return {"key": values.secret(), "digits": digits, "algorithm": algorithm, "moving_factor": counter or 0}


def _totp(key: "Key", values: _Values, notes: list[str]) -> _Facts:
    digits, algorithm = _digits(key, notes), _hash(key)
    period = values.number("time_interval", "TimeInterval", 1, 2**31)
    assumed = period is None
    if assumed:
        notes.append("period 30 s, because the file does not say")
    period = period or 30
    seen = values.number("time_offset", "Time", 0, _LAST_SECOND // period) or 0
    drift = values.number("time_drift", "TimeDrift", -MOST_DRIFT, MOST_DRIFT) or 0
    secret = values.secret()
    if key.algorithm_suite is None and len(secret) in (32, 64):
        notes.append(
            f"sha1, because the file names no Suite; a key of {len(secret)} octets often goes with another hash"
        )
    return {
        "key": secret,
        "digits": digits,
        "algorithm": algorithm,
        "period": period,
        "period_assumed": assumed,
        "moving_factor": seen + 1 if seen else 0,
        "drift": drift,
    }


def _digits(key: "Key", notes: list[str]) -> int:
    if (key.response_encoding or "DECIMAL").upper() != "DECIMAL":
        raise FieldError("ResponseFormat", f"codes in {printable(key.response_encoding or '', 40)}; digits are needed")
    if key.response_check:
        raise FieldError("ResponseFormat", "codes with a check digit; they cannot be compared here")
    if key.response_length is None:
        notes.append("6 digits, because the file does not say")
        return 6
    if not 1 <= key.response_length <= 99:
        raise FieldError("ResponseFormat", "a length that is not possible")
    return key.response_length


def _hash(key: "Key") -> str:
    if key.algorithm_suite is None:
        return "sha1"
    found = _SUITE.fullmatch(key.algorithm_suite)
    if found is None:
        suite = printable(key.algorithm_suite, 40)
        raise FieldError("Suite", f"{suite} is not known; HMAC-SHA1, HMAC-SHA256 and HMAC-SHA512 are")
    return f"sha{found.group(1)}"


def _yubico(key: "Key", values: _Values, notes: list[str]) -> _Facts:
    """Public and private id stand in UserId (draft-josefsson-keyprov-pskc-yubikey)."""
    named = users.parts(key.key_userid or "") or {}
    public_id, private_id = named.get("CN", "").lower(), named.get("UID", "")
    if not re.fullmatch(r"[0-9A-Fa-f]{12}", private_id):
        raise FieldError("UserId", "the private id is missing: UID= and 12 hex digits, beside CN= and the public id")
    if not _MODHEX.fullmatch(public_id):
        raise FieldError("UserId", "the public id (CN=) is not in the letters that the device types (modhex)")
    secret = values.secret()
    if len(secret) != AES_OCTETS:
        raise FieldError("Secret", f"{len(secret)} octets; an AES key of {AES_OCTETS} is needed")
    length = len(public_id) + BLOCK_CHARACTERS
    if key.response_length not in (None, length):
        notes.append(f"the file says codes of {key.response_length} characters; with this public id they have {length}")
    return {"key": secret + bytes.fromhex(private_id), "public_id": public_id}
