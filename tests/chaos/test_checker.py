"""Each rule of the checker bites: small histories that are right, and what one wrong thing in each is called."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos.checker import RULES, check
from tests.chaos.history import Act, Heard, History, Outcome, Pin, Request, Row, Sent, Token


def request(number: int, position: int | None = 0, **more: object) -> Request:
    """A request of alice for server one, made at second `number`."""
    pin = Pin("123456", "T1", position) if position is not None else Pin("000000")
    made = Request(number, "alice", "gate", pin, inv=float(number), ret=number + 0.5, sent=[Sent(number, "one")])
    return replace(made, **more)  # type: ignore[arg-type]


def heard(outcome: Outcome, at: float = 0.0, run: int = 1, octets: bytes = b"", state: str = "") -> Heard:
    return Heard(at, "one", run, outcome, octets, state)


def row(number: int, decision: str = "accept", reason: str = "passcode-right", **more: object) -> Row:
    serial = "T1" if decision == "accept" else ""
    made = Row(float(number), "one", number, "login", decision, reason, "alice", "gate", serial, number)
    return replace(made, **more)  # type: ignore[arg-type]


def token(moving_factor: int, kind: str = "hotp") -> Token:
    return Token("T1", "alice", kind, 0, moving_factor)


def right() -> History:
    """An Accept, a used PIN, a wrong one, one that nobody answered though it was accepted, and a challenge."""
    requests = [
        request(1, 0, heard=[heard(Outcome.ACCEPT, 1.2)], outcome=Outcome.ACCEPT),
        request(2, 0, heard=[heard(Outcome.REJECT, 2.2)], outcome=Outcome.REJECT),
        request(3, None, heard=[heard(Outcome.REJECT, 3.2)], outcome=Outcome.REJECT),
        request(4, 1),
        request(5, None, heard=[heard(Outcome.CHALLENGE, 5.2, state="S1")], outcome=Outcome.CHALLENGE),
        request(6, 2, state="S1", heard=[heard(Outcome.ACCEPT, 6.2)], outcome=Outcome.ACCEPT),
        request(7, None, heard=[heard(Outcome.REJECT, 7.2)], outcome=Outcome.REJECT),
    ]
    rows = [
        row(1),
        row(2, "reject", "passcode-used", failures=1),
        row(3, "reject", "passcode-wrong", failures=2),
        row(4),
        row(5, "challenge", "password-right"),
        row(6),
        row(7, "reject", "passcode-wrong", failures=1),
    ]
    return History(requests, [], rows, [token(3)], {"alice": 1})


def broken(history: History) -> set[str]:
    return {found.rule for found in check(history)}


def test_a_history_in_which_nothing_is_wrong_breaks_no_rule() -> None:
    assert check(right()) == []


def test_a_history_without_anything_breaks_no_rule() -> None:
    assert check(History([])) == []


def _accepted_twice(history: History) -> None:
    history.requests[1].heard = [heard(Outcome.ACCEPT, 2.2)]


def _accepted_without_a_pin(history: History) -> None:
    history.requests[2].heard = [heard(Outcome.ACCEPT, 3.2)]


def _late_accept(history: History) -> None:
    history.requests[1].heard += [heard(Outcome.ACCEPT, 20.0, run=2)]


def _two_accept_rows(history: History) -> None:
    history.rows[1] = row(2)


def _locked_before(history: History) -> None:
    history.acts = [Act("user-lock", True, "alice", "", 5.3, 5.5, done=True)]


def _locked_and_unheard(history: History) -> None:
    history.acts = [Act("user-disable", True, "alice", "", 3.6, 3.8, done=True)]


def _revoked_before(history: History) -> None:
    history.acts = [Act("token-revoke", True, "alice", "T1", 5.3, 5.5, done=True)]


def _another_bar_was_opened(history: History) -> None:
    history.acts = [
        Act("user-lock", True, "alice", "", 5.3, 5.5, done=True),
        Act("user-disable", False, "alice", "", 5.6, 5.7, done=True),
    ]


def _no_accept_row(history: History) -> None:
    del history.rows[0]


def _no_refusal_row(history: History) -> None:
    del history.rows[6]


def _never_asked(history: History) -> None:
    history.rows[3] = replace(row(4), number=99)


def _nobodys_row(history: History) -> None:
    history.rows[3] = replace(row(4), number=None)


def _another_user(history: History) -> None:
    history.rows[3] = row(4, user="bob")


def _another_client(history: History) -> None:
    history.rows[3] = row(4, client="vpn")


def _another_host(history: History) -> None:
    history.rows[3] = row(4, chain="two")


def _another_token(history: History) -> None:
    history.rows[3] = row(4, serial="T2")


def _another_reason(history: History) -> None:
    history.rows[3] = row(4, reason="grace")


def _decided_twice(history: History) -> None:
    history.rows.append(row(4, "reject", "passcode-repeated", seq=8, order=4.5))


def _used_before_its_time(history: History) -> None:
    history.rows[1] = replace(history.rows[1], order=0.5)


def _wrong_though_right(history: History) -> None:
    history.rows[1] = row(2, "reject", "passcode-wrong", failures=1)


def _chain_broken(history: History) -> None:
    history.problems = ("row 7 of chain one was changed",)


def _counter_behind(history: History) -> None:
    history.tokens = [token(2)]


def _counter_ahead(history: History) -> None:
    history.tokens = [token(4)]


def _counter_went_back(history: History) -> None:
    history.rows[3], history.rows[5] = replace(row(4), order=6.0), replace(row(6), order=4.0)


def _sheet(history: History) -> None:
    history.tokens = [token(0b110, "recovery_code")]


def _one_failure_less(history: History) -> None:
    history.failures = {"alice": 0}


def _failure_not_counted(history: History) -> None:
    history.rows[2] = row(3, "reject", "passcode-wrong", failures=1)


def _not_cleared(history: History) -> None:
    history.rows[6] = row(7, "reject", "passcode-wrong", failures=3)
    history.failures = {"alice": 3}


def _state_twice(history: History) -> None:
    history.requests.append(request(8, 3, state="S1", heard=[heard(Outcome.ACCEPT, 8.2)]))
    history.rows.append(row(8))
    history.tokens, history.failures = [token(4)], {"alice": 0}


def _state_twice_in_the_trail(history: History) -> None:
    history.requests.append(request(8, None, state="S1"))
    history.rows.append(row(8, "again", "passcode-wrong", failures=2))
    history.failures = {"alice": 2}


def _state_to_two(history: History) -> None:
    history.requests.append(request(8, None, heard=[heard(Outcome.CHALLENGE, state="S1")]))
    history.rows.append(row(8, "challenge", "password-right"))


def _two_answers(history: History) -> None:
    history.requests[1].heard = [heard(Outcome.REJECT, octets=b"a"), heard(Outcome.REJECT, octets=b"b")]


def _two_outcomes(history: History) -> None:
    history.one_answer = True
    history.requests[0].heard += [heard(Outcome.REJECT, run=2)]
    history.requests[0].sent += [Sent(1.3, "one")]
    history.rows.append(row(1, "reject", "passcode-used", order=1.5, seq=8, failures=1))
    history.rows[1] = row(2, "reject", "passcode-repeated", failures=1)


def _silent(history: History) -> None:
    history.silent = ("two",)


WRONG: list[tuple[Callable[[History], None], str]] = [
    (_accepted_twice, "a PIN was accepted twice"),
    (_accepted_without_a_pin, "a PIN was accepted twice"),
    (_late_accept, "a PIN was accepted twice"),
    (_two_accept_rows, "a PIN was accepted twice in the trail"),
    (_locked_before, "somebody who was shut out was let in"),
    (_locked_and_unheard, "somebody who was shut out was let in"),
    (_revoked_before, "somebody who was shut out was let in"),
    (_another_bar_was_opened, "somebody who was shut out was let in"),
    (_no_accept_row, "an answer is missing in the trail"),
    (_no_refusal_row, "an answer is missing in the trail"),
    (_never_asked, "a row lies"),
    (_nobodys_row, "a row lies"),
    (_another_user, "a row lies"),
    (_another_client, "a row lies"),
    (_another_host, "a row lies"),
    (_another_token, "a row lies"),
    (_another_reason, "a row lies"),
    (_decided_twice, "a request was decided more often than it was sent"),
    (_used_before_its_time, "a refusal is wrong"),
    (_wrong_though_right, "a refusal is wrong"),
    (_chain_broken, "the trail does not verify"),
    (_counter_behind, "a counter is wrong"),
    (_counter_ahead, "a counter is wrong"),
    (_counter_went_back, "a counter is wrong"),
    (_sheet, "a counter is wrong"),
    (_one_failure_less, "failures are counted wrongly"),
    (_failure_not_counted, "failures are counted wrongly"),
    (_not_cleared, "failures are counted wrongly"),
    (_state_twice, "a State was used twice"),
    (_state_twice_in_the_trail, "a State was used twice"),
    (_state_to_two, "a State was given twice"),
    (_two_answers, "copies were answered differently"),
    (_two_outcomes, "copies were answered differently"),
    (_silent, "it does not heal"),
]


@pytest.mark.parametrize(("spoil", "rule"), WRONG, ids=[spoil.__name__.strip("_") for spoil, _ in WRONG])
def test_what_is_wrong_is_found_by_the_rule_for_it(spoil: Callable[[History], None], rule: str) -> None:
    history = right()
    spoil(history)
    assert rule in broken(history)


def test_every_rule_is_shown_to_bite() -> None:
    assert {rule for _, rule in WRONG} == set(RULES)


# --- what looks wrong and is not


def test_who_may_have_been_let_in_again_may_be_accepted() -> None:
    history = right()
    shut = Act("user-lock", True, "alice", "", 5.3, 5.5, done=True)
    history.acts = [shut, Act("user-lock", False, "alice", "", 5.8, 6.4, done=False)]
    assert check(history) == []
    history.acts = [replace(shut, done=False)]
    assert check(history) == [], "nobody knows whether he was locked"
    history.acts = [replace(shut, ret=6.1)]
    assert check(history) == [], "he asked before it returned"
    history.acts = [replace(shut, user="bob"), Act("token-revoke", True, "alice", "T2", 5.3, 5.5, done=True)]
    assert check(history) == [], "another user, another token"


def test_a_copy_may_be_refused_where_servers_do_not_share_their_answers_or_something_ended_the_login() -> None:
    history = right()
    _two_outcomes(history)
    history.one_answer = False
    assert check(history) == []
    history.one_answer, history.acts = True, [Act("token-disable", True, "alice", "T1", 1.25, 1.3, done=True)]
    assert "copies were answered differently" not in broken(history), "what was answered is withheld from then on"


def test_a_refused_packet_may_be_the_one_whose_answer_to_the_commit_was_lost() -> None:
    """Accepted in the trail, silence, and the copy is refused."""
    history = right()
    history.requests[3].sent.append(Sent(4.2, "one"))
    history.requests[3].heard = [heard(Outcome.REJECT, 4.4)]
    history.rows.append(row(4, "reject", "passcode-used", order=4.3, seq=8, failures=1))
    assert check(history) == []


def test_an_unlocked_user_begins_at_no_failure() -> None:
    history = right()
    history.rows.append(replace(row(8, "done", "", event="user-unlock"), number=None))
    history.failures = {"alice": 0}
    assert check(history) == []


def test_the_codes_of_a_sheet_may_be_used_in_any_order() -> None:
    history = right()
    history.tokens = [token(0b111, "recovery_code")]
    history.rows[3], history.rows[5] = replace(row(4), order=6.0), replace(row(6), order=4.0)
    assert "a counter is wrong" not in broken(history)


def test_the_story_of_a_user_tells_everything_about_him() -> None:
    history = right()
    history.acts = [Act("user-lock", True, "alice", "", 6.5, 6.6, done=True)]
    history.faults = [(4.1, "*** kills one")]
    story = "\n".join(history.tell("alice"))
    for words in ("request 4 -> one", "*** kills one", "admin: user-lock shut", "one#6 login accept", "failures 1"):
        assert words in story
