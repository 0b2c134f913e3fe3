"""Another app, and the same app anew, on a real store: what is there between the steps, and after them."""

import pytest

from store import opening
from store.notices import NoNotices
from tests.builders import NOW
from tests.flows.worker import FixedMoments
from tests.site import Site, pin
from tests.store import raw
from tests.validation.engine import key_of
from tests.vectors import reference
from validation.decisions import Accept, Challenge, Reject
from validation.gate import Gate, Outcome
from validation.model import Purpose, Token
from validation.requests import Channel, FirstFactor, FirstFactorResult, LoginRequest


class Console:
    """Alice at a terminal of this host, her password proved, at a time of the test's choice."""

    def __init__(self, site: Site) -> None:
        self.site, self.clock = site, FixedMoments(NOW)
        self.gate = Gate(site.database, self.clock, opening.LoggedFaults(), NoNotices())
        site.add_user("alice", None)

    def step(
        self, passcode: str | None, state: str | None = None, purpose: Purpose = Purpose.LOGIN, replaces: str = ""
    ) -> Outcome:
        proved = FirstFactorResult(FirstFactor.PROVED if state is None else FirstFactor.NOT_CHECKED, 0)
        request = LoginRequest(
            "alice", Channel.console(), "", 0, proved, passcode, state, purpose=purpose, replaces=replaces
        )
        (outcome,) = self.gate.login([request])
        return outcome

    def let_in(self, passcode: str) -> bool:
        return isinstance(self.step(passcode), Accept)

    def shown(self, token: Token, purpose: Purpose) -> tuple[str, str, bytes]:
        """After a fresh PIN of `token`: State, serial and key of the candidate."""
        asked = self.step(None, purpose=purpose, replaces=token.serial if purpose is Purpose.RESET else "")
        assert isinstance(asked, Challenge)
        answered = self.step(pin(token, now=self.clock.now), asked.state)
        assert isinstance(answered, Challenge)
        assert answered.provisioning is not None
        return answered.state, answered.provisioning.serial, key_of(answered.provisioning.uri)

    def pin_of(self, key: bytes) -> str:
        return reference.hotp(key, int(self.clock.now) // 30)

    def tokens(self) -> dict[str, str]:
        rows = raw.rows(self.site.config.database, "SELECT serial, state FROM tokens ORDER BY id")
        return {str(serial): str(state) for serial, state in rows}


@pytest.fixture
def console(site: Site) -> Console:
    return Console(site)


def test_a_reset_keeps_the_old_key_until_the_first_pin_of_the_new_one(console: Console) -> None:
    old = console.site.enroll("alice")
    state, serial, key = console.shown(old, Purpose.RESET)
    assert key != old.key
    assert console.tokens() == {old.serial: "active"}, "the new key is nowhere but in its challenge"
    console.clock.now += 30
    assert not console.let_in(console.pin_of(key))
    assert console.let_in(pin(old, now=console.clock.now))
    console.clock.now += 30
    assert isinstance(console.step(console.pin_of(key), state), Accept)
    assert console.tokens() == {old.serial: "revoked", serial: "active"}
    console.clock.now += 30
    assert not console.let_in(pin(old, now=console.clock.now))
    assert console.let_in(console.pin_of(key))


def test_another_app_comes_after_a_fresh_pin_with_a_key_of_its_own(console: Console) -> None:
    first = console.site.enroll("alice")
    state, serial, key = console.shown(first, Purpose.ADD)
    assert key != first.key
    assert isinstance(console.step(console.pin_of(key), state), Accept)
    assert console.tokens() == {first.serial: "active", serial: "active"}
    console.clock.now += 30
    for passcode in (pin(first, now=console.clock.now), console.pin_of(key)):
        assert console.let_in(passcode)
        assert not console.let_in(passcode)


@pytest.mark.parametrize("purpose", [Purpose.ADD, Purpose.RESET])
def test_a_wrong_or_used_pin_shows_no_key(console: Console, purpose: Purpose) -> None:
    token = console.site.enroll("alice")
    used = pin(token, now=console.clock.now)
    assert console.let_in(used)
    asked = console.step(None, purpose=purpose, replaces=token.serial)
    for _ in range(3):
        assert isinstance(asked, Challenge)
        assert asked.provisioning is None
        asked = console.step(used, asked.state)
    assert isinstance(asked, Reject)
    assert console.tokens() == {token.serial: "active"}
