"""The chance of somebody who knows a password to guess a PIN, as a number: at most 1 in 1,000 in any 30 days.

Twice: worked out from the shipped defaults, and counted in attacks on the engine with a real store, for two months of
its clock. An attack counts each pair of a PIN and a code it was held against, once, from what the token would have
accepted then; the chance is at most the sum of each pair's (union bound), whatever the attacker does next. Nothing of
the product's own counting goes into it.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from store import opening
from store.notices import NoNotices
from tests.site import PASSWORD, Site, hashed
from tests.vectors import reference
from validation.decisions import Accept, Challenge, Reject
from validation.errors import StoreUnavailable
from validation.gate import Gate, Outcome
from validation.model import MOMENT_RANDOM_OCTETS, Factor, Mode, Moment, Snapshot, Token
from validation.requests import (
    AddUser,
    ChangeUserState,
    Channel,
    EnrollToken,
    FirstFactor,
    FirstFactorResult,
    LoginRequest,
    LookRequest,
    SetRule,
    UserAct,
    Wanted,
)
from validation.settings import KEYS, Scope, Settings

ALLOWED = 1e-3
MONTH = 30 * 86_400.0
DAY, STEP = 86_400.0, 30.0
MIDNIGHT = 1_767_225_600.0  # 2026-01-01T00:00:00Z
VICTIM = "alice"
DOORS = {"vpn": Mode.CHALLENGE, "ssh": Mode.APPEND, "portal": Mode.PASSCODE_ONLY}

# RFC 4226 5.3: 31 bits modulo 10^digits, so the commonest values come up a little more often than the others.
LIKELIEST = {digits: -(-(2**31) // 10**digits) / 2**31 for digits in (6, 7, 8)}


# --- worked out from the defaults -------------------------------------------------------------------------------


def most_compared(settings: Settings, tokens: int, codes: int) -> int:
    """Codes compared in 30 days at most: a guess that begins with one code left of the budget is carried through."""
    return settings.guess_budget - 1 + tokens * codes


@pytest.mark.statement("O-045")
@pytest.mark.parametrize("tokens", [1, 3, Settings().max_registrations])
def test_the_shipped_defaults_give_less_than_one_in_a_thousand(tokens: int) -> None:
    settings = Settings()
    totp, hotp = 2 * settings.totp_window + 1, settings.look_ahead + 1
    for codes in (totp, hotp):
        assert most_compared(settings, tokens, codes) * LIKELIEST[6] <= ALLOWED


# --- counted in an attack ---------------------------------------------------------------------------------------


class SeededMoments:
    """A clock that is set, and dice that fall the same way in each run."""

    def __init__(self, seed: int) -> None:
        self.now = MIDNIGHT
        self._dice = random.Random(seed)

    def moment(self) -> Moment:
        return Moment(self.now, self._dice.randbytes(MOMENT_RANDOM_OCTETS))


@dataclass
class Ledger:
    """What the attacker has tried: each pair of PIN and code once, when, and how likely it was to fit."""

    settings: Settings = field(default_factory=Settings)
    tried: list[tuple[float, float]] = field(default_factory=list)
    _known: set[tuple[str, int, str]] = field(default_factory=set)

    def add(self, tokens: Sequence[Token], passcode: str, now: float) -> None:
        for token in tokens:
            if len(passcode) == token.digits:
                for factor in self._acceptable(token, now):
                    pair = (token.serial, factor, passcode)
                    if pair not in self._known:
                        self._known.add(pair)
                        self.tried.append((now, LIKELIEST[token.digits]))

    def _acceptable(self, token: Token, now: float) -> range:
        """The moving factors whose code would let in (RFC 4226 7.4; RFC 6238 5.2, 6)."""
        if token.kind == "hotp":
            return range(token.moving_factor, token.moving_factor + self.settings.look_ahead + 1)
        expected, window = int(now // STEP) + token.drift, self.settings.totp_window
        return range(max(expected - window, token.moving_factor), expected + window + 1)

    @property
    def worst_month(self) -> float:
        """The chance in the 30 days in which it was greatest, wherever they begin."""
        worst = chance = 0.0
        begin = 0
        for now, likely in self.tried:
            chance += likely
            while self.tried[begin][0] <= now - MONTH:
                chance -= self.tried[begin][1]
                begin += 1
            worst = max(worst, chance)
        return worst


class World:
    """A site, its victim with his tokens, and whoever knows his password."""

    def __init__(self, folder: Path, tokens: Sequence[tuple[str, int]], seed: int = 0) -> None:
        self.site = Site(folder)
        for number, (name, mode) in enumerate(DOORS.items(), start=2):
            self.site.add_client(name, f"127.0.0.{number}/32", mode=mode)
        self.clock = SeededMoments(seed)
        self.dice = random.Random(seed + 1)
        self.gate = Gate(self.site.database, self.clock, opening.LoggedFaults(), NoNotices())
        self.gate.administer(AddUser(actor="test", name=VICTIM, password_hash=hashed(PASSWORD)))
        for kind, digits in tokens:
            self.gate.administer(EnrollToken(actor="test", user=VICTIM, kind=kind, digits=digits))
        self.ledger = Ledger()
        self.victims_logins = 0
        self._drift_by_login = 0

    def see(self) -> Snapshot:
        (seen,) = self.site.database.look([Wanted(user=VICTIM, client="vpn")])
        return seen

    def request(self, door: str, passcode: str | None = None, state: str | None = None) -> LoginRequest:
        """From another source each time; the password is always right."""
        (seen,) = self.site.database.look([Wanted(user=VICTIM, client=door)])
        assert seen.user is not None
        assert seen.client is not None
        checked = state is None and door != "portal"
        first = FirstFactor.PROVED if checked else FirstFactor.NOT_CHECKED
        return LoginRequest(
            user=VICTIM,
            channel=Channel.for_mode(DOORS[door]),
            client=door,
            client_version=seen.client.version,
            first_factor=FirstFactorResult(first, seen.user.password_version),
            passcode=passcode,
            state=state,
            source=f"198.51.{self.dice.randrange(256)}.{self.dice.randrange(256)}",
        )

    # --- the victim -----------------------------------------------------------------------------------------

    def victim_logs_in(self) -> None:
        """With one token after the other. He is in, or has to wait because of the attacker."""
        usable = [t for t in self.see().tokens if t.kind != "recovery_code"]
        token = usable[self.victims_logins % len(usable)]
        drift = min(self.victims_logins * self._drift_by_login, Settings().drift_limit)
        counter = int(self.clock.now // STEP) + drift if token.kind == "totp" else token.moving_factor
        shown = reference.hotp(token.key, counter, token.digits)
        (outcome,) = self.gate.login([self.request("ssh", shown)])
        if isinstance(outcome, Accept):
            self.victims_logins += 1
        else:
            assert isinstance(outcome, Reject)
            assert outcome.reason == "waiting-after-failures"

    # --- the attacker ---------------------------------------------------------------------------------------

    def attack(self, days: int, guesses: Callable[[], list[str]], begin: float = 0.0, pause: float = 1.0) -> None:
        """Try `guesses` at all doors at once, whenever anything is compared, while the victim logs in each morning."""
        now, end = MIDNIGHT + begin, MIDNIGHT + days * DAY
        mornings = [MIDNIGHT + day * DAY + 8 * 3600 for day in range(days)]
        while now < end:
            while mornings and mornings[0] <= now:
                self.clock.now = mornings.pop(0)
                self.victim_logs_in()
            self.clock.now = now
            compared = self._try_all(guesses())
            waits = max(self.see().throttle(factor).blocked_until for factor in Factor)
            if waits > now:
                now = waits
            elif compared:
                now += pause
            else:  # the budget is used up: when a day ends, something may be left again
                now = (now // DAY + 1) * DAY

    def _try_all(self, guesses: list[str]) -> bool:
        """All at once, in one batch, through every door; whether anything was compared."""
        tokens = self.see().tokens
        doors = list(itertools.islice(itertools.cycle(DOORS), len(guesses)))
        states = [self._challenged() if door == "vpn" else None for door in doors]
        requests = [
            self.request(door, guess, state)
            for door, guess, state in zip(doors, guesses, states, strict=True)
            if door != "vpn" or state is not None
        ]
        compared = False
        for request, outcome in zip(requests, self.gate.login(requests), strict=True):
            if _compared(outcome):
                compared = True
                self.ledger.add(tokens, request.passcode or "", self.clock.now)
        return compared

    def _challenged(self) -> str | None:
        (outcome,) = self.gate.login([self.request("vpn")])
        return outcome.state if isinstance(outcome, Challenge) else None

    def random_pins(self, count: int = 12) -> list[str]:
        return [f"{self.dice.randrange(10**6):06}" for _ in range(count)]


def _compared(outcome: Outcome) -> bool:
    assert not isinstance(outcome, StoreUnavailable | Accept), f"the attacker was lucky, choose another seed: {outcome}"
    return outcome.reason in ("passcode-wrong", "passcode-used", "passcode-repeated")


THREE = {
    "three phones": [("totp", 6)] * 3,
    "three counters": [("hotp", 6)] * 3,
    "mixed": [("totp", 6), ("hotp", 6), ("hotp", 8)],
}


@pytest.mark.statement("O-010", "O-045")
@pytest.mark.parametrize("begin", [0.0, 7 * 3600.0, 23.9 * 3600.0], ids=["midnight", "morning", "late"])
@pytest.mark.parametrize("tokens", THREE.values(), ids=THREE)
def test_new_pins_from_everywhere_at_once(tmp_path: Path, tokens: list[tuple[str, int]], begin: float) -> None:
    """Two months, so that the month in which the chance is greatest may begin anywhere."""
    world = World(tmp_path / "site", tokens)
    world.attack(62, world.random_pins, begin)
    assert 0.8 * ALLOWED < world.ledger.worst_month <= ALLOWED, "and he has really tried"
    assert world.victims_logins >= 2, "the victim was there in between"
    assert {t.digits for t in world.see().tokens} <= {6, 8}


@pytest.mark.statement("O-027")
def test_a_clock_whose_drift_is_learned_gives_no_more_chances(tmp_path: Path) -> None:
    world = World(tmp_path / "site", [("totp", 6)] * 3)
    world._drift_by_login = 1
    for morning in range(12):  # each token goes a step with each login it has, before the attack and in it
        world.clock.now = MIDNIGHT + morning * DAY
        world.victim_logs_in()
    assert world.victims_logins >= 3
    assert any(t.drift for t in world.see().tokens), "drift was learned"
    world.attack(62, world.random_pins, begin=12 * DAY)
    assert 0.8 * ALLOWED < world.ledger.worst_month <= ALLOWED


@pytest.mark.parametrize("tokens", THREE.values(), ids=THREE)
def test_one_pin_for_ever(tmp_path: Path, tokens: list[tuple[str, int]]) -> None:
    """Free while it is held against the same codes; each step and each counter that comes into the window costs."""
    world = World(tmp_path / "site", tokens)
    world.attack(62, lambda: ["123456"] * 12, pause=STEP)
    assert 0 < world.ledger.worst_month <= ALLOWED


@pytest.mark.statement("O-070")
@pytest.mark.parametrize(
    "tokens",
    [
        [("totp", 8), ("totp", 8), ("totp", 6)],
        [("totp", 8), ("totp", 6), ("hotp", 6)],
        [("totp", 6), ("totp", 8), ("totp", 8)],
    ],
    ids=["eights first", "one eight", "six first"],
)
def test_in_one_field_guesses_at_every_length_are_bounded(tmp_path: Path, tokens: list[tuple[str, int]]) -> None:
    """A right PIN decides where the field is cut, so each entry tries every length. Wrong ones look like a wrong
    password for all lengths but the shortest; those are bounded by the waits alone, and are a hundredth as likely."""
    world = World(tmp_path / "site", tokens)
    lengths = {digits for _, digits in tokens}
    for now in attempts_at_the_field(world, days=31):
        spent = sum(world.see().guesses.values())
        digits = 6 if spent < Settings().guess_budget - 60 else max(lengths)  # the last of the budget is not touched
        guess = f"{world.dice.randrange(10**digits):0{digits}}"
        tokens_then = world.see().tokens
        outcome = type_in_one_field(world, PASSWORD + guess)
        assert isinstance(outcome, Reject), "the attacker was lucky, choose another seed"
        if outcome.reason != "waiting-after-failures":
            for length in lengths:
                world.ledger.add(tokens_then, guess[-length:] if length == digits else "", now)
    assert 0.7 * ALLOWED < world.ledger.worst_month <= ALLOWED


def attempts_at_the_field(world: World, days: int) -> Iterator[float]:
    """Each moment at which something would be compared; the victim logs in each morning in between."""
    mornings = [MIDNIGHT + day * DAY + 8 * 3600 for day in range(days)]
    now = MIDNIGHT
    while now < MIDNIGHT + days * DAY:
        while mornings and mornings[0] <= now:
            world.clock.now = mornings.pop(0)
            world.victim_logs_in()
        world.clock.now = now
        yield now
        now = max([now + 1, *(world.see().throttle(factor).blocked_until for factor in Factor)])


def type_in_one_field(world: World, typed: str) -> Outcome:
    """As the RADIUS face does it: look, check the password part once, hand both to the gate."""
    (look,) = world.gate.look([LookRequest(VICTIM, "ssh", Mode.APPEND, typed)])
    password, passcode = (look.split.password, look.split.passcode) if look.split is not None else ("", None)
    right = password == PASSWORD and look.password_hash is not None
    request = world.request("ssh", passcode)
    status = FirstFactor.PROVED if right else FirstFactor.WRONG
    version = request.first_factor.password_version
    (outcome,) = world.gate.login(
        [
            LoginRequest(
                request.user,
                request.channel,
                "ssh",
                request.client_version,
                FirstFactorResult(status, version),
                passcode=passcode,
            )
        ]
    )
    return outcome


# --- other ways round -------------------------------------------------------------------------------------------


def wear_out(world: World) -> None:
    """Wrong PINs after the right password, as fast as the waits allow, until the only token is disabled."""
    for number in range(Settings().disable_at):
        world.clock.now = max([world.clock.now, *(world.see().throttle(f).blocked_until for f in Factor)])
        (outcome,) = world.gate.login([world.request("ssh", f"{number:06}")])
        assert _compared(outcome)


@pytest.mark.statement("O-040", "O-042")
def test_a_token_that_was_disabled_by_wrong_pins_is_no_way_to_pair_ones_own(tmp_path: Path) -> None:
    """A new account, whose pairing is open and whose user is away for a week: after 100 wrong PINs the token is out of
    use, and the right password leads to no enrolment until an admin acts."""
    world = World(tmp_path / "site", [("totp", 6)])
    world.gate.administer(SetRule(actor="test", key="onboarding_over_radius", value="key", scope=Scope()))
    wear_out(world)
    assert world.clock.now < MIDNIGHT + 7 * DAY, "long before the pairing window ends"
    assert [str(t.state) for t in world.see().tokens] == ["disabled"]
    world.clock.now += 3600
    (outcome,) = world.gate.login([world.request("vpn")])
    assert isinstance(outcome, Reject)
    assert outcome.reason == "no-token"


def test_a_used_up_budget_comes_back_by_itself_and_not_before_its_month_is_over(tmp_path: Path) -> None:
    world = World(tmp_path / "site", [("totp", 6)] * 3)
    world.attack(20, world.random_pins)
    assert sum(world.see().guesses.values()) >= Settings().guess_budget
    last = world.ledger.tried[-1][0]
    (first, _), *_ = world.ledger.tried
    for days, waits in ((20, True), (30, True), (31, False), (40, False)):
        world.clock.now = first + days * DAY
        (outcome,) = world.gate.login([world.request("vpn")])
        assert isinstance(outcome, Reject) == waits, f"after {days} days"
    assert last < first + 20 * DAY


def test_unlocking_gives_back_one_budget_and_not_more(tmp_path: Path) -> None:
    """So each unlock is worth another chance of 1 in 1,000 to whoever knows the password: change it as well."""
    world = World(tmp_path / "site", [("totp", 6)] * 3)
    world.attack(15, world.random_pins)
    before = len(world.ledger.tried)
    world.gate.administer(ChangeUserState(actor="test", name=VICTIM, act=UserAct.UNLOCK))
    assert sum(world.see().guesses.values()) == 0
    world.attack(30, world.random_pins, begin=15 * DAY)
    again = len(world.ledger.tried) - before
    assert 0 < again <= most_compared(Settings(), 3, 2 * Settings().totp_window + 1)


def test_a_victim_without_an_attacker_never_waits(tmp_path: Path) -> None:
    """The price of the budget: a typing error a day for two months is far below it."""
    world = World(tmp_path / "site", [("totp", 6)] * 3)
    for day in range(62):
        world.clock.now = MIDNIGHT + day * DAY
        (outcome,) = world.gate.login([world.request("ssh", world.random_pins(1)[0])])
        assert _compared(outcome)
        world.clock.now += STEP
        world.victim_logs_in()
    assert world.victims_logins == 62


def test_no_key_of_the_policy_is_looser_than_what_was_worked_out() -> None:
    """The names that the bound rests on are policy keys, so an admin sees what he changes."""
    assert {"guess_budget", "totp_window", "look_ahead", "drift_limit", "max_registrations", "disable_at"} <= set(KEYS)
