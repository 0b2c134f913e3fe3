"""Waits and limits by source address: nobody is kept out for free, and passwords are not tried on everybody.

Addresses: alice is at home; a stranger sits elsewhere; `None` is a login whose source is not known.
"""

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import NOW, PROVED, WRONG, book, moment, rejected, request, snapshot
from tests.validation.engine import PORTAL, SSH, VPN, Engine
from validation import decide, explaining, looking, sources
from validation.changes import Audit, AuditFlood, Change, SetKnownSource, SetSourceScore, SetThrottle
from validation.decisions import Accept, Challenge, Decision, Reason, Reject
from validation.errors import BadInput
from validation.gate import Outcome
from validation.model import Factor, KnownSource, Mode, RevokeReason, Snapshot, SourceScore, Throttle, TokenState
from validation.policy import is_held
from validation.requests import (
    AddClient,
    ChangeUserState,
    Channel,
    FirstFactor,
    FirstFactorResult,
    LoginRequest,
    LookRequest,
    RemoveUser,
    RevokeToken,
    UserAct,
    Wanted,
)
from validation.settings import DAY, DEFAULTS, KEYS, MINUTE, Scope, check_rule

HOME, ELSEWHERE, OFFICE = "192.0.2.99", "198.51.100.7", "2001:db8::7"


class Town:
    """Alice with a counter token, and people who try passwords."""

    def __init__(self, *others: str, **policies: str) -> None:
        self.engine = Engine(**policies)
        self.serials: dict[str, str] = {}
        for name in ("alice", *others):
            self.engine.add_user(name)
            self.serials[name] = self.engine.enroll(name, "hotp")

    @property
    def now(self) -> float:
        return self.engine.clock.now

    def pass_time(self, seconds: float) -> None:
        self.engine.clock.now += seconds

    def right(self, source: str | None = None, name: str = "alice", client: str = SSH) -> Outcome:
        return self.engine.log_in(name, self.engine.pin(self.serials[name]), client, source=source)

    def wrong(self, source: str | None = None, name: str = "alice", times: int = 1, client: str = SSH) -> Outcome:
        """Wrong passwords with an empty PIN."""
        *_, last = [
            self.engine.log_in(name, client=client, password=FirstFactor.WRONG, source=source) for _ in range(times)
        ]
        return last

    def see(self, source: str | None, name: str = "alice") -> Snapshot:
        (found,) = self.engine.store.look([Wanted(user=name, source=source)])
        return found

    def known(self, source: str, name: str = "alice") -> KnownSource | None:
        return self.see(source, name).known_source

    def score(self, source: str) -> int:
        return sources.as_of(self.see(source).source_score, self.now).score

    def strangers_failures(self, name: str = "alice") -> int:
        return self.engine.throttle(name, Factor.PASSWORD).failures


def reason(outcome: Outcome) -> Reason:
    assert isinstance(outcome, Accept | Challenge | Reject), outcome
    return outcome.reason


# --- a victim is not kept out at his usual places ---------------------------------------------------------------


@pytest.mark.statement("C-023")
@pytest.mark.parametrize("stranger", [ELSEWHERE, None], ids=["with a source", "without"])
@pytest.mark.parametrize("client", [SSH, VPN])
def test_a_stranger_who_keeps_failing_does_not_hold_the_victim_at_home(stranger: str | None, client: str) -> None:
    """For a day: one wrong password after each wait."""
    town = Town()
    assert reason(town.right(HOME)) is Reason.PASSCODE_RIGHT
    town.wrong(stranger, times=5, client=client)
    for _ in range(24):
        assert reason(town.right(stranger)) is Reason.WAITING, "elsewhere he waits"
        assert reason(town.right(HOME)) is Reason.PASSCODE_RIGHT
        town.pass_time(3600)
        town.wrong(stranger, client=client)
    assert town.strangers_failures() == 5 + 24, "success at home forgives no stranger"


def test_the_first_accept_from_a_place_is_judged_by_the_count_of_strangers_and_clears_it() -> None:
    town = Town()
    town.wrong(ELSEWHERE, times=4)
    assert reason(town.right(HOME)) is Reason.PASSCODE_RIGHT
    assert town.strangers_failures() == 0
    town.wrong(ELSEWHERE, times=5)
    assert reason(town.right(OFFICE)) is Reason.WAITING


def test_failures_at_home_hold_home_alone() -> None:
    town = Town()
    town.right(HOME)
    assert isinstance(town.wrong(HOME, times=5), Reject)
    assert (town.known(HOME), town.strangers_failures()) == (KnownSource(HOME, NOW, 5, NOW + 30), 0)
    assert reason(town.right(HOME)) is Reason.WAITING
    assert reason(town.right(ELSEWHERE)) is Reason.PASSCODE_RIGHT, "another place"
    assert reason(town.right(None)) is Reason.PASSCODE_RIGHT, "no known place"
    town.pass_time(30)
    assert reason(town.right(HOME)) is Reason.PASSCODE_RIGHT
    assert town.known(HOME) == KnownSource(HOME, NOW, 0, 0.0)


def test_the_waits_at_a_known_source_begin_and_double_like_all_others_and_are_told_once() -> None:
    town = Town(source_lock_from="0")
    town.right(HOME)
    found = [town.wrong(HOME) for _ in range(5)]
    assert [o.failures for o in found if isinstance(o, Reject)] == [1, 2, 3, 4, 5]
    for wait in (30, 60, 120, 240):
        known = town.known(HOME)
        assert known is not None
        assert known.blocked_until == town.now + wait
        assert reason(town.wrong(HOME)) is Reason.WAITING
        assert town.known(HOME) == known, "nothing was tried, nothing counts"
        town.pass_time(wait)
        assert reason(town.wrong(HOME)) is Reason.PASSWORD_WRONG
    assert [told.notice for told in town.engine.notices.told if told.event == "login"] == ["locked"]


def test_guesses_at_one_password_are_bounded_by_one_count_for_all_strangers() -> None:
    """However many addresses they have."""
    town = Town()
    found = [reason(town.wrong(f"198.51.100.{n}")) for n in range(20)]
    assert found == [Reason.PASSWORD_WRONG] * 5 + [Reason.WAITING] * 15
    assert town.strangers_failures() == 5


def test_wrong_pins_and_the_budget_hold_everywhere() -> None:
    """They follow a proved password: whoever types them is no outsider."""
    town = Town()
    town.right(HOME)
    for _ in range(5):
        town.engine.log_in("alice", town.engine.wrong_pin(town.serials["alice"]), source=ELSEWHERE)
    assert town.engine.throttle("alice", Factor.PASSCODE).failures == 5
    assert reason(town.right(HOME)) is Reason.WAITING
    spent = snapshot(known_source=KnownSource(HOME, NOW), guesses={int(NOW // DAY): 900})
    assert is_held(spent, DEFAULTS, NOW)


@pytest.mark.statement("C-023")
def test_outsiders_without_the_password_cannot_disable_a_token() -> None:
    town = Town(source_lock_from="0")
    for _ in range(150):
        town.engine.log_in("alice", "000000", password=FirstFactor.WRONG, source=ELSEWHERE)
        town.pass_time(3600)
    token = town.engine.token(town.serials["alice"])
    assert (token.state, token.failures) == (TokenState.ACTIVE, 0)
    assert town.strangers_failures() == 150
    assert reason(town.right(HOME)) is Reason.PASSCODE_RIGHT


@pytest.mark.statement("C-023")
def test_an_admins_unlock_ends_the_waits_at_every_place_and_forgets_none() -> None:
    town = Town()
    town.right(HOME)
    for source in (HOME, ELSEWHERE):
        town.wrong(source, times=5)
        assert reason(town.right(source)) is Reason.WAITING
    town.engine.gate.administer(ChangeUserState(actor="test", name="alice", act=UserAct.UNLOCK))
    assert town.known(HOME) == KnownSource(HOME, NOW)
    for source in (HOME, ELSEWHERE):
        assert reason(town.right(source)) is Reason.PASSCODE_RIGHT


# --- which places are known -------------------------------------------------------------------------------------


def test_a_place_is_known_after_a_pin_or_a_confirmed_first_pin_and_after_nothing_less() -> None:
    town = Town("bob")
    town.engine.challenge("alice", source=HOME)
    assert town.known(HOME) is None, "the password alone"
    town.engine.answer("alice", town.engine.challenge("alice"), town.engine.pin(town.serials["alice"]), source=HOME)
    assert town.known(HOME) == KnownSource(HOME, NOW)
    assert town.known(HOME, "bob") is None
    town.engine.add_user("newcomer")
    paired = town.engine.pair("newcomer")
    assert town.known(OFFICE, "newcomer") is None
    assert isinstance(paired.confirm(source=OFFICE), Accept)
    assert town.known(OFFICE, "newcomer") == KnownSource(OFFICE, NOW)


@pytest.mark.parametrize(
    ("policies", "fields", "why"),
    [
        ({"second_factor": "skip"}, {}, Reason.SKIPPED),
        ({"grace": "14d"}, {}, Reason.GRACE),
        ({}, {"bypass_until": NOW + 60}, Reason.BYPASS),
    ],
    ids=["skip", "grace", "bypass"],
)
def test_an_accept_without_a_pin_makes_no_place_known_and_forgives_no_source(
    policies: dict[str, str], fields: dict[str, Any], why: Reason
) -> None:
    seen = snapshot(user=builders.user(**fields), book=book(**policies), source_score=SourceScore(9, 0.0, NOW))
    verdict = decide.login(seen, request(source=HOME), moment())
    assert verdict.decision.reason is why
    assert about_sources(verdict.changes) == []
    counted = replace(seen, known_source=KnownSource(HOME, NOW - 2 * DAY, 3))
    changes = decide.login(counted, request(source=HOME), moment()).changes
    assert about_sources(changes) == [SetKnownSource(1, KnownSource(HOME, NOW - 2 * DAY), 20)], (
        "the password was proved"
    )


def test_a_reused_login_makes_no_place_known_for_longer() -> None:
    town = Town(reuse_window="1d")
    town.right(HOME)
    town.pass_time(DAY - 1)
    assert reason(town.engine.log_in("alice", source=HOME)) is Reason.REUSED
    town.pass_time(2)
    assert reason(town.right(HOME)) is Reason.PASSCODE_RIGHT
    assert town.known(HOME) == KnownSource(HOME, NOW + DAY + 1)


def about_sources(changes: tuple[Change, ...]) -> list[Change]:
    return [change for change in changes if isinstance(change, SetKnownSource | SetSourceScore)]


def test_most_logins_write_nothing_about_their_source() -> None:
    """Only the first of a day does."""
    pin = "755224"  # the first of RFC 4226 appendix D
    token = builders.hotp_token()
    for age, written in ((0, False), (DAY - 1, False), (DAY, True), (30 * DAY - 1, True), (-DAY, True)):
        known = KnownSource(HOME, NOW - age)
        changes = decide.login(
            snapshot(tokens=(token,), known_source=known), builders.with_pin(pin, source=HOME), moment()
        ).changes
        expected = [SetKnownSource(1, KnownSource(HOME, NOW), 20)] if written else []
        assert about_sources(changes) == expected, age
    changes = decide.login(snapshot(tokens=(token,)), builders.with_pin(pin), moment()).changes
    assert about_sources(changes) == [], "no source"


def test_after_thirty_days_a_place_is_known_no_more_and_begins_anew() -> None:
    town = Town()
    town.right(HOME)
    town.wrong(HOME, times=2)
    town.pass_time(30 * DAY)
    town.wrong(HOME)
    assert (town.strangers_failures(), town.known(HOME)) == (1, KnownSource(HOME, NOW, 2)), "now a stranger's"
    assert reason(town.right(HOME)) is Reason.PASSCODE_RIGHT
    assert (town.strangers_failures(), town.known(HOME)) == (0, KnownSource(HOME, town.now))


def test_a_user_has_twenty_places_at_most() -> None:
    town = Town()
    for n in range(21):
        town.right(f"192.0.2.{n}")
        town.pass_time(1)
    assert [n for n in range(21) if town.known(f"192.0.2.{n}") is None] == [0]


def test_a_client_that_checks_the_password_itself_makes_places_known_and_forgives_no_wrong_password() -> None:
    town = Town()
    town.right(HOME, client=PORTAL)
    assert town.known(HOME) == KnownSource(HOME, NOW)
    town.wrong(HOME, times=3)
    town.pass_time(DAY)
    assert reason(town.right(HOME, client=PORTAL)) is Reason.PASSCODE_RIGHT
    assert town.known(HOME) == KnownSource(HOME, NOW + DAY, 3)


@pytest.mark.parametrize("why", RevokeReason)
def test_after_a_compromise_no_place_is_known_any_more(why: RevokeReason) -> None:
    town = Town()
    town.right(HOME)
    town.engine.gate.administer(RevokeToken(actor="test", serial=town.serials["alice"], reason=why))
    assert (town.known(HOME) is None) is (why is RevokeReason.COMPROMISE)


def test_a_new_user_of_an_old_name_has_no_places() -> None:
    town = Town()
    town.right(HOME)
    town.engine.gate.administer(RemoveUser(actor="test", name="alice"))
    town.engine.add_user("alice")
    assert town.known(HOME) is None


# --- a source that guesses is held ------------------------------------------------------------------------------

CROWD = tuple(f"user{n}" for n in range(8))
EARLY = {"source_lock_from": "6"}


@pytest.mark.statement("C-022")
def test_one_guess_at_each_of_many_users_holds_the_source_and_no_other() -> None:
    town = Town(*CROWD, **EARLY)
    found = [reason(town.wrong(ELSEWHERE, name)) for name in CROWD]
    assert found == [Reason.PASSWORD_WRONG] * 6 + [Reason.SOURCE_HELD] * 2
    assert reason(town.right(ELSEWHERE, "user7")) is Reason.SOURCE_HELD, "the right password helps nobody there"
    assert town.engine.token(town.serials["user7"]).moving_factor == 0, "nothing was compared"
    assert reason(town.right(OFFICE, "user7")) is Reason.PASSCODE_RIGHT
    assert reason(town.right(None, "user6")) is Reason.PASSCODE_RIGHT
    town.pass_time(30)
    assert reason(town.right(ELSEWHERE, "user7")) is Reason.PASSCODE_RIGHT


@pytest.mark.statement("C-022")
def test_the_addresses_of_one_ipv6_network_are_one_source_and_its_neighbour_is_another() -> None:
    """A subscriber of IPv6 has 2^64 addresses to guess from."""
    town = Town(*CROWD, **EARLY)
    found = [reason(town.wrong(f"2001:db8:0:1::{n:x}", name)) for n, name in enumerate(CROWD)]
    assert found == [Reason.PASSWORD_WRONG] * 6 + [Reason.SOURCE_HELD] * 2
    assert reason(town.right("2001:db8:0:1::ffff", "user7")) is Reason.SOURCE_HELD
    assert reason(town.right("2001:db8:0:2::1", "user7")) is Reason.PASSCODE_RIGHT


def test_guesses_that_come_in_one_batch_are_counted_one_by_one() -> None:
    town = Town(*CROWD, **EARLY)
    asked = [town.engine.request(name, SSH, password=FirstFactor.WRONG, source=ELSEWHERE) for name in CROWD]
    beside = town.engine.request("alice", SSH, town.engine.pin(town.serials["alice"]), source=OFFICE)
    *found, other = town.engine.gate.login([*asked, beside])
    assert len(town.engine.store.batches[-1]) == len(CROWD) + 1
    assert [reason(outcome) for outcome in found] == [Reason.PASSWORD_WRONG] * 6 + [Reason.SOURCE_HELD] * 2
    assert isinstance(other, Accept)
    assert town.score(ELSEWHERE) == 6


def test_a_user_at_his_usual_place_is_not_held_with_his_neighbours() -> None:
    town = Town(*CROWD, **EARLY)
    town.right(HOME)
    for name in CROWD:
        town.wrong(HOME, name)
    assert reason(town.right(HOME, "user7")) is Reason.SOURCE_HELD
    assert reason(town.wrong(HOME)) is Reason.PASSWORD_WRONG
    known = town.known(HOME)
    assert known is not None
    assert known.failures == 1, "his own wrong passwords count for him"
    assert reason(town.right(HOME)) is Reason.PASSCODE_RIGHT


@pytest.mark.parametrize("name", ["nobody", "waiting", "locked", "disabled", "alice"])
def test_whoever_is_named_counts_alike(name: str) -> None:
    """Else one could tell who exists: type a name often enough, then see whether one's own login is held."""
    town = Town("waiting", "locked", "disabled", "witness", **EARLY)
    town.wrong(None, "waiting", times=5)
    for act, who in ((UserAct.LOCK, "locked"), (UserAct.DISABLE, "disabled")):
        town.engine.gate.administer(ChangeUserState(actor="test", name=who, act=act))
    scores = []
    for _ in range(6):
        town.wrong(ELSEWHERE, name)
        scores.append(town.score(ELSEWHERE))
    assert scores == [1, 2, 3, 4, 5, 6]
    assert reason(town.right(ELSEWHERE, "witness")) is Reason.SOURCE_HELD


def test_nothing_else_counts_against_a_source() -> None:
    """Not what follows a proved password, what was not checked, or a client that checks the password itself."""
    town = Town()
    town.engine.log_in("alice", town.engine.wrong_pin(town.serials["alice"]), source=ELSEWHERE)
    for status in (FirstFactor.UNAVAILABLE, FirstFactor.NOT_CHECKED):
        town.engine.log_in("alice", password=status, source=ELSEWHERE)
    for name in ("alice", "nobody"):
        town.engine.log_in(name, "000000", PORTAL, source=ELSEWHERE)
    town.engine.answer("nobody", "ab" * 16, "000000", source=ELSEWHERE)
    town.wrong(None)
    assert town.see(ELSEWHERE).source_score is None


def test_waits_of_a_source_double_up_to_the_longest_and_nothing_counts_meanwhile() -> None:
    town = Town(**EARLY)
    town.wrong(ELSEWHERE, "nobody", times=6)
    for wait in (30, 60, 120, 240, 480, 960, 1920, 3600, 3600):
        held = town.see(ELSEWHERE).source_score
        assert held is not None
        assert held.blocked_until == town.now + wait
        assert reason(town.wrong(ELSEWHERE, "nobody", times=3)) is Reason.SOURCE_HELD
        town.pass_time(wait - 0.001)
        assert reason(town.wrong(ELSEWHERE, "nobody")) is Reason.SOURCE_HELD
        assert town.see(ELSEWHERE).source_score == held
        town.pass_time(0.001)
        assert reason(town.wrong(ELSEWHERE, "nobody")) is Reason.USER_UNKNOWN


def test_a_score_falls_by_one_a_minute_and_with_each_accept_with_a_pin() -> None:
    town = Town("bob", **EARLY)
    town.wrong(ELSEWHERE, "nobody", times=5)
    town.pass_time(MINUTE - 1)
    assert town.score(ELSEWHERE) == 5
    town.pass_time(1)
    assert town.score(ELSEWHERE) == 4
    town.right(ELSEWHERE)
    town.right(ELSEWHERE, "bob")
    assert town.score(ELSEWHERE) == 2
    town.pass_time(2 * MINUTE)
    assert town.score(ELSEWHERE) == 0
    before = town.see(ELSEWHERE).source_score
    town.right(ELSEWHERE)
    assert town.see(ELSEWHERE).source_score == before, "at 0 nothing is written"


def test_parts_of_a_minute_are_not_lost_between_two_failures() -> None:
    town = Town()
    for _ in range(30):
        town.wrong(ELSEWHERE, "nobody")
        town.pass_time(40)
    assert town.score(ELSEWHERE) == 30 - 30 * 40 // 60


def test_whoever_guesses_once_a_minute_is_never_held() -> None:
    """The bound of a patient guesser, and what a device with an old password may do."""
    town = Town(**EARLY)
    for _ in range(30):
        assert reason(town.wrong(ELSEWHERE, "nobody")) is Reason.USER_UNKNOWN
        town.pass_time(MINUTE)


def test_without_a_limit_nothing_is_written_and_a_running_hold_ends() -> None:
    town = Town(**EARLY)
    town.wrong(ELSEWHERE, "nobody", times=6)
    assert reason(town.right(ELSEWHERE)) is Reason.SOURCE_HELD
    town.engine.set_policy("source_lock_from", "0")
    assert reason(town.right(ELSEWHERE)) is Reason.PASSCODE_RIGHT
    town.wrong(OFFICE, "nobody", times=60)
    assert town.see(OFFICE).source_score is None


def test_a_clock_that_is_set_back_holds_no_source_for_ever() -> None:
    town = Town(**EARLY)
    town.pass_time(365 * DAY)
    town.wrong(ELSEWHERE, "nobody", times=6)
    town.pass_time(-365 * DAY)
    assert reason(town.right(ELSEWHERE)) is Reason.PASSCODE_RIGHT


def test_the_limit_cannot_depend_on_a_group_and_of_two_the_smaller_is_stricter_but_for_none() -> None:
    with pytest.raises(BadInput, match="group"):
        check_rule("source_lock_from", "5", Scope(group="staff"))
    stricter = KEYS["source_lock_from"].stricter
    assert [stricter(5, 50), stricter(50, 5), stricter(0, 50), stricter(10_000, 0), stricter(0, 0)] == [
        5,
        5,
        50,
        10_000,
        0,
    ]


def test_the_wait_of_a_source_does_not_depend_on_who_is_named() -> None:
    town = Town()
    for key, value in (("lock_base", "1h"), ("lock_max", "1d")):
        town.engine.set_policy(key, value, Scope(group="staff"))
    staff = builders.user(groups=("staff",))
    for who in (staff, builders.user(), None):
        seen = snapshot(user=who, source_score=SourceScore(49, 0.0, NOW), book=town.engine.gate.policies())
        changes = decide.login(seen, request(source=ELSEWHERE, first_factor=WRONG), moment()).changes
        assert about_sources(changes) == [SetSourceScore(ELSEWHERE, SourceScore(50, NOW + 30, NOW + 30), NOW)]


@given(
    st.lists(st.tuples(st.sampled_from(["wrong", "right", "wait"]), st.integers(1, 200)), max_size=40),
    st.integers(1, 8),
)
def test_of_a_source_no_more_is_compared_than_its_limit_and_one_a_minute_beside_what_accepts_give_back(
    steps: list[tuple[str, int]], limit: int
) -> None:
    settings = replace(DEFAULTS, source_lock_from=limit)
    score, now, wrong, right = SourceScore(at=NOW), NOW, 0, 0
    for step, number in steps:
        seen = Snapshot(source_score=score)
        if step == "wait":
            now += number
        elif sources.is_source_held(seen, settings, now):
            assert sources.after_refusal(seen, settings, now) is None
        elif step == "wrong":
            wrong += 1
            score = sources.after_refusal(seen, settings, now) or score
        else:
            after = sources.after_full_accept(seen, now)
            right, score = right + (after is not None), after or score
        assert score.score >= 0
        # Each hold, of 30 s at least, lets one more in than the minutes do.
        assert wrong <= limit + right + (now - NOW) / 30


# --- how a hold looks -------------------------------------------------------------------------------------------

HELD = SourceScore(50, NOW + 30, NOW + 30)


def decided(seen: Snapshot, **fields: Any) -> Decision:
    return decide.login(seen, request(source=HOME, **fields), moment()).decision


@pytest.mark.statement("C-022")
def test_a_held_login_looks_like_every_refusal_and_counts_nothing() -> None:
    waits = {Factor.PASSWORD: Throttle(9, NOW + 99)}
    for who, password in (
        (builders.user(), PROVED),
        (builders.user(), WRONG),
        (builders.user(locked=True), WRONG),
        (None, WRONG),
    ):
        seen = snapshot(user=who, source_score=HELD, throttles=waits)
        verdict = decide.login(seen, request(source=HOME, first_factor=password), moment())
        assert verdict.decision == rejected(Reason.SOURCE_HELD)
        (flood,) = verdict.changes
        assert isinstance(flood, AuditFlood)
        assert flood.key == f"source-held|{HOME}", "one row a minute, whoever is named"
    staff = snapshot(user=builders.user(), source_score=HELD, book=book(second_factor="skip"))
    assert decided(staff) == rejected(Reason.SOURCE_HELD), "no policy leads past it"


def test_a_hold_is_over_when_its_time_has_come_and_is_none_for_a_known_source() -> None:
    for score in (SourceScore(50, NOW, NOW), SourceScore(49, 0.0, NOW), None):
        assert isinstance(decided(snapshot(source_score=score)), Challenge)
    assert isinstance(decided(snapshot(source_score=HELD, known_source=KnownSource(HOME, NOW - DAY))), Challenge)
    stale = KnownSource(HOME, NOW - 30 * DAY)
    assert decided(snapshot(source_score=HELD, known_source=stale)) == rejected(Reason.SOURCE_HELD)


def test_before_the_password_check_a_held_login_is_given_nothing_to_compare() -> None:
    def look(seen: Snapshot, mode: Mode = Mode.CHALLENGE) -> Any:
        return looking.look(seen, LookRequest("alice", "vpn", mode, "secret123456", HOME), moment())

    for mode in Mode:
        stranger = look(snapshot(user=None, tokens=(), source_score=HELD), mode)
        user = builders.user(password_hash="hash")
        assert look(snapshot(user=user, tokens=(), source_score=HELD), mode) == stranger
        assert stranger.password_hash is None
    known = KnownSource(HOME, NOW)
    assert look(snapshot(user=user, source_score=HELD, known_source=known)).password_hash == "hash"
    waits = {Factor.PASSWORD: Throttle(9, NOW + 99)}
    assert look(snapshot(user=user, throttles=waits, known_source=known)).password_hash == "hash"
    assert look(snapshot(user=user, throttles=waits)).password_hash is None
    assert look(snapshot(user=user, known_source=KnownSource(HOME, NOW, 5, NOW + 1))).password_hash is None


def test_an_answer_from_a_held_source_looks_like_a_wrong_pin() -> None:
    town = Town(**EARLY)
    state = town.engine.challenge("alice", source=ELSEWHERE)
    town.wrong(ELSEWHERE, "nobody", times=6)
    again = town.engine.answer("alice", state, town.engine.pin(town.serials["alice"]), source=ELSEWHERE)
    assert isinstance(again, Challenge)
    assert (again.reason, again.tries_left) == (Reason.SOURCE_HELD, 2)
    assert town.engine.throttle("alice", Factor.PASSCODE) == Throttle()
    town.pass_time(30)
    assert isinstance(
        town.engine.answer("alice", again.state, town.engine.pin(town.serials["alice"]), source=ELSEWHERE), Accept
    )


def test_a_hold_is_told_once_until_the_source_is_clean_again() -> None:
    def told() -> list[Audit]:
        return [found for found in town.engine.notices.told if found.notice == "source_held"]

    town = Town(**EARLY)
    town.wrong(ELSEWHERE, "nobody", times=6)
    (first,) = told()
    assert (first.source, first.reason, first.detail["failures"]) == (ELSEWHERE, Reason.SOURCE_HELD, 6)
    assert first in town.engine.trail
    for _ in range(3):
        town.pass_time(120)
        town.wrong(ELSEWHERE, "nobody", times=9)
    assert len(told()) == 1
    town.pass_time(DAY)
    town.wrong(ELSEWHERE, "nobody", times=6)
    assert len(told()) == 2


def test_policy_explain_shows_a_hold_and_not_to_whom_it_does_not_apply() -> None:
    def explained(seen: Snapshot) -> tuple[str, Reason]:
        found = explaining.explain(seen, request(source=HOME), moment())
        return found.next_step, found.decision.reason

    assert explained(snapshot(source_score=HELD)) == ("refuse", Reason.SOURCE_HELD)
    known = KnownSource(HOME, NOW)
    waits = {Factor.PASSWORD: Throttle(9, NOW + 99)}
    assert explained(snapshot(source_score=HELD, known_source=known, throttles=waits)) == ("ask", Reason.PASSWORD_RIGHT)
    assert explained(snapshot(known_source=replace(known, blocked_until=NOW + 1))) == ("refuse", Reason.WAITING)


def test_a_wrong_password_is_written_where_it_is_judged() -> None:
    wrong = request(source=HOME, first_factor=WRONG)
    before = snapshot(known_source=KnownSource(HOME, NOW - 9, 2), throttles={Factor.PASSWORD: Throttle(7, NOW - 1)})
    known, scored, audit = decide.login(before, wrong, moment()).changes
    assert known == SetKnownSource(1, KnownSource(HOME, NOW - 9, 3), 20)
    assert scored == SetSourceScore(HOME, SourceScore(1, 0.0, NOW), NOW)
    assert isinstance(audit, Audit)
    throttled, *_ = decide.login(replace(before, known_source=None), wrong, moment()).changes
    assert throttled == SetThrottle(1, Factor.PASSWORD, Throttle(8, NOW + 240))


# --- a field that is taken apart (mode auto)


def in_one_field(engine: Engine, typed: str, source: str) -> tuple[bool, Outcome]:
    """As a server does: a look, one password check, the gate. Whether a PIN was cut off, and what came of it."""
    (look,) = engine.gate.look([LookRequest("alice", AUTO, Mode.AUTO, typed, source)])
    password, passcode = (look.split.password, look.split.passcode) if look.split else (typed, None)
    proved = look.password_hash is not None and password == "geheim"
    seen = engine.see(user="alice", client=AUTO)
    assert seen.client is not None
    result = FirstFactorResult(FirstFactor.PROVED if proved else FirstFactor.WRONG, look.password_version)
    channel = Channel.of_client(seen.client)
    request = LoginRequest("alice", channel, AUTO, seen.client.version, result, passcode=passcode, source=source)
    (outcome,) = engine.gate.login([request])
    return look.split is not None, outcome


AUTO = "auto"


@pytest.fixture
def auto() -> tuple[Engine, str]:
    """Alice was let in at home."""
    engine = Engine()
    engine.gate.administer(
        AddClient(actor="t", name=AUTO, network=ip_network("192.0.2.50/32"), secret=b"s" * 24, mode=Mode.AUTO)
    )
    engine.add_user("alice")
    serial = engine.enroll("alice")
    cut, outcome = in_one_field(engine, "geheim" + engine.pin(serial), HOME)
    assert cut
    assert isinstance(outcome, Accept)
    engine.clock.now += 60
    return engine, serial


def test_wrong_passwords_from_elsewhere_do_not_keep_a_field_from_being_taken_apart_at_home(
    auto: tuple[Engine, str],
) -> None:
    engine, serial = auto
    for _ in range(5):
        in_one_field(engine, "wrong", ELSEWHERE)
    cut, outcome = in_one_field(engine, "geheim" + engine.pin(serial), HOME)
    assert cut
    assert isinstance(outcome, Accept)


def test_who_guesses_pins_at_a_known_source_gets_no_field_taken_apart_either(auto: tuple[Engine, str]) -> None:
    """Decision 63: at the question guesses count as guesses."""
    engine, serial = auto
    for _ in range(5):
        in_one_field(engine, "geheim" + engine.wrong_pin(serial), HOME)
        engine.clock.now += 3601
    cut, outcome = in_one_field(engine, "geheim" + engine.pin(serial), HOME)
    assert (cut, type(outcome)) == (False, Reject)
