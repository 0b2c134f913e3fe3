"""Which attributes of another server's Access-Accept go on into ours.

Rules: what belongs to the conversation with that server ends here; so does what was encrypted with its secret, which
the gateway could not read; what names a user, because the second factor was that of the user who was asked about; and
what a person would read. A vendor's attribute goes on whole or not at all.
"""

from collections.abc import Iterable, Sequence

from radius_client.wire import MICROSOFT, Attribute, sub_attributes
from validation import attributes
from validation.errors import BadInput

Pairs = tuple[tuple[int, bytes], ...]

DROP, KEEP = "drop", "keep"

NEVER = frozenset(
    {
        Attribute.USER_NAME,
        Attribute.USER_PASSWORD,
        Attribute.CHAP_PASSWORD,
        Attribute.REPLY_MESSAGE,
        Attribute.STATE,
        Attribute.PROXY_STATE,
        60,  # CHAP-Challenge
        69,  # Tunnel-Password, encrypted (RFC 2868 3.5)
        Attribute.ARAP_PASSWORD,
        Attribute.EAP_MESSAGE,
        Attribute.MESSAGE_AUTHENTICATOR,
        Attribute.ERROR_CAUSE,
        102,  # EAP-Key-Name
    }
)

# By vendor, what is encrypted with the secret: the MPPE keys (RFC 2548 2.4), and what vendors say of theirs.
ENCRYPTED: dict[int, frozenset[int]] = {
    161: frozenset({11}),  # Motorola
    MICROSOFT: frozenset({12, 16, 17}),
    529: frozenset({214, 215}),  # Ascend
    831: frozenset({116, 117, 118, 119}),  # Alcatel-Lucent AAA
    2356: frozenset({19, 20}),  # Lancom
    4874: frozenset({58, 59, 60, 61}),  # Juniper ERX
    5535: frozenset({58}),  # 3GPP2
    6527: frozenset({122, 123, 124, 125, 138, 139, 142}),  # Nokia SR
    14823: frozenset({44}),  # Aruba
    26928: frozenset({3}),  # Aerohive
}
UNREADABLE = frozenset({4846, 24757})  # Lucent and WiMAX have encrypted ones in a format of their own


class ReplyFilter:
    """`"drop"`, `"keep"`, or what is chosen: the name of a reply attribute, a number, or a vendor's as `26.VENDOR` or
    `26.VENDOR.TYPE`."""

    def __init__(self, rule: str | Sequence[str | int]) -> None:
        """Raises BadInput for what is not known or never goes on."""
        self._all = rule == KEEP
        self._kinds: set[int] = set()
        self._vendors: set[int] = set()
        self._vendor_types: set[tuple[int, int]] = set()
        if not isinstance(rule, str):
            for chosen in rule:
                self._choose(str(chosen))

    def __call__(self, came: Iterable[tuple[int, bytes]]) -> Pairs:
        return tuple((kind, value) for kind, value in came if value and self._goes_on(kind, value))

    def _choose(self, chosen: str) -> None:
        match _numbers(chosen) or _named(chosen):
            case [kind] if 1 <= kind <= 255:
                self._kinds.add(kind)
            case [Attribute.VENDOR_SPECIFIC, vendor]:
                self._vendors.add(vendor)
            case [Attribute.VENDOR_SPECIFIC, vendor, kind] if 1 <= kind <= 255:
                self._vendor_types.add((vendor, kind))
            case _:
                raise BadInput(
                    f"first_factor.radius.reply: {chosen!r} is no attribute; write a name such as Filter-Id, a number, "
                    "or 26.VENDOR.TYPE for a vendor's"
                )
        if self._kinds & NEVER or any(kind in ENCRYPTED.get(vendor, ()) for vendor, kind in self._vendor_types):
            raise BadInput(
                f"first_factor.radius.reply: {chosen!r} never goes on: it names a user, belongs to the conversation "
                "with that server, or is encrypted with its secret"
            )

    def _goes_on(self, kind: int, value: bytes) -> bool:
        if kind in NEVER:
            return False
        if kind == Attribute.VENDOR_SPECIFIC:
            return self._vendor_goes_on(value)
        return self._all or kind in self._kinds

    def _vendor_goes_on(self, value: bytes) -> bool:
        vendor = int.from_bytes(value[:4], "big")
        types = {kind for kind, _ in sub_attributes(value[4:])}
        if len(value) < 5 or vendor in UNREADABLE:
            return False
        if vendor in ENCRYPTED and (not types or types & ENCRYPTED[vendor]):
            return False
        if self._all or Attribute.VENDOR_SPECIFIC in self._kinds or vendor in self._vendors:
            return True
        return bool(types) and all((vendor, kind) in self._vendor_types for kind in types)


def _numbers(text: str) -> list[int]:
    """`26.9.1` as three numbers; none for anything else."""
    parts = text.split(".")
    return [int(part) for part in parts] if all(part.isascii() and part.isdigit() for part in parts) else []


def _named(text: str) -> list[int]:
    try:
        found = attributes.find(text)
    except BadInput as error:
        raise BadInput(f"first_factor.radius.reply: {error}") from None
    if found.tag:
        raise BadInput(f"first_factor.radius.reply: {text!r} goes on with whatever tag it has; write it without")
    return [Attribute.VENDOR_SPECIFIC, found.vendor, found.number] if found.vendor else [found.number]
