"""What `twofold doctor` asks of passwords: is the helper there that the RADIUS server needs for the host's accounts."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from first_factor.asking import uid_at_the_other_end
from first_factor.whose import has, whose
from store import opening
from store.config import Config
from validation.errors import TwofoldError
from validation.findings import Finding, fine, serious
from validation.model import FirstFactorKind

_TOPIC = "passwords"
_START = "systemctl enable --now twofold-pam.socket twofold-pam.service"
_WITHIN = 2.0  # seconds


def checks(config: Config | None, root: Path = Path("/")) -> Iterator[Finding]:
    """Nothing where nobody's password is the host's, no client asks, or the store cannot be read."""
    if config is None:
        return
    who = whose(config, FirstFactorKind.SYSTEM)
    if who and _asked(config):
        yield _helper(f"{who} {has(who)}", config.pam.socket, root)


def _asked(config: Config) -> bool:
    """There is a client whose logins the server would ask the helper about."""
    try:
        with closing(opening.open_store(config)) as store:
            return bool(store.clients())
    except TwofoldError:
        return False


def _helper(who: str, place: str, root: Path) -> Finding:
    whose = f"{who} the password of an account of this host"
    try:
        uid = _listener(root / place.lstrip("/"))
    except OSError as error:
        why = error.strerror or "no answer in time"
        text = f"{whose}, and no helper answers at {place} ({why}): over RADIUS they get no answer."
        return serious(_TOPIC, text, _START)
    if uid != 0:
        text = f"{whose}, and who listens at {place} is not root: the RADIUS server tells it no password."
        return serious(_TOPIC, text, f"Stop what runs there as uid {uid}. {_START}")
    return fine(_TOPIC, f"{whose}; the helper answers at {place}")


def _listener(path: Path) -> int:
    """The uid of who listens there. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_WITHIN)
        connection.connect(str(path))
        return uid_at_the_other_end(connection)
