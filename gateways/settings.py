"""The file that says whom a program on a gateway asks: servers, shared secret, patience.

Rules: others may not read the file, and only root or who runs the program may own it, since whoever can write it lets
himself in. Nothing has a default that could let a login in; a key that is not known is refused, so that a slip of the
pen does not pass for a setting.
"""

import ipaddress
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PORT = 1812  # RFC 2865 3
SHORTEST_SECRET = 16  # octets; RFC 2865 3 asks for that much
TIMEOUT = 10.0  # seconds for each server, unless the file says another
LONGEST_TIMEOUT = 120.0  # seconds; longer than any gateway waits


class SettingsError(Exception):
    """The file cannot be used. The text names file and key, and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    servers: tuple[tuple[str, int], ...]  # address and port, asked in this order
    secret: bytes = field(repr=False)
    nas_identifier: str  # who asks, for Twofold's policies and log
    timeout: float = TIMEOUT  # seconds for each server


def load(path: Path, more: frozenset[str] = frozenset()) -> tuple[Settings, Mapping[str, Any]]:
    """What the file says, and the values of the keys `more` that only the caller knows. Raises SettingsError."""
    document = _document(path)
    known = {"servers", "secret", "nas_identifier", "timeout"}
    for key in document:
        if key not in known | more:
            raise SettingsError(f"{path}: {key!r} is not known; known are {', '.join(sorted(known | more))}")
    return checked(path, document), {key: document[key] for key in more if key in document}


def checked(path: Path, values: Mapping[str, object]) -> Settings:
    """Settings of these values, whatever the form of the file they stand in. Raises SettingsError."""
    return Settings(
        servers=_servers(path, values.get("servers")),
        secret=_secret(path, values.get("secret")),
        nas_identifier=_text(path, "nas_identifier", values.get("nas_identifier")),
        timeout=_seconds(path, values.get("timeout", TIMEOUT)),
    )


def protected_text(path: Path) -> str:
    """What the file says, if nobody else can read or write it. Raises SettingsError."""
    try:
        with path.open("rb") as file:
            _check_rights(path, os.fstat(file.fileno()))
            return file.read().decode()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: not UTF-8") from None


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(protected_text(path))
    except tomllib.TOMLDecodeError:
        # The parser's text may quote the line, and the line may be the secret.
        raise SettingsError(f'{path}: not TOML; write lines like servers = ["192.0.2.1"]') from None


def _check_rights(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise SettingsError(f"{path} belongs to user {status.st_uid}, who could let himself in: chown root {path}")
    if not stat.S_ISREG(status.st_mode) or status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise SettingsError(f"{path} may be read or written by others: chmod 640 {path}")


def _servers(path: Path, value: object) -> tuple[tuple[str, int], ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise SettingsError(f'{path}: servers is a list of addresses, for example servers = ["192.0.2.1:1812"]')
    return tuple(_server(path, one) for one in value)


def _server(path: Path, text: str) -> tuple[str, int]:
    """`192.0.2.1`, `192.0.2.1:1812`, `2001:db8::1` or `[2001:db8::1]:1812`."""
    host, port = text, str(PORT)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise SettingsError(f"{path}: servers: {text!r} is no address; names are not looked up") from None
    if not port.isascii() or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        raise SettingsError(f"{path}: servers: {text!r} has no port from 1 to 65535")
    return str(address), int(port)


def _secret(path: Path, value: object) -> bytes:
    if not isinstance(value, str) or len(value.encode()) < SHORTEST_SECRET:
        raise SettingsError(f"{path}: secret is the text that `twofold client add` has shown, {SHORTEST_SECRET} octets")
    return value.encode()


def _text(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value.encode()) <= 253 or not value.isprintable():
        raise SettingsError(f'{path}: {key} is a name of 1 to 253 octets, for example {key} = "vpn"')
    return value


def _seconds(path: Path, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= LONGEST_TIMEOUT:
        raise SettingsError(f"{path}: timeout is a number of seconds from 1 to {LONGEST_TIMEOUT:g}")
    return float(value)
