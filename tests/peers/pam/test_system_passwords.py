"""`first_factor/system.py` against real accounts and real PAM stacks; then over RADIUS, as a user meets it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.peers.world import USERS, World
from tests.site import TWOFOLD, Site, eventually, pin
from tests.wire import ACCEPT, CHALLENGE, REJECT, access_request
from validation.decisions import Challenge, Look, Reason, Reject
from validation.model import FirstFactorKind, Mode
from validation.requests import (
    AddUser,
    Channel,
    FirstFactor,
    FirstFactorResult,
    LoginRequest,
    LookRequest,
    RemoveUser,
    SetUser,
)

pytestmark = pytest.mark.peer("nsenter", "unshare", "useradd", "chpasswd")

SERVICE = "twofold-first-factor"
SHIPPED = Path(__file__).resolve().parents[3] / "contrib" / "pam" / SERVICE
RIGHT = USERS["alice"]
ROOTS = "pw-of-root"
NOBODY = 65534  # may read no password but his own

DRIVER = """
import json, logging, sys
from first_factor.system import SystemPasswords
from validation.decisions import Look
logging.basicConfig(level=logging.DEBUG)
options, asked = json.load(sys.stdin)
passwords = SystemPasswords(**options)
print(json.dumps([passwords.check(Look("system", user=name), typed).status for name, typed in asked]))
"""


@pytest.fixture(scope="module")
def host(world: World) -> World:
    """The world with our service as it is shipped, and a password for root."""
    world.pam_service(SERVICE, SHIPPED.read_text())
    world.set_password("root", ROOTS)
    return world


def check(host: World, *asked: tuple[str, str], **options: Any) -> list[str]:
    done = host.run(sys.executable, "-I", "-c", DRIVER, stdin=json.dumps([options, asked]))
    for _, typed in asked:
        assert len(typed) < 5 or typed not in done.stderr, "a password was logged"
    statuses = json.loads(done.stdout)
    assert isinstance(statuses, list)
    return statuses


def test_the_password_of_the_account_and_nothing_else(host: World) -> None:
    found = check(
        host, ("alice", RIGHT), ("bob", RIGHT), ("alice", RIGHT + "x"), ("alice", RIGHT[:-1]), ("carol", RIGHT)
    )
    assert found == ["proved", "wrong", "wrong", "wrong", "wrong"]


@pytest.mark.parametrize(
    ("says", "found"),
    [("authinfo_unavail", "unavailable"), ("user_unknown", "wrong"), ("auth_err", "wrong")],
    ids=["does not run", "does not know him", "calls it wrong"],
)
def test_while_sssd_does_not_run_its_accounts_have_no_answer_and_those_of_the_host_log_in(
    host: World, says: str, found: str
) -> None:
    """The lines for it in the file that is shipped. What pam_sss would say is said by pam_debug, which asks nothing, as
    pam_sss does not either where it cannot reach SSSD."""
    lines = [line.removeprefix("#   ") for line in SHIPPED.read_text().splitlines() if line.startswith("#   a")]
    assert any("pam_sss.so" in line for line in lines)
    stack = "".join(f"{line}\n" for line in lines).replace("pam_sss.so", f"pam_debug.so auth={says} acct=user_unknown")
    host.pam_service("with-sssd", stack)
    asked = ("alice", RIGHT), ("alice", RIGHT + "x"), ("of-the-directory", RIGHT)
    assert check(host, *asked, service="with-sssd") == ["proved", "wrong", found]


@pytest.mark.statement("C-050", "C-056")
def test_a_name_counts_only_as_getpwnam_spells_it(host: World) -> None:
    names = ["Alice", "ALICE", "alice ", " alice", "alice\n", "1001", "#1001", "alice@host", "", "*"]
    assert check(host, *((name, RIGHT) for name in names)) == ["wrong"] * len(names)


def test_accounts_below_the_least_uid_are_nobodys(host: World) -> None:
    asked = ("root", ROOTS), ("alice", RIGHT)
    assert check(host, *asked, least_uid=1000) == ["wrong", "proved"]
    assert check(host, *asked) == ["proved", "proved"]


@pytest.mark.statement("O-058")
def test_the_whole_password_counts(host: World) -> None:
    """crypt takes 511 octets; the host's own hash is what is asked, so longer ones cannot be set."""
    long = "".join(chr(ord("a") + n % 26) for n in range(511))
    host.add_user("long", long)
    others = [long[: place - 1] + "#" + long[place:] for place in (73, 129, 257, 511)]
    found = check(host, ("long", long), *(("long", other) for other in [*others, long[:-1], long + "x", long * 10]))
    assert found == ["proved", *["wrong"] * 7]


@pytest.mark.statement("V-012")
def test_an_account_that_the_host_has_ended_proves_nothing(host: World) -> None:
    for name, command in {
        "barred": ("usermod", "--lock"),
        "expired": ("usermod", "--expiredate", "1970-01-02"),
        "outdated": ("chage", "--lastday", "2020-01-01", "--maxdays", "30", "--inactive", "30"),
    }.items():
        host.add_user(name, RIGHT)
        assert check(host, (name, RIGHT)) == ["proved"]
        host.run(*command, name)
        assert check(host, (name, RIGHT), change_follows=True) == ["wrong"], name


def test_a_password_that_must_be_changed_is_for_those_who_can_have_it_changed(host: World) -> None:
    host.add_user("fresh", RIGHT)
    host.run("chage", "--lastday", "0", "fresh")
    assert check(host, ("fresh", RIGHT)) == ["wrong"]
    assert check(host, ("fresh", RIGHT), ("fresh", "wrong"), change_follows=True) == ["proved", "wrong"]


@pytest.mark.statement("V-037", "R-054")
def test_an_empty_password_opens_nothing(host: World) -> None:
    """Not even an account that has none, under a service that would let it in."""
    host.add_user("open", "soon gone")
    host.run("passwd", "--delete", "open")
    host.pam_service("lax", "auth required pam_unix.so nullok nodelay\naccount required pam_unix.so\n")
    host.pam_service("talks", "auth optional pam_echo.so Welcome\n" + host.read("/etc/pam.d/lax"))
    for service in (SERVICE, "lax", "talks"):
        asked = ("open", ""), ("open", "x"), ("nobody-here", ""), ("alice", RIGHT)
        assert check(host, *asked, service=service) == ["wrong", "wrong", "wrong", "proved"], service


@pytest.mark.statement("C-034")
def test_pam_is_asked_about_whoever_is_named(host: World) -> None:
    before = len(host.log())
    assert check(host, ("nobody-here", "wrong"), ("alice", "wrong"), ("root", ROOTS), least_uid=1000) == ["wrong"] * 3
    said = [line for line in host.log()[before:] if f"pam_unix({SERVICE}:auth)" in line]
    whom = ["alice" if "user=alice" in line else "nobody" for line in said if "user=alice" in line or "unknown" in line]
    assert whom == ["nobody", "alice", "nobody"], said


def test_a_service_that_is_not_there_is_not_replaced_by_other(host: World) -> None:
    other = host.read("/etc/pam.d/other")
    host.pam_service("other", "auth required pam_permit.so\naccount required pam_permit.so\n")
    try:
        assert check(host, ("alice", "wrong"), ("alice", RIGHT), service="not-there") == ["unavailable"] * 2
    finally:
        host.pam_service("other", other)


@pytest.mark.parametrize(
    "stack",
    ["auth required pam_not_there.so", "auth required pam_debug.so auth=authinfo_unavail"],
    ids=["no module", "no back end"],
)
def test_a_service_that_cannot_check_is_neither_right_nor_wrong(host: World, stack: str) -> None:
    host.pam_service("broken", f"{stack}\naccount required pam_permit.so\n")
    assert check(host, ("alice", RIGHT), ("alice", "wrong"), ("carol", RIGHT), service="broken") == ["unavailable"] * 3


def test_a_service_that_asks_for_no_password_proves_nothing(host: World) -> None:
    host.pam_service("anybody", "auth required pam_permit.so\naccount required pam_permit.so\n")
    assert check(host, ("carol", RIGHT), ("alice", RIGHT), service="anybody") == ["unavailable"] * 2


HANGING = """
import json, logging, os, sys, time
from pathlib import Path
from first_factor.system import SystemPasswords
from validation.decisions import Look
logging.basicConfig(level=logging.INFO)
folder, right = Path(sys.argv[1]), sys.stdin.read()
passwords = SystemPasswords("hanging", time_limit=1.0, threads=2)
def status():
    return passwords.check(Look("system", user="alice"), right).status
os.mkfifo(folder / "gate")
found = [status() for _ in range(4)]
(folder / "open").touch()
os.close(os.open(folder / "gate", os.O_WRONLY))
until = time.monotonic() + 30
while passwords._bounded.hanging and time.monotonic() < until:
    time.sleep(0.01)
print(json.dumps([*found, status()]))
"""


def test_a_module_that_hangs_holds_nobody_for_long_and_is_used_again_when_it_answers(host: World) -> None:
    folder = host.path / "hanging"
    host.write(folder / "wait.sh", f"#!/bin/sh\n[ -e {folder}/open ] || cat {folder}/gate\n", 0o755)
    host.pam_service("hanging", f"auth requisite pam_exec.so quiet {folder}/wait.sh\n" + SHIPPED.read_text())
    done = host.run(sys.executable, "-I", "-c", HANGING, folder, stdin=RIGHT)
    assert json.loads(done.stdout) == ["unavailable"] * 4 + ["proved"], done.stderr
    assert [line.partition("checked: ")[2] for line in done.stderr.splitlines()] == [
        "no answer within 1 s; 1 of 2 calls hang (PAM service hanging)",
        "no answer within 1 s; 2 of 2 calls hang (PAM service hanging)",
        "every call hangs (PAM service hanging)",
        "every call hangs (PAM service hanging)",
    ]


MANY = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from first_factor.system import SystemPasswords
from validation.decisions import Look
passwords = SystemPasswords(time_limit=60)
with ThreadPoolExecutor(16) as pool:
    asked = json.load(sys.stdin)
    print(json.dumps(list(pool.map(lambda one: passwords.check(Look("system", user=one[0]), one[1]).status, asked))))
"""


def test_checks_at_the_same_time_do_not_mix(host: World) -> None:
    asked = [(name, USERS[whose]) for _ in range(10) for name in USERS for whose in USERS]
    done = host.run(sys.executable, "-I", "-c", MANY, stdin=json.dumps(asked))
    assert json.loads(done.stdout) == ["proved" if USERS[name] == typed else "wrong" for name, typed in asked]


# --- As a user meets it -----------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path / "site")
    made.add_client()
    made.gate.administer(AddUser(actor="test", name="alice", first_factor=FirstFactorKind.SYSTEM))
    made.gate.administer(AddUser(actor="test", name="root", first_factor=FirstFactorKind.SYSTEM))
    return made


def test_over_radius_the_hosts_password_and_a_pin(host: World, site: Site) -> None:
    tokens = {name: site.enroll(name, kind="hotp") for name in ("alice", "root")}
    with site.server(program=host.among_our_processes(*TWOFOLD)) as server, server.nas() as nas:
        asked = nas.login("alice", RIGHT)
        assert asked.code == CHALLENGE
        assert nas.login("alice", pin(tokens["alice"]), state=asked.values(24)[0]).code == ACCEPT
        assert nas.login("alice", "wrong").code == REJECT
        assert nas.login("root", ROOTS).code == REJECT, "never for an account of the host's own"
    assert [reason for _, reason in site.logins()][-2:] == ["password-wrong", "password-wrong"]


def test_over_radius_without_root_the_helper_is_needed(host: World, site: Site) -> None:
    """The NAS gets no answer and asks its next server; no failure is counted."""
    site.enroll("alice", kind="hotp")
    caps = "-all,+dac_override"  # for the folder of the test, which root alone may enter
    become = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", f"--inh-caps={caps}", f"--ambient-caps={caps}", "--"]
    with site.server(program=host.among_our_processes(*become, *TWOFOLD)) as server, server.nas() as nas:
        for _ in range(2):
            nas.send(access_request(nas.secret, "alice", RIGHT).data)
        eventually(lambda: len(site.logins()) == 2, what="both logins")
        assert "no helper answers at /run/twofold/pam.sock" in server.log
    assert [reason for _, reason in site.logins()] == ["first-factor-unavailable"] * 2
    assert site.failures("alice").get("password", 0) == 0


# --- A password that moves while it is checked -------------------------------------------------------------------


def looked(site: Site) -> Look:
    (look,) = site.gate.look([LookRequest("alice", "vpn", Mode.CHALLENGE)])
    return look


def outcome(site: Site, version: int) -> object:
    """Of a login whose password was proved at the place that a look with this version named."""
    (client,) = site.gate.clients()
    proved = FirstFactorResult(FirstFactor.PROVED, version)
    (decided,) = site.gate.login(
        [LoginRequest("alice", Channel.for_mode(Mode.CHALLENGE), "vpn", client.version, proved)]
    )
    return decided


@pytest.mark.parametrize("to", FirstFactorKind)
def test_a_check_at_the_old_place_does_not_count_at_the_new_one(site: Site, to: FirstFactorKind) -> None:
    back = next(kind for kind in FirstFactorKind if kind is not to)
    site.enroll("alice")
    site.gate.administer(SetUser(actor="test", name="alice", first_factor=back))
    before = looked(site)
    assert (before.first_factor, before.user) == (back, "alice")
    assert isinstance(outcome(site, before.password_version), Challenge)
    site.gate.administer(SetUser(actor="test", name="alice", first_factor=to))
    decided = outcome(site, before.password_version)
    assert isinstance(decided, Reject)
    assert decided.reason is Reason.PASSWORD_CHANGED
    assert isinstance(outcome(site, looked(site).password_version), Challenge)


@pytest.mark.parametrize("kind", FirstFactorKind)
def test_a_check_does_not_count_for_another_user_of_the_same_name(site: Site, kind: FirstFactorKind) -> None:
    before = looked(site)
    site.gate.administer(RemoveUser(actor="test", name="alice"))
    site.gate.administer(AddUser(actor="test", name="alice", first_factor=kind))
    site.enroll("alice")
    decided = outcome(site, before.password_version)
    assert isinstance(decided, Reject)
    assert decided.reason is Reason.PASSWORD_CHANGED
