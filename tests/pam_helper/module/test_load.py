"""Many logins: at once in one process, and one after another without a descriptor or an allocation left behind."""

import pytest

from tests.pam_helper.module.conftest import one_line
from tests.pam_helper.module.harness import AUTH_ERR, SUCCESS, Stack, build, hidden
from tests.pam_helper.module.hostile import Connection, Hostile, asks, frame, verdict

THREADS = 50
PIN = frame("P", "PIN: ")


def accepts_whoever_answers_with_his_own_pin(connection: Connection) -> None:
    """User 17's PIN is pin-17. Every third user is refused, so that a crossed line shows as a wrong code."""
    user = connection.hello()["user"]
    connection.send(PIN)
    own = connection.hear() == ("R", user.replace("user", "pin-").encode())
    connection.send(verdict("S" if own and int(user.removeprefix("user")) % 3 else "D", user))


def check_each_got_his_own(stack: Stack) -> None:
    with Hostile(stack.socket, [accepts_whoever_answers_with_his_own_pin]) as helper:
        runs = stack.run(threads=THREADS, answer=hidden("pin-%d"))
    assert [(run.number, run.code) for run in runs] == [(n, SUCCESS if n % 3 else AUTH_ERR) for n in range(THREADS)]
    assert {len(run.shown) for run in runs} == {1}
    assert (helper.trouble, len(helper.connections)) == ([], THREADS)


@pytest.mark.statement("P-027")
def test_50_threads_of_one_process_at_once(either: Stack) -> None:
    check_each_got_his_own(either)


@pytest.mark.statement("P-027")
def test_50_threads_share_nothing_says_the_thread_sanitizer(
    compiler: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("threads")
    check_each_got_his_own(one_line(build(folder / "built", "-fsanitize=thread"), folder))


@pytest.mark.statement("P-016")
def test_10000_logins_leave_nothing_behind(stack: Stack) -> None:
    with Hostile(stack.socket, [asks(PIN, then=verdict("S", "alice"))]):
        runs = stack.run(preload=True, runs=10_000, answer=hidden("123456"), timeout=100)
    assert {(run.code, run.files) for run in runs} == {(SUCCESS, (3, 3))}
    assert sum(run.leaked for run in runs[10:]) == 0
    assert {run.inheritable for run in runs} == {3}  # the program's own three
