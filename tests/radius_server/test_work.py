"""The bounds on what is being worked on."""

from radius_server.work import Work


def test_there_is_room_until_the_whole_is_full() -> None:
    work = Work(most=3, most_per_user=3)
    for user in ("alice", "bob", "carol"):
        assert work.refusal(user) is None
        work.enter(user)
    assert work.refusal("dave") == "overload"
    work.leave("bob")
    assert work.refusal("dave") is None


def test_a_flood_for_one_user_leaves_room_for_the_others() -> None:
    work = Work(most=10, most_per_user=2)
    work.enter("alice")
    work.enter("alice")
    assert work.refusal("alice") == "overload-user"
    assert work.refusal("bob") is None
    work.leave("alice")
    assert work.refusal("alice") is None


def test_what_has_left_is_not_remembered() -> None:
    work = Work()
    for number in range(1000):
        work.enter(f"user{number}")
        work.leave(f"user{number}")
    assert work.count == 0
    assert not work._by_user
