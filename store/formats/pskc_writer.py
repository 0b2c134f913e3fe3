"""Tokens into a PSKC file, encrypted (RFC 6030).

Rules: never without encryption: a password through PBKDF2, or a key agreed on before. Keys and unused recovery codes
are encrypted and carry a MAC; the rest is in the clear, as PSKC has it, so that other readers find it: also a Yubico
private id, which is of no use without the AES key. What PSKC has no element for stands in our own namespace
(`store.formats.pskc.extension`). What could not be read back equal is refused, before anything is written.
"""

import base64
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias
from xml.etree.ElementTree import Element, register_namespace

from store.formats.pskc import extension, users
from store.formats.reading import Seed
from validation.errors import BadInput
from validation.tokens.yubico_otp import AES_OCTETS, BLOCK_CHARACTERS

if TYPE_CHECKING:
    from pskc import PSKC
    from pskc.key import Key

ITERATIONS = 600_000  # of PBKDF2-HMAC-SHA256: OWASP Password Storage Cheat Sheet, 2023
SALT_OCTETS = 16
KEY_LENGTHS = (16, 24, 32)
_PROFILES = {
    "hotp": "urn:ietf:params:xml:ns:keyprov:pskc:hotp",
    "totp": "urn:ietf:params:xml:ns:keyprov:pskc:totp",
    "yubico_otp": "http://www.yubico.com/#yubikey-aes",
}
_AT_ONCE = 500  # keys
_OPENING = b"<pskc:KeyPackage>"
_CLOSING = b"</pskc:KeyContainer>\n"
Watch: TypeAlias = Callable[[Iterable[Seed]], Iterable[Seed]]
_LAST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


def with_password(seeds: Iterable[Seed], password: str, iterations: int = ITERATIONS) -> bytes:
    return b"".join(pieces(password_lock(password, iterations), list(seeds)))


def with_key(seeds: Iterable[Seed], key: bytes, key_name: str = "Pre-shared-key") -> bytes:
    return b"".join(pieces(key_lock(key, key_name), list(seeds)))


def password_lock(password: str, iterations: int = ITERATIONS) -> "PSKC":
    """An empty container that is encrypted with a password."""
    if not password:
        raise BadInput("the password is empty")
    container = _container()
    container.encryption.setup_pbkdf2(
        password.encode(),
        algorithm="aes256-cbc",
        salt=secrets.token_bytes(SALT_OCTETS),
        iterations=iterations,
        prf="hmac-sha256",
        key_name="password",
    )
    return container


def key_lock(key: bytes, key_name: str = "Pre-shared-key") -> "PSKC":
    """An empty container that is encrypted with a key."""
    if len(key) not in KEY_LENGTHS:
        raise BadInput(f"the key has {len(key)} octets; 16, 24 or 32 are needed")
    container = _container()
    container.encryption.setup_preshared_key(key=key, algorithm=f"aes{len(key) * 8}-cbc", key_name=key_name)
    return container


def _container() -> "PSKC":
    from pskc import PSKC

    container = PSKC()
    container.mac.setup(key=secrets.token_bytes(32), algorithm="hmac-sha256")
    return container


def pieces(container: "PSKC", seeds: Sequence[Seed], watch: Watch = iter) -> Iterator[bytes]:
    """The file, a few keys at a time, so that memory does not hold all of it. `watch` sees each seed go by. All of
    `seeds` are checked before the first piece comes."""
    _check(seeds)
    return _written(container, watch(seeds))


def _written(container: "PSKC", seeds: Iterable[Seed]) -> Iterator[bytes]:
    """Each few keys make a document of their own with the same head, of which the keys are taken."""
    rest = iter(seeds)
    first = True
    while chunk := list(islice(rest, _AT_ONCE)):
        head, opening, keys = _document(container, chunk).partition(_OPENING)
        if first:
            yield _with_our_namespace(head)
        first = False
        yield opening + keys.removesuffix(_CLOSING)
    yield _CLOSING


def _document(container: "PSKC", seeds: list[Seed]) -> bytes:
    from pskc.serialiser import PSKCSerialiser
    from pskc.xml import tostring

    register_namespace("twofold", extension.NAMESPACE)
    container.devices.clear()
    for seed in seeds:
        _add(container, seed)
    document: Element = PSKCSerialiser.serialise_document(container)
    _mend_prf(document)
    written = document.iter(f"{{{_NAMESPACE}}}Key")
    for seed, key in zip(seeds, written, strict=True):
        _extend(container, seed, key)
    octets: bytes = tostring(document)
    return octets


def _with_our_namespace(head: bytes) -> bytes:
    """Declared even if the first keys need it not, for those that follow."""
    declared = f'xmlns:twofold="{extension.NAMESPACE}"'.encode()
    root = b"<pskc:KeyContainer "
    return head if declared in head else head.replace(root, root + declared + b" ", 1)


_NAMESPACE = "urn:ietf:params:xml:ns:keyprov:pskc"


def _mend_prf(document: Element) -> None:
    """python-pskc writes the PRF as text and reads it as an attribute, which is what PKCS #5 says."""
    for prf in document.iter("PRF"):
        prf.set("Algorithm", prf.text or "")
        prf.text = None


def _check(seeds: Sequence[Seed]) -> None:
    """What could not be read back equal. Raises BadInput."""
    if not seeds:
        raise BadInput("there is no token to write")
    serials: set[str] = set()
    for seed in seeds:
        if not seed.serial or seed.serial in serials:
            raise BadInput(f"{seed.place}: the serial {seed.serial!r} is missing, or there twice")
        serials.add(seed.serial)
        if seed.kind not in _PROFILES:
            raise BadInput(f"{seed.serial}: PSKC has no profile for kind {seed.kind}")
        for name in ("serial", "label", "user"):
            if not all(_is_xml(char) for char in getattr(seed, name)):
                raise BadInput(f"{seed.serial}: {name}: holds a character that XML cannot")
        for at in (seed.starts_at, seed.expires_at):
            if at is not None and not 0 <= at < _LAST:
                raise BadInput(f"{seed.serial}: a date that cannot be written")


def _is_xml(char: str) -> bool:
    """XML 1.0, production 2; a line end in text does not come back as it was."""
    code = ord(char)
    return 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000


def _add(container: "PSKC", seed: Seed) -> None:
    device = container.add_device(serial=seed.serial)
    key = device.add_key(id=seed.serial, algorithm=_PROFILES[seed.kind])
    key.friendly_name = seed.label or None
    key.policy.start_date = _date(seed.starts_at)
    key.policy.expiry_date = _date(seed.expires_at)
    key.policy.key_usage = ["OTP"]
    if seed.kind == "yubico_otp":
        _add_yubico(key, seed)
    else:
        _add_oath(key, seed)


def _add_oath(key: "Key", seed: Seed) -> None:
    key.secret = seed.key
    key.response_encoding, key.response_length = "DECIMAL", seed.digits
    if seed.kind == "totp" or seed.algorithm != "sha1":
        key.algorithm_suite = f"HMAC-{seed.algorithm.upper()}"
    if users.is_plain(seed.user):
        key.key_userid = users.written(seed.user)
    if seed.kind == "hotp":
        key.counter = seed.moving_factor
        return
    key.time_offset = max(0, seed.moving_factor - 1)  # the interval last seen
    key.time_interval = seed.period
    key.time_drift = seed.drift


def _add_yubico(key: "Key", seed: Seed) -> None:
    key.secret, private_id = seed.key[:AES_OCTETS], seed.key[AES_OCTETS:]
    key.response_encoding, key.response_length = "ALPHANUMERIC", len(seed.public_id) + BLOCK_CHARACTERS
    key.key_userid = f"CN={seed.public_id}, UID={private_id.hex()}" if seed.public_id else f"UID={private_id.hex()}"
    if users.is_plain(seed.user):
        key.device.device_userid = users.written(seed.user)


def _date(at: float | None) -> datetime | None:
    return datetime.fromtimestamp(at, UTC) if at is not None else None


def _extend(container: "PSKC", seed: Seed, key: Element) -> None:
    attributes = _attributes(seed)
    if not attributes and not seed.recovery_codes:
        return
    # makeelement, because python-pskc may have made the document with lxml
    extensions = key.makeelement(f"{{{_NAMESPACE}}}Extensions", {})
    token = key.makeelement(extension.TOKEN, attributes)
    if seed.recovery_codes:
        token.append(_codes(container, seed.recovery_codes, key))
    extensions.append(token)
    key.append(extensions)


def _attributes(seed: Seed) -> dict[str, str]:
    found: dict[str, str] = {}
    if seed.kind != "hotp" and seed.moving_factor:
        found["movingFactor"] = str(seed.moving_factor)
    if seed.look_ahead is not None:
        found["lookAhead"] = str(seed.look_ahead)
    if seed.disabled:
        found["state"] = "disabled"
    if seed.origin:
        found["origin"] = seed.origin
    if seed.label != seed.label.strip():
        found["label"] = seed.label
    if seed.user and not users.is_plain(seed.user):
        found["user"] = seed.user
    return found


def _codes(container: "PSKC", codes: tuple[str, ...], key: Element) -> Element:
    from pskc.key import EncryptedValue

    value = EncryptedValue.create(container, json.dumps(list(codes)))
    element = key.makeelement(extension.CODES, {})
    encrypted = _below(element, f"{{{_NAMESPACE}}}EncryptedValue")
    _below(encrypted, f"{{{_XENC}}}EncryptionMethod").set("Algorithm", value.algorithm or "")
    data = _below(encrypted, f"{{{_XENC}}}CipherData")
    _below(data, f"{{{_XENC}}}CipherValue").text = base64.b64encode(value.cipher_value).decode()
    _below(element, f"{{{_NAMESPACE}}}ValueMAC").text = base64.b64encode(value.mac_value or b"").decode()
    return element


_XENC = "http://www.w3.org/2001/04/xmlenc#"


def _below(parent: Element, tag: str) -> Element:
    child = parent.makeelement(tag, {})
    parent.append(child)
    return child
