"""`[first_factor.ldap]`: which directory checks passwords, and how it is reached.

Rules: a password never crosses a network in clear. `ldaps://` is TLS from the first octet, `ldap://` is StartTLS, and
without either only an address of this host may be named, and `unencrypted` must say so. The password of the service
account is in a file of its own, read when it is needed, so that a command that needs no directory needs no right to it.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

import msgspec

from validation.errors import BadInput
from validation.policy import check_name

Attribute = Annotated[str, msgspec.Meta(pattern="^[A-Za-z][A-Za-z0-9-]*$")]  # RFC 4512 1.4, keystring
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_PORTS = {"ldap": 389, "ldaps": 636}


class GroupsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[first_factor.ldap.groups]`: where groups are; how those of a user are searched, `{dn}` and `{user}` being
    filled in; whether `memberOf` of his entry is read as well; the attribute that names a group; and `names`, the
    groups that count and what they are called here. Without `names` all of them count, as they are called there."""

    base: Annotated[str, msgspec.Meta(min_length=1)]
    filter: str = "(|(member={dn})(uniqueMember={dn})(memberUid={user}))"
    member_of: bool = False
    name: Attribute = "cn"
    names: dict[str, str] = {}


class LdapSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[first_factor.ldap]`: servers in the order in which they are asked; where a user is found, and by which filter,
    `{user}` being filled in; the authorities that vouch for the servers; who asks (without a name: nobody); whether a
    server on this host may be asked in clear; how many seconds one check may take, and how many may be on their way at
    once."""

    servers: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=16)]
    base: Annotated[str, msgspec.Meta(min_length=1)]
    filter: str = "(uid={user})"
    ca_file: str = ""
    bind_dn: str = ""
    bind_password_file: str = ""
    unencrypted: bool = False
    time_limit: Annotated[float, msgspec.Meta(gt=0, le=60)] = 5.0
    threads: Annotated[int, msgspec.Meta(ge=1, le=16)] = 8
    groups: GroupsSection | None = None


class Protection(StrEnum):
    TLS = "TLS"
    START_TLS = "StartTLS"
    THIS_HOST = "this host alone"


@dataclass(frozen=True, slots=True)
class LdapServer:
    """One server. `host` is the path of a socket where `port` is 0."""

    host: str
    port: int
    protection: Protection

    def __str__(self) -> str:
        if not self.port:
            return f"ldapi://{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'ldaps' if self.protection is Protection.TLS else 'ldap'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Ldap:
    """The section, its servers taken apart and its paths absolute."""

    servers: tuple[LdapServer, ...]
    base: str
    filter: str = "(uid={user})"
    ca_file: Path | None = None  # None: the authorities that this host trusts
    bind_dn: str = ""  # "": nobody
    bind_password_file: Path = Path()
    time_limit: float = 5.0
    threads: int = 8
    groups: GroupsSection | None = field(default=None)


class Wrong(Exception):
    """A key (below the section) and what is wrong with it."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


def settings(section: LdapSection, folder: Path) -> Ldap:
    """Raises Wrong."""
    _check_filter("filter", section.filter, "{user}")
    if bool(section.bind_dn) is not bool(section.bind_password_file):
        raise Wrong(
            "bind_dn" if section.bind_dn else "bind_password_file",
            "needs the other one, too: bind_dn and bind_password_file go together",
        )
    if section.groups is not None:
        _check_groups(section.groups)
    return Ldap(
        servers=tuple(_server(url, section.unencrypted) for url in section.servers),
        base=section.base,
        filter=section.filter,
        ca_file=folder / section.ca_file if section.ca_file else None,
        bind_dn=section.bind_dn,
        bind_password_file=folder / section.bind_password_file,
        time_limit=section.time_limit,
        threads=section.threads,
        groups=section.groups,
    )


def _check_groups(groups: GroupsSection) -> None:
    if groups.filter:
        _check_filter("groups.filter", groups.filter, "{dn}", "{user}")
    elif not groups.member_of:
        raise Wrong("groups.filter", "is empty, and member_of is not set, so no group would ever be found")
    for name in groups.names.values():
        try:
            check_name("group", name)
        except BadInput as error:
            raise Wrong("groups.names", f"{name!r}: {error}") from None


def _check_filter(key: str, text: str, *places: str) -> None:
    """The same filter for everybody would find the same entry for everybody."""
    if not any(place in text for place in places):
        raise Wrong(key, f"must say where the name goes, with {' or '.join(places)}, such as (uid={{user}})")
    if not (text.startswith("(") and text.endswith(")") and text.count("(") == text.count(")")):
        raise Wrong(key, f"{text!r} is no filter in round brackets (RFC 4515), such as (uid={{user}})")


def _server(url: str, unencrypted: bool) -> LdapServer:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _no_server(url) from None
    if parts.scheme == "ldapi":
        return _socket(url)
    host = parts.hostname or ""
    bare = parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in parts.netloc
    if parts.scheme not in _PORTS or not bare or not (_HOST.fullmatch(host) or is_address(host)) or port == 0:
        raise _no_server(url)
    protection = Protection.TLS if parts.scheme == "ldaps" else Protection.START_TLS
    if unencrypted and protection is Protection.START_TLS:
        if not is_address(host) or not ip_address(host).is_loopback:
            raise Wrong(
                "servers",
                f"{url!r} is not an address of this host, and unencrypted is set: passwords would cross the network in "
                "clear. Name 127.0.0.1 or [::1], or take unencrypted out, and StartTLS is used",
            )
        protection = Protection.THIS_HOST
    return LdapServer(host, port or _PORTS[parts.scheme], protection)


def _socket(url: str) -> LdapServer:
    path = unquote(url.removeprefix("ldapi://"))
    if not path.startswith("/") or "\0" in path or len(path.encode()) > 107:  # sun_path, unix(7)
        raise Wrong("servers", f"{url!r} names no socket of this host; write ldapi://%2Frun%2Fslapd%2Fldapi")
    return LdapServer(path, 0, Protection.THIS_HOST)


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _no_server(url: str) -> Wrong:
    return Wrong("servers", f"{url!r} names no server; write ldaps://ldap.example.org or ldap://ldap.example.org:389")
