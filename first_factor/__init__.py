"""Where a password is checked. Each kind is one file; `checker(config)` gives a face the one it needs.

Rules: exactly one check per login. Unknown, locked and disabled users cost the same work as anybody else. A back
end that does not answer is neither right nor wrong.
"""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from store.config import Config
from validation.decisions import Look
from validation.errors import TwofoldError
from validation.model import FirstFactorKind
from validation.requests import FirstFactor, FirstFactorResult

_log = logging.getLogger("twofold.first_factor")


class Checker(Protocol):
    def check(self, look: Look, password: str) -> FirstFactorResult:
        """Check `password` as `look` says. Blocks for tens of milliseconds; never raises for what a user typed."""


class _ByKind:
    """Sends each check to the kind the user has."""

    def __init__(self, kinds: dict[str, Checker]) -> None:
        self._kinds = kinds

    def check(self, look: Look, password: str) -> FirstFactorResult:
        kind = self._kinds.get(look.first_factor)
        result = kind.check(look, password) if kind is not None else FirstFactorResult(FirstFactor.UNAVAILABLE)
        return replace(result, kind=look.first_factor)


def checker(config: Config, for_helper: bool = False) -> Checker:
    """The checkers of this host. The helper is asked by this host's own login programs, so for all of its accounts.

    What a kind needs is loaded here, and only where it is configured. A slip in the section of one kind is no reason to
    keep out users whose password is checked elsewhere: that kind is then unusable, and the log says why.
    """
    from first_factor.local import LocalPasswords

    return _ByKind(
        {
            FirstFactorKind.LOCAL: LocalPasswords(),
            FirstFactorKind.SYSTEM: _for_helper(config) if for_helper else _for_server(config),
            FirstFactorKind.LDAP: _or_unusable(_ldap, config),
            FirstFactorKind.RADIUS: _or_unusable(_radius, config),
        }
    )


def _for_helper(config: Config) -> Checker:
    from first_factor import system

    return system.for_helper(config.system_passwords)


def _for_server(config: Config) -> Checker:
    section = config.system_passwords
    if os.geteuid() == 0:
        from first_factor import system

        return system.for_server(section)
    from first_factor.asking import HelperPasswords

    return HelperPasswords(config.pam.socket, section.time_limit, section.threads)


def _or_unusable(make: Callable[[Config], Checker], config: Config) -> Checker:
    try:
        return make(config)
    except TwofoldError as error:
        _log.error("some passwords cannot be checked: %s", error)
        return Unusable(str(error))


def _ldap(config: Config) -> Checker:
    if config.ldap is None:
        return Unusable(f"[first_factor.ldap] is missing in {config.file}")
    from first_factor.ldap import LdapPasswords

    return LdapPasswords(config.ldap)


def _radius(config: Config) -> Checker:
    if config.upstream is None:
        return Unusable(f"[first_factor.radius] is missing in {config.file}")
    from first_factor.radius import RadiusPasswords

    return RadiusPasswords(config.upstream)


class Unusable:
    """Stands in for a kind that the configuration leaves out, or says something wrong of."""

    def __init__(self, why: str) -> None:
        self._why = why
        self._unsaid = threading.Semaphore(1)

    def check(self, look: Look, password: str) -> FirstFactorResult:
        if self._unsaid.acquire(blocking=False):  # once, whichever thread comes first
            _log.error("passwords cannot be checked: %s", self._why)
        return FirstFactorResult(FirstFactor.UNAVAILABLE, look.password_version)
