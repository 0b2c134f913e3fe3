"""Waiting for somebody to touch the key.

CTAP2 waits within a request. U2F does not: each request says at once whether the key has been touched, and the other
side repeats it; the repetitions count as one blink.
"""

import threading
import time

from fido2.ctap import STATUS, CtapError

from tests.software_key.call import Call
from tests.software_key.knobs import Knobs, Touch
from tests.software_key.log import Log

LOOK_EVERY = 0.005


class Finger:
    def __init__(self, knobs: Knobs, log: Log) -> None:
        self._knobs = knobs
        self._log = log
        self._pressed = threading.Event()
        self._asked: bytes | None = None  # the U2F request that has been asking for a touch
        self._since = 0.0

    def press(self) -> None:
        """One touch, by the test. It is lost unless the key is blinking."""
        self._pressed.set()

    def wait(self, call: Call) -> None:
        """Until the key is touched; otherwise the CtapError that says why not."""
        self._start_blinking()
        call.turn_to(STATUS.UPNEEDED)
        while not self._touched():
            if self._knobs.touch is Touch.DENIED:
                raise CtapError(CtapError.ERR.OPERATION_DENIED)
            if time.monotonic() - self._since >= self._knobs.patience:
                raise CtapError(CtapError.ERR.USER_ACTION_TIMEOUT)
            call.pause(LOOK_EVERY)
        call.turn_to(STATUS.PROCESSING)

    def touched_for(self, request: bytes) -> bool:
        """For U2F: `request` tells a repetition from something new."""
        if request != self._asked:
            self._asked = request
            self._start_blinking()
        touched = self._touched()
        if touched:
            self._asked = None
        return touched

    def _start_blinking(self) -> None:
        self._pressed.clear()
        self._since = time.monotonic()
        self._log.blink()

    def _touched(self) -> bool:
        by_itself = self._knobs.touch is Touch.AT_ONCE and time.monotonic() - self._since >= self._knobs.touch_after
        return by_itself or self._pressed.is_set()
