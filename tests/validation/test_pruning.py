"""Pruning the trail: what the engine refuses, and what it has written down."""

import pytest

from tests.builders import NOW
from tests.validation.engine import Engine
from validation.administer.pruning import EVENT, LEAST_AGE
from validation.errors import Refused, StoreUnavailable
from validation.model import TrailStart
from validation.requests import PruneAudit

OLD = 8


def asked(through: int, after: int = 0, before: float = NOW - LEAST_AGE, **more: object) -> PruneAudit:
    start = TrailStart("test", through, b"\xab" * 32, "store-create")
    return PruneAudit(actor="admin", after=after, start=start, before=before, **more)  # type: ignore[arg-type]


@pytest.fixture
def old(engine: Engine) -> Engine:
    """A trail of so many rows that are just as old as may be removed, and two that are younger."""
    for number in range(OLD - len(engine.store.trail)):
        engine.add_user(f"user{number}")
    for row in engine.store.trail:
        object.__setattr__(row, "at", NOW - LEAST_AGE - 1)
    for name in ("late", "later"):
        engine.add_user(name)
    return engine


@pytest.mark.parametrize("younger", [1e-3, LEAST_AGE, 2 * LEAST_AGE])
def test_what_was_written_down_lately_stays(old: Engine, younger: float) -> None:
    before = list(old.store.trail)
    with pytest.raises(Refused, match="rows of the last 90 days stay"):
        old.gate.administer(asked(3, before=NOW - LEAST_AGE + younger))
    assert old.store.trail == before


def test_rows_go_and_it_is_told_how_the_rest_starts(old: Engine) -> None:
    before = list(old.store.trail)
    north = TrailStart("north", 7, b"\xcd" * 32, "login")
    old.gate.administer(asked(2, retold=(north,), facts={"export": "sha256:00"}))
    *kept, told, again = old.store.trail
    assert kept == before[2:]
    assert (told.event, told.actor, told.at) == (EVENT, "admin", NOW)
    assert told.detail == {
        "chain": "test",
        "through": "2",
        "mac": "ab" * 32,
        "began": "store-create",
        "rows": "2",
        "export": "sha256:00",
    }
    assert again.detail == {"chain": "north", "through": "7", "mac": "cd" * 32, "began": "login", "rows": "0"}


@pytest.mark.parametrize(
    ("through", "after"),
    [
        (OLD + 1, 0),  # one of them is young
        (3, 1),  # somebody else has pruned, or it was never so
        (OLD + 5, 0),  # more than there are
    ],
)
def test_what_is_not_there_as_it_was_seen_is_left_alone(old: Engine, through: int, after: int) -> None:
    before = list(old.store.trail)
    with pytest.raises(StoreUnavailable, match="try again"):
        old.gate.administer(asked(through, after))
    assert old.store.trail == before
