"""So many a second."""

from radius_server.limits import Allowance


def test_a_burst_and_then_so_many_a_second() -> None:
    allowance = Allowance(a_second=10.0, at_once=5.0)
    assert [allowance.takes("a", 0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [allowance.takes("a", 0.35) for _ in range(5)] == [True] * 3 + [False] * 2
    assert [allowance.takes("a", 100.0) for _ in range(7)] == [True] * 5 + [False] * 2, "never more than a burst"


def test_each_key_has_its_own() -> None:
    allowance = Allowance(a_second=1.0, at_once=1.0)
    assert [allowance.takes(key, 0.0) for key in "abab"] == [True, True, False, False]


def test_only_so_many_keys_are_remembered() -> None:
    allowance = Allowance(a_second=0.0, at_once=1.0, keys=10)
    for number in range(1000):
        allowance.takes(number, 0.0)
    assert len(allowance._left) == 10
    assert not allowance.takes(999, 0.0)
