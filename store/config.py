"""The configuration of one host: one TOML file into frozen structs.

Rules: unknown keys are refused, with the file, the line and the key's path; paths are relative to the file. Clients,
policies and messages are not here: they live in the store, so that every server follows a change at once.
"""

import os
import re
import socket
import tomllib
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import msgspec

from validation.errors import BadInput
from validation.names import EXACT, Spelling

DEFAULT_PATH = Path("/etc/twofold/twofold.toml")
ENVIRONMENT = "TWOFOLD_CONFIG"
RADIUS_PORT = 1812  # RFC 2865 3


class StoreSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[store]`: where the database is, the name of this host's audit chain, and how apps call us."""

    path: str = "twofold.db"
    chain: str = ""
    issuer: str = "Twofold"


class KeySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[key]`: where the master key is."""

    file: str = "master.key"


class RadiusSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[radius]`: addresses to listen on (`ADDRESS:PORT`, IPv6 in brackets), and whether to answer Status-Server."""

    listen: tuple[str, ...] = (f"0.0.0.0:{RADIUS_PORT}", f"[::]:{RADIUS_PORT}")
    status_server: bool = True


class NotifySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[notify]`: a program and its arguments; it gets each event as JSON on standard input."""

    command: tuple[str, ...] = ()


class NamesSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[names]`: realms that are taken off a user name, and whether case matters for them and for bare names."""

    realms: tuple[str, ...] = ()
    case_insensitive: bool = False


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    store: StoreSection = StoreSection()
    key: KeySection = KeySection()
    radius: RadiusSection = RadiusSection()
    notify: NotifySection = NotifySection()
    names: NamesSection = NamesSection()


@dataclass(frozen=True, slots=True)
class Listen:
    """An address and port to bind to."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration with its defaults filled in and its paths made absolute."""

    file: Path
    database: Path
    key_file: Path
    chain: str
    issuer: str
    listen: tuple[Listen, ...]
    status_server: bool
    notify: tuple[str, ...] = ()
    names: Spelling = EXACT


def config_path(option: str | None) -> Path:
    """`--config`, else $TWOFOLD_CONFIG, else /etc/twofold/twofold.toml."""
    return Path(option or os.environ.get(ENVIRONMENT) or DEFAULT_PATH)


def load(path: Path) -> Config:
    """Read `path`. Raises BadInput that names file, line and key."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise BadInput(f"the configuration file {path} does not exist; create it with: twofold init") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the configuration file {path} cannot be read: {error}") from None
    return parse(text, path)


def parse(text: str, path: Path) -> Config:
    try:
        file = msgspec.convert(tomllib.loads(text), _File)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path}: {error}") from None
    except msgspec.ValidationError as error:
        raise BadInput(_explain(error, text, path)) from None
    folder = path.absolute().parent
    return Config(
        file=path,
        database=folder / file.store.path,
        key_file=folder / file.key.file,
        chain=file.store.chain or socket.gethostname(),
        issuer=_issuer(file.store.issuer, path),
        listen=tuple(parse_listen(entry, f"{path}: radius.listen") for entry in file.radius.listen),
        status_server=file.radius.status_server,
        notify=file.notify.command,
        names=Spelling(file.names.realms, file.names.case_insensitive),
    )


def _issuer(issuer: str, path: Path) -> str:
    if not issuer.strip() or not issuer.isprintable():
        raise BadInput(f"{path}: store.issuer must be a printable name, for example your organisation's")
    return issuer


_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<where>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")


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
    line = _line_of(where, text)
    return f"{path}{f', line {line}' if line else ''}: {where or 'the file'} {what}"


def _line_of(where: str, text: str) -> int | None:
    """The line on which the key `section.name` or the section stands; None if it cannot be told."""
    section, _, name = where.partition(".")
    name = re.sub(r"\[.*", "", name)
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            inside = stripped.strip("[] ") == section
            if inside and not name:
                return number
        key = stripped.partition("=")[0].strip().strip("\"'")
        if "=" in stripped and (key == where or (inside and key == name)):
            return number
    return None


def parse_listen(text: str, what: str) -> Listen:
    """`127.0.0.1:1812`, `[::1]:1812`, or an address alone for port 1812. Raises BadInput that begins with `what`."""
    match = re.fullmatch(r"(?:\[(?P<v6>[^\]]+)\]|(?P<v4>[^:\[\]]+))(?::(?P<port>\d{1,5}))?", text)
    wrong = BadInput(f"{what}: {text!r} is not ADDRESS:PORT, such as 127.0.0.1:1812 or [::1]:1812")
    if match is None:
        raise wrong
    try:
        address = ip_address(match["v6"] or match["v4"])
    except ValueError:
        raise wrong from None
    port = int(match["port"] or RADIUS_PORT)
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
chain = "{chain}"        # this host's name in the audit trail; keep it when the host is renamed
issuer = "Twofold"       # what authenticator apps show above the PIN

[key]
file = "master.key"      # seals the token keys; back it up apart from the store

[radius]
listen = ["0.0.0.0:{RADIUS_PORT}", "[::]:{RADIUS_PORT}"]
status_server = true     # answer health checks of proxies and load balancers (RFC 5997)
"""
