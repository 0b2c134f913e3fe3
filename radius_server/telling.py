"""A reply as a person reads it: names where there are some, text where it is text.

Rules: what came over the network passes `printable`, so that it cannot steer the terminal. A State is only measured: it
is good for a login.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from radius_client.client import Reply
from radius_client.wire import Attribute, Code, sub_attributes
from radius_server.attributes import Prompt
from validation.attributes.kinds import Choice, Ipv4Address, Ipv4Netmask, Number
from validation.attributes.table import TABLE
from validation.messages import printable

_KNOWN = {(attribute.vendor, attribute.number): attribute for attribute in TABLE}
_OTHERS: dict[int, str] = {
    Attribute.REPLY_MESSAGE: "Reply-Message",
    Attribute.PROXY_STATE: "Proxy-State",
    Attribute.ERROR_CAUSE: "Error-Cause",
}
_PROMPTS: dict[int, str] = {Prompt.NO_ECHO: "No-Echo", Prompt.ECHO: "Echo"}


def code_name(code: Code) -> str:
    """`Access-Accept` for ACCESS_ACCEPT."""
    return "-".join(part.capitalize() for part in code.name.split("_"))


def lines(reply: Reply) -> Iterator[str]:
    """The reply, and a line for each attribute."""
    where = "and first" if reply.signed_first else "but not first"
    yield f"{code_name(reply.code):<17} {reply.seconds * 1000:.1f} ms, Message-Authenticator right {where}"
    for kind, value in reply.attributes:
        if kind == Attribute.STATE:
            yield _line("State", f"{len(value)} octets")
        elif kind == Attribute.PROMPT and len(value) == 4:  # RFC 2869 5.10
            yield _line("Prompt", _PROMPTS.get(value[3], f"0x{value.hex()}"))
        elif kind != Attribute.MESSAGE_AUTHENTICATOR:
            yield from _told(kind, value)


def _told(kind: int, value: bytes) -> Iterator[str]:
    inner = sub_attributes(value[4:]) if kind == Attribute.VENDOR_SPECIFIC else ()
    vendor = int.from_bytes(value[:4], "big")
    for number, content in inner:
        yield _line(_name(vendor, number), _value(vendor, number, content))
    if not inner:
        yield _line(_name(0, kind), _value(0, kind, value))


def _line(name: str, value: str) -> str:
    return f"    {name:<22}  {value}"


def _name(vendor: int, number: int) -> str:
    """As it is called here, or as it is chosen in the configuration."""
    if (known := _KNOWN.get((vendor, number))) is not None:
        return known.name
    return f"26.{vendor}.{number}" if vendor else _OTHERS.get(number, f"attribute {number}")


def _value(vendor: int, number: int, value: bytes) -> str:
    known = _KNOWN.get((vendor, number))
    kind = known.kind if known is not None and not known.tagged and len(value) == 4 else None
    match kind:
        case Number():
            return str(int.from_bytes(value, "big"))
        case Choice():
            names = {code: name for name, code in kind.numbers.items()}
            return names.get(int.from_bytes(value, "big"), str(int.from_bytes(value, "big")))
        case Ipv4Address() | Ipv4Netmask():
            return str(ip_address(value))
        case _:
            pass
    text = value.decode("utf-8", "replace")
    return printable(text) if text.isprintable() and "\ufffd" not in text else f"0x{value.hex()}"
