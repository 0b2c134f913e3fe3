"""What every store promises about known sources and the scores of sources, tried on each."""

from dataclasses import replace

import pytest

from tests import builders
from tests.builders import NOW
from tests.contract.test_store import NO_ID, apply, check_conflict, see, user_of
from validation.changes import (
    ClearKnownSources,
    DeleteUser,
    ForgetKnownSources,
    InsertUser,
    SetKnownSource,
    SetSourceScore,
)
from validation.model import KnownSource, Snapshot, SourceScore, User
from validation.ports import Store

HOME, OFFICE = "192.0.2.99", "203.0.113.77"
MINUTE = 60


@pytest.fixture
def alice(store: Store) -> User:
    apply(store, InsertUser(builders.user(id=0)))
    return user_of(store)


@pytest.fixture
def bob(store: Store) -> User:
    apply(store, InsertUser(builders.user(id=0, name="bob")))
    return user_of(store, "bob")


def known_of(store: Store, source: str | None = HOME, user: str = "alice") -> KnownSource | None:
    return see(store, user=user, source=source).known_source


def score_of(store: Store, source: str | None = HOME) -> SourceScore | None:
    return see(store, source=source).source_score


# --- known sources


def test_a_known_source_is_its_users_alone(store: Store, alice: User, bob: User) -> None:
    home = KnownSource(HOME, NOW + 0.5, failures=3, blocked_until=NOW + 30.5)
    apply(store, SetKnownSource(alice.id, home, keep=20))
    assert known_of(store) == home
    for source in (OFFICE, HOME + "0", "", None):
        assert known_of(store, source) is None
    assert known_of(store, user="bob") is None
    assert see(store, source=HOME) == Snapshot()
    check_conflict(store, SetKnownSource(NO_ID, home, keep=20))


def test_a_known_source_is_written_anew_in_place(store: Store, alice: User) -> None:
    for known in (KnownSource(HOME, NOW), KnownSource(OFFICE, NOW), KnownSource(HOME, NOW + 1, 2, NOW + 9)):
        apply(store, SetKnownSource(alice.id, known, keep=20))
    assert known_of(store) == KnownSource(HOME, NOW + 1, 2, NOW + 9)
    assert known_of(store, OFFICE) == KnownSource(OFFICE, NOW)


def test_of_too_many_sources_the_ones_longest_not_accepted_from_go(store: Store, alice: User, bob: User) -> None:
    sources = [f"192.0.2.{n}" for n in range(4)]
    apply(store, SetKnownSource(bob.id, KnownSource(sources[0], NOW - 99), keep=3))
    for source, at in zip(sources, (NOW, NOW - 5, NOW + 5, NOW + 1), strict=True):
        apply(store, SetKnownSource(alice.id, KnownSource(source, at), keep=3))
    assert [known_of(store, source) is not None for source in sources] == [True, False, True, True]
    assert known_of(store, sources[0], "bob") is not None, "each user has places of his own"


def test_clearing_keeps_what_is_known_and_forgetting_does_not(store: Store, alice: User, bob: User) -> None:
    home = KnownSource(HOME, NOW, failures=7, blocked_until=NOW + 99)
    for user in (alice, bob):
        apply(store, *(SetKnownSource(user.id, replace(home, source=s), keep=20) for s in (HOME, OFFICE)))
    apply(store, ClearKnownSources(alice.id))
    assert [known_of(store, s) for s in (HOME, OFFICE)] == [KnownSource(HOME, NOW), KnownSource(OFFICE, NOW)]
    assert known_of(store, user="bob") == home
    apply(store, ForgetKnownSources(alice.id))
    assert [known_of(store, s) for s in (HOME, OFFICE)] == [None, None]
    assert known_of(store, user="bob") == home
    apply(store, ClearKnownSources(alice.id), ForgetKnownSources(alice.id))  # none is no conflict


def test_deleting_a_user_takes_his_known_sources_along(store: Store, alice: User) -> None:
    apply(store, SetKnownSource(alice.id, KnownSource(HOME, NOW), keep=20), DeleteUser(alice.id))
    apply(store, InsertUser(replace(alice, id=0)))
    assert see(store, user="alice", source=HOME) == Snapshot(user=user_of(store))


# --- scores


def test_a_source_has_one_score_whoever_is_named(store: Store, alice: User) -> None:
    score = SourceScore(7, NOW + 30.5, NOW + 0.5)
    apply(store, SetSourceScore(HOME, SourceScore(6, 0.0, NOW), NOW), SetSourceScore(HOME, score, NOW))
    assert see(store, user="alice", source=HOME).source_score == score
    assert see(store, user="nobody", source=HOME) == Snapshot(source_score=score)
    for source in (OFFICE, "", None):
        assert score_of(store, source) is None


@pytest.mark.parametrize(
    ("later", "left"), [(3 * MINUTE - 1, [HOME, OFFICE]), (3 * MINUTE, [OFFICE]), (9 * MINUTE, [])], ids=str
)
def test_a_count_that_begins_sweeps_out_the_scores_that_have_fallen_to_0(
    store: Store, later: int, left: list[str]
) -> None:
    apply(store, SetSourceScore(HOME, SourceScore(3, 0.0, NOW), NOW))
    apply(store, SetSourceScore(OFFICE, SourceScore(4, NOW + 300, NOW + 300), NOW))
    apply(store, SetSourceScore("192.0.2.1", SourceScore(2, 0.0, NOW + later), NOW + later))
    assert {s for s in (HOME, OFFICE) if score_of(store, s) is not None} == {HOME, OFFICE}, "this one did not begin"
    apply(store, SetSourceScore("192.0.2.2", SourceScore(1, 0.0, NOW + later), NOW + later))
    assert [s for s in (HOME, OFFICE) if score_of(store, s) is not None] == left
    assert score_of(store, "192.0.2.2") == SourceScore(1, 0.0, NOW + later)
