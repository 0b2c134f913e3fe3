"""What a conversation begins with: who asks for whom, through which program.

Rules: `key=value` pairs, each ended by a NUL. Unknown and doubled keys are refused, so that a newer module is not
half understood. Values are the peer's word: what may be believed is decided by who the peer is (`rights.py`).
"""

from dataclasses import dataclass, field

from pam_helper.frames import BadFrame

VERSION = "1"
PAM_SILENT = 0x8000  # _pam_types.h
_KEYS = frozenset(
    {
        *("version", "service", "user", "rhost", "tty", "ruser", "flags", "combined", "ssh_auth_info", "authtok"),
        *("request", "serial", "reason", "name"),
    }
)
_KEPT_AS_IT_CAME = frozenset({"user", "authtok"})  # the verdict names the one, and a password may be any octets


@dataclass(frozen=True, slots=True)
class Hello:
    """PAM items as the module found them; None where the item is not set. `request` is not PAM's: what a user wants
    of his own registrations, or "" for a login."""

    user: str
    service: str = ""
    rhost: str | None = None
    tty: str | None = None
    ruser: str | None = None
    silent: bool = False
    combined: bool = False
    ssh_auth_info: str | None = None
    authtok: str | None = field(default=None, repr=False)
    request: str = ""
    serial: str = ""
    reason: str = ""
    name: str = ""


def parse(payload: bytes) -> Hello:
    """Raises BadFrame. What is no UTF-8 becomes text that no user name and no password is."""
    pairs: dict[str, str] = {}
    if payload and not payload.endswith(b"\0"):
        raise BadFrame("the hello does not end with a NUL")
    for pair in payload.split(b"\0")[:-1]:
        key, found, value = pair.decode("utf-8", "surrogateescape").partition("=")
        if not found or key not in _KEYS or key in pairs:
            raise BadFrame("the hello has a pair that is not known, doubled or no pair")
        pairs[key] = value if key in _KEPT_AS_IT_CAME else without_surrogates(value)
    if pairs.pop("version", "") != VERSION:
        raise BadFrame("the hello is of another version; module and helper must be installed together")
    flags = pairs.pop("flags", "0")
    if not (flags.isascii() and flags.isdigit() and len(flags) < 11):
        raise BadFrame("the hello's flags are no number")
    combined = pairs.pop("combined", "") == "1"
    user = pairs.pop("user", "")
    return Hello(user=user, silent=bool(int(flags) & PAM_SILENT), combined=combined, **pairs)


def without_surrogates(text: str) -> str:
    """What was no UTF-8, as text that can be stored and compared; the sign it becomes stands in no name and no PIN."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def encode(hello: Hello) -> bytes:
    """As the module writes it; used by commands that speak to the helper themselves."""
    pairs = {"version": VERSION, "user": hello.user, "service": hello.service, "request": hello.request}
    pairs |= {"serial": hello.serial, "reason": hello.reason, "name": hello.name}
    return b"".join(f"{key}={value}".encode() + b"\0" for key, value in pairs.items() if value)
