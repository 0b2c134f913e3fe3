"""What a software key remembers: credentials, and the signature counter they share."""

import hashlib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.software_key.signing import KeyPair

# Levels of the extension credProtect (CTAP 2.1, 12.1).
UV_OPTIONAL, UV_OPTIONAL_WITH_LIST, UV_REQUIRED = 1, 2, 3


def rp_hash(rp_id: str) -> bytes:
    return hashlib.sha256(rp_id.encode()).digest()


@dataclass(frozen=True)
class Credential:
    id: bytes
    rp_hash: bytes
    pair: KeyPair
    user: Mapping[str, Any]
    resident: bool = False
    protection: int = UV_OPTIONAL


class Memory:
    def __init__(self, counter: int) -> None:
        self._lock = threading.Lock()
        self._counter = counter
        self._credentials: list[Credential] = []

    @property
    def credentials(self) -> list[Credential]:
        with self._lock:
            return list(self._credentials)

    def keep(self, credential: Credential) -> None:
        """A resident credential takes the place of the one for the same user."""
        with self._lock:
            self._credentials = [old for old in self._credentials if not _replaces(credential, old)]
            self._credentials.append(credential)

    def listed(self, rp: bytes, ids: Iterable[bytes], uv: bool) -> list[Credential]:
        wanted = set(ids)
        return [
            kept
            for kept in self.credentials
            if kept.rp_hash == rp and kept.id in wanted and (uv or kept.protection < UV_REQUIRED)
        ]

    def resident(self, rp: bytes, uv: bool) -> list[Credential]:
        """The newest first."""
        return [
            kept
            for kept in reversed(self.credentials)
            if kept.rp_hash == rp and kept.resident and (uv or kept.protection < UV_OPTIONAL_WITH_LIST)
        ]

    def forget(self) -> None:
        with self._lock:
            self._credentials.clear()

    @property
    def counter(self) -> int:
        with self._lock:
            return self._counter

    @counter.setter
    def counter(self, value: int) -> None:
        with self._lock:
            self._counter = value

    def count(self, step: int) -> int:
        with self._lock:
            self._counter += step
            return self._counter


def _replaces(new: Credential, old: Credential) -> bool:
    return new.resident and old.resident and new.rp_hash == old.rp_hash and new.user.get("id") == old.user.get("id")
