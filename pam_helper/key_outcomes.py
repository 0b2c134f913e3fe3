"""What comes of asking a security key: every way it can end, for whoever asked to match on.

Rules: nothing here knows python-fido2, so that importing it costs nothing. A key PIN stands in none of these, and what
a key signed stays out of every repr. `text` is for logs and says what is wrong with the key, in English.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from validation.requests import Assertion, NewCredential


@dataclass(frozen=True, slots=True, order=True)
class Plugged:
    """One stay of one device: the same path after it was pulled out and put in again is another stay."""

    path: str
    inode: int


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is plugged in. `product` is what it calls itself, made safe to print."""

    plugged: Plugged
    product: str


class Verifies(Enum):
    """How a key makes sure of who touches it, where that is wanted."""

    NOT = auto()
    BY_PIN = auto()
    BY_ITSELF = auto()  # a finger


class Blocked(Enum):
    FEW_LEFT = auto()  # it has tries left, which are not ours to spend
    UNPLUG = auto()  # until it is pulled out and put in again
    FOR_GOOD = auto()  # until it is reset


@dataclass(frozen=True, slots=True)
class Signed:
    assertion: Assertion


@dataclass(frozen=True, slots=True)
class Made:
    credential: NewCredential


@dataclass(frozen=True, slots=True)
class PinNeeded:
    """Nothing was spent and no touch was asked for. Say which key: others may be plugged in."""

    tries_left: int
    key: Key


@dataclass(frozen=True, slots=True)
class PinWrong:
    """No touch was asked for."""

    tries_left: int
    key: Key


@dataclass(frozen=True, slots=True)
class PinBlocked:
    why: Blocked
    tries_left: int
    key: Key


@dataclass(frozen=True, slots=True)
class NoPinSet:
    key: Key


@dataclass(frozen=True, slots=True)
class TimedOut:
    """A key waited for a touch, in vain."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The key said no: its owner pressed "no", or the finger was not his."""

    key: Key


@dataclass(frozen=True, slots=True)
class WrongKey:
    """Keys are plugged in, and none of them is registered for this."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class NoKey:
    """None is plugged in, or none that can be opened."""


@dataclass(frozen=True, slots=True)
class Busy:
    """The only keys there are were in use by another login all the time."""


@dataclass(frozen=True, slots=True)
class AlreadyRegistered:
    key: Key


@dataclass(frozen=True, slots=True)
class Unusable:
    """The key is there and in order, and cannot do what is asked."""

    text: str
    key: Key


@dataclass(frozen=True, slots=True)
class Trouble:
    """The key does not answer, or answers nonsense."""

    text: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    pass


Hindrance = PinBlocked | NoPinSet | Unusable
Outcome = (
    Signed
    | Made
    | PinNeeded
    | PinWrong
    | PinBlocked
    | NoPinSet
    | TimedOut
    | Denied
    | WrongKey
    | NoKey
    | Busy
    | AlreadyRegistered
    | Unusable
    | Trouble
    | Cancelled
)


@dataclass(frozen=True, slots=True)
class Ready:
    """A key that can be asked. `tries_left` is of its PIN, where that is what it wants."""

    key: Key
    verifies: Verifies
    tries_left: int | None = None


@dataclass(frozen=True, slots=True)
class Stranger:
    """A key that is not registered for an assertion that is wanted, or is for a registration that is wanted."""

    key: Key


Look = Ready | Stranger | Hindrance


@dataclass(frozen=True, slots=True)
class Closed:
    """A device that cannot be opened."""

    path: str
    errno: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at everything plugged in saw, each in the order of paths. All empty: there is no key."""

    ready: tuple[Ready, ...] = ()
    hindered: tuple[Hindrance, ...] = ()
    strangers: tuple[Stranger, ...] = ()
    busy: tuple[str, ...] = ()  # in use by another login
    silent: tuple[str, ...] = ()  # no sensible answer in time
    closed: tuple[Closed, ...] = ()


@dataclass(frozen=True, slots=True)
class Cues:
    """What to say while waiting, each at most once for a key; "" is not said. `{key}` is the name of the product."""

    touch: str = field(default="")  # a key waits for a touch
    stranger: str = field(default="")  # a key was plugged in that is of no use here
    busy: str = field(default="")  # the key is in use by another login, which is waited for
