"""Conversations driven by hand: the generators on a fake store, answers in a list or worked out from what is shown.

Rule: nothing of the product is replaced but what `Desk` is handed: the password check, the terminal, and the clock.
"""

import base64
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pam_helper.care import care
from pam_helper.dialogue import Desk, login
from pam_helper.hello import Hello
from pam_helper.key_dialogue import Keys
from pam_helper.key_outcomes import (
    Cancelled,
    Cues,
    Found,
    Key,
    Made,
    NoKey,
    Outcome,
    Plugged,
    Ready,
    Signed,
    Verifies,
    WrongKey,
)
from pam_helper.rights import Asked
from pam_helper.steps import End, Prompt, SetAuthtok, Show, Step, Talk, Verdict, Waiting
from tests.validation.engine import Engine
from tests.validation.signing_key import SigningKey
from tests.vectors import reference
from validation.decisions import AskKey, AskNewKey, Look
from validation.names import EXACT
from validation.requests import FirstFactor, FirstFactorResult

PASSWORD = "geheim"

Answer = str | Callable[["Heard"], str]


class Passwords:
    """Everybody's password is the same; who has no hash to check is checked all the same, and wrong."""

    def __init__(self) -> None:
        self.down = False
        self.right = PASSWORD
        self.checked: list[str] = []

    def check(self, look: Look, password: str) -> FirstFactorResult:
        self.checked.append(password)
        if self.down:
            return FirstFactorResult(FirstFactor.UNAVAILABLE)
        right = look.password_hash is not None and password == self.right
        return FirstFactorResult(FirstFactor.PROVED if right else FirstFactor.WRONG, look.password_version)


@dataclass
class Heard:
    """What a conversation showed and asked, in order, and how it ended."""

    steps: list[Step] = field(default_factory=list)

    @property
    def end(self) -> End:
        last = self.steps[-1]
        assert isinstance(last, End), last
        return last

    @property
    def verdict(self) -> Verdict:
        return self.end.verdict

    @property
    def prompts(self) -> list[Prompt]:
        return [step for step in self.steps if isinstance(step, Prompt)]

    @property
    def asked(self) -> list[str]:
        return [prompt.text for prompt in self.prompts]

    @property
    def shown(self) -> list[str]:
        return [step.text for step in self.steps if isinstance(step, Show)]

    @property
    def text(self) -> str:
        return "\n".join(self.shown)

    @property
    def errors(self) -> list[str]:
        return [step.text for step in self.steps if isinstance(step, Show) and step.error]

    @property
    def authtoks(self) -> list[str]:
        return [step.text for step in self.steps if isinstance(step, SetAuthtok)]

    @property
    def key(self) -> bytes:
        """Of the app that is being paired, as a person reads it off the screen."""
        groups = [line for line in self.shown if re.fullmatch(r"(Key {2})?[A-Z2-7]{4}( [A-Z2-7]{1,4})+", line)]
        text = groups[-1].removeprefix("Key  ").replace(" ", "")
        return base64.b32decode(text + "=" * (-len(text) % 8))


def run(talk: Talk, answers: Sequence[Answer] = ()) -> Heard:
    """Go through `talk`; the last answer is given again as often as it is asked for."""
    heard, at = Heard(), 0
    try:
        step = next(talk)
        while True:
            heard.steps.append(step)
            if isinstance(step, Prompt):
                assert answers, f"nobody was to be asked: {step.text}"
                answer = answers[min(at, len(answers) - 1)]
                at += 1
                step = talk.send(answer if isinstance(answer, str) else answer(heard))
            elif isinstance(step, Waiting):
                step = talk.send(waited(step, heard))
            else:
                step = next(talk)
    except StopIteration:
        return heard


def waited(step: Waiting, heard: Heard) -> str | None:
    """What comes of waiting: nobody types while a key is touched, unless the drawer says so."""
    step.task.run(threading.Event(), lambda text: heard.steps.append(Show(text)))
    return step.task.typed if isinstance(step.task, DrawerTask) else None


@dataclass
class DrawerTask:
    """A key is touched, or whatever else the drawer says comes of it."""

    result: Outcome
    cue: str
    typed: str | None = None
    seconds: float = 1.0
    outcome: Outcome = field(default_factory=Cancelled)

    def run(self, cancelled: threading.Event, say: Callable[[str], None]) -> None:
        if self.cue:
            say(self.cue)
        self.outcome = self.result


@dataclass
class Drawer:
    """The security keys of a person, who touches the first that fits. `says` comes instead of it, one for each try;
    a text is typed instead of a touch."""

    plugged: list[SigningKey] = field(default_factory=list)
    says: list[Outcome | str] = field(default_factory=list)
    pins: list[str | None] = field(default_factory=list)  # that were handed to a key, in order
    asked: list[AskKey | AskNewKey] = field(default_factory=list)

    @property
    def keys(self) -> Keys:
        return Keys(self._probe, self._touch, self._register)

    def _fitting(self, asked: AskKey) -> SigningKey | None:
        return next((key for key in self.plugged if key.id in asked.credentials), None)

    def _probe(self, asked: AskKey) -> Found:
        ready = Ready(Key(Plugged("/dev/hidraw0", 1), "a key"), Verifies.NOT)
        return Found(ready=(ready,) if self._fitting(asked) else ())

    def _touch(self, asked: AskKey, pin: str | None, cues: Cues, wait: bool, pin_for: Plugged | None) -> DrawerTask:
        key = self._fitting(asked)
        if key is not None:
            return self._said(asked, pin, Signed(key.get(asked)), cues.touch)
        return self._said(asked, pin, WrongKey(()) if self.plugged else NoKey(), "")

    def _register(self, asked: AskNewKey, pin: str | None, cues: Cues, pin_for: Plugged | None) -> DrawerTask:
        key = next((key for key in self.plugged if key.id not in asked.exclude), None)
        return self._said(asked, pin, Made(key.make(asked)) if key is not None else NoKey(), "")

    def _said(self, asked: AskKey | AskNewKey, pin: str | None, usual: Outcome, cue: str) -> DrawerTask:
        self.asked.append(asked)
        self.pins.append(pin)
        said = self.says.pop(0) if self.says else usual
        return DrawerTask(Cancelled(), cue, said) if isinstance(said, str) else DrawerTask(said, cue)


class Room:
    """A host with its helper, on a fake store."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.passwords = Passwords()
        self.width = 80
        self.widths_of: list[str | None] = []
        self.held: list[float] = []
        self.drawer = Drawer()
        self.waited = 0

    @property
    def desk(self) -> Desk:
        return Desk(
            self.engine.gate, self.passwords, EXACT, "host", "Twofold", self._columns, self._hold, self.drawer.keys
        )

    def _columns(self, tty: str | None) -> int:
        self.widths_of.append(tty)
        return self.width

    def _hold(self, seconds: float) -> Callable[[], None]:
        self.held.append(seconds)

        def wait() -> None:
            self.waited += 1

        return wait

    def login(
        self,
        *answers: Answer,
        user: str = "alice",
        authtok: str | None = PASSWORD,
        service: str = "sshd",
        source: str | None = None,
        pin_only: bool = False,
        actor: str = "",
        combined: bool = False,
        ssh_auth_info: str | None = None,
        tty: str | None = None,
        local: bool = False,
        own: bool = False,
    ) -> Heard:
        """As root's module asks; `authtok` is the password that the stack has heard before us."""
        hello = Hello(
            user=user, service=service, authtok=authtok, combined=combined, ssh_auth_info=ssh_auth_info, tty=tty
        )
        return run(login(Asked(hello, user, actor, pin_only, source, local, own), self.desk), answers)

    def care(
        self,
        request: str,
        *answers: Answer,
        user: str = "alice",
        serial: str = "",
        reason: str = "",
        name: str = "",
        local: bool = False,
    ) -> Heard:
        """As `twofold profile` asks for whoever the kernel says."""
        hello = Hello(user="", request=request, serial=serial, reason=reason, name=name)
        named = "" if request == "ticket-redeem" else user
        return run(care(Asked(hello, named, actor=user, local=local, own=bool(named)), self.desk), answers)

    def pin_from_screen(self, ahead: int = 0) -> Callable[[Heard], str]:
        """What an app shows that was given the key on the screen."""
        return lambda heard: reference.hotp(heard.key, int(self.engine.clock.now) // 30 + ahead)

    def wrong(self, serial: str) -> Callable[[Heard], str]:
        """A wrong PIN, another one each time."""
        return lambda heard: self.engine.wrong_pin(serial)
