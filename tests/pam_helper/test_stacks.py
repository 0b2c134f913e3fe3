"""A stack is walked as libpam walks it, and whoever gets past our module is found."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pam_helper.stacks import BrokenStack, Place, Rule, Stacks, Step, after, pin_is_enough, way_past_us
from tests.pam_helper import libpam

COMMON_AUTH = """
auth [success=1 default=ignore] pam_unix.so nullok
auth requisite pam_deny.so
auth required pam_permit.so
auth optional pam_cap.so
"""
PASSWORD_AUTH = """
auth required pam_env.so
auth sufficient pam_unix.so nullok
auth required pam_deny.so
"""


def written(folder: Path, **files: str) -> Stacks:
    (folder / "etc/pam.d").mkdir(parents=True, exist_ok=True)
    files = {"common-auth": COMMON_AUTH, "password-auth": PASSWORD_AUTH} | files
    for name, text in files.items():
        (folder / "etc/pam.d" / name).write_text(text)
    return Stacks(folder)


def stack(folder: Path, text: str) -> list[Rule]:
    return written(folder, sshd=text).auth("sshd")


@pytest.mark.parametrize(
    "text",
    [
        "@include common-auth\nauth required pam_twofold.so",
        "@include common-auth\nauth requisite pam_twofold.so timeout=10",
        "auth requisite pam_unix.so\nauth required pam_twofold.so",
        "auth requisite pam_twofold.so\n@include common-auth",
        "auth substack password-auth\nauth required pam_twofold.so",
        "auth sufficient pam_rootok.so\n@include common-auth\nauth required pam_twofold.so",
        "auth requisite pam_twofold.so combined\nauth required pam_unix.so use_first_pass",
        "auth required pam_unix.so\nauth [success=ok ignore=ignore default=die] /opt/lib/pam_twofold.so",
        "auth required pam_unix.so\nauth \\\n  required \\\n  pam_twofold.so # the end",
        "auth required pam_unix.so\nauth required pam_twofold.so\nauth sufficient pam_faildelay.so",
    ],
)
def test_a_stack_that_everybody_passes_us_in_is_fine(tmp_path: Path, text: str) -> None:
    assert way_past_us(stack(tmp_path, text)) is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("auth sufficient pam_unix.so\nauth required pam_twofold.so", 1),
        ("auth required pam_env.so\nauth sufficient pam_sss.so\nauth required pam_twofold.so", 2),
        ("auth [success=done default=ignore] pam_unix.so\nauth required pam_twofold.so", 1),
        ("auth [success=1 default=ignore] pam_unix.so\nauth required pam_twofold.so\nauth required pam_permit.so", 1),
        (
            "auth [success=2 default=ignore] pam_unix.so\nauth requisite pam_deny.so\n"
            "auth required pam_twofold.so\nauth required pam_permit.so",
            1,
        ),
        ("auth [success=1 default=ignore] pam_succeed_if.so\nauth required pam_twofold.so\n@include common-auth", 1),
        ("auth include password-auth\nauth required pam_twofold.so", 2),  # line 2 of password-auth, blank line first
        ("@include common-auth\nauth optional pam_twofold.so", 2),
        ("auth sufficient pam_twofold.so\n@include common-auth", 1),
        ("@include common-auth\nauth [success=ok authinfo_unavail=ignore default=die] pam_twofold.so", 2),
        ("@include common-auth\nauth [success=ok module_unknown=ignore default=bad] pam_twofold.so", 2),
    ],
)
def test_the_line_that_lets_in_past_us_is_named(tmp_path: Path, text: str, line: int) -> None:
    culprit = way_past_us(stack(tmp_path, text))
    assert culprit is not None
    found_line = culprit.line - (1 if culprit.file.endswith("password-auth") else 0)
    assert found_line == line, culprit


@pytest.mark.parametrize(
    ("text", "enough"),
    [
        ("auth required pam_twofold.so", True),
        ("auth required pam_env.so\nauth required pam_twofold.so\nauth optional pam_cap.so", True),
        ("auth sufficient pam_twofold.so\n@include common-auth", True),
        ("@include common-auth\nauth required pam_twofold.so", False),
        ("auth substack password-auth\nauth required pam_twofold.so", False),
        ("auth requisite pam_twofold.so combined\nauth required pam_unix.so use_first_pass", False),
        ("auth required pam_twofold.so combined", False),
    ],
)
def test_a_pin_in_place_of_a_password_is_found(tmp_path: Path, text: str, enough: bool) -> None:
    assert pin_is_enough(stack(tmp_path, text)) is enough


def test_a_service_without_lines_is_judged_by_other(tmp_path: Path) -> None:
    known = written(tmp_path, sudo="session required pam_limits.so", other="auth required pam_deny.so")
    assert [rule.name for rule in known.auth("sudo")] == ["deny"]
    assert [rule.name for rule in known.auth("nowhere")] == ["deny"]


def test_a_distribution_may_keep_its_stacks_below_usr(tmp_path: Path) -> None:
    known = written(tmp_path)
    (tmp_path / "usr/lib/pam.d").mkdir(parents=True)
    (tmp_path / "usr/lib/pam.d/su").write_text("auth required pam_unix.so")
    assert [rule.file for rule in known.auth("su")] == ["/usr/lib/pam.d/su"]
    assert known.services() == ["common-auth", "password-auth", "su"], "and they are looked at"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@include nowhere", "/etc/pam.d/sshd, line 1: nowhere is not there"),
        ("auth include sshd", "sshd includes itself"),
        ("auth requird pam_twofold.so", "/etc/pam.d/sshd, line 1: the control 'requird' is not known"),
    ],
)
def test_a_stack_that_libpam_refuses_is_broken(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BrokenStack, match=said.replace("[", r"\[")):
        stack(tmp_path, text)


# --- against the real libpam

RESULTS = ["success", "auth_err", "ignore", "user_unknown", "authinfo_unavail"]
ACTIONS = ["ok", "done", "bad", "die", "ignore", "1", "2"]
words = st.sampled_from(["required", "requisite", "sufficient", "optional"])
brackets = st.builds(
    lambda success, ignored, other: f"[success={success} ignore={ignored} default={other}]",
    st.sampled_from(ACTIONS),
    st.sampled_from(["ignore", "bad"]),
    st.sampled_from(["ignore", "bad", "die", "1"]),
)
lines = st.lists(st.tuples(st.one_of(words, brackets), st.sampled_from(RESULTS)), min_size=1, max_size=4)


def walked(rules: list[Rule]) -> bool:
    """Our verdict on a stack whose lines say what they are told to."""
    place = Place()
    while place.at < len(rules):
        rule = rules[place.at]
        result = rule.arguments[0].removeprefix("auth=") if rule.arguments else "ignore"
        action = rule.actions.get(result, rule.actions.get("default", "bad"))
        place = after(rules, place, Step(rule, result, action))
    return place.impression == "good"


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines, lines, st.sampled_from(["auth substack", "auth include", "@include"]))
@example([("[success=1 default=ignore]", "success"), ("requisite", "auth_err")], [("required", "success")], "@include")
def test_the_walk_ends_as_that_of_libpam(
    tmp_path: Path, outer: list[tuple[str, str]], inner: list[tuple[str, str]], way: str
) -> None:
    first, *rest = [f"auth {control} {libpam.says(result)}" for control, result in outer]
    (tmp_path / "trial").write_text("\n".join([first, f"{way} {tmp_path}/inner", *rest]) + "\n")
    (tmp_path / "inner").write_text("".join(f"auth {control} {libpam.says(result)}\n" for control, result in inner))
    (tmp_path / "other").write_text("auth required pam_deny.so\n")

    assert walked(Stacks(Path("/")).auth(f"{tmp_path}/trial")) is libpam.lets_in(tmp_path, "trial")


LETS_IN, REFUSES = libpam.says("success"), libpam.says("auth_err")

# How a file may be written: each as libpam reads it, which is told by whether it lets in. `inner` is sufficient, and
# lets in.
ODDLY_WRITTEN = {
    "blanks around =": f"auth [success = done default= ignore] {LETS_IN}\nauth required {REFUSES}",
    "brackets without blanks after them": f"auth [success=done default=ignore]{LETS_IN}\nauth required {REFUSES}",
    "brackets that are never closed": f"auth [success=ok # default=bad\nauth required {LETS_IN}",
    "brackets over two lines": f"auth [success=done \\\n default=ignore] {LETS_IN}\nauth required {REFUSES}",
    "two defaults": f"auth [success=ok default=ignore default=bad] {REFUSES}\nauth required {LETS_IN}",
    "a default before": f"auth [default=ignore success=done] {LETS_IN}\nauth required {REFUSES}",
    "one result twice": f"auth [success=ignore success=done] {LETS_IN}\nauth required {REFUSES}",
    "large letters": f"AUTH Sufficient {LETS_IN}\nauth required {REFUSES}",
    "a result in large letters": f"auth [SUCCESS=done default=ignore] {LETS_IN}\nauth required {REFUSES}",
    "an include in large letters": f"auth Include inner\nauth required {REFUSES}",
    "a substack in large letters": f"auth SUBSTACK inner\nauth required {LETS_IN}",
    "an @include in large letters": f"@Include inner\nauth required {REFUSES}",
    "a form feed in a comment": f"auth required {LETS_IN}\n# x\x0cauth required {REFUSES}",
    "a line separator in a comment": f"auth required {LETS_IN}\n# x\u2028auth required {REFUSES}",
    "a vertical tab between words": f"auth\x0bsufficient {LETS_IN}\nauth required {LETS_IN}",
    "a no-break blank": f"auth\u00a0required {REFUSES}\nauth required {LETS_IN}",
    "a backslash in a comment": f"# x \\\nauth required {REFUSES}\nauth required {LETS_IN}",
    "a backslash before a comment": f"auth sufficient {LETS_IN} \\ # x\nauth required {REFUSES}",
    "blanks after a backslash": f"auth required \\  \n{LETS_IN}",
    "a comment inside a line": f"auth required {LETS_IN} \\\n# hi\nauth required {REFUSES}",
    "an empty line inside a line": f"auth required {LETS_IN}\nauth required \\\n\n {REFUSES}",
    "a backslash at the end of the file": f"auth required {LETS_IN}\nauth required {LETS_IN} \\",
    "blanks in front": f"  \t auth \t sufficient\t{LETS_IN}\nauth required {REFUSES}",
    "a result that there is not": f"auth [foo=ok success=done default=ignore] {LETS_IN}\nauth required {LETS_IN}",
    "an action that there is not": f"auth [success=foo default=ignore] {LETS_IN}\nauth required {LETS_IN}",
    "a jump across nothing": f"auth [success=0 default=ignore] {LETS_IN}\nauth required {LETS_IN}",
    "no module": f"auth required\nauth required {LETS_IN}",
    "a type that there is not": f"authx required {LETS_IN}\nauth required {LETS_IN}",
    "no end of the last line": f"auth required {LETS_IN}",
    "nothing": "",
}


@pytest.mark.parametrize("what", ODDLY_WRITTEN)
def test_a_stack_is_read_as_libpam_reads_it_however_it_is_written(tmp_path: Path, what: str) -> None:
    (tmp_path / "trial").write_bytes(ODDLY_WRITTEN[what].replace(" inner", f" {tmp_path}/inner").encode())
    (tmp_path / "inner").write_text(f"auth sufficient {LETS_IN}\n")
    (tmp_path / "other").write_text("auth required pam_deny.so\n")
    try:
        verdict = walked(Stacks(Path("/")).auth(f"{tmp_path}/trial"))
    except BrokenStack:
        verdict = False
    assert verdict is libpam.lets_in(tmp_path, "trial")


def test_a_file_of_windows_names_no_module(tmp_path: Path) -> None:
    with pytest.raises(BrokenStack, match=r"line 1: .*carriage return"):
        stack(tmp_path, "auth required pam_twofold.so\r\n")
