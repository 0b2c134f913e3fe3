"""A conversation with each device that is plugged in, and what is known of them.

Rules: each has a thread of its own, since Linux may hold on to whoever opens or writes to a device; such a thread is
left behind and lets go by itself. It opens, looks, says so, and asks when it is told to; whatever it meets becomes
news. A key that was pulled out and put in again is another one.
"""

import logging
import queue
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from fido2.hid import CtapHidDevice

from pam_helper.key_devices import STOPPING, Bus, CannotOpen, Connection, InUse, Mute, NotAKey, alone, opened
from pam_helper.key_outcomes import Closed, Hindrance, Key, Look, Outcome, Plugged, Ready, Stranger
from pam_helper.key_talk import GaveUp, Pin, Talk, Wish, speak
from validation.messages import printable

_log = logging.getLogger("twofold.pam")

LOOK = 3.0  # seconds for one key
SCAN = 0.3  # between two looks at what is plugged in
UNNAMED = "security key"
_AGAIN = 0.3
_NAME = 64


class End(Enum):
    """How a conversation ended that has no outcome."""

    DONE = auto()
    NOT_A_KEY = auto()
    IN_USE = auto()
    SILENT = auto()
    PULLED = auto()
    GAVE_UP = auto()


class Sign(Enum):
    WAITS = auto()  # for another login to end
    BLINKS = auto()


@dataclass(frozen=True, slots=True)
class Ended:
    end: End | Closed | Outcome


What = Sign | Look | Ended


@dataclass(frozen=True, slots=True)
class News:
    plugged: Plugged
    what: What


@dataclass(frozen=True, slots=True)
class Order:
    """Ask now, until then."""

    until: float
    pin: Pin


class Conversation:
    """With one device, from opening to closing it. It looks, says so, and waits to be told to ask."""

    def __init__(self, bus: Bus, plugged: Plugged, wanted: Wish, patience: float, news: queue.SimpleQueue[News]):
        self.thread = threading.Thread(target=self._run, name="security-key", daemon=True)
        self._bus = bus
        self._plugged = plugged
        self._wanted = wanted
        self._patience = time.monotonic() + patience  # for the key to be free
        self._news = news
        self._stop = threading.Event()
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()

    def ask(self, order: Order) -> None:
        self._orders.put(order)

    def end(self) -> None:
        """Tells the key to stop, and does not wait for it."""
        self._stop.set()
        self._orders.put(None)

    def _run(self) -> None:
        self._say(Ended(self._end()))

    def _say(self, what: What) -> None:
        self._news.put(News(self._plugged, what))

    def _end(self) -> End | Closed | Outcome:
        try:
            with alone(self._plugged.path, self._stop, self._patience, lambda: self._say(Sign.WAITS)):
                return self._hold()
        except NotAKey:
            return End.NOT_A_KEY
        except InUse:
            return End.IN_USE
        except CannotOpen as error:
            return error.closed
        except OSError:
            return End.PULLED
        except Exception as error:  # python-fido2 meets nonsense with whatever its parsers raise
            if not self._stop.is_set():
                _log.warning("security key: %s gives no sensible answer: %s", self._plugged.path, _name(error))
            return End.SILENT

    def _hold(self) -> End | Outcome:
        with opened(self._bus, self._plugged.path, self._stop, time.monotonic() + LOOK) as (device, connection):
            ctap = speak(device)
            key = _key(self._plugged, device)
            look = self._wanted.look(ctap, key)
            self._say(look)
            order = self._orders.get() if isinstance(look, Ready) else None
            if order is None or not isinstance(look, Ready):
                return End.DONE
            talk = Talk(ctap, key, self._stop, lambda: self._say(Sign.BLINKS))
            return self._ask(talk, look, order, connection)

    def _ask(self, talk: Talk, ready: Ready, order: Order, connection: Connection) -> End | Outcome:
        connection.until = order.until + STOPPING
        while True:
            try:
                return self._wanted.ask(talk, ready, order.pin)
            except GaveUp as error:
                # Keys wait half a minute by themselves, and people may be given longer.
                if not error.again or self._stop.wait(_AGAIN):
                    return End.GAVE_UP


def _name(error: Exception) -> str:
    return "silence" if isinstance(error, Mute) else type(error).__name__


def _key(plugged: Plugged, device: CtapHidDevice) -> Key:
    return Key(plugged, printable(device.product_name or UNNAMED, _NAME))


class Table:
    """Everything that is plugged in, with a conversation for each."""

    def __init__(self, bus: Bus, wanted: Wish, patience: float) -> None:
        self._bus = bus
        self._wanted = wanted
        self._patience = time.monotonic() + patience
        self._talks: dict[Plugged, Conversation] = {}
        self._open: list[Conversation] = []
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._next_scan = 0.0

    def scan(self) -> list[Plugged]:
        """Begins with what is new, at most every `SCAN` seconds; returns what is gone."""
        if time.monotonic() < self._next_scan:
            return []
        self._next_scan = time.monotonic() + SCAN
        there = self._bus.plugged()
        gone = [one for one in self._talks if one not in there]
        for one in gone:
            self.forget(one)
        for one in there:
            if one not in self._talks:
                self._begin(one)
        return gone

    def _begin(self, plugged: Plugged) -> None:
        talk = Conversation(self._bus, plugged, self._wanted, self._patience - time.monotonic(), self._news)
        self._talks[plugged] = talk
        talk.thread.start()
        self._open = [one for one in self._open if one.thread.is_alive()] + [talk]

    def forget(self, plugged: Plugged) -> None:
        """Its conversation ends; what is there at the next scan counts as new."""
        talk = self._talks.pop(plugged, None)
        if talk is not None:
            talk.end()

    def news(self, seconds: float) -> News | None:
        try:
            return self._news.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None

    def ask(self, plugged: Plugged, order: Order) -> None:
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
class Seen:
    """What is known of the devices that are plugged in."""

    looks: dict[Plugged, Look] = field(default_factory=dict)
    waiting: set[Plugged] = field(default_factory=set)
    silent: set[Plugged] = field(default_factory=set)
    closed: dict[Plugged, Closed] = field(default_factory=dict)
    others: set[Plugged] = field(default_factory=set)

    def take(self, plugged: Plugged, what: What) -> None:
        match what:
            case Sign.WAITS:
                self.waiting.add(plugged)
            case Sign.BLINKS:
                pass
            case Ended(end):
                self._take_end(plugged, end)
            case _:
                self.waiting.discard(plugged)
                self.looks[plugged] = what

    def _take_end(self, plugged: Plugged, end: End | Closed | Outcome) -> None:
        self.waiting.discard(plugged)
        match end:
            case Closed():
                self.closed[plugged] = end
            case End.IN_USE:
                self.waiting.add(plugged)
            case End.SILENT | End.PULLED:
                self.give_up(plugged)
            case _:
                self.others.add(plugged)

    def give_up(self, plugged: Plugged) -> None:
        self.silent.add(plugged)
        self.looks.pop(plugged, None)

    def forget(self, plugged: Plugged) -> None:
        for known in (self.waiting, self.silent, self.others):
            known.discard(plugged)
        for said in (self.looks, self.closed):
            said.pop(plugged, None)

    def is_complete(self, plugged: set[Plugged]) -> bool:
        return plugged <= self.looks.keys() | self.waiting | self.silent | self.closed.keys() | self.others

    def ready(self) -> list[Ready]:
        return [look for look in self._in_order() if isinstance(look, Ready)]

    def hindered(self) -> list[Hindrance]:
        return [look for look in self._in_order() if not isinstance(look, Ready | Stranger)]

    def strangers(self) -> list[Stranger]:
        return [look for look in self._in_order() if isinstance(look, Stranger)]

    def _in_order(self) -> list[Look]:
        return [self.looks[plugged] for plugged in sorted(self.looks, key=place)]


def place(plugged: Plugged) -> tuple[int, str]:
    return len(plugged.path), plugged.path


def paths(plugged: Iterable[Plugged]) -> tuple[str, ...]:
    return tuple(one.path for one in sorted(plugged, key=place))
