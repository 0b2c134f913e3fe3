"""Old rows of the trail go: those that were named, if they are there and old, and otherwise none."""

import pytest

from tests.contract.conftest import Kept
from tests.contract.test_store import apply, check_conflict, row
from tests.fakes import FakeStore
from validation.changes import PruneRows
from validation.model import TrailStart

OLD, YOUNG, NOW = 4e9, 5e9, 6e9  # later than the creation of the store, whenever that was


@pytest.fixture
def made(kept: Kept) -> int:
    """Five rows that are old, and two that are younger; how many there were before them."""
    apply(kept.store, *(row(OLD, reason=f"old{number}") for number in range(5)))
    apply(kept.store, *(row(YOUNG, reason=f"young{number}") for number in range(2)))
    return 0 if isinstance(kept.store, FakeStore) else 1  # its creation


def pruned(after: int, through: int) -> PruneRows:
    return PruneRows(after, TrailStart("test", through, b"\xab" * 32, "store-create"), OLD + 1, NOW)


def reasons(kept: Kept) -> list[str]:
    return sorted(one.reason for one in kept.trail() if one.reason.startswith(("old", "young")))


def test_those_that_were_named_go_some_at_a_time(kept: Kept, made: int) -> None:
    apply(kept.store, pruned(0, made + 2))
    assert reasons(kept) == ["old2", "old3", "old4", "young0", "young1"]
    apply(kept.store, pruned(made + 2, made + 5))
    assert reasons(kept) == ["young0", "young1"]


def test_of_those_that_are_not_as_they_were_seen_none_goes(kept: Kept, made: int) -> None:
    """One is young, the newest is among them, there are not so many, somebody else has pruned."""
    for wrong in ((0, made + 6), (0, made + 7), (0, made + 20), (2, made + 5)):
        check_conflict(kept.store, pruned(*wrong))
        assert len(reasons(kept)) == 7
    apply(kept.store, pruned(0, made + 2))
    for wrong in ((0, made + 3), (made + 1, made + 3), (made + 3, made + 5)):
        check_conflict(kept.store, pruned(*wrong))
        assert len(reasons(kept)) == 5


def test_a_time_that_lies_in_the_future_is_old(kept: Kept, made: int) -> None:
    apply(kept.store, row(NOW + 1, reason="young2"), row(OLD, reason="old5"), row(YOUNG))
    change = PruneRows(0, TrailStart("test", made + 9, b"\xab" * 32, "store-create"), OLD + 1, NOW)
    check_conflict(kept.store, change)
    all_old = PruneRows(0, TrailStart("test", made + 9, b"\xab" * 32, "store-create"), YOUNG + 1, NOW)
    apply(kept.store, all_old)
    assert reasons(kept) == []
