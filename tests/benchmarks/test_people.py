"""The crowd of the benchmarks: no PIN is used twice, and a wrong one is wrong."""

import pytest

from benchmarks import people
from benchmarks.people import Crowd, hotp

RFC_4226_APPENDIX_D = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871"]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the next time step: nobody here compares what was given out."""
    monkeypatch.setattr(people, "MARGIN", 0.0)


def test_values_are_those_of_the_rfc() -> None:
    assert [hotp(b"12345678901234567890", counter) for counter in range(9)] == RFC_4226_APPENDIX_D


@pytest.mark.parametrize("kind", ["hotp", "totp"])
def test_what_was_not_sent_is_given_out_again_and_nothing_else(kind: str) -> None:
    crowd = Crowd(40, kind)
    first = crowd.right(10)
    crowd.give_back(4)
    second = crowd.right(10)
    assert [name for name, _ in second[:4]] == [name for name, _ in first[6:]]
    assert not set(second) & set(first[:6])


def test_few_people_with_counters_log_in_often() -> None:
    given = Crowd(3, "hotp").right(30)
    assert len(set(given)) == 30
    assert [name for name, _ in given[:4]] == ["p0000000", "p0000001", "p0000002", "p0000000"]


def test_nobody_logs_in_twice_in_a_time_step() -> None:
    """Two rounds of one step find others; a third would wait."""
    crowd = Crowd(40)
    names = [entry[0] for entry in (*crowd.right(1000), *crowd.right(1000))]
    assert len(names) == len(set(names)) == 40


def test_a_wrong_pin_is_wrong_for_a_while() -> None:
    crowd = Crowd(50, "hotp")
    keys = {person.name: person.key for person in crowd.people}
    wrong = crowd.wrong(50)
    assert len(wrong) == 50
    assert not [name for name, pin in wrong if pin in {hotp(keys[name], counter) for counter in range(11)}]
