"""Somebody who sits at a machine with a security key, on a real site: the key is registered, and touched.

Rule: whoever asks is the product's own gate; the key is tests/validation/signing_key.
"""

import time
from dataclasses import replace

from store import opening
from store.notices import NoNotices
from tests.flows.worker import FixedMoments
from tests.site import Site
from tests.validation.signing_key import SigningKey
from validation.decisions import Accept, AskKey, AskNewKey, Challenge
from validation.gate import Gate, Outcome
from validation.model import Purpose
from validation.requests import Channel, FirstFactor, FirstFactorResult, LoginRequest

PROVED = FirstFactorResult(FirstFactor.PROVED)


class Desk:
    """At one moment, which is now unless it is said."""

    def __init__(self, site: Site, now: float | None = None, user: str = "alice") -> None:
        moments = FixedMoments(time.time() if now is None else now)
        self._gate = Gate(site.database, moments, opening.LoggedFaults(), NoNotices())
        self._login = LoginRequest(user, Channel.console(local=True), "login@web-7", 0)

    def registered(self, name: str = "blue") -> tuple[SigningKey, str]:
        """The first of all: the key and its serial."""
        asked = self.asked(purpose=Purpose.ADD_KEY, key_name=name)
        assert isinstance(asked.wants, AskNewKey)
        key = SigningKey()
        outcome = self.decided(state=asked.state, key_name=name, new_credential=key.make(asked.wants))
        assert isinstance(outcome, Accept), outcome
        return key, outcome.serial

    def touched(self, key: SigningKey, **said: object) -> LoginRequest:
        """A login of its own, and the answer to it."""
        asked = self.asked()
        assert isinstance(asked.wants, AskKey)
        return replace(self._login, state=asked.state, assertion=key.get(asked.wants, **said))

    def decided(self, **more: object) -> Outcome:
        (outcome,) = self._gate.login([replace(self._login, **more)])  # type: ignore[arg-type]
        return outcome

    def answered(self, answer: LoginRequest) -> Outcome:
        (outcome,) = self._gate.login([answer])
        return outcome

    def asked(self, **more: object) -> Challenge:
        asked = self.decided(first_factor=PROVED, **more)
        assert isinstance(asked, Challenge), asked
        return asked
