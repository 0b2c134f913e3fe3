"""While the daemon waits for a key to be touched: a line ends it, the daemon ends it, and nothing else gets through."""

import itertools
import select
import signal
import termios
from collections.abc import Callable, Iterator

import pytest

from tests.pam_helper.module.conftest import one_line
from tests.pam_helper.module.harness import AUTHINFO_UNAVAIL, CONV_ERR, LOG_AUTHPRIV, LOG_ERR, SUCCESS, Stack, hidden
from tests.pam_helper.module.harness import build as built
from tests.pam_helper.module.hostile import Connection, Hostile, Script, frame, says, verdict
from tests.pam_helper.module.screen import NO, STOP, YES, Screen, begin, screen, types, wait

TOUCH = frame("I", "Touch it")
PIN = frame("P", "PIN: ")


@pytest.fixture
def terminal() -> Iterator[Screen]:
    with screen() as made:
        yield made


@pytest.fixture
def at_terminal(either: Stack, terminal: Screen) -> Stack:
    either.options = {"ctty": terminal.path}
    return either


# --- a line ends it ---------------------------------------------------------------------------------------------

TYPED = {
    "Enter": (b"\n", b""),
    "a PIN": (b"123456\n", b"123456"),
    "a line that was corrected": (b"12345\x7f56\n", b"123456"),
    "Ctrl-D": (b"\x04", b""),
    "a PIN and Ctrl-D": (b"123456\x04", b"123456"),
    "no UTF-8": (b"\xff\xfe\n", b"\xff\xfe"),
    "a NUL": (b"123\x16\x00456\n", b""),
    "512 octets": (b"1" * 512 + b"\n", b"1" * 512),
    "512 octets and Ctrl-D": (b"1" * 512 + b"\x04", b"1" * 512),
    "513 octets": (b"1" * 513 + b"\n", b""),
    "513 octets and Ctrl-D": (b"1" * 513 + b"\x04", b""),
    "1,026 octets, twice what fits": (b"1" * 1026 + b"\n", b""),
    "5,000 octets, more than a terminal keeps": (b"1" * 5000 + b"\n", b""),
}


@pytest.mark.statement("P-020", "P-016")
@pytest.mark.parametrize("what", TYPED)
def test_a_line_is_the_answer(at_terminal: Stack, terminal: Screen, what: str) -> None:
    typed, line = TYPED[what]
    before = terminal.settings
    with Hostile(at_terminal.socket, [types(terminal, typed, ("L", line))]) as helper:
        run = at_terminal.login()
    assert (run.code, helper.connections[0].heard[1:]) == (SUCCESS, [("L", line)])
    assert (run.files, run.inheritable, run.signals_kept) == ((3, 3), 3, True)
    assert terminal.left() == b"", "nothing of it reaches who reads next"
    assert terminal.settings == before


@pytest.mark.statement("P-020")
def test_what_was_typed_before_the_wait_is_no_answer(at_terminal: Stack, terminal: Screen) -> None:
    """A pasted command line, for example, is no PIN."""
    terminal.type(b"rm -rf x\n")

    def script(connection: Connection) -> None:
        begin(connection, terminal)
        connection.send(STOP)
        connection.send(YES if connection.hear() == ("N", b"") else NO)

    with Hostile(at_terminal.socket, [script]):
        assert at_terminal.login().code == SUCCESS
    assert terminal.left() == b""


@pytest.mark.statement("P-012", "P-013")
@pytest.mark.parametrize(("end", "code"), [(STOP, SUCCESS), (YES, AUTHINFO_UNAVAIL), (b"", AUTHINFO_UNAVAIL)])
def test_what_was_typed_when_it_ends_goes_to_nobody(
    at_terminal: Stack, terminal: Screen, end: bytes, code: int
) -> None:
    """Else half a PIN would stand in the command line of the shell that comes next."""

    def script(connection: Connection) -> None:
        begin(connection, terminal)
        terminal.type(b"1234")
        connection.send(end)
        if end == STOP:
            connection.send(YES if connection.hear() == ("N", b"") else NO)

    with Hostile(at_terminal.socket, [script]):
        assert at_terminal.login().code == code
    terminal.type(b"id\n")
    assert terminal.left() == b"id\n"


@pytest.mark.statement("P-020")
def test_after_a_line_a_prompt_is_asked_as_ever(at_terminal: Stack, terminal: Screen) -> None:
    def script(connection: Connection) -> None:
        begin(connection, terminal)
        terminal.type(b"\n")
        connection.hear()
        connection.send(frame("I", "so") + PIN)
        connection.send(YES if connection.hear() == ("R", b"123456") else NO)

    with Hostile(at_terminal.socket, [script]):
        assert at_terminal.login(answer=hidden("123456")).code == SUCCESS


def test_two_waits_are_two_answers(at_terminal: Stack, terminal: Screen) -> None:
    def script(connection: Connection) -> None:
        begin(connection, terminal)
        terminal.type(b"1\n")
        connection.hear()
        connection.send(wait() + frame("I", "once more"))
        terminal.shows("once more", connection.socket)
        terminal.type(b"2\n")
        connection.hear()
        connection.send(YES)

    with Hostile(at_terminal.socket, [script]) as helper:
        assert at_terminal.login().code == SUCCESS
    assert helper.connections[0].heard[1:] == [("L", b"1"), ("L", b"2")]


@pytest.mark.statement("P-001", "P-020")
def test_a_line_and_a_stop_at_the_same_moment_are_one_answer(at_terminal: Stack, terminal: Screen) -> None:
    """Either may win; what follows is in step."""
    turns = itertools.cycle([True, False])

    def script(connection: Connection) -> None:
        begin(connection, terminal)
        typed_first = next(turns)
        if typed_first:
            terminal.type(b"1\n")
        connection.send(STOP)
        if not typed_first:
            terminal.type(b"1\n")
        connection.hear()
        connection.send(PIN)
        connection.send(YES if connection.hear() == ("R", b"123456") else NO)

    with Hostile(at_terminal.socket, [script]) as helper:
        runs = at_terminal.run(runs=200, answer=hidden("123456"))
    assert {run.code for run in runs} == {SUCCESS}
    answers = {tuple(connection.heard[1:]) for connection in helper.connections}
    assert answers <= {(("L", b"1"), ("R", b"123456")), (("N", b""), ("R", b"123456"))}


SAID_MEANWHILE = {
    "the end": (STOP, [("N", b"")], SUCCESS),
    "a text": (TOUCH, [("L", b"1")], SUCCESS),
    "a text and the end": (TOUCH + STOP, [("N", b"")], SUCCESS),
    "a prompt": (PIN, [], AUTHINFO_UNAVAIL),
    "a verdict": (YES, [], AUTHINFO_UNAVAIL),
}


@pytest.mark.statement("P-001", "P-020")
@pytest.mark.parametrize("what", SAID_MEANWHILE)
def test_what_the_daemon_says_while_a_line_is_read_is_heard_before_it_is_sent(
    stack: Stack, terminal: Screen, what: str
) -> None:
    octets, heard, code = SAID_MEANWHILE[what]

    def script(connection: Connection) -> None:
        begin(connection, terminal)
        terminal.type(b"1\n")
        terminal.shows("lingering", connection.socket)
        connection.send(octets)
        if connection.hear()[0]:
            connection.send(YES)

    with Hostile(stack.socket, [script]) as helper:
        run = stack.login(preload=True, linger=1, ctty=terminal.path)
    assert (run.code, helper.connections[0].heard[1:]) == (code, heard)


# --- the daemon ends it -----------------------------------------------------------------------------------------


def stops(connection: Connection) -> None:
    """And says yes to nothing else than that nobody typed."""
    connection.hello()
    connection.send(wait() + TOUCH + frame("E", "wrong key") + TOUCH)
    connection.send(STOP)
    connection.send(YES if connection.hear() == ("N", b"") else NO)


@pytest.mark.statement("P-001", "P-017")
def test_without_a_terminal_only_the_daemon_can_end_it(either: Stack) -> None:
    with Hostile(either.socket, [stops]):
        run = either.login()
    assert (run.code, [text for _, text in run.shown]) == (SUCCESS, ["Touch it", "wrong key", "Touch it"])
    assert run.files == (3, 3)


def test_with_combined_it_is_the_same(either: Stack) -> None:
    def script(connection: Connection) -> None:
        connection.hello()
        connection.send(wait() + STOP)
        connection.hear()
        connection.send(frame("A", "geheim") + YES)

    either.service("auth requisite @us combined", "auth optional @probe show", "auth required pam_permit.so")
    with Hostile(either.socket, [script]):
        assert either.login().shown[-1] == (4, "user=alice authtok=geheim")


def in_the_background(terminal: Screen) -> Script:
    def script(connection: Connection) -> None:
        begin(connection, terminal)
        terminal.type(b"for the shell\n")
        terminal.type(b"123456\n")
        connection.send(YES if connection.hear() == ("L", b"123456") else NO)

    return script


@pytest.mark.statement("P-017")
def test_in_the_background_what_is_typed_is_somebody_elses(at_terminal: Stack, terminal: Screen) -> None:
    """A read from there would stop the program. In the foreground again, it is ours again."""
    with Hostile(at_terminal.socket, [in_the_background(terminal)]):
        assert at_terminal.login(background=1).code == SUCCESS


def test_where_a_program_reads_key_by_key_the_keys_are_its_own(at_terminal: Stack, terminal: Screen) -> None:
    terminal.without(termios.ICANON)

    def script(connection: Connection) -> None:
        begin(connection, terminal)
        terminal.type(b"x\n")
        connection.send(STOP)
        connection.send(YES if connection.hear() == ("N", b"") else NO)

    with Hostile(at_terminal.socket, [script]):
        assert at_terminal.login().code == SUCCESS
    assert terminal.left() == b"x\n"


CANCELLED: dict[str, tuple[dict[str, int], Callable[[Screen], None]]] = {
    "hang-up": ({"nohup": 1}, Screen.hang_up),
    "Ctrl-C": ({"putoff": 1}, lambda terminal: terminal.type(b"\x03")),
    "Ctrl-C before": ({"putoff": 2}, lambda terminal: None),
}


@pytest.mark.statement("P-017", "P-002", "P-005")
@pytest.mark.parametrize("how", CANCELLED)
def test_whoever_hangs_up_or_interrupts_has_cancelled_also_where_the_program_goes_on(
    at_terminal: Stack, terminal: Screen, how: str
) -> None:
    """sudo is such a program. A key that is touched later must not let its command run."""
    options, cancel = CANCELLED[how]

    def script(connection: Connection) -> None:
        if begin(connection, terminal):
            cancel(terminal)
        connection.hear()
        connection.send(YES)

    with Hostile(at_terminal.socket, [script]) as helper:
        run = at_terminal.login(**options)
    assert run.code == CONV_ERR
    told = helper.connections[0].heard[1:]
    assert told == [("X", b"")] or (how == "Ctrl-C before" and told == []), "it leaves while the helper speaks"
    assert (run.signals_kept, run.files) == (True, (3, 3))


@pytest.mark.statement("P-017")
@pytest.mark.parametrize("background", [0, 1])
def test_an_interrupt_that_was_put_off_is_none_of_ours_where_the_terminal_is_not(
    either: Stack, terminal: Screen, background: int
) -> None:
    either.options = {"ctty": terminal.path, "background": "1"} if background else {}
    with Hostile(either.socket, [stops]):
        assert either.login(putoff=2).code == SUCCESS


@pytest.mark.parametrize("how", ["hang-up", "Ctrl-C"])
def test_a_program_that_is_killed_in_the_wait_is_gone_for_the_daemon(
    at_terminal: Stack, terminal: Screen, how: str
) -> None:
    ends: dict[str, Callable[[], None]] = {"hang-up": terminal.hang_up, "Ctrl-C": lambda: terminal.type(b"\x03")}

    def script(connection: Connection) -> None:
        begin(connection, terminal)
        ends[how]()
        connection.hear()

    with Hostile(at_terminal.socket, [script]) as helper:
        done = at_terminal.start(preload=False, timeout=60)
    assert done.returncode in (-signal.SIGHUP, -signal.SIGINT)
    assert helper.connections[0].heard[1:] == [], "no answer was made up"
    assert helper.trouble == [], "it heard the end at once"


# --- a daemon that is wrong -------------------------------------------------------------------------------------

WRONG = {
    "a wait without a length": frame("T"),
    "a wait of 3 octets": frame("T", bytes(3)),
    "a wait of 5 octets": frame("T", bytes(5)),
    "a wait of 5 minutes and 1 ms": wait(300_001) + STOP,
    "a wait of 49 days": wait(2**32 - 1) + STOP,
    "a wait of 4 GiB": b"T\xff\xff\xff\xff" + bytes(1000),
    "an end without a wait": STOP + YES,
    "an end with something in it": wait() + frame("t", "x"),
    "an end without a wait, with something in it": frame("t", "x"),
    "two ends": wait() + STOP + STOP + YES,
    "an end, and the verdict at once": wait() + STOP + YES,
    "an end, and a prompt at once": wait() + STOP + PIN,
    "a verdict in a wait": wait() + YES,
    "an ignore in a wait": wait() + verdict("I", "alice"),
    "a text with a NUL in a wait": wait() + frame("I", "a\0b"),
    "a wait in a wait": wait() + wait() + STOP,
    "a text of 64 KiB and 1 in a wait": wait() + frame("I", b"x" * 65_537),
    "the end of the line": wait() + TOUCH,
    **{f"{kind!r} in a wait": wait() + frame(kind, bytes(4)) + STOP for kind in "PpAWFHRXLN\0"},
}


def then_listens(octets: bytes) -> Script:
    """Stays and would take any answer, so that nothing else fails."""

    def script(connection: Connection) -> None:
        connection.hello()
        connection.send(octets)
        connection.socket.shutdown(1)
        while connection.hear()[0]:
            pass

    return script


@pytest.mark.statement("P-001", "P-002", "P-020")
@pytest.mark.parametrize("octets", WRONG.values(), ids=WRONG.keys())
def test_what_does_not_belong_into_a_wait_is_unavailable(either: Stack, octets: bytes) -> None:
    either.service("auth [success=done default=die] @us combined")
    with Hostile(either.socket, [then_listens(octets)]):
        run = either.login(answer=hidden("123456"))
    assert run.code == AUTHINFO_UNAVAIL
    assert [level for level, text in run.logs if "pam_twofold" in text] == [LOG_AUTHPRIV | LOG_ERR]


CUT = wait() + TOUCH + frame("E", "wrong key") + STOP


@pytest.mark.statement("P-001", "P-020")
def test_cut_at_every_octet_it_is_unavailable(either: Stack) -> None:
    cuts = range(len(CUT))
    with Hostile(either.socket, [says(CUT[:cut]) for cut in cuts]):
        runs = either.run(runs=len(cuts))
    assert [run.code for run in runs] == [AUTHINFO_UNAVAIL] * len(cuts)
    assert {run.files for run in runs} == {(3, 3)}


AFTER_A_LINE = {
    "a stop that crossed it": (STOP, SUCCESS),
    "texts and a stop that crossed it": (TOUCH + frame("E", "x") + STOP, SUCCESS),
    "no stop": (TOUCH, SUCCESS),
    "two stops": (STOP + STOP, AUTHINFO_UNAVAIL),
    "a stop, a text, and a stop": (STOP + TOUCH + STOP, AUTHINFO_UNAVAIL),
    "a delay, and a stop": (frame("W", bytes(4)) + STOP, AUTHINFO_UNAVAIL),
    "a stop with something in it": (frame("t", "x"), AUTHINFO_UNAVAIL),
}


@pytest.mark.statement("P-001", "P-020")
@pytest.mark.parametrize("what", AFTER_A_LINE)
def test_after_a_line_one_stop_may_come_and_no_more(at_terminal: Stack, terminal: Screen, what: str) -> None:
    octets, code = AFTER_A_LINE[what]

    def script(connection: Connection) -> None:
        begin(connection, terminal)
        terminal.type(b"\n")
        connection.hear()
        connection.send(octets + YES)

    with Hostile(at_terminal.socket, [script]):
        assert at_terminal.login().code == code


@pytest.mark.statement("P-001", "P-020")
def test_a_stop_after_the_reply_that_followed_a_line_is_too_late(at_terminal: Stack, terminal: Screen) -> None:
    def script(connection: Connection) -> None:
        begin(connection, terminal)
        terminal.type(b"\n")
        connection.hear()
        connection.send(PIN)
        connection.hear()
        connection.send(STOP + YES)

    with Hostile(at_terminal.socket, [script]):
        assert at_terminal.login(answer=hidden("1")).code == AUTHINFO_UNAVAIL


def hung_up(connection: Connection, milliseconds: int) -> bool:
    """Within that time; or something was said."""
    look = select.poll()
    look.register(connection.socket, select.POLLIN | select.POLLRDHUP)
    return bool(look.poll(milliseconds))


@pytest.mark.statement("P-018", "P-001")
@pytest.mark.parametrize("after", [b"", b"t", STOP[:-1], TOUCH, TOUCH[:-1]])
def test_a_daemon_that_hangs_in_a_wait_is_given_up(stack: Stack, terminal: Screen, after: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.hello()
        connection.send(wait(200) + after)
        connection.wait_until_gone()

    stack.service("auth [success=done default=die] @us timeout=1")
    stack.options = {"ctty": terminal.path}
    with Hostile(stack.socket, [script]):
        run = stack.login(timeout=30)
    assert (run.code, "no answer in time" in run.logs[-1][1]) == (AUTHINFO_UNAVAIL, True)


@pytest.mark.statement("P-018")
def test_the_time_of_a_wait_is_not_the_modules_own(stack: Stack) -> None:
    def script(connection: Connection) -> None:
        connection.hello()
        connection.send(wait())
        assert not hung_up(connection, milliseconds=1500), "it left at its own time limit"
        connection.send(STOP)
        connection.hear()
        connection.send(YES)

    stack.service("auth [success=done default=die] @us timeout=1")
    with Hostile(stack.socket, [script]) as helper:
        run = stack.login()
    assert (run.code, helper.trouble) == (SUCCESS, [])


@pytest.mark.statement("P-004")
@pytest.mark.parametrize("conv", ["null-function", "dangling-error", "again", "ignore"])
def test_a_text_that_cannot_be_shown_in_a_wait_fails_and_the_daemon_is_told(either: Stack, conv: str) -> None:
    def script(connection: Connection) -> None:
        connection.hello()
        connection.send(wait() + TOUCH)
        connection.hear()
        connection.send(YES)

    with Hostile(either.socket, [script]) as helper:
        run = either.login(conv=conv)
    assert (run.code, helper.connections[0].heard[1:]) == (CONV_ERR, [("X", b"")])


# --- many, and under stress -------------------------------------------------------------------------------------


@pytest.mark.statement("P-017")
def test_in_a_rain_of_signals_it_goes_on(at_terminal: Stack, terminal: Screen) -> None:
    def script(connection: Connection) -> None:
        begin(connection, terminal)
        connection.trickle(frame("I", "x" * 200))
        terminal.type(b"123456\n")
        connection.send(YES if connection.hear() == ("L", b"123456") else NO)

    with Hostile(at_terminal.socket, [script]):
        runs = at_terminal.run(runs=20, timer=500)
    assert {(run.code, run.signals_kept) for run in runs} == {(SUCCESS, True)}


@pytest.mark.statement("P-016")
def test_1000_waits_leave_nothing_behind(stack: Stack, terminal: Screen) -> None:
    with Hostile(stack.socket, [types(terminal, b"1\n", ("L", b"1"))]):
        runs = stack.run(preload=True, runs=1000, ctty=terminal.path, timeout=100)
    assert {(run.code, run.files, run.inheritable) for run in runs} == {(SUCCESS, (3, 3), 3)}
    assert sum(run.leaked for run in runs[10:]) == 0


@pytest.mark.statement("P-027")
def test_20_threads_wait_at_one_terminal_says_the_thread_sanitizer(
    compiler: None, tmp_path_factory: pytest.TempPathFactory, terminal: Screen
) -> None:
    def script(connection: Connection) -> None:
        user = connection.hello()["user"]
        connection.send(wait() + TOUCH + STOP)
        connection.hear()
        connection.send(verdict("S", user))

    folder = tmp_path_factory.mktemp("threads")
    stack = one_line(built(folder / "built", "-fsanitize=thread"), folder)
    with Hostile(stack.socket, [script]):
        runs = stack.run(threads=20, ctty=terminal.path)
    assert {run.code for run in runs} == {SUCCESS}
