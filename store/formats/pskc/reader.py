"""A PSKC file, from octets to items.

Rules: the file is looked through before anything is made of it. What is wrong with a key is its own row; what is wrong
with the head, or leaves nothing to trust, is the file's. Several keys of one device share its SerialNo, and are told
apart by the Id of the key, because our serials are unique.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from store.formats.pskc import document, fields
from store.formats.pskc.keys import STUMBLES, Place, item_of
from store.formats.reading import BadRow, Contents, Item, Seed, Skipped, Unlock
from validation.errors import BadInput
from validation.messages import printable

if TYPE_CHECKING:
    from pskc import PSKC
    from pskc.device import Device

    from store.formats.pskc.opening import Opener

_HEAD = ("EncryptionKey", "EncryptionMethod", "MACMethod", "DigestMethod", "MACAlgorithm")
_PACKAGES = ("KeyPackage", "Device")
_KEYS = ("Key", "Secret")
_LOOKED_AT = 64 * 1024  # octets, to tell what a file is
_SIGN = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?(?:Key|Secret)Container[\s>/]")
_MANUFACTURERS_NAMED = 5


class Pskc:
    name = "pskc"
    title = "PSKC (RFC 6030 and its drafts)"

    def fits(self, octets: bytes, file_name: str) -> bool:
        # Without zero octets, UTF-16 looks like ASCII.
        return _SIGN.search(octets[:_LOOKED_AT].replace(b"\0", b"")) is not None

    def read(self, octets: bytes, unlock: Unlock) -> Contents:
        octets = octets.lstrip(b" \t\r\n")  # copied out of a mail; XML allows nothing before its declaration
        root = document.check(octets)
        reading = _Reading(root, unlock)
        items = list(reading.items(octets))
        return Contents(self.name, tuple(_told_apart(items, reading.key_ids)), reading.facts())


class _Reading:
    """One pass over the file: the head first, then one package after another."""

    def __init__(self, root: document.Root, unlock: Unlock) -> None:
        self._root = root
        self._unlock = unlock
        self._head = Element(root.name, dict(root.attributes))
        self._header: PSKC | None = None
        self._opener: Opener | None = None
        self._manufacturers: Counter[str] = Counter()
        self._signed = False
        self.key_ids: list[str] = []  # one for each item
        self._packages = 0

    def items(self, octets: bytes) -> Iterator[Item]:
        for child in document.children(octets, self._root):
            if child.tag in _PACKAGES:
                for key_id, item in self._package(child):
                    self.key_ids.append(key_id)
                    yield item
            elif child.tag in _HEAD:
                self._add_to_head(child)
            elif child.tag == "Signature":
                self._signed = True
        if not self._packages:
            raise BadInput("the file holds no KeyPackage, and so no key")
        if self._opener is not None:
            self._opener.finish()

    def facts(self) -> tuple[str, ...]:
        found = [f"manufacturer {name}" for name, _ in self._manufacturers.most_common(_MANUFACTURERS_NAMED)]
        found += self._opener.facts if self._opener is not None else []
        if self._signed:
            found.append("the file is signed; the signature was not checked")
        return tuple(found)

    def _add_to_head(self, child: Element) -> None:
        if self._header is not None:
            raise BadInput(f"{child.tag}: stands after the first key; it must come before")
        if self._head.find(child.tag) is not None:
            raise BadInput(f"{child.tag}: stands there twice")
        self._head.append(child)

    def _package(self, package: Element) -> Iterator[tuple[str, Item]]:
        from pskc.device import Device

        header, opener = self._opened(draft=package.tag == "Device")
        self._packages += 1
        keys = [child for child in package if child.tag in _KEYS]
        for key in keys:
            package.remove(key)
        info = package.find("DeviceInfo")
        info = package.find("DeviceId") if info is None else info
        device = Device(header)
        name = self._name(package.tag, info)
        wrong = _read_device(device, package)
        if wrong is not None:
            yield "", BadRow(name, wrong.field, wrong.text)
        elif not keys:
            yield "", Skipped(name, "a package without a key")
        else:
            self._manufacturers.update([printable(device.manufacturer, 80)] if device.manufacturer else [])
            yield from _keys(keys, Place(name, device, info), opener)

    def _name(self, tag: str, info: Element | None) -> str:
        serial = info.findtext("SerialNo", "").strip() if info is not None else ""
        return f"{tag} {self._packages}" + (f" (SerialNo {printable(serial, 64)})" if serial else "")

    def _opened(self, draft: bool) -> tuple["PSKC", "Opener"]:
        """The head, read when the first package comes."""
        if self._header is None or self._opener is None:
            from store.formats.pskc.opening import Opener

            self._header = _header(self._head)
            self._opener = Opener(self._header, self._unlock, draft)
        return self._header, self._opener


def _header(head: Element) -> "PSKC":
    from pskc import PSKC
    from pskc.exceptions import PSKCError
    from pskc.parser import PSKCParser

    header = PSKC()
    try:
        fields.check(head)
        PSKCParser.parse_document(header, head)
    except fields.FieldError as error:
        raise BadInput(str(error)) from None
    except (PSKCError, *STUMBLES):
        raise BadInput("EncryptionKey or MACMethod cannot be read as PSKC") from None
    return header


def _read_device(device: "Device", package: Element) -> fields.FieldError | None:
    """What is wrong with what the package says about its device; None if nothing is."""
    from pskc.parser import PSKCParser

    try:
        fields.check(package)
        PSKCParser.parse_key_package(device, package)
    except fields.FieldError as error:
        return error
    except STUMBLES:
        return fields.FieldError("DeviceInfo", "cannot be read as PSKC")
    return None


def _keys(keys: list[Element], place: Place, opener: "Opener") -> Iterator[tuple[str, Item]]:
    for number, key in enumerate(keys, 1):
        _mend_draft(key)
        name = f"{place.name}, Key {number}" if len(keys) > 1 else place.name
        yield _key_id(key), item_of(key, place._replace(name=name), opener)


def _key_id(key: Element) -> str:
    return (key.get("Id") or key.get("KeyId") or key.get("SecretId") or "").strip()


def _mend_draft(key: Element) -> None:
    """draft-ietf-keyprov-pskc-02 shows a ValueMAC inside the EncryptedValue, where nobody looks for it."""
    for value in key.iterfind("Data/*"):
        misplaced = value.find("EncryptedValue/ValueMAC")
        if misplaced is not None and value.find("ValueMAC") is None:
            value.append(misplaced)


def _told_apart(items: list[Item], key_ids: list[str]) -> Iterator[Item]:
    """Keys of one device get the Id of the key in their serial."""
    shared = {serial for serial, many in Counter(_serials(items)).items() if many > 1}
    for item, key_id in zip(items, key_ids, strict=True):
        if not isinstance(item, Seed) or item.serial not in shared or not key_id:
            yield item
            continue
        serial = key_id if key_id.startswith(item.serial) else f"{item.serial}:{key_id}"
        note = f"several keys have SerialNo {printable(item.serial, 64)}; told apart by the Id of the key"
        yield replace(item, serial=serial, notes=(*item.notes, note))


def _serials(items: list[Item]) -> Iterator[str]:
    return (item.serial for item in items if isinstance(item, Seed) and item.serial)
