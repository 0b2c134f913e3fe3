"""One request while the key works at it: whether it was cancelled, and what the key says meanwhile."""

import threading
from collections.abc import Callable

from fido2.ctap import STATUS, CtapError


def _say_nothing(_: STATUS) -> None:
    pass


class Call:
    def __init__(self, say: Callable[[STATUS], None] = _say_nothing) -> None:
        self.cancelled = threading.Event()
        self.abandoned = False  # nobody waits for the answer any more
        self.status = STATUS.PROCESSING
        self._say = say

    def turn_to(self, status: STATUS) -> None:
        """A change of the status is said at once; repeating it is the transport's duty."""
        if status is not self.status:
            self.status = status
            self._say(status)

    def abandon(self) -> None:
        self.abandoned = True
        self.cancelled.set()

    def pause(self, seconds: float) -> None:
        if self.cancelled.wait(seconds):
            raise CtapError(CtapError.ERR.KEEPALIVE_CANCEL)
