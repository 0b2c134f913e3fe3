"""The bounds on what is being worked on."""

import pytest

from radius_server.work import MOST, Lane, Load, Work


def small(most: int, **others: int) -> Work:
    return Work(dict.fromkeys(Lane, most), **others)


def load(client: str, user: str | None = None, lane: Lane = Lane.LOGIN, octets: int = 0) -> Load:
    return Load(lane, client, user, octets)


def enter_all(work: Work, client: str) -> int:
    """How many of one client get in."""
    count = 0
    while work.refusal(load(client, f"{client}-{count}")) is None:
        work.enter(load(client, f"{client}-{count}"))
        count += 1
    return count


def test_one_client_takes_half_and_the_next_half_of_what_is_left() -> None:
    work = small(96)
    assert enter_all(work, "flood") == 48
    assert work.refusal(load("flood")) == "overload-client"
    assert enter_all(work, "other") == 24
    assert enter_all(work, "third") == 12


def test_there_is_room_for_one_request_of_each_client_until_the_whole_is_full() -> None:
    work = small(8)
    assert [enter_all(work, f"client{number}") for number in range(5)] == [4, 2, 1, 1, 0]
    assert work.refusal(load("client9")) == "overload"
    work.leave(load("client0", "client0-0"), decided=False)
    assert work.refusal(load("client9")) is None


@pytest.mark.statement("R-099")
def test_a_flood_of_logins_takes_no_room_of_those_that_answer_a_challenge() -> None:
    work = small(8)
    for client in ("one", "two", "three", "four"):
        enter_all(work, client)
    assert work.refusal(load("one")) == "overload"
    assert work.refusal(load("one", "alice", Lane.ANSWER)) is None


def test_a_flood_for_one_user_leaves_room_for_the_others() -> None:
    work = small(16)
    for _ in range(2):
        assert work.refusal(load("vpn", "alice")) is None
        work.enter(load("vpn", "alice"))
    assert work.refusal(load("vpn", "alice")) == "overload-user"
    assert work.refusal(load("vpn", "bob")) is None
    assert work.refusal(load("other", "alice")) is None
    work.leave(load("vpn", "alice"), decided=False)
    assert work.refusal(load("vpn", "alice")) is None


def test_requests_of_no_user_have_no_bound_of_a_user() -> None:
    work = small(16)
    for _ in range(8):
        assert work.refusal(load("vpn", lane=Lane.PROBE)) is None
        work.enter(load("vpn", lane=Lane.PROBE))


def test_large_requests_are_refused_before_they_take_the_memory() -> None:
    work = small(100, most_octets=1000)
    work.enter(load("vpn", octets=900))
    assert work.refusal(load("vpn", octets=101)) == "overload"
    assert work.refusal(load("vpn", octets=100)) is None


def test_what_has_left_is_not_remembered() -> None:
    work = Work()
    for number in range(1000):
        work.enter(load(f"client{number}", f"user{number}", octets=number))
        work.leave(load(f"client{number}", f"user{number}", octets=number), decided=False)
    assert (work.count, work._octets) == (0, 0)
    assert not work._by_user
    assert not work._by_client


def test_every_lane_has_a_bound() -> None:
    assert set(MOST) == set(Lane)
