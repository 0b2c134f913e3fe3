"""The one door: batches, what is refused alone, and that nothing is answered before it is committed."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tests.builders import NOW, rejected
from tests.fakes import CollectedFaults, CollectedNotices, FakeMoments, FakeStore
from tests.validation.engine import PORTAL, SSH, VPN, Engine
from validation.decisions import Accept, Challenge, Look, Reason, Reject
from validation.errors import Damaged, Refused, RoomMade, StoreMismatch, StoreUnavailable
from validation.gate import Gate, Outcome
from validation.model import MOMENT_RANDOM_OCTETS, Mode, Moment, Snapshot
from validation.ports import Conflict
from validation.requests import AddUser, LoginRequest, LookRequest, Wanted

NAMES = [f"user{n:02}" for n in range(64)]


@pytest.fixture
def crowd(engine: Engine) -> dict[str, str]:
    """64 users and the serial of each one's token."""
    for name in NAMES:
        engine.add_user(name)
    return {name: engine.enroll(name) for name in NAMES}


def all_right(engine: Engine, crowd: dict[str, str]) -> list[LoginRequest]:
    """One request of each, with the right PIN."""
    return [engine.request(name, SSH, engine.pin(serial)) for name, serial in crowd.items()]


def accepted(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.user for outcome in outcomes if isinstance(outcome, Accept)]


def journal_of(engine: Engine, action: Callable[[], object]) -> list[str]:
    engine.store.journal.clear()
    action()
    return engine.store.journal


# --- batches


def test_a_batch_is_one_transaction_and_comes_back_in_order(engine: Engine, crowd: dict[str, str]) -> None:
    requests = all_right(engine, crowd)
    engine.store.journal.clear()
    outcomes = engine.gate.login(requests)
    assert accepted(outcomes) == NAMES
    assert engine.store.journal == ["begin", "commit"]


def test_no_requests_are_no_transaction(engine: Engine) -> None:
    assert journal_of(engine, lambda: engine.gate.login([])) == []


def test_a_request_whose_row_is_damaged_is_refused_alone_in_a_batch_of_64(
    engine: Engine, crowd: dict[str, str]
) -> None:
    damaged = Damaged("token TF-X: the seal does not open")
    engine.store.damage["user31"] = damaged
    requests = all_right(engine, crowd)
    engine.store.journal.clear()
    outcomes = engine.gate.login(requests)
    assert outcomes[31] == rejected(Reason.DECISION_FAILED)
    assert accepted(outcomes) == [name for name in NAMES if name != "user31"]
    assert engine.store.journal == ["begin", "commit"]
    assert engine.faults.found == [(requests[31], damaged)]
    rows = [(row.user, row.decision, row.reason) for row in engine.trail if row.user == "user31" and not row.actor]
    assert rows == [("user31", "reject", "decision-failed")]


def test_an_unexpected_error_inside_a_decision_is_refused_alone_too(engine: Engine, crowd: dict[str, str]) -> None:
    """Not Damaged but a defect: a passcode that is no text at all."""
    requests = all_right(engine, crowd)
    requests[5] = replace(requests[5], passcode=123456)  # type: ignore[arg-type]
    outcomes = engine.gate.login(requests)
    assert outcomes[5] == rejected(Reason.DECISION_FAILED)
    assert len(accepted(outcomes)) == 63
    ((_, error),) = engine.faults.found
    assert isinstance(error, TypeError)


def test_a_batch_that_conflicts_is_replayed_one_by_one(engine: Engine, crowd: dict[str, str]) -> None:
    requests = all_right(engine, crowd)
    engine.store.commit_troubles = [Conflict("somebody was quicker")]
    engine.store.journal.clear()
    outcomes = engine.gate.login(requests)
    assert accepted(outcomes) == NAMES
    assert engine.store.journal == ["begin", "rollback"] + ["begin", "commit"] * 64
    assert engine.faults.found == []


@pytest.mark.statement("C-005")
@pytest.mark.parametrize(("conflicts", "reason"), [(2, "passcode-right"), (3, "decision-failed")])
def test_a_login_that_conflicts_is_decided_anew_in_bounds_and_then_refused(
    engine: Engine, alice: str, conflicts: int, reason: str
) -> None:
    """Another server was quicker; nothing of a try that failed is left."""
    request = engine.request("alice", SSH, engine.pin(engine.enroll("alice")))
    engine.store.commit_troubles = [Conflict("somebody was quicker")] * conflicts
    engine.store.journal.clear()
    (outcome,) = engine.gate.login([request])
    assert getattr(outcome, "reason", "") == reason
    assert engine.store.journal == ["begin", "rollback"] * conflicts + ["begin", "commit"]
    assert [row.reason for row in engine.trail if row.event == "login"] == [reason]


@pytest.mark.statement("C-011")
def test_a_batch_that_met_a_full_disk_is_decided_anew_when_there_is_room(engine: Engine, crowd: dict[str, str]) -> None:
    """As a whole: nothing of it is left."""
    engine.store.commit_troubles = [RoomMade("full")]
    engine.store.journal.clear()
    assert accepted(engine.gate.login(all_right(engine, crowd))) == NAMES
    assert engine.store.journal == ["begin", "rollback", "begin", "commit"]
    assert len([row for row in engine.trail if row.event == "login"]) == len(NAMES)


@pytest.mark.statement("C-011")
def test_a_login_is_not_decided_anew_for_ever(engine: Engine, serial: str) -> None:
    troubles: list[Exception] = [RoomMade(f"full {n}") for n in range(3)]
    engine.store.commit_troubles = list(troubles)
    engine.store.journal.clear()
    assert engine.gate.login([engine.request("alice", SSH, engine.pin(serial))]) == [troubles[-1]]
    assert engine.store.journal == ["begin", "rollback"] * 3


def test_of_a_replayed_batch_the_one_that_still_conflicts_is_refused(engine: Engine, crowd: dict[str, str]) -> None:
    """Two challenges under one State: the dice fell alike, and only the first of the two is opened."""

    class Stuck:
        def moment(self) -> Moment:
            return Moment(engine.clock.now, bytes(MOMENT_RANDOM_OCTETS))

    gate = Gate(engine.store, Stuck(), engine.faults, engine.notices)
    requests = [engine.request("user00", VPN), engine.request("user01", SSH, engine.pin(crowd["user01"]))]
    requests.append(engine.request("user02", VPN))
    first, second, third = gate.login(requests)
    assert isinstance(first, Challenge)
    assert isinstance(second, Accept)
    assert third == rejected(Reason.DECISION_FAILED)
    assert [(request.user, type(error)) for request, error in engine.faults.found] == [("user02", Conflict)]
    assert [row.decision for row in engine.trail if row.event == "login"] == ["challenge", "accept", "reject"]


# --- companions


def users_of_batches(engine: Engine) -> list[list[str | None]]:
    return [[wanted.user for wanted in batch] for batch in engine.store.batches]


def test_two_requests_of_one_user_are_never_in_one_transaction(engine: Engine, crowd: dict[str, str]) -> None:
    order = ["user00", "user01", "user00", "user02", "user00", "user01"]
    requests = [engine.request(name, SSH, engine.pin(crowd[name])) for name in order]
    engine.store.batches.clear()
    outcomes = engine.gate.login(requests)
    assert users_of_batches(engine) == [["user00", "user01", "user02"], ["user00", "user01"], ["user00"]]
    # Each PIN once: the second request of a user saw what the first had written.
    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, Accept | Reject)]
    right, used, repeated = Reason.PASSCODE_RIGHT, Reason.PASSCODE_USED, Reason.PASSCODE_REPEATED
    assert reasons == [right, right, used, right, repeated, used]


def test_two_requests_with_one_state_are_never_in_one_transaction(engine: Engine, crowd: dict[str, str]) -> None:
    state = engine.challenge("user00")
    requests = [
        engine.request(name, VPN, engine.pin(crowd[name]), state) for name in ("user01", "user00", "user02", "user00")
    ]
    engine.store.batches.clear()
    outcomes = engine.gate.login(requests)
    assert [len(batch) for batch in engine.store.batches] == [1, 1, 1, 1]
    foreign, unknown = rejected(Reason.STATE_FOREIGN), rejected(Reason.STATE_UNKNOWN)
    assert [outcomes[0], outcomes[2], outcomes[3]] == [foreign, unknown, unknown]
    assert isinstance(outcomes[1], Accept)


def test_a_request_that_waits_for_another_keeps_its_place_before_those_of_its_own_user(
    engine: Engine, crowd: dict[str, str]
) -> None:
    """user01's first request carries user00's State and must wait; his second one may not overtake it."""
    state = engine.challenge("user00")
    requests = [
        engine.request("user00", VPN, engine.pin(crowd["user00"]), state),
        engine.request("user01", VPN, engine.pin(crowd["user01"]), state),
        engine.request("user01", SSH, engine.pin(crowd["user01"])),
        engine.request("user02", SSH, engine.pin(crowd["user02"])),
    ]
    engine.store.batches.clear()
    engine.gate.login(requests)
    assert users_of_batches(engine) == [["user00", "user02"], ["user01"], ["user01"]]
    own = [row.reason for row in engine.trail if row.user == "user01" and row.event == "login"]
    assert own == ["state-unknown", "passcode-right"]


# --- after the commit, or not at all


def test_an_outcome_is_known_only_after_the_commit(engine: Engine, serial: str) -> None:
    def log_in() -> None:
        assert isinstance(engine.log_in("alice", engine.pin(serial)), Accept)
        engine.store.journal.append("answered")

    assert journal_of(engine, log_in) == ["begin", "commit", "answered"]


@pytest.mark.parametrize("client", [SSH, VPN, PORTAL])
def test_a_commit_that_fails_lets_no_decision_out_and_leaves_the_pin_unused(
    engine: Engine, serial: str, client: str
) -> None:
    full = StoreUnavailable("disk full")
    rows = len(engine.trail)
    engine.store.commit_troubles = [full]
    typed = None if client == VPN else engine.pin(serial)
    assert engine.log_in("alice", typed, client) is full
    assert (engine.token(serial).moving_factor, len(engine.trail)) == (0, rows)
    assert isinstance(engine.log_in("alice", engine.pin(serial)), Accept)


def test_a_commit_that_breaks_in_an_unknown_way_is_refused_and_written_down(engine: Engine, serial: str) -> None:
    engine.store.commit_troubles = [OSError("what is this?")]
    assert engine.log_in("alice", engine.pin(serial)) == rejected(Reason.DECISION_FAILED)
    assert (engine.trail[-1].decision, engine.trail[-1].reason) == ("reject", "decision-failed")
    assert engine.token(serial).moving_factor == 0


def test_if_even_that_cannot_be_written_it_is_still_no_accept(engine: Engine, serial: str) -> None:
    engine.store.commit_troubles = [OSError("first"), OSError("second")]
    assert engine.log_in("alice", engine.pin(serial)) == Reject(Reason.DECISION_FAILED)
    assert [str(error) for _, error in engine.faults.found] == ["first", "second"]
    gone = StoreUnavailable("gone")
    engine.store.commit_troubles = [OSError("first"), gone]
    assert engine.log_in("alice", engine.pin(serial)) is gone


@pytest.mark.parametrize("trouble", [StoreUnavailable("locked"), StoreMismatch("another key")])
def test_a_store_that_cannot_answer_gives_the_trouble_itself_for_everyone(
    engine: Engine, crowd: dict[str, str], trouble: StoreUnavailable
) -> None:
    requests = all_right(engine, crowd)
    requests.append(requests[0])
    engine.store.trouble = trouble
    outcomes = engine.gate.login(requests)
    assert [outcome is trouble for outcome in outcomes] == [True] * 65
    engine.store.trouble = None
    assert len(accepted(engine.gate.login(requests[:64]))) == 64


def test_a_store_that_goes_away_during_a_replay_spares_who_was_already_answered(
    engine: Engine, crowd: dict[str, str]
) -> None:
    gone = StoreUnavailable("gone")
    requests = all_right(engine, crowd)[:3]
    engine.store.commit_troubles = [Conflict("once"), gone]
    first, second, third = engine.gate.login(requests)
    assert first is gone
    assert [type(outcome) for outcome in (second, third)] == [Accept, Accept]


@pytest.mark.parametrize("error", [OSError("no entropy"), RuntimeError("odd"), ValueError("odder")])
def test_logging_in_never_raises_even_without_a_clock(engine: Engine, serial: str, error: Exception) -> None:
    class Broken:
        def moment(self) -> Moment:
            raise error

    gate = Gate(engine.store, Broken(), engine.faults, engine.notices)
    request = engine.request("alice", SSH, engine.pin(serial))
    assert gate.login([request, engine.request("bob", SSH)]) == [Reject(Reason.DECISION_FAILED)] * 2
    assert engine.token(serial).moving_factor == 0


# --- a passcode works once


@pytest.mark.statement("O-024")
@pytest.mark.parametrize("kind", ["totp", "hotp"])
@pytest.mark.parametrize("first", [SSH, PORTAL, VPN])
@pytest.mark.parametrize("second", [SSH, PORTAL, VPN])
def test_a_passcode_that_was_accepted_at_one_door_is_used_at_every_other(
    engine: Engine, alice: str, kind: str, first: str, second: str
) -> None:
    serial = engine.enroll("alice", kind)
    typed = engine.pin(serial)

    def enter(client: str) -> object:
        return engine.log_in("alice", typed, client, engine.challenge("alice") if client == VPN else None)

    assert isinstance(enter(first), Accept)
    moved = engine.token(serial).moving_factor
    again = enter(second)
    assert isinstance(again, Challenge | Reject)
    assert again.reason is Reason.PASSCODE_USED
    assert engine.token(serial).moving_factor == moved


@pytest.mark.statement("O-025")
def test_after_the_latest_passcode_of_the_window_the_older_ones_are_used_up(engine: Engine, serial: str) -> None:
    assert isinstance(engine.log_in("alice", engine.pin(serial, 1)), Accept)
    for ahead in (1, 0, -1):
        outcome = engine.log_in("alice", engine.pin(serial, ahead))
        assert isinstance(outcome, Reject)
        assert outcome.reason in (Reason.PASSCODE_USED, Reason.PASSCODE_WRONG)
    engine.clock.now -= 30  # not even when the clock goes back
    assert isinstance(engine.log_in("alice", engine.pin(serial)), Reject)
    engine.clock.now += 90
    assert isinstance(engine.log_in("alice", engine.pin(serial)), Accept)


@pytest.mark.statement("O-029")
@pytest.mark.parametrize("back", [30, 3600, 86_400, NOW], ids=["a step", "an hour", "a day", "to 1970"])
def test_a_clock_that_is_set_back_accepts_no_step_up_to_the_last_used_and_says_used(
    engine: Engine, serial: str, back: float
) -> None:
    """No fault, and a reason in the trail. When the clock is right again, all is well."""
    assert isinstance(engine.log_in("alice", engine.pin(serial)), Accept)
    moved = engine.token(serial).moving_factor
    engine.clock.now -= back
    for failures, ahead in enumerate((0, 1), 1):
        outcome = engine.log_in("alice", engine.pin(serial, ahead))
        assert outcome == rejected(Reason.PASSCODE_USED, failures)
        assert (engine.trail[-1].decision, engine.trail[-1].reason) == ("reject", "passcode-used")
    assert (engine.token(serial).moving_factor, engine.faults.found) == (moved, [])
    engine.clock.now += back + 30
    assert isinstance(engine.log_in("alice", engine.pin(serial)), Accept)


@pytest.mark.statement("O-047")
@pytest.mark.parametrize("client", [SSH, PORTAL, VPN])
def test_that_a_pin_was_used_before_is_in_the_trail_and_not_in_the_answer(
    engine: Engine, serial: str, client: str
) -> None:
    """The admin sees it, by client and source; a thief must not learn that the PIN was right."""

    def enter(typed: str) -> object:
        state = engine.challenge("alice") if client == VPN else None
        return engine.log_in("alice", typed, client, state, source="198.51.100.7")

    wrong = enter(engine.wrong_pin(serial))
    used = engine.pin(serial)
    assert isinstance(enter(used), Accept)
    again = enter(used)
    row = engine.trail[-1]
    assert (row.reason, row.user, row.client, row.source) == ("passcode-used", "alice", client, "198.51.100.7")
    texts = [getattr(outcome, "texts", None) or getattr(outcome, "text", None) for outcome in (wrong, again)]
    assert texts[0]
    assert texts[0] == texts[1]


# --- looking


def test_a_look_writes_nothing_and_needs_no_transaction(engine: Engine, serial: str) -> None:
    looked: list[Look] = []
    request = LookRequest("alice", SSH, Mode.APPEND, f"geheim{engine.pin(serial)}")
    assert journal_of(engine, lambda: looked.extend(engine.gate.look([request, replace(request, user="bob")]))) == []
    assert [(look.password_hash, look.password_version) for look in looked] == [("hash", int(NOW * 1000)), (None, -1)]
    assert looked[0].split is not None


def test_a_look_at_a_damaged_row_proves_nothing(engine: Engine, serial: str) -> None:
    engine.store.damage["alice"] = Damaged("row")
    request = LookRequest("alice", SSH, Mode.APPEND, "geheim123456")
    assert engine.gate.look([request]) == [Look("local", None, -1)]
    assert engine.log_in("alice", engine.pin(serial)) == rejected(Reason.DECISION_FAILED)


def test_a_look_that_raises_proves_nothing_alone(engine: Engine, serial: str) -> None:
    """Not damage but a defect: an entry that is no text at all."""
    good = LookRequest("alice", SSH, Mode.APPEND, f"geheim{engine.pin(serial)}")
    bad, found = engine.gate.look([replace(good, typed=5), good])  # type: ignore[arg-type]
    assert bad == Look("local", None, -1)
    assert found.password_hash == "hash"
    ((asked, error),) = engine.faults.found
    assert (asked.user, type(error)) == ("alice", TypeError)


def test_a_look_that_the_store_raises_at_proves_nothing_alone(
    engine: Engine, serial: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are read together would else all wait for nothing."""
    read = engine.store.look

    def reads_but_for_bob(wanted: Sequence[Wanted]) -> list[Snapshot]:
        if any(one.user == "bob" for one in wanted):
            raise RecursionError
        return read(wanted)

    monkeypatch.setattr(engine.store, "look", reads_but_for_bob)
    alice = LookRequest("alice", SSH, Mode.APPEND, f"geheim{engine.pin(serial)}")
    first, bob, last = engine.gate.look([alice, replace(alice, user="bob"), alice])
    assert (first.password_hash, bob, last) == ("hash", Look("local", None, -1), first)
    ((asked, error),) = engine.faults.found
    assert (asked.user, type(error)) == ("bob", RecursionError)


def test_looking_at_a_store_that_is_gone_says_so(engine: Engine) -> None:
    engine.store.trouble = StoreUnavailable("gone")
    for ask in (lambda: engine.gate.look([]), engine.gate.clients, engine.gate.clients_generation, engine.gate.check):
        with pytest.raises(StoreUnavailable):
            ask()


def test_the_check_writes(engine: Engine) -> None:
    assert journal_of(engine, engine.gate.check) == ["begin", "commit"]


# --- administering


@pytest.mark.parametrize("trouble", [Conflict("quicker"), RoomMade("full")])
@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_command_that_conflicts_or_met_a_full_disk_is_tried_again(
    engine: Engine, trouble: Exception, times: int
) -> None:
    engine.store.commit_troubles = [trouble] * times
    engine.add_user("bob")
    assert engine.see(user="bob").user is not None


def test_a_command_that_conflicts_three_times_is_given_up_in_words(engine: Engine) -> None:
    engine.store.commit_troubles = [Conflict("quicker")] * 3
    with pytest.raises(StoreUnavailable, match=r"somebody else is changing the same rows \(quicker\); try again"):
        engine.add_user("bob")
    assert engine.see(user="bob").user is None


def test_a_second_try_has_other_dice(engine: Engine, alice: str) -> None:
    """A fresh serial may collide with one that is there."""
    engine.store.commit_troubles = [Conflict("serial")]
    first = engine.clock.moment().new_serial
    assert engine.enroll("alice") != first


def test_what_a_command_refuses_is_not_tried_again(engine: Engine, alice: str) -> None:
    def add_again() -> None:
        with pytest.raises(Refused):
            engine.gate.administer(AddUser(actor="admin", name="alice"))

    assert journal_of(engine, add_again) == ["begin", "rollback"]


def test_a_command_whose_commit_fails_changed_nothing(engine: Engine) -> None:
    for trouble in (StoreUnavailable("full"), OSError("odd")):
        engine.store.commit_troubles = [trouble]
        with pytest.raises(type(trouble)):
            engine.add_user("bob")
        assert engine.see(user="bob").user is None


def test_a_new_gate_knows_nothing_but_the_store(engine: Engine, serial: str) -> None:
    """What one server accepted, another refuses; a State opened by one is good at another (R-096)."""
    other = Gate(engine.store, FakeMoments(engine.clock.now), CollectedFaults(), CollectedNotices())
    state, typed = engine.challenge("alice"), engine.pin(serial)
    (outcome,) = other.login([engine.request("alice", VPN, typed, state)])
    assert isinstance(outcome, Accept)
    assert engine.log_in("alice", typed) == rejected(Reason.PASSCODE_USED, failures=1)
    assert isinstance(engine.store, FakeStore)
