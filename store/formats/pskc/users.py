r"""Whose a key is: UserId, a distinguished name (RFC 6030 4.2, RFC 4514).

Rules: a user is taken from it only where it is plainly one: a bare name, or UID=, or else CN= without blanks. "CN=John
Smith" is a person and not a name to log in with.
"""

import re

_ESCAPED = re.compile(rb"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)
_PART = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)\s*=\s*((?:[^,+;\\]|\\.)*)(?:[,+;]|$)", re.DOTALL)
_PLAIN = re.compile(r"[^\s=,+;<>\"#\\]{1,253}")


def parts(text: str) -> dict[str, str] | None:
    """The first value of each attribute, or None if this is no distinguished name."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            return None
        found.setdefault(part.group(1).upper(), _unescaped(part.group(2)).strip())
        position = part.end()
    return found or None


def _unescaped(text: str) -> str:
    """Escapes in hex are octets of UTF-8."""
    return _ESCAPED.sub(_octet, text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")


def _octet(escape: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escape.group(1).decode()) if len(escape.group(1)) == 2 else escape.group(1)


def user_in(text: str | None) -> str | None:
    """The user name, "" if there is none, None if it is not plain which."""
    if not text:
        return ""
    if _PLAIN.fullmatch(text):
        return text
    named = parts(text) or {}
    found = named.get("UID") or named.get("CN") or ""
    return found if _PLAIN.fullmatch(found) else None


def is_plain(user: str) -> bool:
    return _PLAIN.fullmatch(user) is not None


def written(user: str) -> str:
    """For a plain user name, which needs no escapes."""
    return f"CN={user}"
