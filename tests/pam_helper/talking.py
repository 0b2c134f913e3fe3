"""Conversations driven by hand: the generators on a fake store, answers in a list or worked out from what is shown.

Rule: nothing of the product is replaced but what `Desk` is handed: the password check, the terminal, and the clock.
"""

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pam_helper.care import care
from pam_helper.dialogue import Desk, End, Prompt, SetAuthtok, Show, Step, Talk, Verdict, login
from pam_helper.hello import Hello
from pam_helper.rights import Asked
from tests.validation.engine import Engine
from tests.vectors import reference
from validation.decisions import Look
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
            else:
                step = next(talk)
    except StopIteration:
        return heard


class Room:
    """A host with its helper, on a fake store."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.passwords = Passwords()
        self.width = 80
        self.widths_of: list[str | None] = []
        self.held: list[float] = []
        self.waited = 0

    @property
    def desk(self) -> Desk:
        return Desk(self.engine.gate, self.passwords, EXACT, "host", "Twofold", self._columns, self._hold)

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
    ) -> Heard:
        """As root's module asks; `authtok` is the password that the stack has heard before us."""
        hello = Hello(
            user=user, service=service, authtok=authtok, combined=combined, ssh_auth_info=ssh_auth_info, tty=tty
        )
        return run(login(Asked(hello, user, actor, pin_only, source), self.desk), answers)

    def care(self, request: str, *answers: Answer, user: str = "alice", serial: str = "", reason: str = "") -> Heard:
        """As `twofold profile` asks for whoever the kernel says."""
        hello = Hello(user="", request=request, serial=serial, reason=reason)
        named = "" if request == "ticket-redeem" else user
        return run(care(Asked(hello, named, actor=user), self.desk), answers)

    def pin_from_screen(self, ahead: int = 0) -> Callable[[Heard], str]:
        """What an app shows that was given the key on the screen."""
        return lambda heard: reference.hotp(heard.key, int(self.engine.clock.now) // 30 + ahead)

    def wrong(self, serial: str) -> Callable[[Heard], str]:
        """A wrong PIN, another one each time."""
        return lambda heard: self.engine.wrong_pin(serial)
