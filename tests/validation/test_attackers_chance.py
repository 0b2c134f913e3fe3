"""The attacker's chance is a number: who knows the password gets past the second factor at most once in 1,000 victims.

Shown twice. First as arithmetic from the shipped defaults: how many codes can be tried in any 30 days, over one in a
million each. Then as a run through the engine: weeks of trying at every door at once, beside a victim who logs in
daily with three tokens, one of which has learned drift; the codes tried are counted without the product's help
(`attack.py`).
"""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW, hotp_token, totp_token
from tests.validation.attack import Attack
from tests.validation.engine import CONSOLE, PORTAL, SSH, VPN, Engine, wrong_pin
from tests.vectors import reference
from validation.decisions import Accept, Challenge, Reason, Reject
from validation.model import Factor, Token, TokenState
from validation.policy import window
from validation.requests import EnrollToken
from validation.settings import DAY, DEFAULTS
from validation.throttle import budget_day, budget_left, oldest_day
from validation.tokens.registry import KINDS

AT_MOST = 1e-3
DIGITS = EnrollToken(actor="", user="").digits
TOTP, HOTP = ("totp", DIGITS), ("hotp", DIGITS)
COST = {"totp": 2 * DEFAULTS.totp_window + 1, "hotp": DEFAULTS.look_ahead + 1}  # codes of one wrong PIN


def most_codes(*kinds: str) -> int:
    """The last wrong PIN may begin with one code left, and is held against all tokens."""
    return DEFAULTS.guess_budget - 1 + sum(COST[kind] for kind in kinds)


# --- arithmetic


def test_from_the_defaults_the_chance_is_below_1_in_1000_whatever_a_user_owns() -> None:
    worst = most_codes(*[max(COST, key=lambda kind: COST[kind])] * DEFAULTS.max_registrations)
    chance = worst / 10**DIGITS
    assert chance <= AT_MOST, f"{worst} codes in 30 days: a chance of {chance}"
    assert (DIGITS, worst) == (6, 954), "other defaults: the number stands in docs/threat-model.md, too"


def test_codes_that_are_no_digits_add_nothing_to_the_chance() -> None:
    """Recovery codes (ten of 80 bits) and Yubico OTPs (64 bits of private id and checksum to hit), 1,000 a second."""
    tries = 30 * DAY * 1000
    assert tries * (10 / 2**80 + 1 / 2**64) < AT_MOST / 1000


@given(st.lists(st.tuples(st.floats(0, 40 * DAY), st.integers(1, 55)), min_size=1, max_size=40), st.floats(0, DAY))
def test_no_30_days_hold_more_than_one_budget(tries: list[tuple[float, int]], offset: float) -> None:
    """Greedy tries of any cost, after pauses of any length: wherever the 30 days begin, the sum stays below."""
    now, counted, made = NOW + offset, dict[int, int](), list[tuple[float, int]]()
    for pause, codes in tries:
        now += pause
        while budget_left(counted, DEFAULTS, now):
            made.append((now, codes))
            kept = {day: n for day, n in counted.items() if day >= oldest_day(now)}
            counted = kept | {budget_day(now): kept.get(budget_day(now), 0) + codes}
    for begin, _ in made:
        inside = [codes for at, codes in made if begin <= at <= begin + 30 * DAY]
        assert sum(inside) <= DEFAULTS.guess_budget - 1 + inside[-1]


@given(
    kind=st.sampled_from(["totp", "hotp"]),
    used=st.integers(-15, 15),
    drift=st.integers(-12, 12),
    later=st.integers(0, 3600),
)
def test_a_wrong_pin_costs_as_many_codes_as_would_have_been_right(kind: str, used: int, drift: int, later: int) -> None:
    """With any drift and any moving factor. Neither makes a guess cheaper than it is worth."""
    now = NOW + later
    step = int(now) // 30
    token = (
        totp_token(drift=drift, moving_factor=step + used) if kind == "totp" else hotp_token(moving_factor=15 + used)
    )
    expected = step if kind == "totp" else token.moving_factor
    right = [n for n in range(max(0, expected - 50), expected + 50) if _opens(token, n, now)]
    wrong = KINDS[kind].compare(token, wrong_pin(token, now), now, window(DEFAULTS))
    assert list(wrong.against) == right
    assert len(right) <= COST[kind]


def _opens(token: Token, n: int, now: float) -> bool:
    match = KINDS[token.kind].compare(token, reference.hotp(token.key, n), now, window(DEFAULTS)).match
    return match is not None and match.moving_factor == n + 1


# --- weeks of trying

OWNED = {
    "three tokens": (TOTP, TOTP, HOTP),
    "one app": (TOTP,),
    "one button": (HOTP,),
    "all that one may own": (HOTP,) * 5,
}


def fresh_pins(begin: int = 0) -> Iterator[str]:
    return (str(n % 10**DIGITS).zfill(DIGITS) for n in itertools.count(begin))


def check_chance(attack: Attack, *owned: tuple[str, int]) -> None:
    most, bound = attack.most_in_30_days(), most_codes(*(kind for kind, _ in owned))
    assert most <= bound, f"{most} codes were tried in 30 days, {bound} may be"
    assert most / 10**DIGITS <= AT_MOST, f"{most} codes in 30 days: a chance of {most / 10**DIGITS}"


@pytest.mark.statement("O-010", "O-045")
@pytest.mark.parametrize("owned", OWNED.values(), ids=OWNED)
def test_trying_one_pin_after_the_other_for_weeks(
    monkeypatch: pytest.MonkeyPatch, owned: tuple[tuple[str, int], ...]
) -> None:
    """Sixty-five days, so that 30 days from every moment are among them, and the first guesses grow old meanwhile."""
    attack = Attack(monkeypatch, *owned)
    attack.run(65, fresh_pins(100_000))
    check_chance(attack, *owned)
    assert attack.most_in_30_days() >= DEFAULTS.guess_budget, "the attacker did not do what he could"
    assert len(attack.seen) > DEFAULTS.guess_budget * 1.5, "nothing was tried after the first budget"
    assert attack.victims_logins >= 3


@pytest.mark.statement("O-010", "O-045")
def test_trying_so_little_that_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three a day raise no alarm and stop no login of the victim, whose successes give nothing back."""
    attack = Attack(monkeypatch, *OWNED["three tokens"])
    attack.run(65, fresh_pins(100_000), pause=DAY)
    check_chance(attack, *OWNED["three tokens"])
    assert attack.most_in_30_days() >= DEFAULTS.guess_budget
    assert attack.victims_logins > 30
    drifts = [attack.engine.token(serial).drift for serial in attack.serials]
    assert drifts == [0, DEFAULTS.drift_limit, 0], "one of the tokens has learned as much drift as there may be"


@pytest.mark.statement("O-010", "O-045")
@pytest.mark.parametrize("owned", OWNED.values(), ids=OWNED)
def test_trying_one_pin_for_ever(monkeypatch: pytest.MonkeyPatch, owned: tuple[tuple[str, int], ...]) -> None:
    """It is free while nothing new would be compared, and only then."""
    attack = Attack(monkeypatch, *owned)
    attack.run(65, itertools.repeat("271828"))
    check_chance(attack, *owned)
    assert attack.seen


@pytest.mark.statement("O-010", "O-045")
def test_two_pins_in_turn_are_never_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the last wrong PIN is remembered; what is forgotten is paid for again."""
    attack = Attack(monkeypatch, *OWNED["three tokens"])
    attack.run(65, itertools.cycle(["271828", "314159"]))
    check_chance(attack, *OWNED["three tokens"])


# --- one field, and tokens of several lengths


def test_in_one_field_guesses_at_the_shortest_token_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else the user owns: the field is cut where the easiest token is guessed at."""
    attack = Attack(monkeypatch, TOTP, ("totp", 8))
    attack.run(35, fresh_pins(100_000), doors=(SSH,))
    assert {serial for serial, _, _ in attack.seen} == {attack.serials[0]}
    assert attack.engine.throttle("alice", Factor.PASSWORD).failures == 0
    check_chance(attack, TOTP)
    assert attack.most_in_30_days() >= DEFAULTS.guess_budget


def test_in_one_field_guesses_at_a_longer_token_count_as_wrong_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The field is cut at 6 and the rest is no password: no code is counted, and the waits are the bound. Together with
    the whole budget, spent at the shorter token, the chance stays below."""
    attack = Attack(monkeypatch, TOTP, ("totp", 8))
    attack.run(30, (f"{n:08}" for n in itertools.count(10_000_000)), doors=(SSH,))
    longer = {seen for seen in attack.seen if seen[0] == attack.serials[1]}
    assert attack.engine.see(user="alice").guesses == {}
    assert len(longer) > 1000
    chance = len(longer) / 10**8 + most_codes("totp") / 10**DIGITS
    assert chance <= AT_MOST, f"a chance of {chance}"


# --- and then?


def test_who_guesses_until_the_token_is_disabled_cannot_pair_a_phone_of_his_own() -> None:
    engine = Engine(guess_budget="100000")
    engine.add_user("alice")
    serial = engine.enroll("alice")
    for _ in range(DEFAULTS.disable_at):
        engine.log_in("alice", engine.wrong_pin(serial))
        engine.clock.now = max(engine.clock.now, engine.throttle("alice", Factor.PASSCODE).blocked_until)
    assert engine.token(serial).state is TokenState.DISABLED
    for client in (VPN, CONSOLE, SSH, PORTAL):
        outcome = engine.log_in("alice", client=client)
        assert isinstance(outcome, Reject), "pairing is open still, and yet nothing may be paired"
        assert outcome.reason is Reason.NO_TOKEN
    assert not isinstance(engine.log_in("alice", engine.pin(serial)), Accept | Challenge)
