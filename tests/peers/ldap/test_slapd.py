"""`first_factor/ldap.py` against a real OpenLDAP: its password policies, its TLS, its groups, and its absence."""

import itertools
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from first_factor.ldap import LdapPasswords
from store.config import parse
from tests.peers.authority import Authority
from tests.peers.ldap.conftest import Another
from tests.peers.ldap.slapd import GROUPS, PEOPLE, SUFFIX, Slapd
from validation.decisions import Look
from validation.requests import FirstFactor

pytestmark = pytest.mark.peer("slapd", "ldapadd", "ldapmodify", "ldapsearch")

PASSWORD = "pw-of-a-person"
LONG_AGO = "20200101000000Z"
PROVED, WRONG, UNAVAILABLE = FirstFactor.PROVED, FirstFactor.WRONG, FirstFactor.UNAVAILABLE
_numbers = itertools.count()


def newcomer(slapd: Slapd, password: str | None = PASSWORD, policy: str = "") -> str:
    name = f"person{next(_numbers)}"
    slapd.add_person(name, password, policy=policy)
    return name


def passwords(section: str) -> LdapPasswords:
    settings = parse(section, Path("/etc/twofold/twofold.toml")).ldap
    assert settings is not None
    return LdapPasswords(settings)


def check(checked: LdapPasswords, user: str, password: str = PASSWORD) -> tuple[FirstFactor, str]:
    found = checked.check(Look("ldap", None, 1, user=user), password)
    return found.status, found.why


# --- Who is let in -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["StartTLS", "TLS", "socket"])
def test_the_password_of_the_user_and_nothing_else(slapd: Slapd, way: str) -> None:
    url = {"StartTLS": slapd.url, "TLS": slapd.tls_url, "socket": slapd.socket_url}[way]
    checked, name = passwords(slapd.section(url)), newcomer(slapd)
    assert check(checked, name) == (PROVED, "")
    assert [check(checked, name, typed) for typed in (PASSWORD + "x", PASSWORD.upper())] == [(WRONG, "")] * 2
    assert check(checked, "nobody-here") == (WRONG, "not-in-directory")


@pytest.mark.statement("O-058", "O-059")
def test_the_whole_password_counts_octet_for_octet(slapd: Slapd) -> None:
    checked = passwords(slapd.section())
    long = "0123456789abcdef" * 20
    for password, others in {long: [long[:-1], long + "x", long[:128]], "u\u0308ber": ["\u00fcber"]}.items():
        name = newcomer(slapd, password)
        assert check(checked, name, password) == (PROVED, "")
        assert {check(checked, name, other) for other in others} == {(WRONG, "")}


@pytest.mark.statement("R-054", "V-037")
def test_an_empty_password_never_arrives(slapd: Slapd) -> None:
    """Not even for an entry that has none."""
    checked = passwords(slapd.section())
    name, without = newcomer(slapd), newcomer(slapd, None)
    assert [check(checked, each, typed) for each in (name, without) for typed in ("", "\0")] == [(WRONG, "")] * 4
    assert check(checked, without, "x") == (WRONG, "")
    assert slapd.failures(f"uid={name},{PEOPLE}") == 0


@pytest.mark.statement("C-054")
@pytest.mark.parametrize(
    "pattern", ["*", "{}*", "{})(uid=*", "{})(|(uid=*", "x)(uid={}", "{}\0", "\\{}", "({})", "uid={}"]
)
def test_a_name_cannot_say_more_than_a_name(slapd: Slapd, pattern: str) -> None:
    checked, name = passwords(slapd.section()), newcomer(slapd)
    assert check(checked, pattern.format(name)) == (WRONG, "not-in-directory")
    assert slapd.failures(f"uid={name},{PEOPLE}") == 0


def test_two_entries_of_one_name_are_nobodys(slapd: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    name = newcomer(slapd)
    slapd.add(f"dn: ou={name},{PEOPLE}\nobjectClass: organizationalUnit\nou: {name}\n")
    twin = slapd.add_person(name, PASSWORD, below=f"ou={name},{PEOPLE}")
    assert check(passwords(slapd.section()), name, "a guess") == (UNAVAILABLE, "")
    assert "filter finds more than one entry" in caplog.text
    assert slapd.failures(twin) == slapd.failures(f"uid={name},{PEOPLE}") == 0


# --- What the password policy says -------------------------------------------------------------------------------


def test_a_locked_account(slapd: Slapd) -> None:
    checked, name = passwords(slapd.section()), newcomer(slapd)
    assert check(checked, name) == (PROVED, "")
    slapd.change(f"uid={name},{PEOPLE}", "pwdAccountLockedTime", "000001010000Z")
    assert check(checked, name) == (WRONG, "locked")


def test_an_account_that_is_locked_by_guesses(slapd: Slapd) -> None:
    checked, name = passwords(slapd.section()), newcomer(slapd)
    assert [check(checked, name, "guess") for _ in range(3)][:2] == [(WRONG, "")] * 2
    assert check(checked, name) == (WRONG, "locked")


def test_an_expired_password(slapd: Slapd) -> None:
    checked, name = passwords(slapd.section()), newcomer(slapd, policy="short")
    assert check(checked, name) == (PROVED, "")
    slapd.change(f"uid={name},{PEOPLE}", "pwdChangedTime", LONG_AGO)
    assert check(checked, name) == (WRONG, "expired")


def test_an_expired_password_that_is_good_for_two_more(slapd: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    checked, name = passwords(slapd.section()), newcomer(slapd, policy="grace")
    slapd.change(f"uid={name},{PEOPLE}", "pwdChangedTime", LONG_AGO)
    assert [check(checked, name) for _ in range(3)] == [(PROVED, ""), (PROVED, ""), (WRONG, "expired")]
    assert "is good for 1 more logins" in caplog.text


def test_a_password_that_must_be_changed_is_wrong_although_the_bind_succeeds(
    slapd: Slapd, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    checked, name = passwords(slapd.section()), newcomer(slapd)
    slapd.change(f"uid={name},{PEOPLE}", "pwdReset", "TRUE")
    assert check(checked, name) == (WRONG, "must-change")
    assert "a right password is not taken (must-change)" in caplog.text
    assert check(checked, name, "guess") == (WRONG, "")


# --- Who the server is -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["StartTLS", "TLS"])
def test_a_server_that_others_vouch_for_hears_nothing(
    slapd: Slapd, tmp_path: Path, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = newcomer(slapd)
    url = slapd.url if way == "StartTLS" else slapd.tls_url
    stranger = Authority(tmp_path, "stranger")
    assert check(passwords(slapd.section(url, ca_file=stranger.file)), name, "guess") == (UNAVAILABLE, "")
    assert "its certificate is not accepted" in caplog.text
    assert slapd.failures(f"uid={name},{PEOPLE}") == 0


def test_the_authorities_of_the_host_do_not_vouch_for_ours(slapd: Slapd) -> None:
    section = slapd.section().replace("ca_file", "#")
    assert check(passwords(section), newcomer(slapd)) == (UNAVAILABLE, "")


@pytest.mark.parametrize("way", ["StartTLS", "TLS"])
def test_a_server_with_another_name_hears_nothing(slapd: Slapd, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """127.0.0.2 is the same slapd, and its certificate does not say so."""
    name = newcomer(slapd)
    url = f"ldap://127.0.0.2:{slapd.port}" if way == "StartTLS" else f"ldaps://127.0.0.2:{slapd.tls_port}"
    assert check(passwords(slapd.section(url)), name, "guess") == (UNAVAILABLE, "")
    assert "certificate is not valid for '127.0.0.2'" in caplog.text
    assert slapd.failures(f"uid={name},{PEOPLE}") == 0


def test_an_address_that_the_certificate_names(slapd: Slapd) -> None:
    assert check(passwords(slapd.section(f"ldaps://127.0.0.1:{slapd.tls_port}")), newcomer(slapd)) == (PROVED, "")


def test_a_certificate_that_is_no_longer_good(another: Another, caplog: pytest.LogCaptureFixture) -> None:
    slapd = another("expired")
    slapd.stop()
    slapd.authority.sign("slapd", "localhost", "127.0.0.1", ends_in=-1)
    slapd.start()
    assert check(passwords(slapd.section()), newcomer(slapd)) == (UNAVAILABLE, "")
    assert "certificate has expired" in caplog.text


def test_a_ca_file_that_is_gone_is_no_answer_until_it_is_back(
    slapd: Slapd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ca.pem"
    checked, name = passwords(slapd.section(ca_file=file)), newcomer(slapd)
    assert check(checked, name) == (UNAVAILABLE, "")
    assert f"ca_file {file} cannot be used" in caplog.text
    shutil.copy(slapd.authority.file, file)
    assert check(checked, name) == (PROVED, "")


def test_in_clear_on_this_host_where_the_configuration_says_so(another: Another) -> None:
    slapd = another("clear", encrypted=False)
    url = f"ldap://127.0.0.1:{slapd.port}"
    name = newcomer(slapd)
    assert check(passwords(slapd.section(url, more="unencrypted = true")), name) == (PROVED, "")


def test_a_server_that_wants_tls_is_no_answer_in_clear(slapd: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    url = f"ldap://127.0.0.1:{slapd.port}"
    assert check(passwords(slapd.section(url, more="unencrypted = true")), newcomer(slapd)) == (UNAVAILABLE, "")
    assert "confidentialityRequired" in caplog.text


# --- The service account -----------------------------------------------------------------------------------------


def test_a_service_account_with_a_wrong_password(slapd: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    section = slapd.section()
    (slapd.folder / "reader.password").write_text("not it")
    assert check(passwords(section), newcomer(slapd)) == (UNAVAILABLE, "")
    assert "may not log in (result 49, invalidCredentials); look at bind_dn and bind_password_file" in caplog.text
    assert "not it" not in caplog.text


def test_a_base_that_is_not_there(slapd: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    section = slapd.section().replace(f'base = "{PEOPLE}"', f'base = "ou=nowhere,{SUFFIX}"')
    assert check(passwords(section), newcomer(slapd)) == (UNAVAILABLE, "")
    assert f"the search in ou=nowhere,{SUFFIX} failed: result 32, noSuchObject" in caplog.text


def test_a_filter_that_is_none(slapd: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    section = slapd.section(more='filter = "(&(uid={user})(objectClass))"')
    assert check(passwords(section), newcomer(slapd)) == (UNAVAILABLE, "")
    assert "the filter in the configuration is no filter" in caplog.text


# --- Groups ------------------------------------------------------------------------------------------------------


def groups(section: str, user: str) -> tuple[str, ...]:
    found = passwords(section).check(Look("ldap", None, 1, user=user), PASSWORD)
    assert found.status is PROVED
    return found.groups


def add_groups(slapd: Slapd, name: str) -> None:
    dn = f"uid={name},{PEOPLE}"
    slapd.add(
        f"dn: cn=VPN {name},{GROUPS}\nobjectClass: groupOfNames\ncn: VPN {name}\nmember: {dn}\n\n"
        f"dn: cn=posix-{name},{GROUPS}\nobjectClass: posixGroup\ncn: posix-{name}\ngidNumber: 7\nmemberUid: {name}\n\n"
        f"dn: cn=admins-{name},{PEOPLE}\nobjectClass: groupOfNames\ncn: admins-{name}\nmember: {dn}\n\n"
        f"dn: cn=others-{name},{GROUPS}\nobjectClass: groupOfNames\ncn: others-{name}\nmember: uid=x,{PEOPLE}\n"
    )


def test_groups_of_both_kinds_below_their_base(slapd: Slapd) -> None:
    name = newcomer(slapd)
    add_groups(slapd, name)
    section = f'[first_factor.ldap.groups]\nbase = "{GROUPS}"\n'
    assert groups(slapd.section(more=section), name) == (f"VPN {name}", f"posix-{name}")
    assert groups(slapd.section(more=f'{section}member_of = true\nfilter = ""'), name) == (f"VPN {name}",)
    mapped = f'{section}names = {{"vpn {name}" = "vpn"}}'
    assert groups(slapd.section(more=mapped), name) == ("vpn",)
    assert groups(slapd.section(), name) == ()


# --- Servers that come and go ------------------------------------------------------------------------------------


def test_a_server_that_is_stopped_and_started_again(another: Another) -> None:
    slapd = another("one")
    checked, name = passwords(slapd.section()), newcomer(slapd)
    assert check(checked, name) == (PROVED, "")
    slapd.stop()
    assert [check(checked, name, typed) for typed in (PASSWORD, "guess")] == [(UNAVAILABLE, "")] * 2
    slapd.start()
    assert check(checked, name) == (PROVED, "")
    assert check(checked, name, "guess") == (WRONG, "")


def test_the_second_server_answers_while_the_first_is_stopped(another: Another, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    first, second = another("first", authority), another("second", authority)
    for slapd in (first, second):
        slapd.add_person("both", PASSWORD)
    checked = passwords(first.section(first.url, second.tls_url))
    assert check(checked, "both", "guess") == (WRONG, "")
    first.stop()
    assert check(checked, "both") == (PROVED, "")
    assert check(checked, "both", "guess") == (WRONG, "")
    first.start()
    second.stop()
    assert check(checked, "both") == (PROVED, "")
    assert first.failures(f"uid=both,{PEOPLE}") <= 1


def test_many_at_once_get_their_own_answers(slapd: Slapd) -> None:
    checked = passwords(slapd.section(more="time_limit = 30\nthreads = 4"))
    names = [newcomer(slapd) for _ in range(8)]
    asked = [(name, typed) for name in names for typed in (PASSWORD, "guess")]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda pair: check(checked, *pair)[0], asked))
    assert found == [PROVED, WRONG] * 8
