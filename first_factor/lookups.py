"""Addresses of a host's name, also while a name server is down.

Rules: the system's look-up knows no deadline of ours, and takes five seconds for each name server that is silent. So it
has a thread of its own, one for each name at a time, and nobody waits for it past his own deadline. While it goes on,
or where it ends without an answer, the addresses that were found last are good: whoever is there must prove his name
all the same (TLS). That there is no such name is an answer.
"""

import socket
import threading
import time
from dataclasses import dataclass, field

from store.ldap_section import is_address

PATIENCE = 0.5  # seconds that a look-up may take where addresses are known, or half of what is left
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})


@dataclass(slots=True, eq=False)
class _Lookup:
    ended: threading.Event = field(default_factory=threading.Event)
    addresses: list[str] = field(default_factory=list)
    error: OSError | None = None

    @property
    def there_is_none(self) -> bool:
        return isinstance(self.error, socket.gaierror) and self.error.errno in _NO_SUCH_NAME


class Lookups:
    """Threads may share it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._going_on: dict[str, _Lookup] = {}
        self._found: dict[str, list[str]] = {}  # what was found last

    def addresses(self, host: str, until: float) -> list[str]:
        """Those of `host`, by the monotonic time `until`. Raises OSError."""
        if is_address(host):
            return [host]
        lookup, found = self._begun(host)
        left = max(0.0, until - time.monotonic())
        lookup.ended.wait(min(left / 2, PATIENCE) if found else left)
        if lookup.addresses:
            return lookup.addresses
        if found and not lookup.there_is_none:
            return found
        raise lookup.error or TimeoutError(f"looking up {host} takes too long; do the name servers answer?")

    def _begun(self, host: str) -> tuple[_Lookup, list[str]]:
        """The look-up that is going on, and what is known so far."""
        with self._guard:
            lookup = self._going_on.get(host)
            if lookup is None:
                lookup = self._going_on[host] = _Lookup()
                self._start(host, lookup)
            return lookup, self._found.get(host, [])

    def _start(self, host: str, lookup: _Lookup) -> None:
        thread = threading.Thread(target=self._look_up, args=(host, lookup), name="twofold-lookup", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            del self._going_on[host]
            raise OSError("no thread can be started") from None

    def _look_up(self, host: str, lookup: _Lookup) -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            lookup.addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        except OSError as error:
            lookup.error = error
        except Exception:  # what no name server could be asked about (a label of 64 letters)
            lookup.error = OSError(f"{host} cannot be looked up")
        with self._guard:
            del self._going_on[host]
            if lookup.addresses:
                self._found[host] = lookup.addresses
            elif lookup.there_is_none:
                self._found.pop(host, None)
        lookup.ended.set()
