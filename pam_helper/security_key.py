"""Keys plugged into this machine are asked, all that matter at once, until one has answered or the time is over.

Rules: a key that is registered for what is wanted may blink, no other may. Keys are looked for all the time, so one can
be plugged in late, or pulled out and put in again. Several that match are all asked; the first that is touched wins and
the others are told to stop. A PIN goes to one key: the one it was typed for, else the first by path. The time of the
caller holds whatever a device does. A key is taken for itself: a second login waits for it as long as its own time is.
"""

import threading
import time
from collections.abc import Callable

from pam_helper.key_devices import HIDRAW, Bus
from pam_helper.key_dialogue import Keys
from pam_helper.key_outcomes import (
    AlreadyRegistered,
    Busy,
    Cancelled,
    Closed,
    Cues,
    Found,
    Made,
    NoKey,
    Outcome,
    PinNeeded,
    Plugged,
    Ready,
    Signed,
    Stranger,
    TimedOut,
    Trouble,
    Verifies,
    WrongKey,
)
from pam_helper.key_table import LOOK, SCAN, UNNAMED, End, Ended, Order, Seen, Sign, Table, What, paths, place
from pam_helper.key_talk import NO_PIN, Pin, wish
from validation.decisions import AskKey, AskNewKey

PROBE = 1.1  # seconds, for a look at everything that is plugged in: a mute key is known after one
_JOIN = 0.8
_JOIN_AFTER_PROBE = 0.4


def probe(asked: AskKey | AskNewKey, bus: Bus = HIDRAW) -> Found:
    """What is plugged in, and of what use it is here; nothing blinks."""
    until = time.monotonic() + PROBE
    table, seen = Table(bus, wish(asked), PROBE), Seen()
    try:
        table.scan()
        while not seen.is_complete(table.plugged):
            news = table.news(until - time.monotonic())
            if news is None:
                break
            seen.take(news.plugged, news.what)
    finally:
        table.close(_JOIN_AFTER_PROBE)
    late = table.plugged - seen.looks.keys() - seen.waiting - seen.closed.keys() - seen.others
    return Found(
        ready=tuple(seen.ready()),
        hindered=tuple(seen.hindered()),
        strangers=tuple(seen.strangers()),
        busy=paths(seen.waiting),
        silent=paths(seen.silent | late),
        closed=tuple(seen.closed[one] for one in sorted(seen.closed, key=place)),
    )


class _Round:
    """One run of a task. Everything here happens in the thread that runs it."""

    def __init__(self, task: "_Task", pin: Pin, say: Callable[[str], None]) -> None:
        self._task = task
        self._pin = pin
        self._say_text = say
        self._until = time.monotonic() + task.seconds
        self._settle_by = min(self._until, time.monotonic() + LOOK + SCAN)
        self._table = Table(task.bus, wish(task.asked), task.seconds)
        self._seen = Seen()
        self._asked: set[Plugged] = set()
        self._said: dict[str, set[Plugged]] = {}
        self._settled = False
        self._blinked = False
        self._may_come_back = False  # a key that was asked, and pulled out

    def outcome(self, cancelled: threading.Event) -> Outcome:
        try:
            while not cancelled.is_set():
                if time.monotonic() >= self._until:
                    return self._in_vain()
                outcome = self._step()
                if outcome is not None:
                    return outcome
            return Cancelled()
        finally:
            self._table.close(_JOIN)

    def _step(self) -> Outcome | None:
        for gone in self._table.scan():
            self._forget(gone)
        outcome = self._settle() if not self._settled else None
        if outcome is not None:
            return outcome
        news = self._table.news(min(SCAN / 2, self._until - time.monotonic()))
        if news is None:
            return None
        if isinstance(news.what, Ended) and isinstance(news.what.end, Signed | Made):
            return news.what.end  # even of a key that was pulled out right after the touch
        if not self._table.knows(news.plugged):
            return None
        self._seen.take(news.plugged, news.what)
        return self._take(news.plugged, news.what)

    # --- What a device says

    def _take(self, plugged: Plugged, what: What) -> Outcome | None:
        match what:
            case Sign.WAITS:
                self._say(self._task.cues.busy, plugged, UNNAMED)
                return None
            case Sign.BLINKS:
                self._blinked = True
                self._say(self._task.cues.touch, plugged, self._product(plugged))
                return None
            case Ended(end):
                return self._take_end(plugged, end)
            case Ready():
                return self._take_ready(what)
            case Stranger():
                return self._take_stranger(what)
            case _:
                return what if self._settled and not self._asked else None

    def _take_ready(self, ready: Ready) -> Outcome | None:
        if ready.verifies is Verifies.NOT or (ready.verifies is Verifies.BY_ITSELF and not self._pin.given):
            self._ask(ready, NO_PIN)
            return None
        return self._give_out() if self._settled else None

    def _take_stranger(self, stranger: Stranger) -> Outcome | None:
        if self._settled or self._task.wait_for_key:
            self._say(self._task.cues.stranger, stranger.key.plugged, stranger.key.product)
        return self._nothing_left()

    def _take_end(self, plugged: Plugged, end: End | Closed | Outcome) -> Outcome | None:
        was_asked = plugged in self._asked
        self._asked.discard(plugged)
        match end:
            case Closed():
                self._table.forget(plugged)  # and tried again: rights come late when a key is plugged in
                return None
            case End.PULLED if was_asked:
                self._may_come_back = True
                self._forget(plugged)
                return None
            case WrongKey() | AlreadyRegistered():
                return self._turns_out_a_stranger(plugged)
            case End.GAVE_UP:
                return None if self._asked else TimedOut()
            case Trouble():
                self._seen.give_up(plugged)
                return end if self._settled and not self._asked else None
            case End.SILENT | End.PULLED | End.DONE | End.NOT_A_KEY | End.IN_USE:
                return self._nothing_left()
            case _:
                return end

    def _turns_out_a_stranger(self, plugged: Plugged) -> Outcome | None:
        """Which it told after its PIN alone."""
        look = self._seen.looks.get(plugged)
        if isinstance(look, Ready):
            stranger = Stranger(look.key)
            self._seen.looks[plugged] = stranger
            return self._take_stranger(stranger)
        return self._nothing_left()

    def _forget(self, plugged: Plugged) -> None:
        self._table.forget(plugged)
        self._seen.forget(plugged)
        if plugged in self._asked:
            self._may_come_back = True
            self._asked.discard(plugged)
        for said_for in self._said.values():
            said_for.discard(plugged)

    # --- Whom to ask

    def _settle(self) -> Outcome | None:
        """Once everything that was there at the beginning has been looked at."""
        if time.monotonic() < self._settle_by and not self._seen.is_complete(self._table.plugged):
            return None
        self._settled = True
        outcome = self._give_out()
        if outcome is not None or self._asked:
            return outcome
        hindered = self._seen.hindered()
        return hindered[0] if hindered else self._nothing_left()

    def _give_out(self) -> Outcome | None:
        """The PIN goes to one key; the other keys that want one are left alone."""
        waiting = [ready for ready in self._seen.ready() if ready.key.plugged not in self._asked]
        for ready in waiting:
            if self._pin.given and self._task.pin_for in (None, ready.key.plugged):
                pin, self._pin = self._pin, NO_PIN
                self._ask(ready, pin)
            elif ready.verifies is Verifies.BY_ITSELF:
                self._ask(ready, NO_PIN)
        left = [ready for ready in waiting if ready.key.plugged not in self._asked]
        if left and not self._asked:
            return PinNeeded(left[0].tries_left or 0, left[0].key)
        for ready in left:
            self._table.dismiss(ready.key.plugged)
            self._seen.looks.pop(ready.key.plugged, None)
        return None

    def _ask(self, ready: Ready, pin: Pin) -> None:
        self._asked.add(ready.key.plugged)
        self._table.ask(ready.key.plugged, Order(self._until, pin))

    # --- When nothing can be asked

    def _nothing_left(self) -> Outcome | None:
        """How it ends if there is nothing to wait for."""
        if not self._settled or self._asked or self._task.wait_for_key or self._may_come_back:
            return None
        return None if self._seen.waiting & self._table.plugged else self._failure()

    def _in_vain(self) -> Outcome:
        return TimedOut() if self._blinked or self._asked else self._failure()

    def _failure(self) -> Outcome:
        hindered, strangers = self._seen.hindered(), self._seen.strangers()
        if hindered:
            return hindered[0]
        if self._seen.waiting:
            return Busy()
        if strangers and isinstance(self._task.asked, AskNewKey):
            return AlreadyRegistered(strangers[0].key)
        if strangers:
            return WrongKey(tuple(stranger.key for stranger in strangers))
        if self._seen.silent:
            return Trouble(f"{', '.join(paths(self._seen.silent))}: no sensible answer")
        return NoKey()

    def _product(self, plugged: Plugged) -> str:
        look = self._seen.looks.get(plugged)
        return look.key.product if look is not None else UNNAMED

    def _say(self, cue: str, plugged: Plugged, product: str) -> None:
        text = cue.replace("{key}", product)
        said_for = self._said.setdefault(text, set())
        if text and not said_for:
            self._say_text(text)
        said_for.add(plugged)


class _Task:
    """`outcome` is there after `run`, which takes at most `seconds` and a moment, and runs once."""

    def __init__(
        self,
        asked: AskKey | AskNewKey,
        pin: str | None,
        seconds: float,
        cues: Cues,
        wait_for_key: bool,
        pin_for: Plugged | None,
        bus: Bus,
    ) -> None:
        self.asked = asked
        self.seconds = seconds
        self.cues = cues
        self.wait_for_key = wait_for_key
        self.pin_for = pin_for
        self.bus = bus
        self.outcome: Outcome = Trouble("it was not asked to the end")
        self._pin = Pin(pin)

    def run(self, cancelled: threading.Event, say: Callable[[str], None]) -> None:
        pin, self._pin = self._pin, NO_PIN
        self.outcome = _Round(self, pin, say).outcome(cancelled)


class Touch(_Task):
    """An assertion by one of the credentials asked for."""

    def __init__(
        self,
        asked: AskKey,
        pin: str | None,
        seconds: float,
        cues: Cues,
        wait_for_key: bool = False,
        pin_for: Plugged | None = None,
        bus: Bus = HIDRAW,
    ) -> None:
        super().__init__(asked, pin, seconds, cues, wait_for_key, pin_for, bus)


class Register(_Task):
    """A new credential, on a key that holds none of those to exclude."""

    def __init__(
        self,
        asked: AskNewKey,
        pin: str | None,
        seconds: float,
        cues: Cues,
        wait_for_key: bool = True,
        pin_for: Plugged | None = None,
        bus: Bus = HIDRAW,
    ) -> None:
        super().__init__(asked, pin, seconds, cues, wait_for_key, pin_for, bus)


def keys_here(seconds: float, bus: Bus = HIDRAW) -> Keys:
    """The keys plugged into this machine, each touch waited for so long."""
    return Keys(
        probe=lambda asked: probe(asked, bus),
        touch=lambda asked, pin, cues, wait, pin_for: Touch(asked, pin, seconds, cues, wait, pin_for, bus),
        register=lambda asked, pin, cues, pin_for: Register(asked, pin, seconds, cues, True, pin_for, bus),
    )
