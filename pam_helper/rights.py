"""What a peer may ask, by who it is. The kernel says who (SO_PEERCRED); what the peer says of itself counts nothing.

    peer                       login of           services     believed of it
    root                       anybody            all          rhost, tty, SSH_AUTH_INFO_0
    an account in `relays`     anybody            its own      nothing; PINs only
    anybody else               himself            `lockers`    nothing; PINs only
    anybody                    care for his own registrations; redeeming a ticket
    root, the store's owner    whether a password is that of an account (`passwords.py`)

Rules: what is not in the table is refused, and what is not believed does not get past here. "PINs only": no pairing, no
skip, no grace, no reuse, whatever policies say.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, replace

from pam_helper.hello import Hello
from store.config import PamSection

PROFILE_REQUESTS = frozenset(
    {
        *("profile-show", "profile-add", "profile-reset", "profile-revoke", "profile-key"),
        *("profile-device-add", "profile-device-test"),
    }
)
REDEEM = "ticket-redeem"


class NotAllowed(Exception):
    """This peer may not ask this. The text is for the log."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that may be made."""

    hello: Hello
    user: str  # as the caller names him; for a request about himself, as the kernel does
    actor: str = ""  # a relay, or who cares for his own registrations
    pin_only: bool = True
    source: str | None = None
    local: bool = False  # whoever types sits at this machine (`seats.py`)
    own: bool = False  # the kernel says that whoever types is `user`


def allowed(hello: Hello, uid: int, pam: PamSection, name_of: Callable[[int], str | None]) -> Asked:
    """`name_of` gives the account of a uid. Raises NotAllowed."""
    if hello.request:
        return _own(_unbelieved(hello), uid, name_of)
    if uid == 0:
        return Asked(hello, hello.user, pin_only=False, source=numeric(hello.rhost))
    hello = _unbelieved(hello)
    name = name_of(uid)
    if name is None:
        raise NotAllowed(f"uid {uid} has no account")
    if hello.service in pam.relays.get(name, ()):
        return Asked(hello, hello.user, actor=name)
    if name != hello.user:
        raise NotAllowed(f"{name} may not log in as somebody else")
    if hello.service not in pam.lockers:
        raise NotAllowed(f"service {hello.service!r} of {name} is not among pam.lockers")
    return Asked(hello, name, own=True)


def _unbelieved(hello: Hello) -> Hello:
    return replace(hello, rhost=None, tty=None, ruser=None, ssh_auth_info=None)


def _own(hello: Hello, uid: int, name_of: Callable[[int], str | None]) -> Asked:
    name = name_of(uid)
    if hello.request == REDEEM:
        return Asked(hello, "", actor=name or f"uid {uid}")
    if hello.request not in PROFILE_REQUESTS:
        raise NotAllowed(f"request {hello.request!r} is not known")
    if name is None:
        raise NotAllowed(f"uid {uid} has no account")
    return Asked(hello, name, actor=name, own=True)


def numeric(rhost: str | None) -> str | None:
    """The address a login comes from. A name can be anybody's, and loopback says nothing."""
    try:
        address = ipaddress.ip_address((rhost or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return None if address.is_loopback or address.is_unspecified else str(address)
