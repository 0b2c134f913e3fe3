"""Whole stacks through the real libpam: every control, what stands before and behind, and real programs on them."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.pam_helper.module.harness import AUTH_ERR, AUTHINFO_UNAVAIL, PERM_DENIED, SUCCESS, Built, Stack, hidden
from tests.pam_helper.module.hostile import Connection, Hostile, asks, frame, says, verdict
from tests.peers import peers

VERDICTS = {
    "yes": verdict("S", "alice"),
    "ignore": verdict("I", "alice"),
    "no": verdict("D", "alice"),
    "unavailable": verdict("U", "alice"),
    "yes to bob": verdict("S", "bob"),
    "ignore bob": verdict("I", "bob"),
    "cut": frame("I", "hello") + b"F",
}
REFUSALS = [name for name in VERDICTS if name not in ("yes", "ignore")]
PERMIT, DENY = "auth required pam_permit.so", "auth required pam_deny.so"

# The lines of the service, and the verdicts with which the stack lets alice in.
MATRIX: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "required alone": (["auth required @us"], ["yes"]),
    "requisite alone": (["auth requisite @us"], ["yes"]),
    "sufficient alone": (["auth sufficient @us"], ["yes"]),
    "behind a password": ([PERMIT, "auth required @us"], ["yes", "ignore"]),
    "before a password": (["auth requisite @us", PERMIT], ["yes", "ignore"]),
    "behind a wrong password": ([DENY, "auth required @us"], []),
    "before a wrong password": (["auth required @us", DENY], []),
    "sufficient before a wrong password": (["auth sufficient @us", DENY], ["yes"]),
    "behind a sufficient password": (["auth sufficient pam_permit.so", "auth required @us"], list(VERDICTS)),
    "success=ok default=bad": ([PERMIT, "auth [success=ok default=bad] @us"], ["yes"]),
    "success=ok ignore=ignore default=bad": (
        [PERMIT, "auth [success=ok ignore=ignore default=bad] @us"],
        ["yes", "ignore"],
    ),
    "success=done default=die": (["auth [success=done ignore=ignore default=die] @us", PERMIT], ["yes", "ignore"]),
    "success=done, password next": (["auth [success=done ignore=ignore default=die] @us", DENY], ["yes"]),
    "include": ([PERMIT, "@include @services/common"], ["yes", "ignore"]),
    "auth include": ([PERMIT, "auth include @services/common"], ["yes", "ignore"]),
    "substack": ([PERMIT, "auth substack @services/common"], ["yes", "ignore"]),
    "Debian's common-auth": (
        ["auth [success=1 default=ignore] pam_permit.so", "auth requisite pam_deny.so", PERMIT, "auth required @us"],
        ["yes", "ignore"],
    ),
}


@pytest.mark.statement("P-029", "P-002", "P-026")
@pytest.mark.parametrize("name", MATRIX)
def test_the_matrix_of_controls_and_verdicts(stack: Stack, name: str) -> None:
    lines, letting_in = MATRIX[name]
    stack.service("auth required @us", name="common")
    stack.service(*lines)
    with Hostile(stack.socket, [says(octets) for octets in VERDICTS.values()]):
        runs = stack.run(runs=len(VERDICTS))
    assert [verdict for verdict, run in zip(VERDICTS, runs, strict=True) if run.code == SUCCESS] == letting_in


@pytest.mark.statement("P-002", "P-026")
@pytest.mark.parametrize("before", ["pam_permit.so", "pam_unix.so"])
def test_no_refusal_becomes_a_login_through_the_rest_of_the_stack(stack: Stack, before: str) -> None:
    """The shape of CVE-2025-23013 and CVE-2025-24531: another module says yes, and ours cannot tell."""
    stack.service(f"auth optional {before}", PERMIT, "auth required @us")
    with Hostile(stack.socket, [says(VERDICTS[name]) for name in REFUSALS]):
        codes = [run.code for run in stack.run(runs=len(REFUSALS), answer=hidden("wrong"))]
    codes += [run.code for run in stack.run(answer=hidden("wrong"))]  # no daemon at all
    assert set(codes) == {AUTH_ERR, AUTHINFO_UNAVAIL}
    assert codes[-1] == AUTHINFO_UNAVAIL


@pytest.mark.statement("P-029")
def test_ignored_alone_is_refused_by_libpam_itself(stack: Stack) -> None:
    stack.service("auth required @us")
    with Hostile(stack.socket, [says(VERDICTS["ignore"])]):
        assert stack.login().code == PERM_DENIED


@pytest.mark.statement("P-021")
def test_a_user_changed_before_us_is_the_one_we_ask_about(either: Stack) -> None:
    either.service("auth optional @probe user=bob", "auth required @us", "auth optional @probe show")
    with Hostile(either.socket, [says(verdict("S", "bob")), says(verdict("S", "alice"))]) as helper:
        bob, alice = either.run(runs=2)
    assert b"user=bob\0" in helper.connections[0].heard[0][1]
    assert (bob.code, bob.shown) == (SUCCESS, [(4, "user=bob authtok=-")])
    assert alice.code == AUTH_ERR


@pytest.mark.statement("P-021")
@pytest.mark.parametrize(("named", "code"), [("alice", AUTH_ERR), ("bob", SUCCESS)])
def test_a_user_changed_while_we_ask_is_the_one_the_verdict_must_name(either: Stack, named: str, code: int) -> None:
    """The program itself changes PAM_USER in its conversation, after the hello named alice."""
    with Hostile(either.socket, [asks(frame("P", "PIN: "), then=verdict("S", named))]) as helper:
        run = either.login(answer=hidden("123456"), becomes="bob")
    assert b"user=alice\0" in helper.connections[0].heard[0][1]
    assert run.code == code


@pytest.mark.statement("P-008")
def test_combined_hands_the_password_on_to_the_next_module(either: Stack) -> None:
    """The case of a locker with one field: "geheim755224" is split by the daemon."""

    def script(connection: Connection) -> None:
        connection.hello()
        connection.send(frame("P", "Password and PIN: "))
        _, reply = connection.hear()
        connection.send(frame("A", reply[:-6]) + verdict("S", "alice"))

    either.service("auth requisite @us combined", "auth optional @probe show", PERMIT)
    with Hostile(either.socket, [script]):
        run = either.login(answer=hidden("geheim755224"))
    assert (run.code, run.shown[-1]) == (SUCCESS, (4, "user=alice authtok=geheim"))


# --- Real programs, in a mount namespace of their own

ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")


def in_a_namespace(mounts: dict[Path, str], command: Sequence[object], typed: str = "") -> tuple[int, str]:
    """Exit status and output of the command, with each folder mounted over another."""
    unshare, mount = peers.require("unshare"), peers.require("mount")
    script = "".join(f"{mount} --bind '{folder}' '{place}' && " for folder, place in mounts.items()) + 'exec "$@"'
    words = [unshare, "--mount", "--propagation", "private", "sh", "-c", script, "sh", *map(str, command)]
    done = subprocess.run(words, input=typed, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@ROOT_ONLY
@pytest.mark.peer("pamtester", "unshare", "mount")
@pytest.mark.statement("P-029", "P-003")
@pytest.mark.parametrize(
    ("typed", "status", "text"),
    [("123456\n", 0, "successfully authenticated"), ("000000\n", 1, "Authentication failure")],
)
def test_pamtester_logs_in_with_the_right_pin_alone(stack: Stack, typed: str, status: int, text: str) -> None:
    def script(connection: Connection) -> None:
        connection.hello()
        connection.send(frame("P", "PIN: "))
        connection.send(verdict("S" if connection.hear()[1] == b"123456" else "D", "alice"))

    stack.service(PERMIT, "auth required @us")
    with Hostile(stack.socket, [script]):
        result = in_a_namespace(
            {stack.services: "/etc/pam.d"}, [peers.require("pamtester"), "login", "alice", "authenticate"], typed
        )
    assert result[0] == status, result
    assert text in result[1]


@ROOT_ONLY
@pytest.mark.peer("unshare", "mount", "setpriv")
@pytest.mark.statement("P-015", "P-019")
@pytest.mark.parametrize(("uid", "socket"), [(0, "priv/pam.sock"), (65534, "pam.sock")])
def test_without_an_option_root_and_others_have_a_socket_each(
    shipped: Built, tmp_path: Path, uid: int, socket: str
) -> None:
    """Everything stands below /run in the namespace, where whoever is not root can reach it."""
    tmp_path.chmod(0o755)
    (tmp_path / "twofold" / "priv").mkdir(parents=True)
    for name in ("driver", "pam_twofold.so"):
        shutil.copy(shipped.folder / name, tmp_path)
    stack = Stack(shipped, tmp_path)
    stack.service("auth required /run/pam_twofold.so")
    path = tmp_path / "twofold" / socket
    driver = ["/run/driver", "confdir=/run/services", "service=login", "user=alice"]
    with Hostile(path, [says(verdict("S", "alice"))]) as helper:
        path.chmod(0o666)
        setpriv = [peers.require("setpriv"), f"--reuid={uid}", "--clear-groups"]
        status, output = in_a_namespace({tmp_path: "/run"}, [*setpriv, *driver])
    assert (status, '"code": 0,' in output) == (0, True), output
    assert '"ids_kept": true' in output
    assert len(helper.connections) == 1
