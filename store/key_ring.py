"""The master keys that this host holds: the one in use, and during a rotation the one before.

Rules: a key that is missing is looked for again, in the configuration as it is then, so a running server takes a new
one without a restart. The old key counts only if the store needs it: that it is gone stops nobody.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from store import key_sources
from store.config import Config, KeySource, load
from store.sealing import MasterKey
from validation.errors import StoreMismatch, TwofoldError

_LOOK_AGAIN = 1.0  # seconds between two looks; a row may name any key

_log = logging.getLogger("twofold.store")


@dataclass(frozen=True, slots=True)
class Held:
    """A key, and where it is from."""

    key: MasterKey
    source: KeySource


class KeyRing:
    """Threads share it. `trouble` is why the old key could not be read, if it could not."""

    def __init__(self, config: Config) -> None:
        """Raises StoreMismatch if `[key]` has none."""
        self._file = config.file
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self.trouble = ""
        self.held: Sequence[Held] = self._read(config)

    @property
    def newest(self) -> Held:
        """The key of `[key]`: what a rotation seals with."""
        return self.held[0]

    def find(self, key_id: bytes) -> MasterKey | None:
        found = self._found(key_id)
        if found is None:
            self._look_again()
            found = self._found(key_id)
        return found

    def _found(self, key_id: bytes) -> MasterKey | None:
        return next((one.key for one in self.held if one.key.id == key_id), None)

    def _look_again(self) -> None:
        with self._lock:
            if time.monotonic() < self._looked + _LOOK_AGAIN:
                return
            try:
                self.held = self._read(load(self._file))
            except TwofoldError as error:
                _log.warning("the master keys cannot be read again: %s", error)
            self._looked = time.monotonic()

    def _read(self, config: Config) -> Sequence[Held]:
        held = [_held(config.key)]
        self.trouble = ""
        if config.old_key is not None:
            try:
                held.append(_held(config.old_key))
            except StoreMismatch as error:
                self.trouble = str(error)
        return tuple(held)


def _held(source: KeySource) -> Held:
    return Held(key_sources.read(source), source)
