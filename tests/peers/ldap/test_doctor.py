"""`twofold doctor` and a directory: what it finds out without anybody's password."""

from pathlib import Path

import pytest

from first_factor.ldap_checks import checks
from tests.peers.authority import Authority
from tests.peers.ldap.conftest import Another
from tests.peers.ldap.slapd import GROUPS, PEOPLE, SUFFIX, Slapd
from tests.site import Site
from validation.model import FirstFactorKind
from validation.requests import AddUser, SetRule
from validation.settings import Scope

pytestmark = pytest.mark.peer("slapd", "ldapadd", "ldapmodify", "ldapsearch")


def found(folder: Path, section: str) -> list[tuple[str, str]]:
    site = Site(folder, f'[store]\nchain = "test"\n{section}')
    return [(str(one.severity), one.text) for one in checks(site.config)]


def test_a_directory_that_is_right(slapd: Slapd, tmp_path: Path) -> None:
    section = slapd.section(slapd.url, slapd.tls_url, more=f'[first_factor.ldap.groups]\nbase = "{GROUPS}"')
    assert found(tmp_path, section) == [
        ("ok", f"{slapd.url} answers (StartTLS), and {PEOPLE} is there"),
        ("ok", f"{slapd.tls_url} answers (TLS), and {PEOPLE} is there"),
    ]


def test_one_server_of_two_that_is_down_is_advice(another: Another, slapd: Slapd, tmp_path: Path) -> None:
    gone = another("gone", slapd.authority)
    gone.stop()
    first, second = found(tmp_path / "site", slapd.section(gone.url, slapd.url))
    assert (first[0], second[0]) == ("!", "ok")
    assert first[1].startswith(f"{gone.url}: ")
    assert "refused" in first[1]


def test_a_directory_that_nobody_reaches_is_serious(another: Another, tmp_path: Path) -> None:
    gone = another("gone")
    gone.stop()
    ((severity, _),) = found(tmp_path / "site", gone.section())
    assert severity == "!!"


def test_a_certificate_of_somebody_else(slapd: Slapd, tmp_path: Path) -> None:
    section = slapd.section(ca_file=Authority(tmp_path, "stranger").file)
    ((severity, text),) = found(tmp_path / "site", section)
    assert severity == "!!"
    assert "its certificate is not accepted" in text


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (f'base = "{PEOPLE}"', f'base = "ou=nowhere,{SUFFIX}"', "failed: result 32, noSuchObject"),
        ('bind_dn = "cn=twofold,', 'bind_dn = "cn=nobody,', "may not log in (result 49, invalidCredentials)"),
        ("reader.password", "no.password", "does not exist; write the password of bind_dn into it"),
        ("[first_factor.ldap]", '[first_factor.ldap]\nfilter = "(uid={user})(x=y)"', "is no filter"),
    ],
)
def test_a_configuration_with_a_slip_in_it(slapd: Slapd, tmp_path: Path, old: str, new: str, words: str) -> None:
    ((severity, text),) = found(tmp_path / "site", slapd.section().replace(old, new))
    assert severity == "!!"
    assert words in text


def test_a_base_for_groups_that_is_no_dn(slapd: Slapd, tmp_path: Path) -> None:
    section = slapd.section(more='[first_factor.ldap.groups]\nbase = "groups"')
    ((severity, text),) = found(tmp_path / "site", section)
    assert (severity, "is no DN" in text) == ("!!", True)


def test_users_of_a_directory_that_is_not_configured(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert list(checks(site.config)) == []
    site.gate.administer(AddUser(actor="test", name="alice", first_factor=FirstFactorKind.LDAP))
    (one,) = checks(site.config)
    site.database.close()
    assert (str(one.severity), one.topic) == ("!!", "directory")
    assert one.text.startswith("1 user has a password of the directory, and [first_factor.ldap] is missing")
    assert str(site.config_file) in one.remedy


def test_users_that_policy_sends_to_a_directory_that_is_not_configured(tmp_path: Path) -> None:
    site = Site(tmp_path)
    rule = SetRule(actor="test", key="first_factor", value="ldap", scope=Scope("staff"))
    site.gate.administer(rule)
    (one,) = checks(site.config)
    site.database.close()
    assert one.text.startswith("by policy users have a password of the directory, and [first_factor.ldap] is missing")


def test_the_command_says_it(slapd: Slapd, tmp_path: Path) -> None:
    site = Site(tmp_path, f'[store]\nchain = "test"\n{slapd.section()}')
    done = site.command("doctor")
    assert f"{slapd.url} answers (StartTLS)" in done.stdout
