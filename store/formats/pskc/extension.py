"""What PSKC has no element for, in an Extensions element of our own namespace.

Rules: it holds only what a reader of plain PSKC can do without, so such a reader opens our files; what PSKC has an
element for stands there. A moving factor is the greater of what both say, since it never goes back. Unused recovery
codes are secrets, and so are encrypted and carry a MAC like the key itself.
"""

import json
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from store.formats.pskc.fields import FieldError, base64_octets, number
from store.formats.reading import Seed
from validation.messages import printable

if TYPE_CHECKING:
    from store.formats.pskc.opening import Opener

NAMESPACE = "urn:twofold:pskc:1"
TOKEN = f"{{{NAMESPACE}}}Token"
CODES = f"{{{NAMESPACE}}}RecoveryCodes"
MOST_NUMBER = 2**63


def find(key: Element) -> Element | None:
    return key.find(f"Extensions/{TOKEN}")


def user_in(key: Element) -> str | None:
    """A user name that is no plain part of a distinguished name."""
    found = find(key)
    return found.get("user") if found is not None else None


def added(seed: Seed, key: Element, opener: "Opener") -> Seed:
    """`seed` with what stands in the extension. Raises FieldError."""
    found = find(key)
    if found is None:
        return seed
    factor = _number(found, "movingFactor")
    look_ahead = _number(found, "lookAhead")
    return replace(
        seed,
        label=found.get("label", seed.label),
        moving_factor=max(seed.moving_factor, factor or 0),
        look_ahead=look_ahead,
        recovery_codes=_codes(found.find(CODES), opener),
        disabled=_one_of(found, "state", ("", "disabled")) == "disabled",
        origin=_one_of(found, "origin", ("", "self", "admin")),
    )


def _one_of(element: Element, name: str, known: tuple[str, ...]) -> str:
    """A word that is not known could mean that the token must not be used, so it is not passed over."""
    found = element.get(name, "")
    if found not in known:
        raise FieldError(f"Extensions/{name}", f"{printable(found, 40)} is not known; {', '.join(known[1:])} are")
    return found


def _number(element: Element, name: str) -> int | None:
    text = element.get(name)
    if text is None:
        return None
    found = number(f"Extensions/{name}", text)
    if not 0 <= found < MOST_NUMBER:
        raise FieldError(f"Extensions/{name}", "too large, or below 0")
    return found


def _codes(element: Element | None, opener: "Opener") -> tuple[str, ...]:
    if element is None:
        return ()
    from pskc.key import EncryptedValue
    from pskc.parser import PSKCParser

    field = "Extensions/RecoveryCodes"
    encrypted = element.find("EncryptedValue")
    if encrypted is None:
        raise FieldError(field, "not encrypted")
    algorithm, octets = PSKCParser.parse_encrypted_value(encrypted)
    mac = base64_octets(field, element.findtext("ValueMAC", ""))
    return _listed(field, opener.open(field, EncryptedValue(octets, mac, algorithm)))


def _listed(field: str, octets: bytes) -> tuple[str, ...]:
    try:
        found = json.loads(octets)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(code, str) for code in found):
        raise FieldError(field, "no list of codes")
    return tuple(found)
