"""Sessions and open questions, with a clock of the test's own."""

from dataclasses import dataclass

from gateways.web_sessions import PATIENCE, Question, Questions, Sessions, new_key

HOUR = 3600.0
SITE, OTHER = "wiki.example.org", "other.example.org"
BROWSER = "a-browser"


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def sessions(clock: Clock, most: int = 10) -> Sessions:
    return Sessions(8 * HOUR, HOUR, clock, most)


def test_a_session_ends_after_its_lifetime_however_much_it_is_used() -> None:
    clock = Clock()
    found = sessions(clock)
    key = found.open("alice", SITE)
    for _ in range(15):
        clock.now += HOUR / 2
        assert found.user_of(key, SITE) == "alice"
    clock.now += HOUR / 2
    assert found.user_of(key, SITE) is None
    assert len(found) == 0, "forgotten"


def test_a_session_that_is_not_used_ends_sooner() -> None:
    clock = Clock()
    found = sessions(clock)
    key = found.open("alice", SITE)
    clock.now += HOUR - 1
    assert found.user_of(key, SITE) == "alice"
    clock.now += HOUR
    assert found.user_of(key, SITE) is None
    clock.now -= HOUR
    assert found.user_of(key, SITE) is None, "and does not come back"


def test_of_two_lifetimes_the_shorter_counts() -> None:
    clock = Clock()
    found = sessions(clock)
    short, long, idle, none = (
        found.open("alice", SITE, *lengths) for lengths in ((60.0, None), (90 * HOUR, 90 * HOUR), (None, 60.0), (0, 0))
    )
    assert found.user_of(none, SITE) is None, "0 is no session, and not one without an end"
    clock.now += 60
    assert [found.user_of(key, SITE) for key in (short, long, idle)] == [None, "alice", None]
    clock.now += HOUR
    assert found.user_of(long, SITE) is None


def test_a_session_is_good_for_its_own_site() -> None:
    found = sessions(Clock())
    key = found.open("alice", SITE)
    assert found.user_of(key, OTHER) is None
    assert found.end(key, OTHER) is None
    assert found.user_of(key, SITE) == "alice"
    assert found.end(key, SITE) == "alice"
    assert found.user_of(key, SITE) is None


def test_the_one_that_was_not_used_for_longest_makes_room() -> None:
    found = sessions(Clock(), most=3)
    keys = [found.open(name, SITE) for name in ("a", "b", "c")]
    found.user_of(keys[0], SITE)
    found.open("d", SITE)
    assert [found.user_of(key, SITE) for key in keys] == ["a", None, "c"]
    assert len(found) == 3


def test_keys_are_long_and_kept_as_hashes() -> None:
    found = sessions(Clock())
    keys = {found.open("alice", SITE) for _ in range(5)} | {new_key() for _ in range(5)}
    assert {len(key) for key in keys} == {43}, "256 bits"
    assert len(keys) == 10
    assert not [key for key in keys if key in repr(vars(found))]


def question(number: int = 0) -> Question:
    return Question(f"user{number}", BROWSER, SITE, "/", b"a-state")


def test_a_question_is_answered_once_and_by_the_browser_that_was_asked() -> None:
    asked = Questions(Clock())
    key = asked.ask(question())
    assert asked.take(key, "another", SITE) is None
    assert asked.take(key, BROWSER, OTHER) is None
    assert asked.take("no-such-key", BROWSER, SITE) is None
    assert asked.take(key, BROWSER, SITE) == question()
    assert asked.take(key, BROWSER, SITE) is None
    assert "a-state" not in repr(question())


def test_a_question_waits_for_eleven_minutes() -> None:
    clock = Clock()
    asked = Questions(clock)
    just, late = asked.ask(question()), asked.ask(question())
    clock.now += PATIENCE - 1
    assert asked.take(just, BROWSER, SITE) is not None
    clock.now += 1
    assert asked.take(late, BROWSER, SITE) is None


def test_old_questions_make_room() -> None:
    clock = Clock()
    asked = Questions(clock, most=3)
    keys = [asked.ask(question(number)) for number in range(4)]
    assert len(asked) == 3
    assert asked.take(keys[0], BROWSER, SITE) is None
    clock.now += PATIENCE
    asked.ask(question())
    assert len(asked) == 1, "those that ended are forgotten"
