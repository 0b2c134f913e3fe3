"""Retransmissions, with time handed in."""

import pytest

from radius_server.duplicates import LIFETIME, Duplicates, Seen

FLOW = (3, ("192.0.2.10", 40_000), 7)
FIRST, SECOND = b"first authenticator", b"second authenticator"


def answered(reply: bytes = b"reply", at: float = 0.0) -> Duplicates:
    """One request that was answered."""
    duplicates = Duplicates()
    assert duplicates.take(FLOW, FIRST, at) is Seen.NEW
    assert duplicates.finish(FLOW, FIRST, reply, at)
    return duplicates


@pytest.mark.statement("R-110")
def test_a_copy_gets_the_same_octets_each_time() -> None:
    duplicates = answered(b"the reply")
    assert [duplicates.take(FLOW, FIRST, 1.0) for _ in range(5)] == [b"the reply"] * 5


@pytest.mark.statement("R-111")
def test_a_copy_of_what_is_worked_on_is_told_apart() -> None:
    duplicates = Duplicates()
    assert [duplicates.take(FLOW, FIRST, 0.0) for _ in range(3)] == [Seen.NEW, Seen.IN_WORK, Seen.IN_WORK]


@pytest.mark.statement("R-110")
@pytest.mark.parametrize(
    "other",
    [
        (4, ("192.0.2.10", 40_000), 7),
        (3, ("192.0.2.11", 40_000), 7),
        (3, ("192.0.2.10", 40_001), 7),
        (3, ("192.0.2.10", 40_000), 8),
    ],
    ids=["socket", "address", "port", "identifier"],
)
def test_the_same_octets_in_another_flow_are_a_new_request(other: tuple[object, ...]) -> None:
    assert answered().take(other, FIRST, 1.0) is Seen.NEW


@pytest.mark.statement("R-112")
@pytest.mark.parametrize(
    ("after", "seen"), [(4.0, b"reply"), (29.9, b"reply"), (30.0, Seen.NEW), (31.0, Seen.NEW)], ids=str
)
def test_a_reply_is_kept_for_30_seconds(after: float, seen: Seen | bytes) -> None:
    """Time is handed in: a real wait of 31 s would prove no more."""
    assert 5 <= LIFETIME <= 30
    assert answered(at=100.0).take(FLOW, FIRST, 100.0 + after) == seen


def test_a_copy_does_not_prolong_the_life_of_its_reply() -> None:
    duplicates = answered()
    assert duplicates.take(FLOW, FIRST, 29.0) == b"reply"
    assert duplicates.take(FLOW, FIRST, 31.0) is Seen.NEW


def test_the_life_of_a_reply_begins_when_it_is_sent() -> None:
    duplicates = Duplicates()
    duplicates.take(FLOW, FIRST, 0.0)
    duplicates.finish(FLOW, FIRST, b"late", 25.0)
    assert duplicates.take(FLOW, FIRST, 54.0) == b"late"


@pytest.mark.statement("R-113")
def test_a_new_authenticator_purges_the_old_reply() -> None:
    duplicates = answered()
    assert duplicates.take(FLOW, SECOND, 1.0) is Seen.NEW
    assert duplicates.finish(FLOW, SECOND, b"other reply", 1.0)
    assert duplicates.take(FLOW, SECOND, 2.0) == b"other reply"
    assert duplicates.take(FLOW, FIRST, 2.0) is Seen.NEW


@pytest.mark.statement("R-113")
def test_a_late_reply_to_the_old_request_is_not_sent() -> None:
    duplicates = Duplicates()
    duplicates.take(FLOW, FIRST, 0.0)
    assert duplicates.take(FLOW, SECOND, 1.0) is Seen.NEW
    assert not duplicates.finish(FLOW, FIRST, b"late", 2.0)
    assert duplicates.take(FLOW, SECOND, 2.0) is Seen.IN_WORK
    assert duplicates.finish(FLOW, SECOND, b"right", 3.0)
    assert duplicates.take(FLOW, SECOND, 3.0) == b"right"


def test_a_request_without_reply_is_worked_on_again() -> None:
    duplicates = Duplicates()
    duplicates.take(FLOW, FIRST, 0.0)
    assert duplicates.finish(FLOW, FIRST, None, 0.0)
    assert duplicates.take(FLOW, FIRST, 0.1) is Seen.NEW
    assert duplicates.in_work == 1


@pytest.mark.statement("R-117")
def test_only_so_many_replies_are_kept_the_oldest_goes_first() -> None:
    duplicates = Duplicates(most=2)
    for number in range(3):
        duplicates.take((number,), FIRST, 0.0)
        duplicates.finish((number,), FIRST, b"reply %d" % number, 0.0)
    assert duplicates.take((2,), FIRST, 1.0) == b"reply 2"
    assert duplicates.take((1,), FIRST, 1.0) == b"reply 1"
    assert duplicates.take((0,), FIRST, 1.0) is Seen.NEW


def test_only_so_many_are_worked_on_and_none_of_them_is_forgotten() -> None:
    duplicates = Duplicates(most=2)
    assert [duplicates.take((number,), FIRST, 0.0) for number in range(3)] == [Seen.NEW, Seen.NEW, Seen.FULL]
    assert duplicates.take((0,), FIRST, 0.0) is Seen.IN_WORK
    assert duplicates.finish((1,), FIRST, b"reply", 0.0)
    assert duplicates.take((2,), FIRST, 0.0) is Seen.NEW


def test_old_replies_leave_no_memory_behind() -> None:
    duplicates = Duplicates()
    for number in range(1000):
        duplicates.take((number,), FIRST, float(number))
        duplicates.finish((number,), FIRST, b"reply", float(number))
    duplicates.take((-1,), FIRST, 2000.0)
    assert duplicates.take((999,), FIRST, 2000.0) is Seen.NEW
    assert duplicates.in_work == 2


@pytest.mark.statement("R-117")
def test_kept_replies_are_bounded_in_octets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radius_server.duplicates.MOST_OCTETS", 10_000)
    duplicates = Duplicates()
    for number in range(100):
        duplicates.take((number,), b"f", 0.0)
        duplicates.finish((number,), b"f", bytes(1000), 0.0)
    kept = [number for number in range(100) if isinstance(duplicates.take((number,), b"f", 1.0), bytes)]
    assert kept == list(range(90, 100))
