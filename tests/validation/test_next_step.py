"""What a login does next, for every standing, policy and door: the table, and the three ways past the second factor."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import HASH_VERSION, NOW, PROVED, WRONG, book, moment, rejected, request, snapshot, totp_token, user
from tests.validation.engine import CONSOLE, PORTAL, SSH, VPN, Engine
from validation import decide
from validation.changes import Audit, SetThrottle, UseToken
from validation.decisions import Accept, Challenge, Reason, Reject
from validation.errors import BadInput
from validation.explaining import explain
from validation.messages import MessageKey
from validation.model import Factor, Mode, Origin, Pairing, RevokeReason, Snapshot, Throttle, TokenState, User
from validation.policy import (
    MAY_REVOKE,
    PAIRING_AFTER,
    By,
    Door,
    Next,
    Step,
    let_in_without_pin,
    next_step,
    pairing_open,
    pairing_open_until,
)
from validation.requests import (
    NOT_CHECKED,
    ChangeUserState,
    Channel,
    FirstFactor,
    FirstFactorResult,
    GiveBypass,
    LoginRequest,
    RevokeToken,
    RevokeUserTokens,
    SetPairing,
    UserAct,
)
from validation.settings import DAY, DEFAULTS, HOUR

ALICE = user()
DOORS = {
    "radius": Door(proves_password=True, can_challenge=True, shows_key_in_clear=True),
    "radius, one field": Door(proves_password=True, can_challenge=False, shows_key_in_clear=True),
    "radius, password checked elsewhere": Door(proves_password=False, can_challenge=False, shows_key_in_clear=True),
    "console": Door(proves_password=True, can_challenge=True, shows_key_in_clear=False),
}
TOKENS = {
    "none": (),
    "active": (totp_token(),),
    "disabled": (totp_token(state=TokenState.DISABLED),),
    "recovery codes": (totp_token(kind="recovery_code", key=b"k" * 336),),
    "hardware": (totp_token(origin=Origin.ADMIN),),
}


def refused(reason: Reason, message: MessageKey) -> Next:
    return Next(Step.REFUSE, reason, message)


def expected(door: str, tokens: str, enrolment: str, over_radius: str, is_open: bool) -> Next:
    """The rules of the documentation, in the order in which a person would ask."""
    if tokens in ("active", "hardware"):
        return Next(Step.ASK, Reason.PASSWORD_RIGHT)
    if enrolment == "hardware-only":
        return refused(Reason.HARDWARE_ONLY, MessageKey.HARDWARE_ONLY)
    if enrolment == "off" or tokens == "disabled" or "elsewhere" in door:
        return refused(Reason.NO_TOKEN, MessageKey.LOST_TOKEN)
    if not is_open:
        return refused(Reason.PAIRING_CLOSED, MessageKey.LOST_TOKEN)
    if "one field" in door or (door == "radius" and over_radius == "off"):
        return refused(Reason.NO_TOKEN, MessageKey.ELSEWHERE)
    ticket = door == "radius" and over_radius == "ticket"
    return Next(Step.TICKET if ticket else Step.ONBOARD, Reason.ONBOARDING)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("tokens", TOKENS)
def test_the_next_step_of_every_login(door: str, tokens: str) -> None:
    for enrolment, over_radius, is_open in itertools.product(
        ["off", "hardware-only", "self", "both"], ["off", "ticket", "key"], [False, True]
    ):
        settings = replace(DEFAULTS, enrolment=enrolment, onboarding_over_radius=over_radius)
        who = replace(ALICE, pairing=Pairing.NEW if is_open else Pairing.CLOSED)
        seen = snapshot(user=who, tokens=TOKENS[tokens])
        found = next_step(seen, who, DOORS[door], settings, NOW)
        assert found == expected(door, tokens, enrolment, over_radius, is_open), (enrolment, over_radius, is_open)


# --- when pairing is open


@pytest.mark.parametrize(
    ("pairing", "length"), [(Pairing.NEW, 14 * DAY), (Pairing.REOPENED, 3 * DAY), (Pairing.CLOSED, None)]
)
def test_pairing_is_open_for_as_long_as_its_key_says(pairing: Pairing, length: float | None) -> None:
    who = replace(ALICE, pairing=pairing, pairing_since=NOW)
    assert pairing_open_until(who, DEFAULTS) == (NOW + length if length is not None else 0)
    for after in (0.0, 3 * DAY - 1, 3 * DAY, 14 * DAY - 1, 14 * DAY, 4000 * DAY):
        assert pairing_open(who, DEFAULTS, NOW + after) is (length is not None and after < length)


@pytest.mark.parametrize("pairing", Pairing)
def test_a_length_of_0_never_opens_it(pairing: Pairing) -> None:
    never = replace(DEFAULTS, pairing_window=0.0, pairing_reopen=0.0)
    assert not pairing_open(replace(ALICE, pairing=pairing, pairing_since=NOW), never, NOW)


# --- who may revoke, and what it does to pairing


def test_a_user_revokes_what_he_brought_himself_and_an_admin_everything() -> None:
    assert {By.USER: {Origin.SELF}, By.ADMIN: {Origin.SELF, Origin.ADMIN}} == MAY_REVOKE


def test_what_a_revocation_does_to_pairing() -> None:
    assert set(PAIRING_AFTER) == set(itertools.product(By, RevokeReason))
    for by in By:
        assert PAIRING_AFTER[by, RevokeReason.LOST] is Pairing.REOPENED
        assert PAIRING_AFTER[by, RevokeReason.COMPROMISE] is Pairing.CLOSED
    assert PAIRING_AFTER[By.USER, RevokeReason.OTHER] is Pairing.REOPENED
    assert PAIRING_AFTER[By.ADMIN, RevokeReason.OTHER] is None


@pytest.mark.statement("O-057")
@pytest.mark.parametrize("all_", [False, True], ids=["one", "all"])
@pytest.mark.parametrize(
    ("reason", "then"),
    [
        (RevokeReason.LOST, Reason.ONBOARDING),
        (RevokeReason.OTHER, Reason.PAIRING_CLOSED),
        (RevokeReason.COMPROMISE, Reason.PAIRING_CLOSED),
    ],
)
def test_after_the_last_registration_is_revoked_the_reason_says_what_comes(
    engine: Engine, serial: str, reason: RevokeReason, then: Reason, all_: bool
) -> None:
    """A month after the account was made: only `lost` opens pairing again."""
    engine.clock.now += 30 * DAY
    right = engine.pin(serial)
    if all_:
        done = engine.gate.administer(RevokeUserTokens(actor="x", user="alice", every=True, reason=reason))
    else:
        done = engine.gate.administer(RevokeToken(actor="x", serial=serial, reason=reason))
    assert isinstance(engine.log_in("alice", right), Reject), "at once"
    outcome = engine.log_in("alice", client=VPN)
    assert isinstance(outcome, Challenge | Reject)
    assert outcome.reason is then
    told = {Reason.ONBOARDING: "pairs an app, or hands out a ticket for that"}.get(then, f"is refused ({then})")
    assert done.warnings == (
        f"alice has no registration left: the next login {told}"
        + ("." if then is Reason.ONBOARDING else " until there is a new one."),
    )


def test_after_a_compromise_pairing_is_closed_until_an_admin_opens_it(engine: Engine, serial: str) -> None:
    """Also for the new account whose first days would have left it open."""
    engine.gate.administer(RevokeToken(actor="x", serial=serial, reason=RevokeReason.COMPROMISE))
    for client in (VPN, CONSOLE):
        outcome = engine.log_in("alice", client=client)
        assert isinstance(outcome, Reject)
        assert (outcome.reason, outcome.text) == (
            Reason.PAIRING_CLOSED,
            "Your account has no second factor. Please ask your administrator.",
        )
    engine.gate.administer(SetPairing(actor="x", name="alice", open=True))
    engine.clock.now += 14 * DAY - 1
    assert isinstance(engine.log_in("alice", client=CONSOLE), Challenge)
    engine.clock.now += 1
    assert isinstance(engine.log_in("alice", client=CONSOLE), Reject)


def test_an_admin_closes_pairing_at_once(engine: Engine, alice: str) -> None:
    pairing = engine.pair(alice)
    engine.gate.administer(SetPairing(actor="x", name=alice, open=False))
    outcome = pairing.confirm()
    assert isinstance(outcome, Reject)
    assert outcome.reason is Reason.STATE_UNKNOWN
    assert engine.see(user=alice).tokens == ()
    assert isinstance(engine.log_in(alice, client=CONSOLE), Reject)


def test_with_another_registration_left_the_login_uses_that_one(engine: Engine, serial: str) -> None:
    other = engine.enroll("alice", "hotp")
    engine.gate.administer(RevokeToken(actor="x", serial=serial, reason=RevokeReason.LOST))
    assert isinstance(engine.answer("alice", engine.challenge("alice"), engine.pin(other)), Accept)


# --- past the second factor

WAYS: dict[str, tuple[dict[str, str], User, Reason]] = {
    "skip": ({"second_factor": "skip"}, ALICE, Reason.SKIPPED),
    "grace": ({"grace": "14d"}, ALICE, Reason.GRACE),
    "bypass": ({}, replace(ALICE, bypass_until=NOW + HOUR), Reason.BYPASS),
}
ALL_DOORS = {mode: Channel.for_mode(mode) for mode in Mode} | {"console": Channel.console()}
FIRST_FACTORS = {
    "proved": PROVED,
    "proved before the password was changed": FirstFactorResult(FirstFactor.PROVED, HASH_VERSION - 1),
    "wrong": WRONG,
    "unavailable": FirstFactorResult(FirstFactor.UNAVAILABLE),
    "not checked": NOT_CHECKED,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("door", ALL_DOORS)
@pytest.mark.parametrize("first_factor", FIRST_FACTORS)
@pytest.mark.parametrize("tokens", [(), (totp_token(),)], ids=["no token", "token"])
@pytest.mark.parametrize("typed", [None, "000000"], ids=["no pin", "wrong pin"])
def test_only_a_password_proved_by_us_leads_past_the_second_factor(
    way: str, door: Any, first_factor: str, tokens: Any, typed: str | None
) -> None:
    policies, who, reason = WAYS[way]
    seen = snapshot(user=who, tokens=tokens, book=book(**policies))
    asked = request(passcode=typed, channel=ALL_DOORS[door], first_factor=FIRST_FACTORS[first_factor])
    found = decide.login(seen, asked, moment()).decision
    past = first_factor == "proved" and door != Mode.PASSCODE_ONLY
    assert isinstance(found, Accept) is past
    if isinstance(found, Accept):
        assert (found.reason, found.serial) == (reason, "")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "barred",
    [{"locked": True}, {"disabled": True}, {"waits": Factor.PASSWORD}, {"waits": Factor.PASSCODE}, {"spent": True}],
    ids=str,
)
def test_no_way_leads_past_a_lock_or_a_wait(way: str, barred: dict[str, Any]) -> None:
    policies, who, _ = WAYS[way]
    fields = {name: barred[name] for name in ("locked", "disabled") if name in barred}
    waits = {barred["waits"]: Throttle(5, NOW + 1)} if "waits" in barred else {}
    guesses = {int(NOW) // 86_400: 900} if "spent" in barred else {}
    seen = snapshot(user=replace(who, **fields), throttles=waits, guesses=guesses, book=book(**policies))
    assert isinstance(decide.login(seen, request(), moment()).decision, Reject)


@pytest.mark.parametrize("way", WAYS)
def test_who_is_let_past_is_written_down_and_clears_no_wrong_pin(way: str) -> None:
    policies, who, reason = WAYS[way]
    seen = snapshot(user=who, throttles={factor: Throttle(3) for factor in Factor}, book=book(**policies))
    changes = decide.login(seen, request(), moment()).changes
    assert [(c.decision, c.reason) for c in changes if isinstance(c, Audit)] == [("accept", reason)]
    assert [c.factor for c in changes if isinstance(c, SetThrottle)] == [Factor.PASSWORD]
    assert not [c for c in changes if isinstance(c, UseToken)]


def test_of_several_ways_the_widest_is_named() -> None:
    who = replace(ALICE, bypass_until=NOW + 1)
    everything = replace(DEFAULTS, second_factor="skip", grace=14 * DAY)
    assert let_in_without_pin(who, everything, NOW) is Reason.SKIPPED
    assert let_in_without_pin(who, replace(everything, second_factor="required"), NOW) is Reason.BYPASS
    assert let_in_without_pin(ALICE, replace(everything, second_factor="required"), NOW) is Reason.GRACE
    assert let_in_without_pin(ALICE, DEFAULTS, NOW) is None


# --- grace


@pytest.mark.parametrize(("after", "good"), [(0, True), (14 * DAY - 1, True), (14 * DAY, False), (15 * DAY, False)])
def test_a_grace_begins_with_the_account_and_ends_on_time(after: float, good: bool) -> None:
    settings = replace(DEFAULTS, grace=14 * DAY)
    who = replace(ALICE, created_at=NOW)
    assert (let_in_without_pin(who, settings, NOW + after) is Reason.GRACE) is good


@pytest.mark.statement("C-024")
@pytest.mark.parametrize("grace", [0.0, 14 * DAY])
def test_a_clock_that_is_set_back_makes_no_grace(grace: float) -> None:
    """An account from the future is not a new one."""
    assert let_in_without_pin(replace(ALICE, created_at=NOW + 1), replace(DEFAULTS, grace=grace), NOW) is None


def test_a_new_account_may_pair_for_its_whole_window_after_the_grace() -> None:
    """With both at 14 days, who waited to the end of the grace must not find pairing closed."""
    engine = Engine(grace="14d", pairing_window="14d")
    engine.add_user("alice")
    engine.clock.now += 14 * DAY
    assert isinstance(engine.log_in("alice", client=CONSOLE), Challenge)
    engine.clock.now += 14 * DAY - 1
    assert isinstance(engine.log_in("alice", client=CONSOLE), Challenge)
    engine.clock.now += 1
    assert engine.log_in("alice", client=CONSOLE) == rejected(Reason.PAIRING_CLOSED, message=MessageKey.LOST_TOKEN)


def test_a_grace_reminds_how_long_there_is() -> None:
    engine = Engine(grace="14d")
    engine.add_user("alice")
    for days, left in [(0, 14), (7, 7), (13, 1), (13.9, 1)]:
        engine.clock.now = engine.trail[-1].at if days == 0 else engine.clock.now
        created = engine.see(user="alice").user
        assert created is not None
        engine.clock.now = created.created_at + days * DAY
        outcome = engine.log_in("alice", client=SSH)
        assert isinstance(outcome, Accept)
        assert outcome.texts == (f"Please register a second factor. You have {left} days left.",)


def test_after_a_first_registration_there_is_no_grace_ever_again() -> None:
    """However it was made, and though it is revoked again."""
    engine = Engine(grace="14d", enrolment="off")
    for name, kind in [("alice", "totp"), ("bob", "hotp")]:
        engine.add_user(name)
        assert isinstance(engine.log_in(name, client=SSH), Accept)
        serial = engine.enroll(name, kind)
        assert isinstance(engine.log_in(name, client=SSH), Reject)
        engine.revoke(serial)
        assert isinstance(engine.log_in(name, client=SSH), Reject)


# --- bypass


def test_a_bypass_is_dated_written_down_told_and_ends(engine: Engine, serial: str) -> None:
    engine.notices.told.clear()
    engine.gate.administer(GiveBypass(actor="admin", name="alice", hours=8))
    (told,) = engine.notices.told
    assert (told.event, told.notice, told.user, told.actor, told.detail) == (
        "user-bypass",
        "bypass",
        "alice",
        "admin",
        {"hours": "8"},
    )
    engine.clock.now += 8 * HOUR - 1
    outcome = engine.log_in("alice", client=VPN)
    assert isinstance(outcome, Accept)
    assert outcome.reason is Reason.BYPASS
    assert isinstance(engine.log_in("alice", client=PORTAL), Reject)
    engine.clock.now += 1
    assert isinstance(engine.log_in("alice", client=VPN), Challenge)


def test_a_bypass_can_be_taken_back(engine: Engine, serial: str) -> None:
    engine.gate.administer(GiveBypass(actor="admin", name="alice", hours=72))
    assert isinstance(engine.log_in("alice", client=VPN), Accept)
    engine.gate.administer(GiveBypass(actor="admin", name="alice", hours=0))
    assert isinstance(engine.log_in("alice", client=VPN), Challenge)


def test_a_compromise_ends_a_bypass_and_a_loss_does_not(engine: Engine, serial: str) -> None:
    """Else whoever has stolen phone and password goes on with the password."""
    other = engine.enroll("alice")
    engine.gate.administer(GiveBypass(actor="admin", name="alice", hours=72))
    engine.gate.administer(RevokeToken(actor="admin", serial=serial, reason=RevokeReason.LOST))
    assert isinstance(engine.log_in("alice", client=VPN), Accept)
    engine.gate.administer(RevokeToken(actor="admin", serial=other, reason=RevokeReason.COMPROMISE))
    assert isinstance(engine.log_in("alice", client=VPN), Reject)


@pytest.mark.parametrize("hours", [-1, 73, 10**9])
def test_a_bypass_is_no_way_of_life(engine: Engine, serial: str, hours: int) -> None:
    with pytest.raises(BadInput, match="--hours"):
        engine.gate.administer(GiveBypass(actor="admin", name="alice", hours=hours))
    assert isinstance(engine.log_in("alice", client=VPN), Challenge)


def test_a_locked_user_is_not_let_in_by_his_bypass(engine: Engine, serial: str) -> None:
    engine.gate.administer(GiveBypass(actor="admin", name="alice", hours=8))
    engine.gate.administer(ChangeUserState(actor="admin", name="alice", act=UserAct.LOCK))
    assert isinstance(engine.log_in("alice", client=VPN), Reject)


# --- policies that change on the way


def test_a_challenge_that_is_open_follows_the_policies_of_its_answer(engine: Engine, serial: str) -> None:
    first = engine.challenge("alice")
    engine.set_policy("tries", "1")
    engine.set_policy("totp_window", "0")
    again = engine.answer("alice", first, engine.pin(serial, 1))
    assert isinstance(again, Challenge), "three tries were given; what is compared is decided now"
    assert isinstance(engine.answer("alice", again.state, engine.pin(serial)), Accept)


# --- explain says what happens


def asked(user: str, door: str) -> LoginRequest:
    channel = Channel.console() if door == CONSOLE else Channel.for_mode(Mode.CHALLENGE)
    return LoginRequest(user, channel, VPN, 1)


@pytest.mark.parametrize("door", [VPN, CONSOLE])
@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("way", [*WAYS, "none"])
def test_explain_says_the_step_that_the_login_takes(door: str, tokens: str, way: str) -> None:
    policies, who, _ = WAYS.get(way, ({}, ALICE, Reason.NO_TOKEN))
    for enrolment, over_radius in itertools.product(["off", "hardware-only", "both"], ["off", "ticket", "key"]):
        rules = book(enrolment=enrolment, onboarding_over_radius=over_radius, **policies)
        seen: Snapshot = snapshot(user=who, tokens=TOKENS[tokens], book=rules)
        question = replace(asked("alice", door), client_version=7)
        explained = explain(seen, question, moment())
        decided = decide.login(seen, replace(question, first_factor=PROVED), moment()).decision
        assert explained.decision == decided
        steps = {Accept: {"let-in"}, Challenge: {"ask", "onboard", "ticket"}, Reject: {"refuse"}}
        assert explained.next_step in steps[type(decided)]
        step = next_step(seen, who, DOORS["console" if door == CONSOLE else "radius"], explained.settings, NOW).step
        words = {
            Step.LET_IN: "let-in",
            Step.ASK: "ask",
            Step.ONBOARD: "onboard",
            Step.TICKET: "ticket",
            Step.REFUSE: "refuse",
        }
        assert explained.next_step == words[step], (enrolment, over_radius)
