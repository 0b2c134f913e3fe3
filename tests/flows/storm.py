"""More logins than a server can do: people in two steps among a crowd, from one thread, and what became of them.

Rules: a login's first step is sent once and may be lost, as under overload some must be. The second step, once the
first was answered, is sent again like a gateway does, every `PATIENCE` seconds, `TRIES` times in all. Requests of the
crowd are made beforehand, so that the sender is not what limits the load.
"""

import contextlib
import hashlib
import heapq
import hmac
import itertools
import secrets
import select
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.site import PASSWORD, Site, pin
from tests.wire import CHALLENGE, Reply, Request, access_request
from validation.model import Token

PATIENCE = 3.0
TRIES = 3
THINKS = 0.3  # seconds between the question and the PIN
BURST = 0.02  # seconds' worth that are sent at once at most
SOCKETS = 16  # of the people; each has 256 Identifiers
CROWD_SOCKETS = 128
CROWD = 20_011  # requests made beforehand; prime, so that each comes from another socket every time


@dataclass
class Person:
    name: str
    token: Token
    used: int = 0  # PINs so far

    def next_pin(self) -> str:
        self.used += 1
        return pin(self.token, self.used - 1)


@dataclass
class Tally:
    """What became of the people."""

    begun: int = 0
    asked: int = 0  # first step answered by a challenge
    answered: int = 0  # second step answered
    let_in: int = 0
    sent_again: int = 0
    first_seconds: list[float] = field(default_factory=list)
    second_seconds: list[float] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Second steps that got no answer though their first step had one."""
        return self.asked - self.answered


@dataclass
class _Open:
    """A request that waits for its reply."""

    request: Request
    sent: float
    person: Person | None
    step: int = 1
    tries: int = 1


class Storm:
    """Use as a context manager: it holds sockets."""

    def __init__(
        self, server: tuple[str, int], secret: bytes, source: str, people: Sequence[Person], crowd_source: str = ""
    ) -> None:
        self.tally = Tally()
        self.crowd_replies = 0
        self.offered = 0.0  # requests a second, by the last `blow`
        self._server = server
        self._secret = secret
        self._free = list(people)
        self._poll = select.epoll()
        self._by_number: dict[int, socket.socket] = {}
        ours = [self._socket(source) for _ in range(SOCKETS)]
        self._ways = itertools.cycle([(sock, number) for number in range(256) for sock in ours])
        self._crowd_sockets = itertools.cycle([self._socket(crowd_source or source) for _ in range(CROWD_SOCKETS)])
        self._open: dict[tuple[int, int], _Open] = {}
        self._later: list[tuple[float, int, Person, bytes]] = []
        self._count = itertools.count()
        self._thinks = THINKS

    def __enter__(self) -> "Storm":
        return self

    def __exit__(self, *_: object) -> None:
        self._poll.close()
        for sock in self._by_number.values():
            sock.close()

    def _socket(self, source: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((source, 0))
        sock.connect(self._server)
        sock.setblocking(False)
        self._poll.register(sock, select.EPOLLIN)
        self._by_number[sock.fileno()] = sock
        return sock

    def capacity(self, seconds: float, crowd: Sequence[bytes], at_once: int = 64) -> float:
        """Requests of the crowd that are answered in a second, when so many are always on their way."""
        others, sent, before = itertools.cycle(crowd), 0, self.crowd_replies
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            while sent - (self.crowd_replies - before) < at_once:
                self._send_other(next(others))
                sent += 1
            self._turn(0.01)
        return (self.crowd_replies - before) / seconds

    def ask(self, count: int, think: float) -> None:
        """So many are asked for their PIN while all is quiet, and think so long (seconds) before they answer."""
        self._thinks = think
        until = time.monotonic() + PATIENCE * count
        while self.tally.asked < count and time.monotonic() < until:
            if not self._open:
                self._begin()
            self._turn(0.01)
        self._thinks = THINKS

    def blow(self, seconds: float, crowd_a_second: float, people_a_second: float, crowd: Sequence[bytes]) -> None:
        """So many requests of the crowd, and so many people that begin a login."""
        start = time.monotonic()
        others = itertools.cycle(crowd)
        sent_crowd = sent_people = missed = 0
        burst = max(1, int(crowd_a_second * BURST))
        while (now := time.monotonic()) < start + seconds:
            for _ in range(int((now - start) * people_a_second) - sent_people):
                sent_people += 1
                self._begin()
            due = int((now - start) * crowd_a_second) - sent_crowd - missed
            missed += max(0, due - burst)  # kept from sending by other programs: not made up for in one burst
            for _ in range(min(due, burst)):
                sent_crowd += 1
                self._send_other(next(others))
            self._turn(0.001)
        self.offered = (sent_crowd + sent_people) / seconds

    def calm(self, seconds: float) -> None:
        """Until every second step was answered or given up, at most so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and (self._later or any(o.step == 2 for o in self._open.values())):
            self._turn(0.01)

    def one_login(self, patience: float = 1.0) -> bool:
        """A whole login, now; whether both steps were answered within `patience` each."""
        before = self.tally.let_in
        self._begin()
        until = time.monotonic() + 2 * patience + THINKS
        while time.monotonic() < until and self.tally.let_in == before:
            self._turn(0.01)
        return self.tally.let_in > before

    # --- one turn -----------------------------------------------------------------------------------------------

    def _turn(self, wait: float) -> None:
        for number, _ in self._poll.poll(wait):
            sock = self._by_number[number]
            with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                while True:
                    self._heard(number, sock.recv(4096))
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            _, _, person, state = heapq.heappop(self._later)
            self._ask(person, person.next_pin(), state, 2)
        self._send_again(now)

    def _begin(self) -> None:
        if self._free:
            self.tally.begun += 1
            self._ask(self._free.pop(0), PASSWORD, None, 1)

    def _ask(self, person: Person, typed: str, state: bytes | None, step: int) -> None:
        sock, number = next(self._ways)
        request = access_request(self._secret, person.name, typed, state=state, identifier=number)
        self._drop_open((sock.fileno(), number))
        self._open[sock.fileno(), number] = _Open(request, time.monotonic(), person, step)
        _send(sock, request.data)

    def _drop_open(self, key: tuple[int, int]) -> None:
        """Its Identifier is used anew: nobody waits for that one any more."""
        old = self._open.pop(key, None)
        if old is not None and old.person is not None:
            self._free.append(old.person)

    def _send_other(self, data: bytes) -> None:
        _send(next(self._crowd_sockets), data)

    def _send_again(self, now: float) -> None:
        for key, waiting in list(self._open.items()):
            if waiting.person is None or now < waiting.sent + PATIENCE * waiting.tries:
                continue
            if waiting.step == 1 or waiting.tries >= TRIES:
                self._drop_open(key)
                continue
            waiting.tries += 1
            self.tally.sent_again += 1
            _send(self._by_number[key[0]], waiting.request.data)

    def _heard(self, number: int, data: bytes) -> None:
        waiting = self._open.get((number, data[1]))
        if waiting is None or not _answers(data, waiting.request):
            self.crowd_replies += 1
            return
        del self._open[number, data[1]]
        person, reply, now = waiting.person, Reply(data), time.monotonic()
        assert person is not None
        if waiting.step == 2:
            self.tally.answered += 1
            self.tally.let_in += reply.code == 2
            self.tally.second_seconds.append(now - waiting.sent)
            self._free.append(person)
        elif reply.code == CHALLENGE:
            self.tally.asked += 1
            self.tally.first_seconds.append(now - waiting.sent)
            heapq.heappush(self._later, (now + self._thinks, next(self._count), person, reply.state))


def _send(sock: socket.socket, data: bytes) -> None:
    with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
        sock.send(data)


def _answers(data: bytes, request: Request) -> bool:
    """The Response Authenticator (RFC 2865 3)."""
    expected = hashlib.md5(data[:4] + request.authenticator + data[20:] + request.secret).digest()
    return hmac.compare_digest(expected, data[4:20])


def people(site: Site, count: int) -> list[Person]:
    """So many users with a password and a HOTP token."""
    found = []
    for number in range(count):
        name = f"storm{number}"
        site.add_user(name)
        found.append(Person(name, site.enroll(name, kind="hotp")))
    return found


def crowd(secret: bytes, password: str, count: int = CROWD) -> Iterator[bytes]:
    """Requests of people who do not exist, each another one."""
    for number in range(count):
        yield access_request(secret, f"nobody{number}", password, identifier=secrets.randbelow(256)).data


def percentiles(values: Sequence[float]) -> str:
    """`p50 12 ms, p99 80 ms, most 95 ms`."""
    if len(values) < 2:
        return "none"
    cuts = statistics.quantiles(values, n=100, method="inclusive")  # none of these took longer than the most
    return f"p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms, most {max(values) * 1000:.0f} ms"
