"""Passwords of this host's own accounts, checked through PAM under a service of their own.

Rules: only root may ask, so elsewhere nothing is proved or disproved. A user is the account that getpwnam spells
exactly like him; accounts below `least_uid` are nobody's. Where there is no such account the same service is asked
about one that cannot exist, and the answer is no. Proved is PAM_SUCCESS alone, wrong is what a list names, and
everything else is a back end that does not answer. The service's own file must be there, because libpam would take
`other` instead. An empty password never matches (`nullok`), and none with a NUL in it, where C would end it.

PAM_NEW_AUTHTOK_REQD means the right password, and the host wants a new one before it lets anybody in. Nobody can type
one here, so it is wrong, or people would go on with a password that the host has ended; unless `change_follows`, where
the login goes on to the host's own account step, which asks for the new one.
"""

import logging
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pam

from first_factor.bounded import Bounded, NoAnswer
from store.config import SystemSection
from validation.decisions import Look
from validation.requests import FirstFactor, FirstFactorResult

_log = logging.getLogger("twofold.first_factor")

Ask: TypeAlias = Callable[[str, str, bytes], int]  # service, account, password; a PAM code

LONGEST = 4096  # octets; no module takes more, and each would have to be trusted with it
NOBODY = "twofold:nobody"  # no line of /etc/passwd can have a colon in its name
_FOLDERS = (Path("/etc/pam.d"), Path("/usr/lib/pam.d"))

_WRONG = frozenset(
    {
        pam.PAM_AUTH_ERR,
        pam.PAM_USER_UNKNOWN,
        pam.PAM_MAXTRIES,
        pam.PAM_PERM_DENIED,
        pam.PAM_ACCT_EXPIRED,
        pam.PAM_AUTHTOK_EXPIRED,
    }
)


class SystemPasswords:
    def __init__(
        self,
        service: str = "twofold-first-factor",
        time_limit: float = 10.0,
        threads: int = 8,
        least_uid: int = 0,
        change_follows: bool = False,
        ask: "Ask | None" = None,
    ) -> None:
        self._service = service
        self._least_uid = least_uid
        self._change_follows = change_follows
        self._ask = ask or ask_pam
        self._bounded = Bounded(threads, time_limit)

    def check(self, look: Look, password: str) -> FirstFactorResult:
        return FirstFactorResult(self._status(look.user, _octets(password)), look.password_version)

    def _status(self, user: str, password: bytes) -> FirstFactor:
        if not password or b"\0" in password:  # whoever is named
            return FirstFactor.WRONG
        try:
            return self._bounded.run(lambda: self._compare(user, password))
        except NoAnswer as error:
            _log.error("the host's passwords cannot be checked: %s (PAM service %s)", error, self._service)
        except Exception as error:
            _log.error("the host's passwords cannot be checked: %s", type(error).__name__)
            _log.debug("where it happened", exc_info=error)
        return FirstFactor.UNAVAILABLE

    def _compare(self, user: str, password: bytes) -> FirstFactor:
        """In a thread of its own: names may come over a network, too."""
        real = len(password) <= LONGEST and self._has_account(user)
        code = self._ask(self._service, user if real else NOBODY, password[:LONGEST])
        status = self._meaning(code)
        return FirstFactor.WRONG if status is FirstFactor.PROVED and not real else status

    def _has_account(self, user: str) -> bool:
        try:
            account = pwd.getpwnam(user)
        except (KeyError, ValueError):  # unknown, or no name at all
            return False
        return account.pw_name == user and account.pw_uid >= self._least_uid

    def _meaning(self, code: int) -> FirstFactor:
        if code == pam.PAM_SUCCESS or (code == pam.PAM_NEW_AUTHTOK_REQD and self._change_follows):
            return FirstFactor.PROVED
        if code == pam.PAM_NEW_AUTHTOK_REQD:
            _log.info("a right password is too old: the host wants a new one, which cannot be given here")
            return FirstFactor.WRONG
        if code in _WRONG:
            return FirstFactor.WRONG
        _log.error("PAM service %s cannot check a password: code %d", self._service, code)
        return FirstFactor.UNAVAILABLE


class NotRoot:
    """Stands in where this process may not ask about other people's passwords."""

    def __init__(self) -> None:
        self._said = False

    def check(self, look: Look, password: str) -> FirstFactorResult:
        if not self._said:
            _log.error("passwords of the host's accounts cannot be checked: not running as root, the helper is needed")
            self._said = True
        return FirstFactorResult(FirstFactor.UNAVAILABLE, look.password_version)


def for_server(section: SystemSection) -> SystemPasswords | NotRoot:
    """For a process that is asked from outside: never about the host's own accounts."""
    if os.geteuid() != 0:
        return NotRoot()
    return SystemPasswords(section.service, section.time_limit, section.threads, least_uid=1000)


def ask_pam(service: str, account: str, password: bytes) -> int:
    """Authentication and account step. The credentials are left alone: nobody's session begins."""
    if not any((folder / service).is_file() for folder in _FOLDERS):
        _log.error("there is no PAM service %s; copy contrib/pam/twofold-first-factor to /etc/pam.d", service)
        return int(pam.PAM_SERVICE_ERR)
    asked = pam.pam()
    asked.authenticate(account, password, service=service, resetcreds=False)
    return int(asked.code)


def _octets(password: str) -> bytes:
    try:
        return password.encode()
    except UnicodeEncodeError:  # half a character, which no host has in a password; the error would show it
        return b""
