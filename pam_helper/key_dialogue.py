"""A security key in a conversation: plugged in, its PIN, a touch; or something typed instead.

Rules: nothing is decided here, and nothing of a key is believed: what it signed goes to the gate as it came. A PIN of a
key is asked for as such and tried once; then, and whenever the key is of no use, the conversation goes on without it.
Where a PIN of an app would do, nobody waits for a key that is not there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from pam_helper.hello import without_surrogates
from pam_helper.key_outcomes import (
    AlreadyRegistered,
    Busy,
    Cancelled,
    Cues,
    Denied,
    Found,
    Made,
    NoKey,
    NoPinSet,
    Outcome,
    PinBlocked,
    PinNeeded,
    PinWrong,
    Plugged,
    Signed,
    TimedOut,
    Trouble,
    Unusable,
    WrongKey,
)
from pam_helper.steps import Asking, KeyTask, lines, question, waiting
from validation.decisions import AskKey, AskNewKey
from validation.messages import MessageKey
from validation.requests import Assertion, NewCredential, typed_alone

_STRAY_LINES = 3  # that are typed where a touch alone is wanted


@dataclass(frozen=True, slots=True)
class Touched:
    """What the person did: touched a key, or typed, or neither."""

    assertion: Assertion | None = None
    typed: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Told:
    """Texts, as this person reads them."""

    text: Callable[[MessageKey, dict[str, str | int]], str]

    def __call__(self, key: MessageKey, **values: str | int) -> str:
        return self.text(key, values)


@dataclass(frozen=True, slots=True)
class Keys:
    """The security keys plugged into this machine."""

    probe: Callable[[AskKey], Found]
    touch: Callable[[AskKey, str | None, Cues, bool, Plugged | None], KeyTask]
    register: Callable[[AskNewKey, str | None, Cues, Plugged | None], KeyTask]


def touched(asked: AskKey, ask: str, plug_in: str, keys: Keys, told: Told) -> Asking[Touched]:
    """Ask for a touch in the words of `ask`, or `plug_in` where no key is there and none can be done without."""
    if not asked.or_passcode and not keys.probe(asked).ready:
        yield from lines(plug_in)
    pin, pin_for = None, None
    for _ in range(_STRAY_LINES):
        task = keys.touch(asked, pin, Cues(ask, told(MessageKey.KEY_FOREIGN)), not asked.or_passcode, pin_for)
        typed = yield from waiting(task)
        match task.outcome:
            case Signed(assertion):
                return Touched(assertion)
            case PinNeeded(key=key) if pin is None:
                pin = yield from question(told(MessageKey.KEY_PIN))
                pin_for = key.plugged
                if not pin:
                    return Touched()
            case Cancelled() if typed is not None and asked.or_passcode:
                return Touched(typed=typed_alone(without_surrogates(typed)))
            case Cancelled() if typed is not None:
                pin = None
            case outcome:
                yield from lines(_hint(outcome, told), error=True)
                return Touched()
    return Touched()


def registered(asked: AskNewKey, ask: str, keys: Keys, told: Told) -> Asking[NewCredential | None]:
    """Ask for a touch that makes a credential. A line typed instead gives it up."""
    pin, pin_for = None, None
    yield from lines(ask)
    for _ in range(2):
        task = keys.register(asked, pin, Cues(stranger=told(MessageKey.KEY_KNOWN)), pin_for)
        yield from waiting(task)
        match task.outcome:
            case Made(credential):
                return credential
            case PinNeeded(key=key) if pin is None:
                pin = yield from question(told(MessageKey.KEY_PIN))
                pin_for = key.plugged
                if not pin:
                    return None
            case outcome:
                yield from lines(_hint(outcome, told), error=True)
                return None
    return None


def _hint(outcome: Outcome, told: Told) -> str:
    match outcome:
        case NoKey():
            return told(MessageKey.KEY_ABSENT)
        case WrongKey():
            return told(MessageKey.KEY_FOREIGN)
        case AlreadyRegistered():
            return told(MessageKey.KEY_KNOWN)
        case PinWrong(tries_left=left):
            return told(MessageKey.KEY_PIN_WRONG, tries=left)
        case PinBlocked():
            return told(MessageKey.KEY_PIN_BLOCKED)
        case NoPinSet():
            return told(MessageKey.KEY_PIN_UNSET)
        case TimedOut():
            return told(MessageKey.KEY_TIMED_OUT)
        case Unusable() | Busy() | Trouble() | Denied() | Cancelled() | PinNeeded() | Signed() | Made():
            return told(MessageKey.KEY_UNUSABLE)
