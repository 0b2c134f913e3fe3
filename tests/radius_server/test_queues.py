"""Who is next."""

from hypothesis import given
from hypothesis import strategies as st

from radius_server.patience import RUSH, SHORT, Patience
from radius_server.queues import ALIKE, RANKS, FairQueue, Place
from radius_server.states import States


def test_in_one_line_the_order_is_kept() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(10):
        queue.put(number)
    assert [queue.take(4), queue.take(4), queue.take(4), queue.take(4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], []]


def test_a_flood_in_one_line_lets_the_others_pass() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(1000):
        queue.put(f"flood {number}", Place(2, "flood"))
    for number in range(2):
        queue.put(f"vpn {number}", Place(2, "vpn"))
        queue.put(f"wifi {number}", Place(2, "wifi"))
    assert queue.take(6) == ["flood 0", "vpn 0", "wifi 0", "flood 1", "vpn 1", "wifi 1"]
    assert queue.take(2) == ["flood 2", "flood 3"]


def alike(item: str) -> list[str]:
    """Marks are capital letters."""
    return [letter for letter in item if letter.isupper()]


def test_of_what_is_alike_four_are_taken_at_once_and_their_line_keeps_its_order() -> None:
    queue = FairQueue(alike)
    for item in ("A1", "A2", "b", "A3", "A4", "A5", "c", "A6"):
        queue.put(item)
    assert queue.take(64) == ["A1", "A2", "b", "A3", "A4"]
    assert len(queue) == 3
    assert queue.take(64) == ["A5", "c", "A6"]


def test_a_line_that_had_to_wait_for_what_is_alike_is_the_first_the_next_time() -> None:
    queue = FairQueue(alike)
    for number in range(6):
        queue.put(f"A{number}", Place(2, "flood"))
        queue.put(f"vpn {number}", Place(2, "vpn"))
        queue.put(f"wifi {number}", Place(2, "wifi"))
    assert len([item for item in queue.take(14) if "A" in item]) == ALIKE
    assert queue.take(3) == ["A4", "vpn 5", "wifi 5"]


def test_what_is_alike_is_so_in_every_rank() -> None:
    queue = FairQueue(alike)
    for number in range(5):
        queue.put(f"A{number}", Place(0, "vpn"))
    queue.put("A login", Place(2, "vpn"))
    queue.put("login", Place(2, "wifi"))
    assert queue.take(64) == ["A0", "A1", "A2", "A3", "login"]
    assert queue.take(64) == ["A4", "A login"]


def test_what_goes_first_passes_everything_else_however_late_it_comes() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(100):
        queue.put("login", Place(2, f"client {number}"))
        queue.put("password", Place(1, f"client {number}"))
    queue.put("answer", Place(0, "vpn"))
    assert queue.take(3) == ["answer", "password", "password"]
    assert len(queue) == 198


def test_the_oldest_of_each_line_are_taken_out_as_long_as_the_condition_holds() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(6):
        queue.put(number, Place(number % RANKS, number % 2))
    queue.put(9, Place(0, 0))
    queue.put(1, Place(0, 0))
    assert sorted(queue.take_while(lambda number: number < 4)) == [0, 1, 2, 3]
    assert sorted(queue.take(9)) == [1, 4, 5, 9]
    assert len(queue) == 0


@given(st.lists(st.tuples(st.integers(0, RANKS - 1), st.integers(0, 3)), max_size=60), st.integers(1, 7))
def test_nothing_is_lost_and_each_line_keeps_its_order(places: list[tuple[int, int]], most: int) -> None:
    queue: FairQueue[tuple[tuple[int, int], int]] = FairQueue()
    for number, place in enumerate(places):
        queue.put((place, number), Place(*place))
    taken = []
    while batch := queue.take(most):
        assert len(batch) <= most
        taken += batch
    assert sorted(taken, key=lambda item: item[1]) == [(place, number) for number, place in enumerate(places)]
    for line in set(places):
        numbers = [number for place, number in taken if place == line]
        assert numbers == sorted(numbers)
    ranks = [place[0] for place, _ in taken]
    assert ranks == sorted(ranks)


@given(st.lists(st.tuples(st.integers(0, RANKS - 1), st.integers(0, 2), st.text("ABC", max_size=2))), st.integers(1, 9))
def test_however_many_are_alike_nothing_is_lost_and_each_line_keeps_its_order(
    items: list[tuple[int, int, str]], most: int
) -> None:
    queue: FairQueue[tuple[int, tuple[int, int, str]]] = FairQueue(lambda item: sorted(set(item[1][2])))
    for number, (rank, line, letters) in enumerate(items):
        queue.put((number, (rank, line, letters)), Place(rank, line))
    taken = []
    while batch := queue.take(most):
        assert len(batch) <= most
        assert all(sum(letter in item[2] for _, item in batch) <= ALIKE for letter in "ABC")
        taken += batch
    assert sorted(taken) == list(enumerate(items))
    for place in {item[:2] for item in items}:
        numbers = [number for number, item in taken if item[:2] == place]
        assert numbers == sorted(numbers)


def test_in_a_rush_everybody_may_wait_and_under_a_load_that_does_not_end_only_shortly() -> None:
    patience = Patience()
    patience.note(0, 100.0)
    patience.note(50, 101.0)
    assert not patience.is_over(arrival=100.0, now=100.0 + RUSH)
    assert patience.is_over(arrival=100.0, now=100.1 + RUSH)
    assert not patience.is_over(arrival=100.2 + RUSH - SHORT, now=100.1 + RUSH), "who is fresh is answered"
    patience.note(0, 104.0)
    assert not patience.is_tried(104.1)
    assert not patience.is_over(arrival=100.0, now=104.1)


def test_a_state_counts_for_its_client_until_it_is_answered_or_ends() -> None:
    states = States()
    states.remember("vpn", "a", until=130.0, now=10.0)
    assert states.knows("vpn", "a", 129.9)
    assert not states.knows("other", "a", 20.0)
    assert not states.knows("vpn", "b", 20.0)
    assert not states.knows("vpn", "a", 130.0)
    states.forget("vpn", "a")
    assert not states.knows("vpn", "a", 20.0)


def test_only_so_many_states_are_remembered() -> None:
    states = States(most=100)
    for number in range(1000):
        states.remember("vpn", str(number), until=1e9, now=0.0)
    assert len(states) == 100
    assert states.knows("vpn", "999", 1.0)
    assert not states.knows("vpn", "0", 1.0)


def test_states_that_have_ended_are_forgotten() -> None:
    states = States()
    for number in range(1000):
        states.remember("vpn", str(number), until=number + 10.0, now=float(number))
    assert len(states) <= 10
