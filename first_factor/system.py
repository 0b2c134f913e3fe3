"""Passwords of this host's own accounts, checked through PAM under a service of their own.

Rules: only root may ask; the RADIUS server that is not root asks root's helper (`asking.py`), which counts wrong
passwords for itself (`guesses.py`). A user is the account that getpwnam spells
exactly like him; accounts below `least_uid` are nobody's. Where there is no such account the same service is asked
about one that cannot exist, and the answer is no. Proved is PAM_SUCCESS alone, wrong is what a list names, and
everything else is a back end that does not answer. The service's own file must be there, because libpam would take
`other` instead. An empty password never matches, and none with a NUL in it, where C would end it; an account without
a password (`nullok`) and a service that asks for none prove nothing.

PAM_NEW_AUTHTOK_REQD means the right password, and the host wants a new one before it lets anybody in. Nobody can type
one here, so it is wrong, or people would go on with a password that the host has ended; unless `change_follows`, where
the login goes on to the host's own account step, which asks for the new one.
"""

import logging
import os
import pwd
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pam

from first_factor.bounded import Bounded, NoAnswer
from first_factor.guesses import Guesses, Held
from store.config import SystemSection
from validation.decisions import Look
from validation.requests import FirstFactor, FirstFactorResult

_log = logging.getLogger("twofold.first_factor")

Ask: TypeAlias = Callable[[str, str, bytes], int]  # service, account, password; a PAM code

LEAST_UID = 1000  # of the accounts that are asked about from outside
LONGEST = 4096  # octets; no module takes more, and each would have to be trusted with it
HELD = "throttled"  # FirstFactorResult.why
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
        guesses: Guesses | None = None,
    ) -> None:
        """`guesses` counts where this process asks for another one; a check it holds back says `HELD`."""
        self._service = service
        self._least_uid = least_uid
        self._change_follows = change_follows
        self._ask = ask or ask_pam
        self._guesses = guesses
        self._bounded = Bounded(threads, time_limit)

    def check(self, look: Look, password: str) -> FirstFactorResult:
        try:
            return FirstFactorResult(self._status(look.user, octets_of(password)), look.password_version)
        except Held:
            return FirstFactorResult(FirstFactor.UNAVAILABLE, look.password_version, why=HELD)

    def _status(self, user: str, password: bytes) -> FirstFactor:
        if not password or b"\0" in password:  # whoever is named
            return FirstFactor.WRONG
        try:
            return self._bounded.run(lambda: self._compare(user, password))
        except Held:
            raise
        except NoAnswer as error:
            _log.error("the host's passwords cannot be checked: %s (PAM service %s)", error, self._service)
        except Exception as error:
            _log.error("the host's passwords cannot be checked: %s", type(error).__name__)
            _log.debug("where it happened", exc_info=error)
        return FirstFactor.UNAVAILABLE

    def _compare(self, user: str, password: bytes) -> FirstFactor:
        """In a thread of its own: names may come over a network, too."""
        if len(password) <= LONGEST and self._has_account(user):
            return self._counted(user, password)
        status = self._meaning(self._ask(self._service, NOBODY, password[:LONGEST]))
        return FirstFactor.WRONG if status is FirstFactor.PROVED else status

    def _counted(self, user: str, password: bytes) -> FirstFactor:
        """Raises Held."""
        if self._guesses is None:
            return self._meaning(self._ask(self._service, user, password))
        self._guesses.count(user)
        status = FirstFactor.UNAVAILABLE
        try:
            status = self._meaning(self._ask(self._service, user, password))
        finally:
            if status is FirstFactor.PROVED:
                self._guesses.proved(user)
            elif status is FirstFactor.UNAVAILABLE:
                self._guesses.unanswered(user)
        return status

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
        self._unsaid = threading.Semaphore(1)

    def check(self, look: Look, password: str) -> FirstFactorResult:
        if self._unsaid.acquire(blocking=False):  # once, whichever thread comes first
            _log.error("passwords of the host's accounts cannot be checked: the helper does not run as root")
        return FirstFactorResult(FirstFactor.UNAVAILABLE, look.password_version)


def for_server(section: SystemSection) -> SystemPasswords:
    """For a server that is root. It is asked from outside: never about the host's own accounts."""
    return SystemPasswords(section.service, section.time_limit, section.threads, least_uid=LEAST_UID)


def for_helper(section: SystemSection) -> SystemPasswords | NotRoot:
    """For a process that this host's own login programs ask, whose account step follows."""
    if os.geteuid() != 0:
        return NotRoot()
    return SystemPasswords(section.service, section.time_limit, section.threads, change_follows=True)


def for_asking_server(section: SystemSection) -> SystemPasswords | NotRoot:
    """For the helper, where the server asks it: as in a server that is root, and counted."""
    if os.geteuid() != 0:
        return NotRoot()
    guesses = Guesses(time.monotonic)
    return SystemPasswords(section.service, section.time_limit, section.threads, LEAST_UID, guesses=guesses)


def ask_pam(service: str, account: str, password: bytes) -> int:
    """Authentication and account step. The credentials are left alone: nobody's session begins."""
    if not any((folder / service).is_file() for folder in _FOLDERS):
        _log.error("there is no PAM service %s; copy contrib/pam/twofold-first-factor to /etc/pam.d", service)
        return int(pam.PAM_SERVICE_ERR)
    asked = _without_empty_passwords(pam.pam())
    asked.authenticate(account, password, service=service, resetcreds=False)
    if asked.code == pam.PAM_SUCCESS and not asked.messages:
        _log.error("PAM service %s lets somebody in without asking for a password; that proves nothing", service)
        return int(pam.PAM_SERVICE_ERR)
    return int(asked.code)


def _without_empty_passwords(asked: Any) -> Any:
    """python-pam has no way to say it: under `nullok` an account without a password takes any (measured)."""
    authenticate = asked.pam_authenticate
    asked.pam_authenticate = lambda handle, flags: authenticate(handle, flags | pam.PAM_DISALLOW_NULL_AUTHTOK)
    return asked


def octets_of(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a character, which no host has in a password; the error would show it
        return b""
