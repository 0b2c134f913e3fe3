"""Where a password is checked. Each kind is one file; `checker(config)` gives a face the one it needs.

Rules: exactly one check per login. Unknown, locked and disabled users cost the same work as anybody else. A back
end that does not answer is neither right nor wrong.
"""

from typing import Protocol

from first_factor import system
from first_factor.local import LocalPasswords
from store.config import Config
from validation.decisions import Look
from validation.model import FirstFactorKind
from validation.requests import FirstFactor, FirstFactorResult


class Checker(Protocol):
    def check(self, look: Look, password: str) -> FirstFactorResult:
        """Check `password` as `look` says. Blocks for tens of milliseconds; never raises for what a user typed."""


class _ByKind:
    """Sends each check to the kind the user has."""

    def __init__(self, kinds: dict[str, Checker]) -> None:
        self._kinds = kinds

    def check(self, look: Look, password: str) -> FirstFactorResult:
        kind = self._kinds.get(look.first_factor)
        return kind.check(look, password) if kind is not None else FirstFactorResult(FirstFactor.UNAVAILABLE)


def checker(config: Config) -> Checker:
    """The checkers of this host."""
    return _ByKind(
        {FirstFactorKind.LOCAL: LocalPasswords(), FirstFactorKind.SYSTEM: system.for_server(config.system_passwords)}
    )
