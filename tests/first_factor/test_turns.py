"""Which server is asked first."""

from dataclasses import dataclass

from first_factor.turns import ASIDE, Turns


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_order_is_the_configured_one() -> None:
    assert Turns("abc").order() == ["a", "b", "c"]


def test_a_server_that_failed_is_asked_last() -> None:
    turns = Turns("abc", Clock())
    assert turns.failed("a")
    assert turns.order() == ["b", "c", "a"]
    assert not turns.failed("a"), "no news"


def test_when_its_time_is_over_one_question_tries_it_and_the_others_do_not() -> None:
    clock = Clock()
    turns = Turns("ab", clock)
    turns.failed("a")
    clock.now += ASIDE
    assert [turns.order() for _ in range(3)] == [["a", "b"], ["b", "a"], ["b", "a"]]
    assert turns.answered("a")
    assert turns.order() == ["a", "b"]
    assert not turns.answered("a"), "no news"


def test_where_all_failed_the_one_that_failed_first_is_tried_first() -> None:
    clock = Clock()
    turns = Turns("abc", clock)
    for server in "bca":
        turns.failed(server)
        clock.now += 1
    assert turns.order() == ["b", "c", "a"]
