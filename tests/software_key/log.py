"""What a software key saw and did, for tests to read while it is in use.

Rules: every request is noted before it is worked at. A blink is one time the key asked for a touch; a cancel is one
request that was given up because the other side said so.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Command(StrEnum):
    """A request, whichever layer it belongs to."""

    INIT = "init"
    PING = "ping"
    WINK = "wink"
    MAKE_CREDENTIAL = "makeCredential"
    GET_ASSERTION = "getAssertion"
    GET_INFO = "getInfo"
    CLIENT_PIN = "clientPIN"
    RESET = "reset"
    GET_NEXT_ASSERTION = "getNextAssertion"
    SELECTION = "selection"
    U2F_REGISTER = "register"
    U2F_AUTHENTICATE = "authenticate"
    U2F_VERSION = "version"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Seen:
    """`up` is whether a touch was wanted, where the request says so. `uv`: it came with proof of a PIN."""

    command: Command
    up: bool | None = None
    rp_id: str | None = None
    uv: bool = False


class Log:
    def __init__(self) -> None:
        self._news = threading.Condition()
        self._seen: list[Seen] = []
        self._blinks = 0
        self._cancels = 0

    def note(self, seen: Seen) -> None:
        with self._news:
            self._seen.append(seen)
            self._news.notify_all()

    def blink(self) -> None:
        with self._news:
            self._blinks += 1
            self._news.notify_all()

    def cancel(self) -> None:
        with self._news:
            self._cancels += 1
            self._news.notify_all()

    @property
    def seen(self) -> list[Seen]:
        with self._news:
            return list(self._seen)

    def of(self, command: Command) -> list[Seen]:
        return [seen for seen in self.seen if seen.command is command]

    @property
    def blinks(self) -> int:
        with self._news:
            return self._blinks

    @property
    def cancels(self) -> int:
        with self._news:
            return self._cancels

    def wait_until(self, what: Callable[[], bool], seconds: float = 60.0) -> None:
        """For something that this log can tell."""
        with self._news:
            assert self._news.wait_for(what, seconds), f"it did not come to it; seen was: {self._seen}"
