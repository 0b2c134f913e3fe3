"""People with tokens, and the lines that `benchmarks/load` reads.

Rule: no PIN is used twice. Whoever has a TOTP token logs in once in a time step; when everybody has, the next step is
waited for. What is asked for near the end of a step is made of the next one, since not every peer looks back.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Entries: TypeAlias = Sequence[tuple[str, ...]]  # user and field, or user, first field and PIN

PERIOD = 30.0
MARGIN = 5.0  # seconds that a round may take after its PINs were made
PASSWORD = "geheim-im-versuch"
_NEAR = 12  # steps or counters around the right one, at which a wrong PIN must be wrong, too


def hotp(key: bytes, counter: int) -> str:
    """RFC 4226 5.3, six digits."""
    digest = hmac.digest(key, counter.to_bytes(8, "big"), hashlib.sha1)
    at = digest[-1] & 15
    return f"{(int.from_bytes(digest[at : at + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"


def step_now() -> int:
    return int(time.time() // PERIOD)


def fresh_step() -> int:
    """The time step, when it lasts long enough for a round."""
    left = PERIOD - time.time() % PERIOD
    if left < MARGIN:
        time.sleep(left + 0.01)
    return step_now()


@dataclass(slots=True)
class Person:
    name: str
    key: bytes
    counter: int = 0  # HOTP: the next one; TOTP: the first step that was not used

    @property
    def base32(self) -> str:
        return base64.b32encode(self.key).decode()


@dataclass
class Crowd:
    """`count` people, each in turn."""

    count: int
    kind: str = "totp"
    once: bool = True  # False: for a server that remembers nothing, so that nothing is gained by waiting
    people: list[Person] = field(init=False)
    _next: int = 0
    _given: list[Person] = field(default_factory=list)  # by the last call

    def __post_init__(self) -> None:
        self.people = [Person(f"p{number:07}", _key(number)) for number in range(self.count)]

    @property
    def most(self) -> int:
        """Of one round. With TOTP half of them: two rounds find somebody who has not logged in yet."""
        if self.kind == "hotp":
            return 1_000_000
        return self.count // 2 if self.once else self.count

    def right(self, count: int) -> Entries:
        """Names and PINs that were not used."""
        self._given = self._turn(min(count, self.most))
        return self._counters() if self.kind == "hotp" else self._steps()

    def _counters(self) -> Entries:
        made = []
        for person in self._given:
            made.append((person.name, hotp(person.key, person.counter)))
            person.counter += 1
        return made

    def _steps(self) -> Entries:
        step = fresh_step()
        if self.once and any(person.counter > step for person in self._given):
            time.sleep(PERIOD - time.time() % PERIOD + 0.01)
            step = step_now()
        for person in self._given:
            person.counter = step + 1
        return [(person.name, hotp(person.key, step)) for person in self._given]

    def give_back(self, count: int) -> None:
        """So many of the last right PINs were not sent: they are the next again."""
        back = self._given[len(self._given) - count :]
        for person in back:
            person.counter -= 1
        self._next = (self._next - len(back)) % self.count
        self._given = []

    def wrong(self, count: int) -> Entries:
        """Names and PINs that are wrong for a while."""
        step = fresh_step()
        turned, self._given = self._turn(min(count, self.most)), []
        return [(p.name, _wrong(p.key, p.counter if self.kind == "hotp" else step)) for p in turned]

    def _turn(self, count: int) -> list[Person]:
        turned = [self.people[(self._next + n) % self.count] for n in range(count)]
        self._next = (self._next + count) % self.count
        return turned


def _key(number: int) -> bytes:
    return hashlib.sha256(f"key of {number}".encode()).digest()[:20]


def _wrong(key: bytes, here: int) -> str:
    near = {hotp(key, at) for at in range(max(0, here - 2), here + _NEAR)}
    return next(pin for pin in (f"{n:06}" for n in range(_NEAR * 2)) if pin not in near)


def lines(entries: Entries) -> str:
    return "".join("\t".join(entry) + "\n" for entry in entries)
