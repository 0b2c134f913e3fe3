"""Passwords kept here, as argon2id hashes; or as crypt(3) hashes from another host, until the first right password.

Rules: at most as many hashes at once as there are cores, since each takes 19 MiB and a whole core. Where there is
no hash to check (unknown, locked or password-less user) a dummy of the same cost is checked, and the answer is no.
An empty password never matches. The password is checked whole, whatever its length.
"""

import logging
import os
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from argon2.low_level import error_to_str

from first_factor import crypt
from first_factor.memory import give_back_large_blocks
from store.serving import stand_back
from validation.decisions import Look
from validation.errors import BadInput
from validation.requests import FirstFactor, FirstFactorResult

_log = logging.getLogger("twofold.first_factor")

# OWASP Password Storage: argon2id with m=19 MiB, t=2, p=1; about 22 ms.
_MOST_MEMORY, _MOST_TIME, _MOST_LANES = 256 * 1024, 16, 16  # KiB, passes, lanes of a hash from elsewhere
_LEAST_OCTETS = 16
_BEHIND = 5  # more than a gate: `serving.stand_back`
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


def hash_password(password: str) -> str:
    """The hash to store. Raises BadInput for an empty password."""
    if not password:
        raise BadInput("password: must not be empty")
    return _HASHER.hash(password)


def check_hash(text: str) -> None:
    """That a login can be checked against it without being taken down by memory or time. Raises BadInput."""
    try:
        usable = crypt.is_usable(text) if crypt.is_one(text) else _is_argon2(text)
    except crypt.NoLibrary as error:
        raise BadInput(str(error)) from None
    if not usable:
        raise BadInput(
            "must be an argon2id hash of a usual cost ($argon2id$v=19$...), or one of crypt(3): $6$, $5$ (up to "
            "rounds=656000) or $y$"
        )


def _is_argon2(text: str) -> bool:
    try:
        found = extract_parameters(text)
    except (InvalidHashError, ValueError):
        return False
    cheap = found.memory_cost <= _MOST_MEMORY and found.time_cost <= _MOST_TIME and found.parallelism <= _MOST_LANES
    return found.type is Type.ID and cheap and found.hash_len >= _LEAST_OCTETS


class LocalPasswords:
    def __init__(self, at_once: int | None = None) -> None:
        give_back_large_blocks()
        # Threads of their own: who waits must not hash himself.
        self._hashing = ThreadPoolExecutor(at_once or os.cpu_count() or 1, "argon2", stand_back, (_BEHIND,))
        self._dummy = _HASHER.hash(os.urandom(16).hex())

    def check(self, look: Look, password: str) -> FirstFactorResult:
        typed = _octets(password)
        matches = self._hashing.submit(_matches, look.password_hash or self._dummy, typed).result()
        if matches is None:
            return FirstFactorResult(FirstFactor.UNAVAILABLE)
        if not matches or look.password_hash is None or not typed:
            return FirstFactorResult(FirstFactor.WRONG, look.password_version)
        return FirstFactorResult(FirstFactor.PROVED, look.password_version, self._rehash(look.password_hash, typed))

    def _rehash(self, password_hash: str, password: bytes) -> str | None:
        if not crypt.is_one(password_hash) and not _HASHER.check_needs_rehash(password_hash):
            return None
        return self._hashing.submit(_HASHER.hash, password).result()


def _octets(password: str) -> bytes:
    """As they came. Half a character is in no password, and the error would show the rest."""
    try:
        return password.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b""


def _matches(password_hash: str, password: bytes) -> bool | None:
    """None if the hash itself cannot be used, which is logged."""
    try:
        found = (
            crypt.matches(password_hash, password) if crypt.is_one(password_hash) else _argon2(password_hash, password)
        )
    except (crypt.NoLibrary, _NotNow) as error:
        _log.error("a stored password hash cannot be checked: %s", error)
        return None
    if found is None:
        _log.error("a stored password hash is damaged; set the password anew with: twofold user set")
    return found


class _NotNow(Exception):
    """The host lacks what it takes; the hash may be in order."""


_LACKS = frozenset(map(error_to_str, (-22, -33)))  # ARGON2_MEMORY_ALLOCATION_ERROR, ARGON2_THREAD_FAIL


def _argon2(password_hash: str, password: bytes) -> bool | None:
    """None if the hash is damaged. Raises _NotNow."""
    try:
        return _HASHER.verify(password_hash, password)
    except VerifyMismatchError:
        return False
    except InvalidHashError:
        return None
    except VerificationError as error:
        if str(error) in _LACKS:
            raise _NotNow(error) from None
        return None
