"""Who is logged in, and who has been asked for a PIN and not answered yet. In memory alone: a restart forgets both.

Rules: what a browser is given is 256 random bits, and only their hash is kept, so that a dump of this memory opens no
session. A session belongs to the site where it began, ends after its lifetime however much it is used, and before that
if it is not used; its key is new at each login. A question is answered once, by the browser that was asked. Both are
bounded in number: of sessions the one goes that was not used for longest, of questions the oldest.
"""

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_SESSIONS = 50_000
MOST_QUESTIONS = 10_000
PATIENCE = 660.0  # seconds for an answer: a first registration may take ten minutes in Twofold


def boot_clock() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def new_key() -> str:
    """256 random bits as 43 characters that need no quoting."""
    return secrets.token_urlsafe(32)


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


@dataclass(slots=True)
class Session:
    user: str
    site: str
    ends: float
    idle: float  # seconds without a request after which it ends
    used: float


class Sessions:
    """Threads may share it. Lifetimes are in seconds."""

    def __init__(
        self, lifetime: float, idle: float, clock: Callable[[], float] = boot_clock, most: int = MOST_SESSIONS
    ) -> None:
        self._lifetime, self._idle, self._clock, self._most = lifetime, idle, clock, most
        self._found: OrderedDict[bytes, Session] = OrderedDict()  # the one used last is the last
        self._lock = threading.Lock()

    def open(self, user: str, site: str, lifetime: float | None = None, idle: float | None = None) -> str:
        """The key of a new session. What Twofold says of its length counts where it is shorter."""
        key, now = new_key(), self._clock()
        length = self._lifetime if lifetime is None else min(self._lifetime, lifetime)
        session = Session(user, site, now + length, self._idle if idle is None else min(self._idle, idle), now)
        with self._lock:
            self._found[digest(key)] = session
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        return key

    def user_of(self, key: str, site: str) -> str | None:
        """Whose session this is, and that it was used now; None if there is none, or no longer."""
        name = digest(key)
        with self._lock:
            session = self._found.get(name)
            if session is None or session.site != site:
                return None
            now = self._clock()
            if now >= session.ends or now >= session.used + session.idle:
                del self._found[name]
                return None
            session.used = now
            self._found.move_to_end(name)
            return session.user

    def end(self, key: str, site: str) -> str | None:
        """End it; whose it was."""
        user = self.user_of(key, site)
        if user is not None:
            with self._lock:
                self._found.pop(digest(key), None)
        return user

    def __len__(self) -> int:
        with self._lock:
            return len(self._found)


@dataclass(frozen=True, slots=True)
class Question:
    """A challenge of Twofold that waits for an answer."""

    user: str
    browser: str
    site: str
    back: str  # where the person wanted to go
    state: bytes = field(repr=False)


class Questions:
    """Threads may share it."""

    def __init__(self, clock: Callable[[], float] = boot_clock, most: int = MOST_QUESTIONS) -> None:
        self._clock, self._most = clock, most
        self._open: OrderedDict[bytes, tuple[float, Question]] = OrderedDict()  # in the order of their ends
        self._lock = threading.Lock()

    def ask(self, question: Question) -> str:
        """The key under which the answer comes."""
        key, now = new_key(), self._clock()
        with self._lock:
            self._open[digest(key)] = now + PATIENCE, question
            while len(self._open) > self._most or next(iter(self._open.values()))[0] <= now:
                self._open.popitem(last=False)
        return key

    def take(self, key: str, browser: str, site: str) -> Question | None:
        """The question, once. Somebody else's browser takes nothing away."""
        with self._lock:
            ends, question = self._open.get(digest(key), (0.0, None))
            if question is None or (question.browser, question.site) != (browser, site):
                return None
            del self._open[digest(key)]
        return question if self._clock() < ends else None

    def __len__(self) -> int:
        with self._lock:
            return len(self._open)
