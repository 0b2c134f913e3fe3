"""Somebody who knows the password and tries PINs for weeks, beside a victim who logs in every day.

Rules: the attack goes through the real engine, at every door at once, as fast as waits allow. What each try was held
against is found without the product's own count: every comparison is watched, and the kind of the token is asked for
each value near the expected one whether it would have opened the door at that moment. A value counts once for each
token, counter and PIN, since the same question asked again cannot be answered differently.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from tests.validation.engine import PORTAL, SSH, VPN, Engine
from tests.vectors import reference
from validation.decisions import Accept, Challenge
from validation.model import Factor, Mode, Token, TokenState
from validation.requests import FirstFactor, LoginRequest, LookRequest, SetTokenUse
from validation.settings import DAY, DEFAULTS, HOUR
from validation.tokens.kind import Comparison, Kind, Window
from validation.tokens.registry import KINDS

PASSWORD = "correct horse"
PERIOD = 30.0  # seconds of a TOTP step

Seen = tuple[str, int, str]  # serial, counter, PIN


class Watched:
    """A kind of token, and beside each of its comparisons a report of the values that would have been right."""

    def __init__(self, kind: Kind, report: Callable[[Token, int, str], None]) -> None:
        self._kind = kind
        self._report = report

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kind, name)

    def compare(self, token: Token, passcode: str, now: float, window: Window) -> Comparison:
        if len(passcode) == token.digits and passcode.isdigit():
            for counter in _near(token, now):
                right = reference.hotp(token.key, counter, token.digits, token.algorithm)
                if self._kind.compare(token, right, now, window).match is not None:
                    self._report(token, counter, passcode)
        return self._kind.compare(token, passcode, now, window)


def _near(token: Token, now: float) -> range:
    expected = int(now // token.period) if token.kind == "totp" else token.moving_factor
    return range(max(0, expected - 20), expected + 30)


class Attack:
    """`engine` with a victim called alice; `tokens` are kind and digits of what she owns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *tokens: tuple[str, int]) -> None:
        self.engine = Engine()
        self.engine.add_user("alice")
        self.serials = [self.engine.enroll("alice", kind, digits=digits) for kind, digits in tokens]
        self.digits = {serial: digits for serial, (_, digits) in zip(self.serials, tokens, strict=True)}
        self.seen: dict[Seen, float] = {}  # when it was first held against
        self.victims_logins = 0
        self.last_login = 0.0
        self._off: dict[str, int] = {}  # steps that a token's clock runs ahead
        self._guessing = False
        self._state: str | None = None
        self._sources = (f"198.51.100.{n % 250}" for n in itertools.count())
        for name in ("totp", "hotp"):
            monkeypatch.setitem(KINDS, name, cast(Kind, Watched(KINDS[name], self._report)))

    def _report(self, token: Token, counter: int, passcode: str) -> None:
        if self._guessing:
            self.seen.setdefault((token.serial, counter, passcode), self.engine.clock.now)

    # --- the days

    def run(
        self, days: int, entries: Iterator[str], doors: tuple[str, ...] = (SSH, PORTAL, VPN), pause: float = 0.0
    ) -> None:
        """`entries` are what is tried, one after the other; `pause` is more than what waits ask for."""
        end = self.engine.clock.now + days * DAY
        while self.engine.clock.now < end:
            self._admin_enables_what_was_disabled()
            self._victim_logs_in()
            before = len(self.seen)
            self._everything_at_once(entries, doors)
            self._until_the_next_chance(tried=len(self.seen) > before)
            self.engine.clock.now += pause

    def _admin_enables_what_was_disabled(self) -> None:
        """As soon as it happens, which is the best that the attacker can hope for."""
        for serial in self.serials:
            if self.engine.token(serial).state is TokenState.DISABLED:
                self.engine.gate.administer(SetTokenUse(actor="admin", serial=serial, enabled=True))

    def _victim_logs_in(self) -> None:
        """Once a day, with one token after the other, in the moment that a wait is over."""
        if self.engine.clock.now // DAY == self.last_login // DAY:
            return
        serial = self.serials[self.victims_logins % len(self.serials)]
        off = self._off.get(serial, 0)
        if isinstance(self.engine.log_in("alice", self.engine.pin(serial, off)), Accept):
            self.last_login = self.engine.clock.now
            self.victims_logins += 1
            self._off[serial] = self._runs_on(serial, off)

    def _runs_on(self, serial: str, off: int) -> int:
        """The first token is right for ever, another's clock runs ahead, a button is pressed in the pocket."""
        if self.engine.token(serial).kind == "hotp":
            return 2
        return 0 if serial == self.serials[0] else min(off + 1, DEFAULTS.drift_limit)

    def _everything_at_once(self, entries: Iterator[str], doors: tuple[str, ...]) -> None:
        self._guessing = True
        requests = [self._request(door, next(entries)) for door in doors]
        for request, outcome in zip(requests, self.engine.gate.login(requests), strict=True):
            assert not isinstance(outcome, Accept), "a lucky guess: start the run with other PINs"
            if request.client == VPN:
                self._state = outcome.state if isinstance(outcome, Challenge) else None
        self._guessing = False

    def _request(self, door: str, entry: str) -> LoginRequest:
        source = next(self._sources)
        if door == SSH:
            return self._one_field(PASSWORD + entry, source)
        if door == VPN and self._state is None:
            return self.engine.request("alice", VPN, source=source)
        return self.engine.request("alice", door, entry, self._state if door == VPN else None, source=source)

    def _one_field(self, typed: str, source: str) -> LoginRequest:
        """As a face does it: the look says where to cut, then the password is checked."""
        (look,) = self.engine.gate.look([LookRequest("alice", SSH, Mode.APPEND, typed, source)])
        assert look.split is not None
        proved = FirstFactor.PROVED if look.split.password == PASSWORD else FirstFactor.WRONG
        return self.engine.request("alice", SSH, look.split.passcode, password=proved, source=source)

    def _until_the_next_chance(self, tried: bool) -> None:
        """To the end of a wait. Where none runs: on at once, or to other values if nothing new could be tried."""
        clock, now = self.engine.clock, self.engine.clock.now
        ends = max(self.engine.throttle("alice", factor).blocked_until for factor in Factor)
        if ends > now:
            clock.now = ends
        elif self.spent:
            clock.now += 6 * HOUR
        elif not tried:
            clock.now += PERIOD if any(self.engine.token(s).kind == "totp" for s in self.serials) else 6 * HOUR

    @property
    def spent(self) -> bool:
        """The budget of guesses is used up: nothing is compared, for days."""
        guesses = self.engine.see(user="alice").guesses
        oldest = int(self.engine.clock.now // DAY) - 30
        return sum(n for day, n in guesses.items() if day >= oldest) >= DEFAULTS.guess_budget

    # --- what it comes to

    def most_in_30_days(self) -> int:
        """Of all 30 days, wherever they begin: the most values that were tried."""
        times = sorted(self.seen.values())
        first, most = 0, 0
        for last, time in enumerate(times):
            while times[first] < time - 30 * DAY:
                first += 1
            most = max(most, last + 1 - first)
        return most

    def chance(self) -> float:
        """In all of the run: the sum over all values that were tried (the union bound)."""
        return sum(10.0 ** -self.digits[serial] for serial, _, _ in self.seen)
