"""Keys plugged into this machine are asked, all that matter at once, until one has answered or the time is over.

Rules: a key that is registered for what is wanted may blink, no other may. Keys are looked for all the time, so one can
be plugged in late, or pulled out and put in again. Several that match are all asked; the first that is touched wins and
the others are told to stop. A PIN goes to one key: the one it was typed for, else the first by path. The time of the
caller holds whatever a device does: each has a thread of its own, which is left behind if the system does not let go of
it. A key is taken for itself: a second login waits for it as long as its own time is.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from fido2.hid import CtapHidDevice

from pam_helper.key_devices import (
    HIDRAW,
    STOPPING,
    Bus,
    CannotOpen,
    Connection,
    InUse,
    Mute,
    NotAKey,
    alone,
    opened,
)
from pam_helper.key_dialogue import Keys
from pam_helper.key_outcomes import (
    AlreadyRegistered,
    Busy,
    Cancelled,
    Closed,
    Cues,
    Found,
    Key,
    Look,
    Made,
    NoKey,
    NoPinSet,
    Outcome,
    PinBlocked,
    PinNeeded,
    Plugged,
    Ready,
    Signed,
    Stranger,
    TimedOut,
    Trouble,
    Unusable,
    Verifies,
    WrongKey,
)
from pam_helper.key_talk import NO_PIN, GaveUp, Pin, Talk, Wish, speak, wish
from validation.decisions import AskKey, AskNewKey
from validation.messages import printable

_log = logging.getLogger("twofold.pam")

PROBE = 1.1  # seconds, for a look at everything that is plugged in: a mute key is known after one
_LOOK = 3.0  # for one key, where somebody waits for it anyway
_SCAN = 0.3
_JOIN = 0.8
_JOIN_AFTER_PROBE = 0.4
_AGAIN = 0.3
_NAME = 64
_UNNAMED = "security key"


class _End(Enum):
    """How a conversation ended that has no outcome."""

    DONE = auto()
    NOT_A_KEY = auto()
    IN_USE = auto()
    SILENT = auto()
    PULLED = auto()
    GAVE_UP = auto()


class _Sign(Enum):
    WAITS = auto()  # for another login to end
    BLINKS = auto()


@dataclass(frozen=True, slots=True)
class _Ended:
    end: "_End | Closed | Outcome"


_What = _Sign | Look | _Ended


@dataclass(frozen=True, slots=True)
class _News:
    plugged: Plugged
    what: _What


@dataclass(frozen=True, slots=True)
class _Order:
    """Ask now, until then."""

    until: float
    pin: Pin


class _Conversation:
    """With one device, from opening to closing it. It looks, says so, and waits to be told to ask."""

    def __init__(self, bus: Bus, plugged: Plugged, wanted: Wish, patience: float, news: "queue.SimpleQueue[_News]"):
        self.thread = threading.Thread(target=self._run, name="security-key", daemon=True)
        self._bus = bus
        self._plugged = plugged
        self._wanted = wanted
        self._patience = time.monotonic() + patience  # for the key to be free
        self._news = news
        self._stop = threading.Event()
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()

    def ask(self, order: _Order) -> None:
        self._orders.put(order)

    def end(self) -> None:
        """Tells the key to stop, and does not wait for it."""
        self._stop.set()
        self._orders.put(None)

    def _run(self) -> None:
        self._say(_Ended(self._end()))

    def _say(self, what: _What) -> None:
        self._news.put(_News(self._plugged, what))

    def _end(self) -> _End | Closed | Outcome:
        try:
            with alone(self._plugged.path, self._stop, self._patience, lambda: self._say(_Sign.WAITS)):
                return self._hold()
        except NotAKey:
            return _End.NOT_A_KEY
        except InUse:
            return _End.IN_USE
        except CannotOpen as error:
            return error.closed
        except OSError:
            return _End.PULLED
        except Exception as error:  # python-fido2 meets nonsense with whatever its parsers raise
            if not self._stop.is_set():
                _log.warning("security key: %s gives no sensible answer: %s", self._plugged.path, _name(error))
            return _End.SILENT

    def _hold(self) -> _End | Outcome:
        with opened(self._bus, self._plugged.path, self._stop, time.monotonic() + _LOOK) as (device, connection):
            ctap = speak(device)
            key = _key(self._plugged, device)
            look = self._wanted.look(ctap, key)
            self._say(look)
            order = self._orders.get() if isinstance(look, Ready) else None
            if order is None or not isinstance(look, Ready):
                return _End.DONE
            talk = Talk(ctap, key, self._stop, lambda: self._say(_Sign.BLINKS))
            return self._ask(talk, look, order, connection)

    def _ask(self, talk: Talk, ready: Ready, order: _Order, connection: Connection) -> _End | Outcome:
        connection.until = order.until + STOPPING
        while True:
            try:
                return self._wanted.ask(talk, ready, order.pin)
            except GaveUp as error:
                # Keys wait half a minute by themselves, and people may be given longer.
                if not error.again or self._stop.wait(_AGAIN):
                    return _End.GAVE_UP


def _name(error: Exception) -> str:
    return "silence" if isinstance(error, Mute) else type(error).__name__


def _key(plugged: Plugged, device: CtapHidDevice) -> Key:
    return Key(plugged, printable(device.product_name or _UNNAMED, _NAME))


class _Table:
    """Everything that is plugged in, with a conversation for each."""

    def __init__(self, bus: Bus, wanted: Wish, patience: float) -> None:
        self._bus = bus
        self._wanted = wanted
        self._patience = time.monotonic() + patience
        self._talks: dict[Plugged, _Conversation] = {}
        self._open: list[_Conversation] = []
        self._news: queue.SimpleQueue[_News] = queue.SimpleQueue()
        self._next_scan = 0.0

    def scan(self) -> list[Plugged]:
        """Begins with what is new, at most every `_SCAN` seconds; returns what is gone."""
        if time.monotonic() < self._next_scan:
            return []
        self._next_scan = time.monotonic() + _SCAN
        there = self._bus.plugged()
        gone = [one for one in self._talks if one not in there]
        for one in gone:
            self.forget(one)
        for one in there:
            if one not in self._talks:
                self._begin(one)
        return gone

    def _begin(self, plugged: Plugged) -> None:
        talk = _Conversation(self._bus, plugged, self._wanted, self._patience - time.monotonic(), self._news)
        self._talks[plugged] = talk
        talk.thread.start()
        self._open = [one for one in self._open if one.thread.is_alive()] + [talk]

    def forget(self, plugged: Plugged) -> None:
        """Its conversation ends; what is there at the next scan counts as new."""
        talk = self._talks.pop(plugged, None)
        if talk is not None:
            talk.end()

    def news(self, seconds: float) -> _News | None:
        try:
            return self._news.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None

    def ask(self, plugged: Plugged, order: _Order) -> None:
        self._talks[plugged].ask(order)

    def dismiss(self, plugged: Plugged) -> None:
        self._talks[plugged].end()

    def knows(self, plugged: Plugged) -> bool:
        return plugged in self._talks

    @property
    def plugged(self) -> set[Plugged]:
        return set(self._talks)

    def close(self, seconds: float) -> None:
        """Waits so long for the devices to let go."""
        for talk in self._open:
            talk.end()
        until = time.monotonic() + seconds
        for talk in self._open:
            talk.thread.join(max(0.0, until - time.monotonic()))


@dataclass
class _Seen:
    """What is known of the devices that are plugged in."""

    looks: dict[Plugged, Look] = field(default_factory=dict)
    waiting: set[Plugged] = field(default_factory=set)
    silent: set[Plugged] = field(default_factory=set)
    closed: dict[Plugged, Closed] = field(default_factory=dict)
    others: set[Plugged] = field(default_factory=set)

    def take(self, plugged: Plugged, what: _What) -> None:
        match what:
            case _Sign.WAITS:
                self.waiting.add(plugged)
            case _Sign.BLINKS:
                pass
            case _Ended(end):
                self._take_end(plugged, end)
            case _:
                self.waiting.discard(plugged)
                self.looks[plugged] = what

    def _take_end(self, plugged: Plugged, end: _End | Closed | Outcome) -> None:
        match end:
            case Closed():
                self.closed[plugged] = end
            case _End.IN_USE:
                self.waiting.add(plugged)
            case _End.SILENT | _End.PULLED:
                self.silent.add(plugged)
                self.looks.pop(plugged, None)
            case _:
                self.others.add(plugged)

    def forget(self, plugged: Plugged) -> None:
        for known in (self.waiting, self.silent, self.others):
            known.discard(plugged)
        for said in (self.looks, self.closed):
            said.pop(plugged, None)

    def is_complete(self, plugged: set[Plugged]) -> bool:
        return plugged <= self.looks.keys() | self.waiting | self.silent | self.closed.keys() | self.others

    def ready(self) -> list[Ready]:
        return [look for look in self._in_order() if isinstance(look, Ready)]

    def hindered(self) -> list[PinBlocked | NoPinSet | Unusable]:
        return [look for look in self._in_order() if not isinstance(look, Ready | Stranger)]

    def strangers(self) -> list[Stranger]:
        return [look for look in self._in_order() if isinstance(look, Stranger)]

    def _in_order(self) -> list[Look]:
        return [self.looks[plugged] for plugged in sorted(self.looks, key=_place)]


def _place(plugged: Plugged) -> tuple[int, str]:
    return len(plugged.path), plugged.path


def _paths(plugged: Iterable[Plugged]) -> tuple[str, ...]:
    return tuple(one.path for one in sorted(plugged, key=_place))


def probe(asked: AskKey | AskNewKey, bus: Bus = HIDRAW) -> Found:
    """What is plugged in, and of what use it is here; nothing blinks."""
    until = time.monotonic() + PROBE
    table, seen = _Table(bus, wish(asked), PROBE), _Seen()
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
        busy=_paths(seen.waiting),
        silent=_paths(seen.silent | late),
        closed=tuple(seen.closed[one] for one in sorted(seen.closed, key=_place)),
    )


class _Round:
    """One run of a task. Everything here happens in the thread that runs it."""

    def __init__(self, task: "_Task", pin: Pin, say: Callable[[str], None]) -> None:
        self._task = task
        self._pin = pin
        self._say_text = say
        self._until = time.monotonic() + task.seconds
        self._settle_by = min(self._until, time.monotonic() + _LOOK + _SCAN)
        self._table = _Table(task.bus, wish(task.asked), task.seconds)
        self._seen = _Seen()
        self._asked: set[Plugged] = set()
        self._said: dict[str, set[Plugged]] = {}
        self._settled = False
        self._blinked = False

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
        news = self._table.news(min(_SCAN / 2, self._until - time.monotonic()))
        if news is None:
            return None
        if isinstance(news.what, _Ended) and isinstance(news.what.end, Signed | Made):
            return news.what.end  # even of a key that was pulled out right after the touch
        if not self._table.knows(news.plugged):
            return None
        self._seen.take(news.plugged, news.what)
        return self._take(news.plugged, news.what)

    # --- What a device says

    def _take(self, plugged: Plugged, what: _What) -> Outcome | None:
        match what:
            case _Sign.WAITS:
                self._say(self._task.cues.busy, plugged, _UNNAMED)
                return None
            case _Sign.BLINKS:
                self._blinked = True
                self._say(self._task.cues.touch, plugged, self._product(plugged))
                return None
            case _Ended(end):
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
        return None

    def _take_end(self, plugged: Plugged, end: _End | Closed | Outcome) -> Outcome | None:
        was_asked = plugged in self._asked
        self._asked.discard(plugged)
        match end:
            case Closed():
                self._table.forget(plugged)  # and tried again: rights come late when a key is plugged in
                return None
            case _End.PULLED if was_asked:
                self._forget(plugged)
                return None
            case WrongKey() | AlreadyRegistered():
                return self._turns_out_a_stranger(plugged)
            case _End.GAVE_UP:
                return None if self._asked else TimedOut()
            case Trouble() if self._asked:
                return None
            case _End.SILENT | _End.PULLED | _End.DONE | _End.NOT_A_KEY | _End.IN_USE:
                return self._nothing_left() if was_asked else None
            case _:
                return end

    def _turns_out_a_stranger(self, plugged: Plugged) -> Outcome | None:
        """Which it told after its PIN alone."""
        look = self._seen.looks.get(plugged)
        if isinstance(look, Ready):
            stranger = Stranger(look.key)
            self._seen.looks[plugged] = stranger
            self._take_stranger(stranger)
        return self._nothing_left()

    def _forget(self, plugged: Plugged) -> None:
        self._table.forget(plugged)
        self._seen.forget(plugged)
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
        self._table.ask(ready.key.plugged, _Order(self._until, pin))

    # --- When nothing can be asked

    def _nothing_left(self) -> Outcome | None:
        if self._asked or self._task.wait_for_key or (self._seen.waiting & self._table.plugged):
            return None
        return self._failure()

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
            return Trouble(f"{', '.join(_paths(self._seen.silent))}: no sensible answer")
        return NoKey()

    def _product(self, plugged: Plugged) -> str:
        look = self._seen.looks.get(plugged)
        return look.key.product if look is not None else _UNNAMED

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
