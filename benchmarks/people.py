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


@dataclass
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

    def __post_init__(self) -> None:
        self.people = [Person(f"p{number:07}", _key(number)) for number in range(self.count)]

    def right(self, count: int) -> list[tuple[str, str]]:
        """Names and PINs that were not used."""
        step = fresh_step() if self.kind == "totp" else 0
        chosen = self._turn(count)
        if self.kind == "totp" and self.once and any(person.counter > step for person in chosen):
            time.sleep(PERIOD - time.time() % PERIOD + 0.01)
            step = step_now()
        made = []
        for person in chosen:
            used = step if self.kind == "totp" else person.counter
            made.append((person.name, hotp(person.key, used)))
            person.counter = used + 1
        return made

    def wrong(self, count: int) -> list[tuple[str, str]]:
        """Names and PINs that are wrong for a while. Some of the people then wait a little after too many of them."""
        step = fresh_step()
        return [(p.name, _wrong(p.key, step if self.kind == "totp" else p.counter)) for p in self._turn(count)]

    def _turn(self, count: int) -> list[Person]:
        """The next of them; at most everybody."""
        count = min(count, self.count)
        turned = self.people[self._next :] + self.people[: self._next]
        self._next = (self._next + count) % self.count
        return turned[:count]


def _key(number: int) -> bytes:
    return hashlib.sha256(f"key of {number}".encode()).digest()[:20]


def _wrong(key: bytes, here: int) -> str:
    near = {hotp(key, at) for at in range(max(0, here - 2), here + _NEAR)}
    return next(pin for pin in (f"{n:06}" for n in range(_NEAR * 2)) if pin not in near)


def lines(entries: Entries) -> str:
    return "".join("\t".join(entry) + "\n" for entry in entries)
