"""The configuration of one host: one TOML file into frozen structs.

Rules: unknown keys are refused, with the file, the line and the key's path; paths are relative to the file. Clients,
policies and messages are not here: they live in the store, so that every server follows a change at once.
"""

import os
import re
import socket
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from store import ldap_section
from store.ldap_section import Ldap, LdapSection
from validation.errors import BadInput
from validation.names import EXACT, Spelling

DEFAULT_PATH = Path("/etc/twofold/twofold.toml")
ENVIRONMENT = "TWOFOLD_CONFIG"
RADIUS_PORT = 1812  # RFC 2865 3
ACCOUNTING_PORT = 1813  # RFC 2866 3


class StoreSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[store]`: where the database is, a file or `url`, that of a PostgreSQL server; the name of this host's audit
    chain; and how apps call us."""

    path: str = "twofold.db"
    url: str = ""
    chain: str = ""
    issuer: str = "Twofold"


_CredentialName = Annotated[str, msgspec.Meta(pattern="^([A-Za-z0-9_-][A-Za-z0-9._-]{0,254})?$")]


class KeySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[key]`: where the master key is: a file, a credential that systemd hands over, or a program that prints it; and,
    while keys are rotated, where the one before is. One of each three may be named."""

    file: str = ""
    credential: _CredentialName = ""
    command: tuple[str, ...] = ()
    old_file: str = ""
    old_credential: _CredentialName = ""
    old_command: tuple[str, ...] = ()


class RadiusSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[radius]`: addresses to listen on (`ADDRESS:PORT`, IPv6 in brackets), and whether to answer Status-Server; how
    the log is written; where numbers can be read, and whether from other hosts, too; the file that accounting records
    go to, and where they come in."""

    listen: tuple[str, ...] = (f"0.0.0.0:{RADIUS_PORT}", f"[::]:{RADIUS_PORT}")
    status_server: bool = True
    log: Literal["text", "json"] = "text"
    metrics: str = ""
    metrics_for_other_hosts: bool = False
    accounting: str = ""
    accounting_listen: tuple[str, ...] = ()


class NotifySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[notify]`: a program and its arguments; it gets each event as JSON on standard input."""

    command: tuple[str, ...] = ()


class NamesSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[names]`: realms that are taken off a user name, whether case matters, and `aliases`, other names of users."""

    realms: tuple[str, ...] = ()
    case_insensitive: bool = False
    aliases: dict[str, str] = {}


class PamSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[pam]`: the helper's sockets; services of programs that run as their user, such as screen lockers; and accounts
    that may log other people in, each with the services it may do that for."""

    root_socket: str = "/run/twofold/priv/pam.sock"
    socket: str = "/run/twofold/pam.sock"
    lockers: tuple[str, ...] = ()
    relays: dict[str, tuple[str, ...]] = {}


class SystemSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[first_factor.system]`: the PAM service that checks passwords of this host's accounts, how many seconds it may
    take, and how many checks may be on their way at once."""

    service: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9_-]*$")] = "twofold-first-factor"
    time_limit: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0
    threads: Annotated[int, msgspec.Meta(ge=1, le=16)] = 8


class UpstreamSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[first_factor.radius]`: RADIUS servers that check passwords, in the order in which they are asked, and the
    file with the secret that is shared with them; the name that is given to them; how many seconds each has to
    answer in, how often a request is sent again in that time, how many seconds one check may take in all, and how
    many may be on their way at once; and which attributes of their replies go on to the client: `drop`, `keep`, or
    a list of them."""

    servers: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=16)]
    secret_file: Annotated[str, msgspec.Meta(min_length=1)]
    nas_identifier: Annotated[str, msgspec.Meta(pattern="^[!-~]{1,253}$")] = "twofold"
    timeout: Annotated[float, msgspec.Meta(ge=0.5, le=9)] = 3.0
    retries: Annotated[int, msgspec.Meta(ge=0, le=5)] = 2
    time_limit: Annotated[float, msgspec.Meta(ge=0.5, le=9)] = 8.0  # below the 10 s after which nobody waits any more
    threads: Annotated[int, msgspec.Meta(ge=1, le=16)] = 16
    reply: Literal["drop", "keep"] | tuple[str | int, ...] = "drop"


class FirstFactorSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[first_factor.KIND]`: what a kind of first factor needs to know."""

    system: SystemSection = SystemSection()
    ldap: LdapSection | None = None
    radius: UpstreamSection | None = None


class SecurityKeySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[security_key]`: who this site is to security keys, the same on every host and never a host's name; the models
    that are allowed, and the file of certificates of who vouches for them; how many seconds a touch is waited for; and
    the services and terminals (patterns) at which somebody sits here, where logind knows no session."""

    rp_id: Annotated[str, msgspec.Meta(pattern="^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")] = "twofold"
    origin: str = ""
    aaguids: tuple[Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")], ...] = ()
    attestation_roots: str = ""
    wait: Annotated[float, msgspec.Meta(gt=0, le=50)] = 30.0
    services: tuple[str, ...] = ("login", "gdm", "gdm-password", "lightdm", "sddm", "xdm")
    ttys: tuple[str, ...] = ("/dev/tty[0-9]*", ":[0-9]*")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    store: StoreSection = StoreSection()
    key: KeySection = KeySection()
    radius: RadiusSection = RadiusSection()
    notify: NotifySection = NotifySection()
    names: NamesSection = NamesSection()
    pam: PamSection = PamSection()
    first_factor: FirstFactorSection = FirstFactorSection()
    security_key: SecurityKeySection = SecurityKeySection()


@dataclass(frozen=True, slots=True)
class Listen:
    """An address and port to bind to."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a master key is: one of the three."""

    file: Path | None = None
    credential: str = ""
    command: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.command:
            return f"the command {self.command[0]}"
        return f"the credential {self.credential}" if self.credential else str(self.file)


@dataclass(frozen=True, slots=True)
class Upstream:
    """`[first_factor.radius]`, its servers taken apart and its path absolute."""

    servers: tuple[Listen, ...]
    secret_file: Path
    nas_identifier: str = "twofold"
    timeout: float = 3.0
    retries: int = 2
    time_limit: float = 8.0
    threads: int = 16
    reply: str | tuple[str | int, ...] = "drop"


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration with its defaults filled in and its paths made absolute."""

    file: Path
    database: Path
    key: KeySource
    chain: str
    issuer: str
    listen: tuple[Listen, ...]
    status_server: bool
    log: str = "text"
    metrics: Listen | None = None
    accounting: Path | None = None  # the file
    accounting_listen: tuple[Listen, ...] = ()
    notify: tuple[str, ...] = ()
    names: Spelling = EXACT
    pam: PamSection = field(default_factory=PamSection)
    system_passwords: SystemSection = field(default_factory=SystemSection)
    ldap: Ldap | None = None
    upstream: Upstream | None = None
    security_key: SecurityKeySection = field(default_factory=SecurityKeySection)
    url: str = ""  # of a PostgreSQL database; `database` is then not used
    old_key: KeySource | None = None

    @property
    def store_name(self) -> str:
        """How messages call the store."""
        return self.url.partition("?")[0] or str(self.database)

    @property
    def owners_file(self) -> Path:
        """The file whose owner is the one the server runs as: the store, or the key where the store is elsewhere, or
        this configuration where both are."""
        return (self.key.file or self.file) if self.url else self.database


def config_path(option: str | None) -> Path:
    """`--config`, else $TWOFOLD_CONFIG, else /etc/twofold/twofold.toml."""
    return Path(option or os.environ.get(ENVIRONMENT) or DEFAULT_PATH)


def load(path: Path) -> Config:
    """Read `path`. Raises BadInput that names file, line and key, or says who else could have written it."""
    try:
        with path.open(encoding="utf-8-sig") as file:  # some editors put a byte order mark in front
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read()
    except FileNotFoundError:
        raise BadInput(f"the configuration file {path} does not exist; create it with: twofold init") from None
    except OSError as error:
        raise BadInput(f"the configuration file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadInput(f"the configuration file {path} is not UTF-8; save it as that") from None
    if mode & 0o022:  # it names the store and the key, so whoever writes it lets himself in
        raise BadInput(f"{path} has mode {mode:04o}, so others can change it; run: chmod 640 {path}")
    return parse(text, path)


def parse(text: str, path: Path) -> Config:
    try:
        document = tomllib.loads(text)
        file = msgspec.convert(document, _File)
    except tomllib.TOMLDecodeError as error:
        end = f"at line {len(text.splitlines()) or 1}, the end"
        raise BadInput(f"{path}: {str(error).replace('at end of document', end)}") from None
    except msgspec.ValidationError as error:
        raise BadInput(_explain(error, text, path)) from None
    for where in _with_zero_octets(document):
        raise BadInput(f"{_place(where, text, path)}: {where} must not hold a zero octet, which no name can have")
    folder = path.absolute().parent
    return Config(
        file=path,
        database=folder / file.store.path,
        url=_url(file.store, text, path),
        key=_key_source(file.key, "", folder, text, path) or KeySource(folder / "master.key"),
        old_key=_key_source(file.key, "old_", folder, text, path),
        chain=_name(file.store.chain or socket.gethostname(), "store.chain", "this host's", text, path),
        issuer=_name(file.store.issuer, "store.issuer", "your organisation's", text, path),
        listen=_listen(file.radius.listen, text, path),
        status_server=file.radius.status_server,
        log=file.radius.log,
        metrics=_metrics(file.radius, text, path),
        accounting=folder / file.radius.accounting if file.radius.accounting else None,
        accounting_listen=_accounting_listen(file.radius, text, path),
        notify=file.notify.command,
        names=_spelling(file.names, text, path),
        pam=file.pam,
        system_passwords=file.first_factor.system,
        ldap=_ldap(file.first_factor.ldap, text, path),
        upstream=_upstream(file.first_factor.radius, text, path),
        security_key=_security_key(file.security_key, text, path),
    )


def store_address(text: str) -> tuple[str, Path | None]:
    """An address of PostgreSQL, or else a path: one of the two is empty. Raises BadInput if it is neither."""
    if text.startswith(("postgresql://", "postgres://")):
        return text, None
    if "://" in text:
        scheme = text.partition("://")[0]
        raise BadInput(f"{scheme}:// is no database that we know; write postgresql://USER@HOST/NAME, or a path")
    return "", Path(text).absolute()


def _url(section: StoreSection, text: str, path: Path) -> str:
    """The rest is looked at when it is opened, by the driver."""
    if section.url and not store_address(section.url)[0]:
        where = f"{_place('store.url', text, path)}: store.url"
        raise BadInput(f"{where} begins with postgresql://, as in postgresql://twofold@db.example.org/twofold")
    if section.url and section.path != StoreSection().path:
        raise BadInput(f"{_place('store.url', text, path)}: a store is in one place: name store.path or store.url")
    return section.url


def _key_source(section: KeySection, age: str, folder: Path, text: str, path: Path) -> KeySource | None:
    names = [f"{age}{kind}" for kind in ("file", "credential", "command")]
    file, credential, command = (getattr(section, name) for name in names)
    named = [name for name in names if getattr(section, name)]
    if len(named) > 1:
        where = f"key.{named[1]}"
        raise BadInput(f"{_place(where, text, path)}: {where}: a key is in one place, and key.{named[0]} is named, too")
    return KeySource(folder / file if file else None, credential, command) if named else None


def _ldap(section: LdapSection | None, text: str, path: Path) -> Ldap | None:
    try:
        return ldap_section.settings(section, path.absolute().parent) if section is not None else None
    except ldap_section.Wrong as wrong:
        where = f"first_factor.ldap.{wrong.key}"
        raise BadInput(f"{_place(where, text, path)}: {where} {wrong}") from None


def _upstream(section: UpstreamSection | None, text: str, path: Path) -> Upstream | None:
    if section is None:
        return None
    where = "first_factor.radius.servers"
    what = f"{_place(where, text, path)}: {where}"
    servers = tuple(parse_listen(entry, what) for entry in section.servers)
    if any(server.port == 0 for server in servers):
        raise BadInput(f"{what}: no server can be reached at port 0")
    if len(set(servers)) < len(servers):
        raise BadInput(f"{what}: the same server stands there twice")
    fields = {name: getattr(section, name) for name in section.__struct_fields__}
    return Upstream(**fields | {"servers": servers, "secret_file": path.absolute().parent / section.secret_file})


def _security_key(section: SecurityKeySection, text: str, path: Path) -> SecurityKeySection:
    """With its origin filled in and its path made absolute."""
    if section.aaguids and not section.attestation_roots:
        where = "security_key.aaguids"
        raise BadInput(
            f"{_place(where, text, path)}: {where} needs security_key.attestation_roots: without the certificate of "
            "its maker a key can say of itself that it is any model"
        )
    roots = str(path.absolute().parent / section.attestation_roots) if section.attestation_roots else ""
    return msgspec.structs.replace(section, origin=section.origin or f"pam://{section.rp_id}", attestation_roots=roots)


def _spelling(names: NamesSection, text: str, path: Path) -> Spelling:
    """Both sides of an alias in their canonical spelling. An alias of an alias would hide who logs in."""
    plain = Spelling(names.realms, names.case_insensitive)
    aliases: dict[str, str] = {}
    for alias, name in names.aliases.items():
        bare, user = plain.canonical(alias), plain.canonical(name)
        what = f"{_place(f'names.aliases.{alias}', text, path)}: names.aliases.{alias}"
        if bare is None or user is None:
            raise BadInput(f"{what}: {alias if bare is None else name!r} cannot be a user's name")
        if bare in aliases:
            raise BadInput(f"{what}: the same name stands there twice")
        aliases[bare] = user
    for alias, user in aliases.items():
        if user in aliases:
            raise BadInput(
                f"{_place(f'names.aliases.{alias}', text, path)}: names.aliases.{alias}: {user!r} is an alias itself; "
                "name the user"
            )
    return Spelling(names.realms, names.case_insensitive, aliases)


def _name(name: str, where: str, example: str, text: str, path: Path) -> str:
    if name != name.strip() or not name or not name.isprintable():
        raise BadInput(f"{_place(where, text, path)}: {where} must be a printable name, for example {example}")
    return name


def _listen(entries: tuple[str, ...], text: str, path: Path) -> tuple[Listen, ...]:
    where = "radius.listen"
    what = f"{_place(where, text, path)}: {where}"
    if not entries:
        raise BadInput(f"{what} is empty; leave it out for the usual port on every address")
    return tuple(parse_listen(entry, what) for entry in entries)


def _accounting_listen(section: RadiusSection, text: str, path: Path) -> tuple[Listen, ...]:
    """The usual port on every address, if there is a file for records and nothing else is said."""
    usual = (f"0.0.0.0:{ACCOUNTING_PORT}", f"[::]:{ACCOUNTING_PORT}") if section.accounting else ()
    what = f"{_place('radius.accounting_listen', text, path)}: radius.accounting_listen"
    return tuple(parse_listen(entry, what, ACCOUNTING_PORT) for entry in section.accounting_listen or usual)


def _metrics(section: RadiusSection, text: str, path: Path) -> Listen | None:
    if not section.metrics:
        return None
    what = f"{_place('radius.metrics', text, path)}: radius.metrics"
    listen = parse_listen(section.metrics, what, None)
    if not ip_address(listen.address).is_loopback and not section.metrics_for_other_hosts:
        raise BadInput(
            f"{what}: {section.metrics!r} can be reached from other hosts, and whoever reads it learns the names of "
            "clients and how many logins fail; use 127.0.0.1, or set metrics_for_other_hosts = true"
        )
    return listen


_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<where>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")


def _with_zero_octets(value: object, where: str = "") -> Iterator[str]:
    """Where in the document a text stands that the system would take for its beginning alone."""
    if isinstance(value, str) and "\0" in value:
        yield where
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _with_zero_octets(inner, f"{where}.{name}".strip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _with_zero_octets(inner, f"{where}[{number}]")


def _explain(error: msgspec.ValidationError, text: str, path: Path) -> str:
    """msgspec's `Object contains unknown field `x` - at `$.store`` as `FILE, line 3: store.x is not known`."""
    found = _AT.match(str(error))
    where = (found["where"] or "") if found else ""
    what = found["what"] if found else str(error)
    if unknown := _UNKNOWN.match(what):
        where = f"{where}.{unknown['name']}".strip(".")
        what = "is not a known key"
    else:
        what = f"is not right: {what[0].lower()}{what[1:]}"
    return f"{_place(where, text, path)}: {where or 'the file'} {what}"


def _place(where: str, text: str, path: Path) -> str:
    line = _line_of(where, text)
    return f"{path}, line {line}" if line else str(path)


def _line_of(where: str, text: str) -> int | None:
    """The line on which the key `section.name` or the section stands; None if it cannot be told."""
    where = re.sub(r"\[.*", "", where)
    section, _, name = where.rpartition(".")
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            header = stripped.lstrip("[ ").partition("]")[0].rstrip()
            inside = header == section
            if header == where:
                return number
        key = stripped.partition("=")[0].strip().strip("\"'")
        if "=" in stripped and (key == where or (inside and key == name)):
            return number
    return None


def parse_listen(text: str, what: str, usual: int | None = RADIUS_PORT) -> Listen:
    """`127.0.0.1:1812`, `[::1]:1812`, or an address alone for the `usual` port, if there is one.

    Raises BadInput that begins with `what`.
    """
    match = re.fullmatch(r"(?:\[(?P<v6>[^\]]+)\]|(?P<v4>[^:\[\]]+))(?::(?P<port>\d{1,5}))?", text)
    example = f"127.0.0.1:{usual or 9812} or [::1]:{usual or 9812}"
    wrong = BadInput(f"{what}: {text!r} is not ADDRESS:PORT, such as {example}")
    if match is None or not (match["port"] or usual):
        raise wrong
    try:
        address = ip_address(match["v6"] or match["v4"])
    except ValueError:
        raise wrong from None
    port = int(match["port"] or usual or 0)
    if port > 65535 or (match["v6"] is not None) != (address.version == 6):
        raise wrong
    return Listen(str(address), port)


def template(chain: str) -> str:
    """The configuration file that `twofold init` writes."""
    return f"""\
# Twofold, configuration of this host. Paths are relative to this file.
# Users, tokens and RADIUS clients are not here: see twofold user, token and client.

[store]
path = "twofold.db"
# This host's name in the audit trail; keep it when the host is renamed.
chain = "{chain}"
# What authenticator apps show above the PIN.
issuer = "Twofold"

[key]
# Seals the token keys. Back it up, apart from the store.
file = "master.key"

[radius]
listen = ["0.0.0.0:{RADIUS_PORT}", "[::]:{RADIUS_PORT}"]
# Answer health checks of proxies and load balancers (RFC 5997).
status_server = true
"""
