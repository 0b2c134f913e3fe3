"""What the module tells the daemon, and what it makes of each good frame: codes, texts, delay, password, log."""

import pytest

from tests.pam_helper.module.harness import (
    AUTH_ERR,
    AUTHINFO_UNAVAIL,
    CONV_ERR,
    ECHO_OFF,
    ECHO_ON,
    ERROR_MSG,
    IGNORED,
    LOG_AUTHPRIV,
    LOG_CRIT,
    LOG_DEBUG,
    LOG_ERR,
    LOG_NOTICE,
    PERM_DENIED,
    SERVICE_ERR,
    SUCCESS,
    TEXT_INFO,
    Stack,
    hidden,
)
from tests.pam_helper.module.hostile import Connection, Hostile, asks, frame, says, verdict

PIN = frame("P", "PIN: ")


def ours(logs: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Log lines of the module, without those of libpam itself."""
    return [(level, text) for level, text in logs if "pam_twofold" in text]


@pytest.mark.statement("P-001", "P-003")
@pytest.mark.parametrize(
    ("final", "code", "level"),
    [
        (verdict("S", "alice"), SUCCESS, None),
        (verdict("I", "alice"), IGNORED, None),
        (verdict("D", "alice"), AUTH_ERR, LOG_NOTICE),
        (verdict("D", ""), AUTH_ERR, LOG_NOTICE),
        (verdict("U", "alice"), AUTHINFO_UNAVAIL, LOG_ERR),
    ],
    ids=["accepted", "not asked", "denied", "denied without a name", "unavailable"],
)
def test_each_verdict_has_its_code_and_its_line(either: Stack, final: bytes, code: int, level: int | None) -> None:
    with Hostile(either.socket, [asks(PIN, then=final)]) as helper:
        run = either.login(answer=hidden("123456"))
    assert (run.code, run.shown) == (code, [(ECHO_OFF, "PIN: ")])
    assert helper.connections[0].heard[1:] == [("R", b"123456")]
    assert [level for level, _ in ours(run.logs)] == ([] if level is None else [LOG_AUTHPRIV | level])


@pytest.mark.statement("P-021")
@pytest.mark.parametrize("which", ["S", "I"])
@pytest.mark.parametrize(
    "name", ["", "alic", "alice2", "Alice", "bob", "alice\0", "alice\0bob", "\0alice", "x" * 65535]
)
def test_a_verdict_about_another_user_refuses(either: Stack, which: str, name: str) -> None:
    with Hostile(either.socket, [says(verdict(which, name))]):
        run = either.login()
    assert run.code == AUTH_ERR
    assert [level for level, _ in ours(run.logs)] == [LOG_AUTHPRIV | LOG_ERR]


@pytest.mark.statement("P-022")
def test_the_hello_says_what_pam_knows_and_nothing_else(either: Stack) -> None:
    either.service(f"auth optional @probe authtok_xor={hidden('geheim')}", "auth required @us combined")
    known = {"rhost": "192.0.2.7", "tty": "/dev/tty1", "ruser": "bob"}
    with Hostile(either.socket, [says(verdict("S", "alice"))]) as helper:
        run = either.login(**known, flags=0x8001, env="SSH_AUTH_INFO_0=publickey ssh-ed25519 AAAA")
    assert run.code == SUCCESS
    pairs = [
        "version=1", "service=login", "user=alice", "rhost=192.0.2.7", "tty=/dev/tty1", "ruser=bob", "flags=32769",
        "combined=1", "ssh_auth_info=publickey ssh-ed25519 AAAA", "authtok=geheim",
    ]  # fmt: skip
    assert helper.connections[0].heard == [("H", "".join(f"{pair}\0" for pair in pairs).encode())]


def test_what_pam_does_not_know_is_left_out(either: Stack) -> None:
    with Hostile(either.socket, [says(verdict("S", "alice"))]) as helper:
        either.login()
    assert helper.connections[0].heard == [("H", b"version=1\0service=login\0user=alice\0flags=0\0")]


@pytest.mark.statement("P-020")
def test_more_than_a_frame_holds_is_not_sent_and_refuses(either: Stack) -> None:
    with Hostile(either.socket, [says(verdict("S", "alice"))]) as helper:
        run = either.login(env="SSH_AUTH_INFO_0=" + "x" * 65536)
    assert run.code == AUTHINFO_UNAVAIL
    assert helper.connections[0].heard == []


def test_texts_and_prompts_reach_the_user_one_by_one_as_they_are(either: Stack) -> None:
    shown = [
        (TEXT_INFO, "Grüße\n▀▄█"),
        (ERROR_MSG, "falsch"),
        (ECHO_ON, "PIN (sichtbar): "),
        (ECHO_OFF, ""),
        (TEXT_INFO, ""),
    ]
    letter = {TEXT_INFO: "I", ERROR_MSG: "E", ECHO_ON: "p", ECHO_OFF: "P"}

    def script(connection: Connection) -> None:
        connection.hello()
        for style, text in shown:
            connection.send(frame(letter[style], text))
            if style in (ECHO_ON, ECHO_OFF):
                connection.hear()
        connection.send(verdict("S", "alice"))

    with Hostile(either.socket, [script]) as helper:
        run = either.login(answer=hidden(" a b "))
    assert (run.code, run.shown) == (SUCCESS, shown)
    assert helper.connections[0].heard[1:] == [("R", b" a b ")] * 2


@pytest.mark.statement("P-010")
def test_the_delay_is_asked_of_pam_and_the_program_does_the_waiting(either: Stack) -> None:
    with Hostile(either.socket, [says(frame("W", (2_000_000).to_bytes(4, "big")), verdict("D", "alice"))]):
        run = either.login()
    assert run.code == AUTH_ERR
    assert 1_000_000 <= run.delay <= 3_000_000  # libpam spreads it by a half, and calls the program's own function


@pytest.mark.statement("P-008")
def test_with_combined_the_stack_gets_the_bare_password(either: Stack) -> None:
    either.service("auth required @us combined", "auth optional @probe show")
    with Hostile(either.socket, [asks(PIN, then=frame("A", "geheim") + verdict("S", "alice"))]):
        run = either.login(answer=hidden("geheim123456"))
    assert (run.code, run.shown[-1]) == (SUCCESS, (TEXT_INFO, "user=alice authtok=geheim"))


@pytest.mark.statement("P-008")
def test_without_combined_the_password_of_the_stack_is_not_touched(either: Stack) -> None:
    either.service(
        f"auth optional @probe authtok_xor={hidden('alt')}", "auth required @us", "auth optional @probe show"
    )
    with Hostile(either.socket, [says(frame("A", "neu"), verdict("S", "alice"))]):
        run = either.login()
    assert (run.code, run.shown) == (AUTHINFO_UNAVAIL, [(TEXT_INFO, "user=alice authtok=alt")])


@pytest.mark.statement("P-009")
@pytest.mark.parametrize(
    "option",
    ["fooo", "nullokk", "nullok", "Debug", "combined=1", "debug ", "socket=", "socket=pam.sock", "socket=/" + "x" * 107]
    + [f"timeout={text}" for text in ("", "0", "301", "-1", "+5", "1s", "1.5", "4294967297", "9" * 30)],
)
def test_an_option_not_understood_is_named_and_refuses(either: Stack, option: str) -> None:
    either.service(f"auth [success=done default=die] @us [{option}]")
    with Hostile(either.socket, [says(verdict("S", "alice"))]) as helper:
        run = either.login()
    assert (run.code, helper.connections) == (SERVICE_ERR, [])
    ((level, text),) = ours(run.logs)
    assert level == LOG_AUTHPRIV | LOG_ERR
    assert option in text


@pytest.mark.parametrize("options", ["timeout=1", "timeout=300", "debug", "combined", "combined debug timeout=007"])
def test_options_that_are_understood(either: Stack, options: str) -> None:
    either.service(f"auth [success=done default=die] @us {options}")
    with Hostile(either.socket, [says(verdict("S", "alice"))]):
        assert either.login().code == SUCCESS


def test_a_program_that_gives_no_name_is_asked_for_one(either: Stack) -> None:
    with Hostile(either.socket, [says(verdict("S", "alice"))]) as helper:
        run = either.login(user=None, answer=hidden("alice"))
    assert run.code == SUCCESS
    assert b"user=alice\0" in helper.connections[0].heard[0][1]


def test_a_login_without_a_name_looks_like_a_wrong_pin_and_reaches_nobody(either: Stack) -> None:
    with Hostile(either.socket, [says(verdict("S", ""))]) as helper:
        run = either.login(user="")
    assert (run.code, helper.connections) == (AUTH_ERR, [])


@pytest.mark.parametrize("conv", ["null-text", "again", "ignore", "no-array"])
def test_a_program_that_cannot_say_who_it_is_never_gets_its_own_code_back(either: Stack, conv: str) -> None:
    with Hostile(either.socket, [says(verdict("S", ""))]) as helper:
        run = either.login(user=None, conv=conv)
    assert (run.code, helper.connections) == (CONV_ERR, [])


@pytest.mark.statement("P-025")
@pytest.mark.parametrize(
    ("calls", "code"),
    [
        ("s", SUCCESS),
        ("m", IGNORED),
        ("o", IGNORED),
        ("c", IGNORED),
        ("p", IGNORED),
        ("cpoms", SUCCESS),
        ("asmoc", IGNORED),
    ],
)
def test_the_other_entry_points_alone_and_in_odd_order(either: Stack, calls: str, code: int) -> None:
    """They refuse nothing and let nobody in: a line that says so is in other_phases.c."""
    alone = "[success=done default=die] @us"
    either.service(*(f"{phase} {alone}" for phase in ("auth", "account", "session", "password")))
    with Hostile(either.socket, [says(verdict("S", "alice"))]):
        assert either.login(calls=calls).code == code


@pytest.mark.statement("P-025")
@pytest.mark.parametrize(("phase", "call"), [("account", "m"), ("session", "o"), ("password", "p")])
def test_a_stack_of_ours_alone_lets_nobody_in_by_ignoring(either: Stack, phase: str, call: str) -> None:
    either.service("auth required pam_permit.so", f"{phase} required @us")
    assert either.login(calls=call).code == PERM_DENIED


@pytest.mark.statement("P-014", "P-013")
def test_levels_of_the_log_and_no_secret_in_it(either: Stack) -> None:
    either.service(f"auth optional @probe authtok_xor={hidden('geheim')}", "auth required @us debug combined")
    final = frame("A", "bare-password") + verdict("D", "alice")
    with Hostile(either.socket, [asks(PIN, then=final)]):
        refused = either.login(answer=hidden("424242"), rhost="192.0.2.7")
    unreachable = either.login()
    no_descriptor = either.login(nofile=0)
    assert {level for level, _ in ours(refused.logs)} == {LOG_AUTHPRIV | LOG_DEBUG, LOG_AUTHPRIV | LOG_NOTICE}
    assert [level for level, _ in ours(unreachable.logs)] == [LOG_AUTHPRIV | LOG_ERR]
    assert [level for level, _ in ours(no_descriptor.logs)] == [LOG_AUTHPRIV | LOG_CRIT]
    everything = " ".join(text for _, text in refused.logs)
    assert not [secret for secret in ("424242", "geheim", "bare-password") if secret in everything]


def test_without_the_option_debug_there_are_no_debug_lines(stack: Stack) -> None:
    with Hostile(stack.socket, [asks(PIN, then=verdict("S", "alice"))]):
        assert ours(stack.login(answer=hidden("1")).logs) == []
