"""What the source and the built module may contain."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.pam_helper.module.harness import ROOT, Built
from tests.peers import peers

SOURCES = ROOT / "pam_helper" / "module"
FILES = {path.name: path.read_text() for path in sorted(SOURCES.glob("*.[ch]"))}


def code_of(source: str) -> str:
    """Without comments and texts, and without comparisons with a code."""
    source = re.sub(r'/\*.*?\*/|//[^\n]*|"(\\.|[^"\\])*"', " ", source, flags=re.DOTALL)
    return re.sub(r"[!=]= PAM_[A-Z]+", " ", source)


def places_of(word: str, files: dict[str, str]) -> list[tuple[str, str]]:
    """The file, and the function (the last name at the start of a line before it), where a code is given."""
    places = []
    for name, source in files.items():
        code = code_of(source)
        for found in re.finditer(rf"\b{word}\b", code):
            before = re.findall(r"^[A-Za-z][\w *]*?(\w+)\(", code[: found.start()], flags=re.MULTILINE)
            places.append((name, before[-1] if before else ""))
    return places


@pytest.mark.statement("P-001", "P-002")
def test_success_and_ignore_are_given_once_for_a_login() -> None:
    assert [place for place in places_of("PAM_SUCCESS", FILES) if place[0] != "other_phases.c"] == [
        ("pam_twofold.c", "pam_code")
    ]
    assert [place for place in places_of("PAM_IGNORE", FILES) if place[0] != "other_phases.c"] == [
        ("pam_twofold.c", "pam_code")
    ]
    assert places_of("PAM_SUCCESS", FILES)[0] == ("other_phases.c", "pam_sm_setcred")
    for outcome in ("ACCEPTED", "NOT_ASKED"):
        assert places_of(outcome, FILES)[1:] == [("pam_twofold.c", "judge"), ("pam_twofold.c", "pam_code")]


@pytest.mark.parametrize(
    "line", ["return PAM_SUCCESS;", "int rc = PAM_IGNORE;", "rc = ok ? PAM_SUCCESS : PAM_AUTH_ERR;"]
)
def test_a_second_place_is_found(line: str) -> None:
    word = re.findall("PAM_SUCCESS|PAM_IGNORE", line)[0]
    planted = {**FILES, "pam_twofold.c": FILES["pam_twofold.c"] + f"\nstatic int planted(void)\n{{\n    {line}\n}}\n"}
    assert ("pam_twofold.c", "planted") in places_of(word, planted)


def symbols(module: Path, *options: str) -> list[tuple[str, str]]:
    """Kind and name, by nm of the binutils that come with gcc."""
    done = subprocess.run([peers_nm(), *options, str(module)], capture_output=True, text=True, check=True)
    words = [line.split() for line in done.stdout.splitlines()]
    return [(word[-2], word[-1].partition("@")[0]) for word in words]


def peers_nm() -> str:
    peers.require("gcc")
    return shutil.which("nm") or "nm"


# No getenv, no signal or sigaction, no set*uid, no fork or exec, no thread-unsafe call; nothing writes to a terminal or
# changes its settings.
MAY_CALL = {
    "__errno_location", "__explicit_bzero_chk", "__snprintf_chk", "__stack_chk_fail", "__strcpy_chk", "__stpcpy_chk",
    "calloc", "clock_gettime", "close", "connect", "explicit_bzero", "free", "geteuid", "getpgrp", "getsockopt",
    "memchr", "memcmp", "open", "pam_fail_delay", "pam_get_item", "pam_get_user", "pam_getenv", "pam_set_item",
    "pam_syslog", "poll", "read", "recv", "send", "shutdown", "snprintf", "socket", "stpcpy", "strcmp", "strcpy",
    "sigismember", "sigpending", "strlen", "strncmp", "tcflush", "tcgetattr", "tcgetpgrp",
}  # fmt: skip


@pytest.mark.statement("P-015", "P-017", "P-023", "P-024")
def test_the_module_calls_nothing_else(shipped: Built) -> None:
    assert {name for kind, name in symbols(shipped.module, "-D", "-u") if kind == "U"} <= MAY_CALL


@pytest.mark.statement("P-024", "P-023")
def test_the_only_file_it_opens_is_the_controlling_terminal() -> None:
    opened = [(name, what) for name, source in FILES.items() for what in re.findall(r"\bopen\(([^)]*)\)", source)]
    assert opened == [("terminal.c", '"/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC')]


@pytest.mark.statement("P-025")
def test_it_shows_the_six_entry_points_alone(shipped: Built) -> None:
    phases = ("acct_mgmt", "authenticate", "chauthtok", "close_session", "open_session", "setcred")
    assert [name for _, name in symbols(shipped.module, "-D", "--defined-only")] == [f"pam_sm_{it}" for it in phases]


@pytest.mark.statement("P-027")
def test_it_has_no_state_of_its_own(shipped: Built) -> None:
    """The compiler's own names begin with an underscore, but for one."""
    state = {name for kind, name in symbols(shipped.module) if kind in "bBdDC" and not name.startswith("_")}
    assert state - {"completed.0"} == set()


@pytest.mark.parametrize("name", FILES)
def test_every_file_says_its_rules_at_the_top(name: str) -> None:
    assert FILES[name].startswith("/*\n * ")


def test_it_is_linked_read_only(shipped: Built) -> None:
    done = subprocess.run(["readelf", "-dlW", shipped.module], capture_output=True, text=True, check=True)
    assert "BIND_NOW" in done.stdout
    assert "GNU_RELRO" in done.stdout
    assert "TEXTREL" not in done.stdout
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", done.stdout)
    assert [library for library in needed if library not in ("libpam.so.0", "libc.so.6")] == []
