"""One step of one login: what is looked at before what, what counts, and what an answer tells."""

from dataclasses import fields, replace
from typing import Any

import pytest

from tests.builders import (
    HASH_VERSION,
    NOW,
    PROVED,
    RFC_KEY,
    WRONG,
    book,
    challenge,
    hotp_token,
    moment,
    rejected,
    request,
    snapshot,
    totp_token,
    user,
    with_pin,
)
from tests.validation.engine import pin, wrong_pin
from tests.vectors import reference
from validation import decide
from validation.changes import (
    Audit,
    AuditFlood,
    Change,
    CloseChallenge,
    CountGuesses,
    CountTokenFailure,
    OpenChallenge,
    Rehash,
    SetThrottle,
    UseToken,
)
from validation.decisions import Accept, Challenge, Decision, Reason, Reject
from validation.errors import Damaged
from validation.messages import MessageKey, default_text
from validation.model import Factor, Mode, Snapshot, Throttle, Token, TokenState
from validation.requests import NOT_CHECKED, FirstFactor, FirstFactorResult, LoginRequest
from validation.settings import Book, Rule, Scope, Text

PIN = pin(totp_token(), NOW)
WRONG_PIN = wrong_pin(totp_token(), NOW)
WAITING = Throttle(failures=5, blocked_until=NOW + 1)
TODAY = int(NOW) // 86_400
TRAP = totp_token(algorithm="md5")  # comparing with it raises: it tells when something is compared


def decision(snapshot: Snapshot, request: LoginRequest, now: float = NOW) -> Decision:
    return decide.login(snapshot, request, moment(now)).decision


def changes(snapshot: Snapshot, request: LoginRequest) -> list[Change]:
    """Without the audit row, and without the mark of a wrong PIN (test_throttle.py)."""
    made = decide.login(snapshot, request, moment()).changes
    return [_unmarked(change) for change in made if not isinstance(change, Audit | AuditFlood)]


def _unmarked(change: Change) -> Change:
    return (
        replace(change, throttle=replace(change.throttle, last_guess=b""))
        if isinstance(change, SetThrottle)
        else change
    )


def audit(snapshot: Snapshot, request: LoginRequest) -> Audit:
    (row,) = [change for change in decide.login(snapshot, request, moment()).changes if isinstance(change, Audit)]
    return row


# --- the road to Accept


def test_password_and_pin_in_one_field_are_accepted() -> None:
    verdict = decide.login(snapshot(), with_pin(PIN), moment())
    assert verdict.decision == Accept("alice", Reason.PASSCODE_RIGHT, "TF-TOTP", "totp")
    step = int(NOW) // 30
    assert verdict.changes == (
        UseToken(10, 0, step + 1, 0, NOW),
        Audit(
            at=NOW,
            event="login",
            decision="accept",
            reason="passcode-right",
            user="alice",
            client="vpn",
            face="radius",
            serial="TF-TOTP",
            detail={"password": "proved", "kind": "totp"},
        ),
    )


def test_a_proved_password_alone_gets_a_challenge_where_a_pin_can_be_asked_for() -> None:
    verdict = decide.login(snapshot(), request(), moment())
    state = moment().new_state
    assert verdict.decision == Challenge(
        state, (default_text(MessageKey.ASK_PIN, "en"),), 120, Reason.PASSWORD_RIGHT, 3
    )
    opened = challenge(state=state, expires_at=NOW + 120)
    assert verdict.changes[:-1] == (OpenChallenge(opened, NOW),)


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.PREPEND, Mode.PASSCODE_ONLY])
def test_without_a_pin_there_is_a_refusal_where_none_can_be_asked_for(mode: Mode) -> None:
    assert decision(snapshot(), request(mode)) == rejected(Reason.PASSCODE_MISSING)
    assert changes(snapshot(), request(mode)) == []


def test_the_answer_to_a_challenge_is_accepted_and_closes_it() -> None:
    seen = snapshot(challenge=challenge())
    answer = request(state="ab" * 16, passcode=PIN, first_factor=NOT_CHECKED)
    assert isinstance(decision(seen, answer), Accept)
    assert CloseChallenge("ab" * 16) in changes(seen, answer)


def test_a_client_that_checks_passwords_itself_needs_the_pin_alone() -> None:
    asked = request(Mode.PASSCODE_ONLY, passcode=PIN, first_factor=NOT_CHECKED)
    assert isinstance(decision(snapshot(), asked), Accept)
    assert audit(snapshot(), asked).detail["password"] == "checked-by-client"


# --- the order of the looks: what is named first hides what comes after

NOTHING_NEW = book(enrolment="off")
GONE = {"user": None, "tokens": ()}
LADDER: list[tuple[dict[str, Any], dict[str, Any], Reason]] = [
    ({"client": None}, {}, Reason.CLIENT_CHANGED),
    ({}, {"unsupported": "CHAP"}, Reason.REQUEST_UNSUPPORTED),
    ({"user": user(disabled=True)}, {}, Reason.USER_DISABLED),
    ({"user": user(locked=True)}, {}, Reason.USER_LOCKED),
    ({"throttles": {Factor.PASSCODE: WAITING}}, {}, Reason.WAITING),
    ({}, {"first_factor": WRONG}, Reason.PASSWORD_WRONG),
    ({"tokens": (), "book": NOTHING_NEW}, {}, Reason.NO_TOKEN),
    ({}, {"passcode": WRONG_PIN}, Reason.PASSCODE_WRONG),
]


@pytest.mark.parametrize("first", range(len(LADDER)))
def test_the_first_obstacle_is_the_one_that_counts(first: int) -> None:
    """Every later obstacle stands there too; the reason is still the first one's."""
    seen: dict[str, Any] = {}
    asked: dict[str, Any] = {}
    for in_snapshot, in_request, _ in reversed(LADDER[first:]):
        seen |= in_snapshot
        asked |= in_request
    found = decision(snapshot(**seen), replace(with_pin(PIN), **asked))
    assert isinstance(found, Reject)
    assert found.reason is LADDER[first][2]


def test_an_unknown_user_is_refused_as_such() -> None:
    assert decision(snapshot(**GONE), with_pin(PIN)) == rejected(Reason.USER_UNKNOWN)


def test_a_client_of_another_version_is_refused_before_anything_else() -> None:
    for version in (6, 8):
        assert decision(snapshot(), with_pin(PIN, client_version=version)) == rejected(Reason.CLIENT_CHANGED)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ({"user": user(locked=True)}, Reason.USER_LOCKED),
        ({"user": user(disabled=True)}, Reason.USER_DISABLED),
        ({"throttles": {Factor.PASSCODE: WAITING}}, Reason.WAITING),
        ({"throttles": {Factor.PASSWORD: WAITING}}, Reason.WAITING),
    ],
)
@pytest.mark.parametrize("with_challenge", [False, True])
@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.PASSCODE_ONLY])
def test_nothing_is_compared_for_whoever_may_not_log_in(
    seen: dict[str, Any], reason: Reason, with_challenge: bool, mode: Mode
) -> None:
    """The token is a trap: comparing with it raises, as the second half shows."""
    seen = seen | {"tokens": (TRAP,)}
    asked = replace(with_pin(PIN), channel=request(mode).channel)
    if with_challenge:
        seen, asked = seen | {"challenge": challenge()}, replace(asked, state="ab" * 16)
    found = decision(snapshot(**seen), asked)
    assert not isinstance(found, Accept)
    assert found.reason is reason
    with pytest.raises(KeyError, match="md5"):
        decision(snapshot(**seen | {"user": user(), "throttles": {}}), asked)


@pytest.mark.parametrize("first_factor", [WRONG, NOT_CHECKED, FirstFactorResult(FirstFactor.UNAVAILABLE)])
def test_no_pin_is_compared_before_the_password_is_proved(first_factor: FirstFactorResult) -> None:
    seen = snapshot(tokens=(TRAP,))
    assert isinstance(decision(seen, with_pin(PIN, first_factor=first_factor)), Reject)


# --- the first factor


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (FirstFactorResult(FirstFactor.UNAVAILABLE), Reason.FIRST_FACTOR_UNAVAILABLE),
        (NOT_CHECKED, Reason.PASSWORD_NOT_CHECKED),
        (FirstFactorResult(FirstFactor.PROVED, HASH_VERSION - 1), Reason.PASSWORD_CHANGED),
        (FirstFactorResult(FirstFactor.PROVED, HASH_VERSION + 1), Reason.PASSWORD_CHANGED),
        (FirstFactorResult(FirstFactor.WRONG, HASH_VERSION - 1), Reason.PASSWORD_CHANGED),
    ],
)
def test_a_password_check_that_says_nothing_about_the_stored_one_refuses_and_counts_nothing(
    result: FirstFactorResult, reason: Reason
) -> None:
    for asked in (request(first_factor=result), with_pin(PIN, first_factor=result)):
        assert decision(snapshot(), asked) == rejected(reason)
        assert changes(snapshot(), asked) == []


@pytest.mark.statement("O-072")
def test_a_wrong_password_counts_one_failure_and_leaves_the_right_pin_alone() -> None:
    asked = with_pin(PIN, first_factor=WRONG)
    assert decision(snapshot(), asked) == rejected(Reason.PASSWORD_WRONG, failures=1)
    assert changes(snapshot(), asked) == [SetThrottle(1, Factor.PASSWORD, Throttle(1))]


def test_a_missing_token_shows_only_after_a_proved_password() -> None:
    seen = snapshot(tokens=(), book=NOTHING_NEW)
    assert decision(seen, request(first_factor=WRONG)) == rejected(Reason.PASSWORD_WRONG, failures=1)
    assert decision(seen, request()) == rejected(Reason.NO_TOKEN, message=MessageKey.LOST_TOKEN)


@pytest.mark.parametrize("asked", [request(), with_pin(PIN)], ids=["challenge", "accept"])
def test_a_proved_password_under_old_costs_is_hashed_anew(asked: LoginRequest) -> None:
    asked = replace(asked, first_factor=replace(PROVED, rehash="new"))
    assert Rehash(1, HASH_VERSION, "new") in changes(snapshot(), asked)


def test_a_wrong_pin_stores_no_new_hash() -> None:
    asked = with_pin(WRONG_PIN, first_factor=replace(PROVED, rehash="new"))
    assert not [change for change in changes(snapshot(), asked) if isinstance(change, Rehash)]


# --- several tokens


def three_tokens() -> tuple[Token, Token, Token]:
    return (
        totp_token(id=10, serial="A", key=b"a" * 20),
        totp_token(id=11, serial="B", key=b"b" * 20, failures=2),
        hotp_token(id=12, serial="C", key=b"c" * 20, moving_factor=5),
    )


@pytest.mark.statement("O-031")
@pytest.mark.parametrize("which", [0, 1, 2])
def test_of_three_tokens_only_the_one_whose_pin_was_typed_moves(which: int) -> None:
    tokens = three_tokens()
    typed = pin(tokens[which], NOW)
    verdict = decide.login(snapshot(tokens=tokens), with_pin(typed), moment())
    assert verdict.decision == Accept("alice", Reason.PASSCODE_RIGHT, tokens[which].serial, tokens[which].kind)
    moved = [change for change in verdict.changes if not isinstance(change, Audit)]
    expected = int(NOW) // 30 + 1 if tokens[which].kind == "totp" else 6
    ended = [] if which == 1 else [CountTokenFailure(11, 0, disable=False)]  # the row of wrong PINs ends at each
    assert moved == [UseToken(tokens[which].id, tokens[which].moving_factor, expected, 0, NOW), *ended]


@pytest.mark.statement("O-031", "O-011")
def test_one_wrong_guess_against_three_tokens_counts_once_for_the_user_and_for_each_token() -> None:
    asked = with_pin("000000")
    assert decision(snapshot(tokens=three_tokens()), asked) == rejected(Reason.PASSCODE_WRONG, failures=1)
    assert changes(snapshot(tokens=three_tokens()), asked) == [
        SetThrottle(1, Factor.PASSCODE, Throttle(1)),
        CountGuesses(1, TODAY, 3 + 3 + 11, forget_before=TODAY - 30),
        CountTokenFailure(10, 1, disable=False),
        CountTokenFailure(11, 3, disable=False),
        CountTokenFailure(12, 1, disable=False),
    ]


def test_a_value_used_on_one_token_is_named_so_though_others_were_tried() -> None:
    used, *others = three_tokens()
    seen = snapshot(tokens=(*others, replace(used, moving_factor=int(NOW) // 30 + 1)))
    assert decision(seen, with_pin(pin(used, NOW))) == rejected(Reason.PASSCODE_USED, failures=1)


@pytest.mark.parametrize("state", [TokenState.DISABLED, TokenState.REVOKED])
def test_a_token_that_is_not_active_is_neither_compared_nor_counted(state: TokenState) -> None:
    first, second, _ = three_tokens()
    seen = snapshot(tokens=(replace(first, state=state), second))
    assert decision(seen, with_pin(pin(first, NOW))) == rejected(Reason.PASSCODE_WRONG, failures=1)
    counted = [c.token_id for c in changes(seen, with_pin(WRONG_PIN)) if isinstance(c, CountTokenFailure)]
    assert counted == [second.id]


# --- failures


@pytest.mark.statement("O-011")
@pytest.mark.parametrize("token", [totp_token(), hotp_token(moving_factor=5)], ids=["totp", "hotp"])
@pytest.mark.parametrize("with_challenge", [False, True])
@pytest.mark.parametrize("typed", ["wrong", "used", "", "far ahead"])
def test_no_failure_moves_a_moving_factor(token: Token, with_challenge: bool, typed: str) -> None:
    token = replace(token, moving_factor=int(NOW) // 30 + 1 if token.kind == "totp" else 5)
    used, ahead = (token.moving_factor - 1, token.moving_factor + 12)
    codes = {"wrong": "000000", "used": reference.hotp(RFC_KEY, used), "far ahead": reference.hotp(RFC_KEY, ahead)}
    seen, asked = snapshot(tokens=(token,)), with_pin(codes.get(typed, ""))
    if with_challenge:
        seen, asked = replace(seen, challenge=challenge()), replace(asked, state="ab" * 16)
    verdict = decide.login(seen, asked, moment())
    assert not isinstance(verdict.decision, Accept)
    assert not [change for change in verdict.changes if isinstance(change, UseToken)]


def test_only_after_a_proved_password_does_a_wrong_pin_count_for_the_token() -> None:
    """Else whoever knows a name could have a stranger's token disabled."""
    asked = request(Mode.PASSCODE_ONLY, passcode=WRONG_PIN, first_factor=NOT_CHECKED)
    assert changes(snapshot(), asked) == [
        SetThrottle(1, Factor.PASSCODE, Throttle(1)),
        CountGuesses(1, TODAY, 3, forget_before=TODAY - 30),
    ]
    asked = request(state="ab" * 16, passcode=WRONG_PIN, first_factor=NOT_CHECKED)
    assert CountTokenFailure(10, 1, disable=False) in changes(snapshot(challenge=challenge()), asked)


def test_a_token_is_disabled_at_the_hundredth_wrong_pin() -> None:
    for failures, disable in [(0, False), (98, False), (99, True), (100, True)]:
        seen = snapshot(tokens=(totp_token(failures=failures),))
        assert CountTokenFailure(10, failures + 1, disable) in changes(seen, with_pin(WRONG_PIN)), failures


@pytest.mark.statement("O-044")
@pytest.mark.parametrize(
    ("asked", "cleared"),
    [
        (with_pin(PIN), {Factor.PASSWORD, Factor.PASSCODE}),
        (request(state="ab" * 16, passcode=PIN, first_factor=NOT_CHECKED), {Factor.PASSWORD, Factor.PASSCODE}),
        (request(Mode.PASSCODE_ONLY, passcode=PIN, first_factor=NOT_CHECKED), {Factor.PASSCODE}),
        (request(), set()),
    ],
    ids=["append", "answer to a challenge", "passcode-only", "password alone"],
)
def test_success_clears_the_count_of_what_it_proved_and_of_nothing_else(
    asked: LoginRequest, cleared: set[Factor]
) -> None:
    throttles = {factor: Throttle(3) for factor in Factor}
    seen = snapshot(throttles=throttles, challenge=challenge() if asked.state else None)
    set_ = [change for change in changes(seen, asked) if isinstance(change, SetThrottle)]
    assert {change.factor for change in set_} == cleared
    assert all(change.throttle == Throttle() for change in set_)


def test_a_request_that_makes_no_sense_counts_nothing_and_says_why_in_the_trail() -> None:
    asked = replace(with_pin(PIN), unsupported="CHAP, only PAP is supported")
    assert decision(snapshot(), asked) == rejected(Reason.REQUEST_UNSUPPORTED)
    assert changes(snapshot(), asked) == []
    assert audit(snapshot(), asked).detail["unsupported"] == "CHAP, only PAP is supported"


# --- answers alike


PIN_ALONE = request(Mode.PASSCODE_ONLY, passcode=PIN, first_factor=NOT_CHECKED)
ALIKE: dict[str, tuple[Snapshot, LoginRequest]] = {
    "unknown user": (snapshot(**GONE), request(first_factor=WRONG)),
    "wrong password": (snapshot(), request(first_factor=WRONG)),
    "locked, right password": (snapshot(user=user(locked=True)), request()),
    "locked, wrong password": (snapshot(user=user(locked=True)), request(first_factor=WRONG)),
    "disabled": (snapshot(user=user(disabled=True)), request()),
    "waiting": (snapshot(throttles={Factor.PASSWORD: WAITING}), request()),
    "state unknown": (snapshot(), request(state="cd" * 16, passcode=PIN)),
    "wrong PIN alone": (snapshot(), replace(PIN_ALONE, passcode=WRONG_PIN)),
    "right PIN alone, token out of its time": (snapshot(tokens=(totp_token(expires_at=NOW),)), PIN_ALONE),
    "right PIN alone, token disabled": (snapshot(tokens=(totp_token(state=TokenState.DISABLED),)), PIN_ALONE),
    "PIN alone, no token": (snapshot(tokens=()), PIN_ALONE),
}


@pytest.mark.statement("R-066", "V-012")
@pytest.mark.parametrize("who", ALIKE)
def test_refusals_differ_in_what_the_log_may_know_alone(who: str) -> None:
    """Reason and count are for the log. What a face sends, text and delay, is the same for all: even where the admin
    has other texts, delays and languages for the groups alice is in."""
    seen, asked = ALIKE[who]
    assert {field.name for field in fields(Reject)} == {"reason", "text", "failures", "delay"}
    staff = Scope(group="staff")
    rules = (Rule(1, "reject_delay", "2s"), Rule(2, "language", "de", staff), Rule(3, "reject_delay", "5s", staff))
    texts = (Text("refused", "", "No."), Text("refused", "", "No, staff.", staff))
    for seen_, text, delay in [
        (seen, "The login was refused.", 1.0),
        (replace(seen, book=Book(1, rules, texts)), "No.", 2.0),
    ]:
        if seen_.user is not None:
            seen_ = replace(seen_, user=replace(seen_.user, groups=("staff",)))
        found = decision(seen_, asked)
        assert isinstance(found, Reject)
        assert (found.text, found.delay) == (text, delay)


def test_no_reason_comes_into_the_text_of_a_refusal() -> None:
    text = default_text(MessageKey.REFUSED, "en")
    assert text == "The login was refused."
    assert not any(reason in text for reason in Reason)


def test_wrong_used_and_locked_pins_share_one_text() -> None:
    step = int(NOW) // 30
    used = snapshot(challenge=challenge(), tokens=(totp_token(moving_factor=step + 1),))
    locked = snapshot(challenge=challenge(), throttles={Factor.PASSCODE: WAITING})
    answer = request(state="ab" * 16, passcode=PIN, first_factor=NOT_CHECKED)
    answers = {
        "wrong": decision(snapshot(challenge=challenge()), replace(answer, passcode=WRONG_PIN)),
        "used": decision(used, answer),
        "locked": decision(locked, answer),
        "nothing typed": decision(snapshot(challenge=challenge()), replace(answer, passcode="")),
    }
    again = [found for found in answers.values() if isinstance(found, Challenge)]
    assert len(again) == 4
    reasons = {Reason.PASSCODE_WRONG, Reason.PASSCODE_USED, Reason.WAITING, Reason.PASSCODE_MISSING}
    assert {found.reason for found in again} == reasons
    first = replace(again[0], reason=Reason.WAITING)
    assert all(replace(found, reason=Reason.WAITING) == first for found in again)
    assert first.texts[0] == "That PIN was not accepted. Wait for a new one. 2 tries left: "


# --- damage, and the trail


def test_a_damaged_row_decides_nothing() -> None:
    for asked in (request(), with_pin(PIN), request(state="ab" * 16, passcode=PIN)):
        with pytest.raises(Damaged, match="token row"):
            decide.login(snapshot(damage=Damaged("token row"), challenge=challenge()), asked, moment())


@pytest.mark.parametrize("who", ALIKE)
def test_every_refusal_is_written_down_with_its_reason(who: str) -> None:
    seen, asked = ALIKE[who]
    verdict = decide.login(seen, replace(asked, source="192.0.2.99", request_id="r1"), moment())
    last = verdict.changes[-1]
    row = last.audit if isinstance(last, AuditFlood) else last
    assert isinstance(row, Audit)
    assert (row.decision, row.reason) == ("reject", verdict.decision.reason)
    assert (row.user, row.client, row.source, row.request_id) == ("alice", "vpn", "192.0.2.99", "r1")


def test_unknown_users_are_counted_by_source_and_not_each_written_down() -> None:
    """Anybody can invent names: else the trail would grow as an attacker likes."""
    for source, key in [("192.0.2.99", "user-unknown|192.0.2.99"), (None, "user-unknown|vpn")]:
        *_, flood = decide.login(snapshot(**GONE), with_pin(PIN, source=source), moment()).changes
        assert isinstance(flood, AuditFlood)
        assert (flood.key, flood.every) == (key, 60.0)


def test_the_failed_decision_is_a_refusal_that_is_written_down() -> None:
    verdict = decide.failed(with_pin(PIN, request_id="r1"), moment())
    assert verdict.decision == rejected(Reason.DECISION_FAILED)
    (row,) = verdict.changes
    assert isinstance(row, Audit)
    assert (row.decision, row.reason, row.user, row.request_id) == ("reject", "decision-failed", "alice", "r1")


def test_no_secret_reaches_the_trail() -> None:
    """The values are searched, not the fields."""
    for seen, asked in [*ALIKE.values(), (snapshot(), with_pin(PIN)), (snapshot(), with_pin(WRONG_PIN))]:
        made = decide.login(seen, replace(asked, first_factor=replace(asked.first_factor, rehash="hash")), moment())
        text = repr(made.changes[-1])
        assert not [secret for secret in (PIN, WRONG_PIN, "hash", moment().new_state, "cd" * 16) if secret in text]
