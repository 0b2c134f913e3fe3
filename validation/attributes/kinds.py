"""The types of reply attributes: text that an admin writes, to the octets of a packet.

Rules: `parse` never raises; it gives the text to store and the octets, or None for a text that cannot be. What it gives
to store, it reads again to the same. `possible` says in words what can be. Numbers are ASCII digits alone.
"""

import ipaddress
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

MOST = 2**32 - 1
Parsed = tuple[str, bytes] | None


class Kind(Protocol):
    """A type: its name for a listing, and whether its value is a number of four octets."""

    @property
    def type_name(self) -> str: ...

    @property
    def counts(self) -> bool: ...

    def parse(self, text: str) -> Parsed: ...

    def possible(self, room: int) -> str:
        """What can be set, for a person; `room` is how many octets the value may have."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """UTF-8 without controls and invisible characters, which could steer the terminal of whoever reads a log."""

    type_name: str = "text"
    counts: bool = False

    def parse(self, text: str) -> Parsed:
        if any(unicodedata.category(char)[0] == "C" or char in "\u2028\u2029" for char in text):
            return None
        return text, text.encode()  # no surrogates: they are of category Cs

    def possible(self, room: int) -> str:
        return f"a text of 1 to {room} octets without control characters"


@dataclass(frozen=True, slots=True)
class Octets:
    """Octets that mean nothing to us (Class, RFC 2865 5.25): `0x` and hex digits, or a text."""

    type_name: str = "octets"
    counts: bool = False

    def parse(self, text: str) -> Parsed:
        if text[:2].lower() != "0x":
            return Text().parse(text)
        digits = text[2:].lower()
        if len(digits) % 2 or not set(digits) <= set("0123456789abcdef"):
            return None
        return f"0x{digits}", bytes.fromhex(digits)

    def possible(self, room: int) -> str:
        return f"a text of 1 to {room} octets without control characters, or 0x and two hex digits for each octet"


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number from `least` to `most`, as four octets."""

    least: int = 0
    most: int = MOST
    type_name: str = "integer"
    counts: bool = True

    def parse(self, text: str) -> Parsed:
        value = _whole(text)
        if value is None or not self.least <= value <= self.most:
            return None
        return str(value), value.to_bytes(4, "big")

    def possible(self, room: int) -> str:
        return f"a whole number from {self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several named numbers, written by name, in any case, or by number."""

    numbers: Mapping[str, int]
    type_name: str = "name or number"
    counts: bool = True

    def parse(self, text: str) -> Parsed:
        number = _whole(text)
        for name, value in self.numbers.items():
            if value == number or name.lower() == text.lower():
                return name, value.to_bytes(4, "big")
        return None

    def possible(self, room: int) -> str:
        return "one of " + ", ".join(f"{name} ({value})" for name, value in self.numbers.items())


@dataclass(frozen=True, slots=True)
class Ipv4Address:
    type_name: str = "IPv4 address"
    counts: bool = False

    def parse(self, text: str) -> Parsed:
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError:
            return None
        return str(address), address.packed

    def possible(self, room: int) -> str:
        return "an IPv4 address such as 10.10.1.44"


@dataclass(frozen=True, slots=True)
class Ipv4Netmask:
    type_name: str = "IPv4 netmask"
    counts: bool = False

    def parse(self, text: str) -> Parsed:
        parsed = Ipv4Address().parse(text)
        if parsed is None:
            return None
        clear = int.from_bytes(parsed[1], "big") ^ MOST
        return None if clear & (clear + 1) else parsed  # the bits after the ones are all 0

    def possible(self, room: int) -> str:
        return "an IPv4 netmask such as 255.255.255.0"


@dataclass(frozen=True, slots=True)
class Ipv6Address:
    type_name: str = "IPv6 address"
    counts: bool = False

    def parse(self, text: str) -> Parsed:
        try:
            address = ipaddress.IPv6Address(text)
        except ValueError:
            return None
        return None if address.scope_id is not None else (str(address), address.packed)

    def possible(self, room: int) -> str:
        return "an IPv6 address such as 2001:db8::44, without a zone"


@dataclass(frozen=True, slots=True)
class Ipv6Prefix:
    """RFC 3162 2.3: an octet 0, the length of the prefix in bits, and the octets that these bits need."""

    type_name: str = "IPv6 prefix"
    counts: bool = False

    def parse(self, text: str) -> Parsed:
        address, slash, _ = text.partition("/")
        if not slash or "%" in address:
            return None
        try:
            network = ipaddress.IPv6Network(text)  # refuses bits behind the length
        except ValueError:
            return None
        needed = (network.prefixlen + 7) // 8
        return str(network), bytes((0, network.prefixlen)) + network.network_address.packed[:needed]

    def possible(self, room: int) -> str:
        return "an IPv6 prefix such as 2001:db8:1::/48, with no bits set behind its length"


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None
