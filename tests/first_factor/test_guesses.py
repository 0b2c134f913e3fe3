"""How many wrong passwords root's helper asks the host about for a server that may have been broken into."""

import pytest

from first_factor.guesses import (
    ACCOUNT_FREE,
    ALL_A_SECOND,
    ALL_AT_ONCE,
    FIRST_WAIT,
    LONGEST_WAIT,
    Guesses,
    Held,
)

DAY = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guesses(clock: Clock) -> Guesses:
    return Guesses(clock)


def wrong(guesses: Guesses, account: str, most: int = 10_000) -> int:
    """How many wrong passwords may be tried about `account` now."""
    for count in range(most):
        try:
            guesses.count(account)
        except Held:
            return count
    return most


def test_after_so_many_in_a_row_waits_begin_and_double_up_to_an_hour(guesses: Guesses, clock: Clock) -> None:
    assert wrong(guesses, "alice") == ACCOUNT_FREE
    waits = [FIRST_WAIT]
    while waits[-1] < LONGEST_WAIT:
        waits.append(min(2 * waits[-1], LONGEST_WAIT))
    for wait in [*waits, LONGEST_WAIT, LONGEST_WAIT]:
        clock.now += wait - 0.001
        assert wrong(guesses, "alice") == 0, wait
        clock.now += 0.001
        assert wrong(guesses, "alice") == 1, wait


def test_what_can_be_tried_about_one_account_in_30_days(guesses: Guesses, clock: Clock) -> None:
    """One in an hour and those at the beginning: as few as at a login."""
    tried, end = 0, clock.now + 30 * DAY
    while clock.now < end:
        tried += wrong(guesses, "alice")
        clock.now += 10
    assert tried <= 30 * 24 + ACCOUNT_FREE + 10


def test_accounts_are_held_one_by_one(guesses: Guesses) -> None:
    wrong(guesses, "alice")
    assert wrong(guesses, "bob") == ACCOUNT_FREE


def test_a_right_password_clears_what_stands_against_its_account_alone(guesses: Guesses, clock: Clock) -> None:
    for account in ("alice", "bob"):
        wrong(guesses, account)
    clock.now += FIRST_WAIT
    guesses.count("alice")
    guesses.proved("alice")
    assert wrong(guesses, "alice") == ACCOUNT_FREE
    guesses.count("bob")
    assert wrong(guesses, "bob") == 0


def test_many_at_once_do_not_outrun_the_count(guesses: Guesses) -> None:
    """Each is counted before anything is asked; only then may it come back."""
    for _ in range(ACCOUNT_FREE):
        guesses.count("alice")
    with pytest.raises(Held):
        guesses.count("alice")


def test_what_the_host_did_not_answer_counts_for_nothing(guesses: Guesses) -> None:
    for _ in range(10 * ACCOUNT_FREE):
        guesses.count("alice")
        guesses.unanswered("alice")
    guesses.count("alice")
    guesses.proved("alice")
    guesses.unanswered("alice")  # it was on its way when another proved the password
    assert wrong(guesses, "alice") == ACCOUNT_FREE


def test_one_password_tried_on_every_account_ends_too(guesses: Guesses, clock: Clock) -> None:
    accounts = iter(range(1_000_000))

    def spray() -> int:
        tried = 0
        while wrong(guesses, f"user{next(accounts)}", most=1):
            tried += 1
        return tried

    assert spray() == ALL_AT_ONCE
    clock.now += 60
    assert spray() == 60 * ALL_A_SECOND
    clock.now += 365 * DAY
    assert spray() == ALL_AT_ONCE, "no more is saved up than there is at the start"


def test_right_passwords_use_nothing_up(guesses: Guesses) -> None:
    for number in range(3 * int(ALL_AT_ONCE)):
        guesses.count(f"user{number}")
        guesses.proved(f"user{number}")
    assert wrong(guesses, "alice") == ACCOUNT_FREE


def test_a_count_of_thousands_waits_an_hour_and_no_longer(guesses: Guesses, clock: Clock) -> None:
    for _ in range(3000):
        clock.now += LONGEST_WAIT
        wrong(guesses, "alice", most=1)
    clock.now += LONGEST_WAIT
    assert wrong(guesses, "alice") == 1
