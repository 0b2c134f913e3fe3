"""The stacks that are there to be copied: nobody gets in past us in any of them."""

from pathlib import Path

import pytest

from pam_helper.stacks import Rule, Stacks, pin_is_enough, way_past_us
from tests.architecture.source import ROOT

SHIPPED = sorted((ROOT / "contrib/pam").glob("*/*"))

# As Debian 12 and Red Hat Enterprise Linux 9 have them.
DISTRIBUTION = {
    "common-auth": """
auth [success=1 default=ignore] pam_unix.so nullok
auth requisite pam_deny.so
auth required pam_permit.so
auth optional pam_cap.so
""",
    "system-auth": """
auth required pam_env.so
auth required pam_faildelay.so delay=2000000
auth required pam_faillock.so preauth silent
auth [default=1 ignore=ignore success=ok] pam_usertype.so isregular
auth [default=1 ignore=ignore success=ok] pam_localuser.so
auth sufficient pam_unix.so nullok try_first_pass
auth [default=1 ignore=ignore success=ok] pam_usertype.so isregular
auth sufficient pam_sss.so forward_pass
auth required pam_faillock.so authfail
auth required pam_deny.so
""",
    "postlogin": "session optional pam_umask.so silent\n",
}
DISTRIBUTION["password-auth"] = DISTRIBUTION["system-auth"]


def installed(tmp_path: Path, shipped: Path, change: tuple[str, str] = ("", "")) -> list[Rule]:
    folder = tmp_path / "etc/pam.d"
    folder.mkdir(parents=True)
    for name, text in DISTRIBUTION.items():
        (folder / name).write_text(text)
    (folder / "service").write_text(shipped.read_text().replace(*change))
    return Stacks(tmp_path).auth("service")


def test_there_is_one_of_each_kind_for_both_families() -> None:
    names = {folder: {path.name for path in SHIPPED if path.parent.name == folder} for folder in ("debian", "redhat")}
    assert names["debian"] == names["redhat"]
    assert names["debian"] >= {"sshd", "sshd-key", "sshd-combined", "sudo", "su", "login", "login-combined", "locker"}


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nobody_gets_in_past_us(tmp_path: Path, shipped: Path) -> None:
    rules = installed(tmp_path, shipped)
    assert [rule for rule in rules if rule.ours]
    assert way_past_us(rules) is None
    assert pin_is_enough(rules) is (shipped.name == "sshd-key")


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_of_each_stack_that_asks_for_no_password_without_us_the_page_on_lockouts_speaks(
    tmp_path: Path, shipped: Path
) -> None:
    """There our line is taken out in need, and passwords must work as before."""
    page = (ROOT / "docs/pam/lockout.md").read_text().partition("**It must work now")[2]
    left = [rule for rule in installed(tmp_path, shipped) if not rule.ours]
    asks = [rule for rule in left if rule.name in ("unix", "sss") and "use_first_pass" not in rule.arguments]
    assert asks or f"`{shipped.name}`" in page


@pytest.mark.parametrize("name", ["sshd", "sudo", "su", "login", "locker"])
def test_an_include_where_a_substack_must_stand_would_be_found(tmp_path: Path, name: str) -> None:
    rules = installed(tmp_path, ROOT / "contrib/pam/redhat" / name, ("substack", "include"))
    culprit = way_past_us(rules)
    assert culprit is not None
    assert culprit.control == "sufficient"
