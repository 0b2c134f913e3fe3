"""Why a directory takes a password or not: the password policy control, and Active Directory's words. Pure.

Rules: the control's value is read to the octet (draft-behera-ldap-password-policy-10 6.2); one that cannot be read is
an error and never "no objection". Active Directory has no such control and says it in the diagnostic message.

    PasswordPolicyResponseValue ::= SEQUENCE {
        warning [0] CHOICE { timeBeforeExpiration [0] INTEGER, graceAuthNsRemaining [1] INTEGER } OPTIONAL,
        error   [1] ENUMERATED { passwordExpired (0), accountLocked (1), changeAfterReset (2), ... } OPTIONAL }
"""

import re
from dataclasses import dataclass

EXPIRED, LOCKED, MUST_CHANGE = "expired", "locked", "must-change"
_ERRORS = {0: EXPIRED, 1: LOCKED, 2: MUST_CHANGE}
_SEQUENCE, _WARNING, _ERROR, _TIME, _GRACE = 0x30, 0xA0, 0x81, 0x80, 0x81

# LDAP result 49 of Active Directory: "..., comment: AcceptSecurityContext error, data 775, v4563" (hexadecimal Win32
# codes). 52e is the wrong password, 525 an unknown user: nothing that the answer itself does not say.
_ACTIVE_DIRECTORY = re.compile(r"\bAcceptSecurityContext error, data ([0-9a-fA-F]{1,8})\b")
_WIN32 = {
    0x530: "not-at-this-time",
    0x531: "not-from-here",
    0x532: EXPIRED,
    0x533: "disabled",
    0x701: "account-expired",
    0x773: MUST_CHANGE,
    0x775: LOCKED,
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What the control says: a word for what stands against the password, and how many more logins it is good for."""

    objection: str = ""
    grace_left: int | None = None


def read_control(value: bytes | None) -> Policy:
    """Raises ValueError for a value that is no PasswordPolicyResponseValue."""
    if value is None:
        return Policy()
    tag, inside, rest = _element(value)
    if tag != _SEQUENCE or rest:
        raise ValueError("no sequence")
    grace = None
    if inside and inside[0] == _WARNING:
        _, warning, inside = _element(inside)
        grace = _grace(warning)
    if not inside:
        return Policy("", grace)
    tag, error, rest = _element(inside)
    if tag != _ERROR or rest or not error:
        raise ValueError("no error")
    return Policy(_ERRORS.get(int.from_bytes(error), "password-policy"), grace)


def _grace(warning: bytes) -> int | None:
    tag, number, rest = _element(warning)
    if tag not in (_TIME, _GRACE) or rest or not number:
        raise ValueError("no warning")
    return int.from_bytes(number) if tag == _GRACE else None


def _element(octets: bytes) -> tuple[int, bytes, bytes]:
    """Tag and content of the first element, and what follows it. Nothing here is longer than 127 octets."""
    if len(octets) < 2 or octets[1] > 127 or len(octets) < 2 + octets[1]:
        raise ValueError("cut off")
    end = 2 + octets[1]
    return octets[0], octets[2:end], octets[end:]


def active_directory(message: str) -> str:
    """The word for what Active Directory says beside `invalidCredentials`; empty where it says no more."""
    found = _ACTIVE_DIRECTORY.search(message)
    return _WIN32.get(int(found[1], 16), "") if found else ""
