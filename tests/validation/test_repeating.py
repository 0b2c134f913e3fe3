"""A packet that comes again gets the decision it got before; nothing is used, counted or compared, and nobody gets in
by it for whom a login has ended since."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests import builders
from tests.builders import NOW, client, moment, totp_token, user
from tests.validation.engine import SSH, VPN, Engine
from validation import decide, looking, repeating
from validation.changes import AuditFlood, Change, RecordAnswer
from validation.decisions import Accept, Challenge, Decision, Provisioning, Reason, Reject
from validation.errors import Damaged
from validation.gate import Outcome
from validation.model import Answered, Factor, Mode, Origin, RevokeReason, Snapshot, SourceScore, Throttle, TokenState
from validation.requests import (
    AddUser,
    AssignTokens,
    ChangeUserState,
    EnrollToken,
    FirstFactor,
    FirstFactorResult,
    GiveBypass,
    IssueRecovery,
    LookRequest,
    RemoveUser,
    RevokeToken,
    SetClient,
    SetPairing,
    SetTokenUse,
    SetUser,
    UserAct,
    packet_mark,
)

PACKET, OTHER = b"p" * 32, b"o" * 32
HOME = "198.51.100.1"


@pytest.fixture
def serial(engine: Engine, alice: str) -> str:
    """Of alice's token, which an admin gave her and can take back."""
    return engine.gate.administer(EnrollToken(actor="admin", user=alice, origin=Origin.ADMIN)).serials[0]


def rows(engine: Engine, event: str = "login") -> list[tuple[str, str]]:
    return [(row.decision, row.reason) for row in engine.trail if row.event == event]


def let_in(engine: Engine, serial: str, **more: Any) -> tuple[Callable[[], Outcome], Outcome]:
    """The answer to password and PIN of alice's in one packet; and how the packet comes again, to another server."""
    request = engine.request("alice", SSH, engine.pin(serial), packet=PACKET, **more)

    def again() -> Outcome:
        engine.restarted()
        (outcome,) = engine.gate.login([request])
        return outcome

    outcome = again()
    assert isinstance(outcome, Accept), outcome
    return again, outcome


# --- the same decision


@pytest.mark.statement("R-115")
def test_an_accept_is_said_again_and_stands_once_in_the_trail(engine: Engine, serial: str) -> None:
    again, first = let_in(engine, serial)
    token = engine.token(serial)
    assert again() == first
    assert again() == first
    assert engine.token(serial) == token
    assert rows(engine) == [("accept", Reason.PASSCODE_RIGHT)]
    assert rows(engine, repeating.EVENT) == [("repeated", Reason.PASSCODE_RIGHT)]


def test_copies_without_number_are_one_row_a_minute(engine: Engine, serial: str) -> None:
    again, _ = let_in(engine, serial)
    for _ in range(10):
        again()
    (row,) = [row for row in engine.trail if row.event == repeating.EVENT]
    assert (row.user, row.client, row.serial, row.detail) == ("alice", SSH, serial, {"answer": "accept"})


@pytest.mark.parametrize("password", [FirstFactor.NOT_CHECKED, FirstFactor.WRONG, FirstFactor.UNAVAILABLE])
def test_what_a_second_check_of_the_password_says_does_not_matter(
    engine: Engine, serial: str, password: FirstFactor
) -> None:
    request = engine.request("alice", SSH, engine.pin(serial), packet=PACKET)
    (first,) = engine.gate.login([request])
    result = replace(request.first_factor, status=password)
    (second,) = engine.gate.login([replace(request, first_factor=result)])
    assert isinstance(first, Accept)
    assert second == first
    assert engine.throttle("alice", Factor.PASSWORD) == Throttle()


def test_a_wrong_pin_counts_once(engine: Engine, serial: str) -> None:
    """At the user, at the token and in the budget."""
    request = engine.request("alice", SSH, engine.wrong_pin(serial), packet=PACKET)
    (first,) = engine.gate.login([request])
    before = engine.see(user="alice")
    (second,) = engine.gate.login([request])
    assert isinstance(first, Reject)
    assert (first.reason, first.failures) == (Reason.PASSCODE_WRONG, 1)
    assert second == first
    assert engine.see(user="alice") == before


def test_a_wrong_password_counts_once_also_when_it_begins_a_wait(engine: Engine, alice: str) -> None:
    """For the user and for the source."""
    for n in range(5):
        packet = bytes([n]) * 32
        request = engine.request(alice, SSH, "000000", password=FirstFactor.WRONG, packet=packet, source=HOME)
        (first,) = engine.gate.login([request])
        (second,) = engine.gate.login([request])
        assert isinstance(first, Reject)
        assert (second, first.failures) == (first, n + 1)
    (seen,) = engine.store.look([request.wanted])
    assert seen.source_score is not None
    assert seen.source_score.score == 5


def test_for_who_is_unknown_it_is_the_same(engine: Engine) -> None:
    request = engine.request("nobody", SSH, "000000", packet=PACKET, source=HOME)
    (first,) = engine.gate.login([request])
    (second,) = engine.gate.login([request])
    (seen,) = engine.store.look([request.wanted])
    assert isinstance(first, Reject)
    assert second == first
    assert seen.source_score == SourceScore(1, 0.0, NOW)
    assert rows(engine, repeating.EVENT) == [("repeated", Reason.USER_UNKNOWN)]


def test_a_challenge_comes_again_with_its_state_and_its_answer_counts_once(engine: Engine, serial: str) -> None:
    asking = engine.request("alice", VPN, packet=PACKET)
    (first,) = engine.gate.login([asking])
    (second,) = engine.gate.login([asking])
    assert isinstance(first, Challenge)
    assert second == first
    answering = engine.request("alice", VPN, engine.pin(serial), first.state, packet=OTHER)
    assert isinstance(engine.gate.login([answering])[0], Accept)
    (third,) = engine.gate.login([asking])
    assert third == first
    late = engine.answer("alice", first.state, engine.pin(serial))
    assert isinstance(late, Reject)
    assert late.reason is Reason.STATE_UNKNOWN
    assert isinstance(engine.gate.login([answering])[0], Accept)
    assert rows(engine).count(("accept", Reason.PASSCODE_RIGHT)) == 1


def test_a_key_that_was_shown_is_shown_again_and_is_the_same(engine: Engine, alice: str) -> None:
    engine.set_policy("onboarding_over_radius", "key")
    welcome = engine.log_in(alice, client=VPN)
    assert isinstance(welcome, Challenge)
    request = engine.request(alice, VPN, "s", welcome.state, packet=PACKET)
    (first,) = engine.gate.login([request])
    (second,) = engine.gate.login([request])
    assert isinstance(first, Challenge)
    assert first.provisioning is not None
    assert second == first


def test_another_authenticator_is_another_packet(engine: Engine, serial: str) -> None:
    again, _ = let_in(engine, serial)
    typed = engine.log_in("alice", engine.pin(serial), packet=OTHER)
    assert isinstance(typed, Reject)
    assert typed.reason is Reason.PASSCODE_USED
    assert isinstance(again(), Accept)


def test_two_copies_in_one_batch_are_one_login(engine: Engine, serial: str) -> None:
    request = engine.request("alice", SSH, engine.pin(serial), packet=PACKET)
    first, second = engine.gate.login([request, request])
    assert isinstance(first, Accept)
    assert second == first
    assert rows(engine) == [("accept", Reason.PASSCODE_RIGHT)]


# --- for half a minute


@pytest.mark.statement("R-112")
@pytest.mark.parametrize(("seconds", "same"), [(0, True), (30, True), (30.5, False), (-30, True), (-30.5, False)])
def test_a_record_holds_for_30_seconds_of_either_clock(engine: Engine, serial: str, seconds: float, same: bool) -> None:
    again, _ = let_in(engine, serial)
    engine.clock.now += seconds
    outcome = again()
    assert isinstance(outcome, Accept if same else Reject)
    assert rows(engine).count(("accept", Reason.PASSCODE_RIGHT)) == 1


# --- withheld


def locked(engine: Engine, serial: str) -> None:
    engine.gate.administer(ChangeUserState(actor="admin", name="alice", act=UserAct.LOCK))


def locked_and_unlocked(engine: Engine, serial: str) -> None:
    locked(engine, serial)
    engine.gate.administer(ChangeUserState(actor="admin", name="alice", act=UserAct.UNLOCK))


def disabled(engine: Engine, serial: str) -> None:
    engine.gate.administer(ChangeUserState(actor="admin", name="alice", act=UserAct.DISABLE))


def removed(engine: Engine, serial: str) -> None:
    engine.gate.administer(RemoveUser(actor="admin", name="alice"))


def removed_and_added(engine: Engine, serial: str) -> None:
    removed(engine, serial)
    engine.gate.administer(AddUser(actor="admin", name="alice", password_hash="hash"))


def token_revoked(engine: Engine, serial: str) -> None:
    engine.revoke(serial)


def token_stolen(engine: Engine, serial: str) -> None:
    engine.gate.administer(RevokeToken(actor="admin", serial=serial, reason=RevokeReason.COMPROMISE))


def another_token_revoked(engine: Engine, serial: str) -> None:
    engine.revoke(engine.enroll("alice"))


def token_disabled(engine: Engine, serial: str) -> None:
    engine.gate.administer(SetTokenUse(actor="admin", serial=serial, enabled=False))


def token_disabled_and_enabled(engine: Engine, serial: str) -> None:
    token_disabled(engine, serial)
    engine.gate.administer(SetTokenUse(actor="admin", serial=serial, enabled=True))


def token_disabled_by_wrong_pins(engine: Engine, serial: str) -> None:
    for _ in range(3):
        engine.log_in("alice", engine.wrong_pin(serial))


def token_taken_back(engine: Engine, serial: str) -> None:
    engine.gate.administer(AssignTokens(actor="admin", serials=(serial,), user=None))


def password_changed(engine: Engine, serial: str) -> None:
    engine.gate.administer(SetUser(actor="admin", name="alice", password_hash="another"))


def groups_changed(engine: Engine, serial: str) -> None:
    engine.gate.administer(SetUser(actor="admin", name="alice", groups=("barred",)))


def bypass_ended(engine: Engine, serial: str) -> None:
    engine.gate.administer(GiveBypass(actor="admin", name="alice", hours=0))


def pairing_closed(engine: Engine, serial: str) -> None:
    engine.gate.administer(SetPairing(actor="admin", name="alice", open=False))


def recovery_codes_issued(engine: Engine, serial: str) -> None:
    for _ in range(2):
        engine.gate.administer(IssueRecovery(actor="admin", name="alice"))


def policy_changed(engine: Engine, serial: str) -> None:
    engine.set_policy("tries", "2")


def client_changed(engine: Engine, serial: str) -> None:
    engine.gate.administer(SetClient(actor="admin", name=SSH, secret=b"t" * 24))


def waiting(engine: Engine, serial: str) -> None:
    for _ in range(5):
        engine.log_in("alice", "000000", password=FirstFactor.WRONG)


ENDS = [
    locked,
    locked_and_unlocked,
    disabled,
    removed,
    removed_and_added,
    token_revoked,
    token_stolen,
    another_token_revoked,
    token_disabled,
    token_disabled_and_enabled,
    token_disabled_by_wrong_pins,
    token_taken_back,
    password_changed,
    groups_changed,
    bypass_ended,
    pairing_closed,
    recovery_codes_issued,
    policy_changed,
    client_changed,
    waiting,
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_nothing_that_ends_logins_is_outrun_by_a_copy(
    engine: Engine, serial: str, end: Callable[[Engine, str], None]
) -> None:
    engine.set_policy("disable_at", "3")
    again, _ = let_in(engine, serial)
    end(engine, serial)
    outcome = again()
    assert isinstance(outcome, Reject), outcome
    assert rows(engine).count(("accept", Reason.PASSCODE_RIGHT)) == 1
    assert not rows(engine, repeating.EVENT)


def test_a_key_is_not_shown_again_once_pairing_is_closed(engine: Engine, alice: str) -> None:
    engine.set_policy("onboarding_over_radius", "key")
    welcome = engine.log_in(alice, client=VPN)
    assert isinstance(welcome, Challenge)
    request = engine.request(alice, VPN, "s", welcome.state, packet=PACKET)
    assert isinstance(engine.gate.login([request])[0], Challenge)
    pairing_closed(engine, "")
    (outcome,) = engine.gate.login([request])
    assert isinstance(outcome, Reject)


# --- the second look, at a record that no store has forgotten


ACCEPTED = Accept("alice", Reason.PASSCODE_RIGHT, "TF-TOTP", "totp", ("Hello",), ((25, b"\x00x"),))


def answered(decision: Decision = ACCEPTED, **fields: Any) -> Answered:
    facts = {"packet": PACKET, "user_id": 1, "at": NOW, "generation": 0, "decision": repeating.packed(decision)}
    return Answered(**{**facts, **fields})


def with_record(record: Answered | None = None, **fields: Any) -> Snapshot:
    facts = {"user": user(), "tokens": (totp_token(),), "client": client(), "answered": record or answered()}
    return Snapshot(**{**facts, **fields})


def decided(snapshot: Snapshot, **fields: Any) -> decide.Verdict:
    asked = builders.with_pin("000000", packet=PACKET, **fields)
    return decide.login(snapshot, asked, moment())


def test_a_record_that_holds_lets_in() -> None:
    verdict = decided(with_record())
    assert verdict.decision == ACCEPTED
    (change,) = verdict.changes
    assert isinstance(change, AuditFlood)


@pytest.mark.parametrize(
    "snapshot",
    [
        with_record(user=None, tokens=()),
        with_record(user=user(id=2)),
        with_record(user=user(name="bob")),
        with_record(user=user(locked=True)),
        with_record(user=user(disabled=True)),
        with_record(tokens=()),
        with_record(tokens=(totp_token(state=TokenState.DISABLED),)),
        with_record(tokens=(totp_token(expires_at=NOW),)),
        with_record(tokens=(totp_token(serial="TF-OTHER"),)),
        with_record(client=client(version=8)),
        with_record(client=None),
        with_record(book=builders.book(tries="2")),
        with_record(throttles={Factor.PASSWORD: Throttle(5, NOW + 1)}),
        with_record(throttles={Factor.PASSCODE: Throttle(5, NOW + 1)}),
        with_record(guesses={int(NOW // 86_400): 900}),
        with_record(source_score=SourceScore(50, NOW + 1, NOW)),
        with_record(answered(at=NOW - 30.1)),
        with_record(answered(at=NOW + 30.1)),
        with_record(answered(user_id=2)),
        with_record(answered(user_id=None)),
        with_record(answered(replace(ACCEPTED, user="bob"))),
        with_record(answered(replace(ACCEPTED, serial=""))),
    ],
)
def test_each_that_stands_against_it_withholds_an_accept(snapshot: Snapshot) -> None:
    verdict = decided(snapshot, source=HOME)
    assert isinstance(verdict.decision, Reject)
    assert verdict.decision.reason is not ACCEPTED.reason


def test_a_question_is_not_repeated_to_who_was_locked_but_to_who_waits() -> None:
    """A wrong PIN that begins a wait gets the next question; its copy gets the same one."""
    asked = Challenge("ab" * 16, ("PIN?",), 120.0, Reason.PASSCODE_WRONG, 2)
    record = answered(asked)
    waits = with_record(record, throttles={Factor.PASSCODE: Throttle(5, NOW + 1)})
    assert decided(waits).decision == asked
    assert isinstance(decided(with_record(record, user=user(locked=True))).decision, Reject)


# --- what is recorded


def recorded(changes: tuple[Change, ...]) -> list[RecordAnswer]:
    return [change for change in changes if isinstance(change, RecordAnswer)]


def test_the_record_is_the_last_change() -> None:
    """Else what ends other logins of this user would forget it."""
    asked = builders.request(packet=PACKET)
    verdict = decide.login(builders.snapshot(), asked, moment())
    (record,) = recorded(verdict.changes)
    assert verdict.changes[-1] is record
    assert record.answered == answered(verdict.decision)


@pytest.mark.parametrize(
    ("snapshot", "asked"),
    [
        (builders.snapshot(), builders.request()),
        (builders.snapshot(), builders.request(packet=PACKET, unsupported="CHAP")),
        (builders.snapshot(client=client(version=8)), builders.request(packet=PACKET)),
        (
            builders.snapshot(),
            builders.request(packet=PACKET, first_factor=replace(builders.PROVED, status=FirstFactor.UNAVAILABLE)),
        ),
        (builders.snapshot(user=user(bypass_until=NOW + 1)), builders.request(packet=PACKET)),
    ],
    ids=["no packet", "unsupported", "client changed", "unavailable", "an accept that used nothing up"],
)
def test_what_can_be_decided_twice_is_not_recorded(snapshot: Snapshot, asked: Any) -> None:
    assert not recorded(decide.login(snapshot, asked, moment()).changes)


def test_a_decision_that_failed_is_not_recorded(engine: Engine, serial: str) -> None:
    engine.store.damage["alice"] = Damaged("a row")
    request = engine.request("alice", SSH, engine.pin(serial), packet=PACKET)
    (first,) = engine.gate.login([request])
    engine.store.damage.clear()
    (second,) = engine.gate.login([request])
    assert isinstance(first, Reject)
    assert first.reason is Reason.DECISION_FAILED
    assert isinstance(second, Accept)


def test_a_packet_is_known_by_its_client_and_its_version() -> None:
    marks = {
        packet_mark(sender, octets)
        for sender in (client(), client(version=8), client(name="7|vpn"), client(name="lan"))
        for octets in (PACKET, OTHER)
    }
    assert len(marks) == 8


# --- as octets


SHOWN = Provisioning("otpauth://totp/x", "ABCD EFGH", "TF-NEW")


@pytest.mark.parametrize(
    "decision",
    [
        Challenge("ab" * 16, ("Grüße", ""), 119.5, Reason.ONBOARDING, 3, SHOWN),
        Challenge("ab" * 16, (), 120.0, Reason.PASSWORD_RIGHT, 3),
        Reject(Reason.PASSCODE_WRONG, "No.", 3, 1.25),
    ],
)
def test_a_question_or_refusal_comes_back_as_it_was(decision: Challenge | Reject) -> None:
    assert repeating.unpacked(repeating.packed(decision)) == decision


def test_an_accept_comes_back_as_facts_alone() -> None:
    was = repeating.unpacked(repeating.packed(ACCEPTED))
    assert isinstance(was, repeating.LetIn)
    assert Accept(was.user, was.reason, was.serial, was.kind, was.texts, was.replies) == ACCEPTED


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'["Accept"]',
        b'["Accept", {}]',
        b'["Done", {"reason": "passcode-right"}]',
        b'["Reject", {"reason": "passcode-right", "more": 1}]',
        b'["Reject", {"reason": "because"}]',
        b'["Accept", {"reason": "passcode-right", "user": "alice", "texts": [], "replies": []}]',
    ],
)
def test_octets_that_are_no_decision_are_damage(octets: bytes) -> None:
    with pytest.raises(Damaged, match="a recorded answer cannot be read"):
        repeating.unpacked(octets)


def test_damage_to_a_record_refuses_its_packet() -> None:
    with pytest.raises(Damaged):
        decided(with_record(replace(answered(), decision=b"?")))


# --- the look


def test_a_packet_that_was_answered_is_checked_against_nothing() -> None:
    """As for who is unknown: the same work, and no place of passwords is asked."""
    asked = LookRequest("alice", "vpn", Mode.APPEND, "geheim000000", packet=PACKET)

    def checks(snapshot: Snapshot) -> bool:
        return looking.look(snapshot, asked, moment()).user == "alice"

    look = looking.look(with_record(), asked, moment())
    assert look == looking.look(with_record(user=None, tokens=()), asked, moment())
    assert (look.first_factor, look.password_hash, look.password_version) == ("local", None, looking.NO_HASH)
    assert not checks(with_record())
    assert checks(with_record(answered(at=NOW - 30.1)))
    assert checks(with_record(answered(user_id=2)))
    assert checks(with_record(book=builders.book(tries="2")))
    assert checks(builders.snapshot())


def test_a_record_that_was_forgotten_between_look_and_decision_lets_nobody_in(engine: Engine, serial: str) -> None:
    """It was checked against nothing; and that is no failure."""
    let_in(engine, serial)
    password_changed(engine, serial)
    request = engine.request("alice", SSH, engine.pin(serial, 1), packet=PACKET)
    result = FirstFactorResult(FirstFactor.WRONG, looking.NO_HASH)
    (outcome,) = engine.gate.login([replace(request, first_factor=result)])
    assert isinstance(outcome, Reject)
    assert (outcome.reason, outcome.failures) == (Reason.PASSWORD_CHANGED, 0)
