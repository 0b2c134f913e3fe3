"""What PAM's answers mean, who is asked about, and what is never said. Real accounts: tests/peers/pam."""

import logging
import pwd
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pam
import pytest

from first_factor import Checker, checker, system
from first_factor.guesses import ACCOUNT_FREE, Guesses
from first_factor.system import LONGEST, NOBODY, NotRoot, SystemPasswords
from store.config import SystemSection, parse
from tests.site import eventually
from validation.decisions import Look
from validation.requests import FirstFactor, FirstFactorResult

SECRET = "s3cret-of-a-user"


@dataclass
class Host:
    """Answers as PAM would, and remembers what it was asked."""

    code: int = pam.PAM_SUCCESS
    error: Exception | None = None
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)

    def __call__(self, service: str, account: str, password: bytes) -> int:
        self.asked.append((service, account, password))
        if self.error is not None:
            raise self.error
        return self.code


def look(user: str = "root", version: int = 5) -> Look:
    return Look("system", None, version, user=user)


def status(host: Host, user: str = "root", password: str = SECRET, least_uid: int = 0) -> FirstFactor:
    return SystemPasswords("svc", least_uid=least_uid, ask=host).check(look(user), password).status


WRONG = {
    pam.PAM_AUTH_ERR,
    pam.PAM_USER_UNKNOWN,
    pam.PAM_MAXTRIES,
    pam.PAM_PERM_DENIED,
    pam.PAM_ACCT_EXPIRED,
    pam.PAM_AUTHTOK_EXPIRED,
    pam.PAM_NEW_AUTHTOK_REQD,
}


@pytest.mark.parametrize("code", [*range(33), -1, 255])
def test_every_code_of_pam_has_its_meaning(code: int) -> None:
    """Those nobody has heard of, too: only success proves, and what is not listed is no answer."""
    expected = FirstFactor.WRONG if code in WRONG else FirstFactor.UNAVAILABLE
    assert status(Host(code)) is (FirstFactor.PROVED if code == 0 else expected)


def test_a_password_that_must_be_changed_proves_only_where_the_change_follows() -> None:
    host = Host(pam.PAM_NEW_AUTHTOK_REQD)
    found = [SystemPasswords(change_follows=follows, ask=host).check(look(), "x").status for follows in (False, True)]
    assert found == [FirstFactor.WRONG, FirstFactor.PROVED]


def test_the_result_says_what_the_look_said() -> None:
    """The decision refuses it if the user's password has since moved elsewhere."""
    assert SystemPasswords(ask=Host()).check(look(version=77), SECRET) == FirstFactorResult(FirstFactor.PROVED, 77)


def test_the_account_of_that_name_is_asked_about_once() -> None:
    host = Host()
    assert status(host) is FirstFactor.PROVED
    assert host.asked == [("svc", "root", SECRET.encode())]


@pytest.mark.statement("C-034", "C-054", "C-056")
@pytest.mark.parametrize(
    "name",
    ["", "Root", "ROOT", "root ", " root", "root\n", "root\0", "0", "#0", "ro\udcffot", "nobody-has-this", NOBODY],
)
@pytest.mark.parametrize("code", [pam.PAM_SUCCESS, pam.PAM_AUTH_ERR])
def test_whoever_has_no_account_costs_the_same_question_and_is_wrong(name: str, code: int) -> None:
    """Also where the service lets everybody in."""
    host = Host(code)
    assert status(host, name) is FirstFactor.WRONG
    assert host.asked == [("svc", NOBODY, SECRET.encode())]


@pytest.mark.statement("C-050")
def test_a_directory_that_finds_other_spellings_finds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """SSSD may, and each spelling would have counters of its own."""
    root = pwd.getpwnam("root")
    monkeypatch.setattr(pwd, "getpwnam", lambda name: root)
    assert [status(Host(), name) for name in ("Root", "root@site", "root")] == [
        *[FirstFactor.WRONG] * 2,
        FirstFactor.PROVED,
    ]


def test_an_account_below_the_least_uid_is_nobodys() -> None:
    host = Host()
    assert status(host, "root", least_uid=1) is FirstFactor.WRONG
    assert host.asked == [("svc", NOBODY, SECRET.encode())]


def test_a_host_that_does_not_answer_does_so_for_everybody() -> None:
    host = Host(pam.PAM_AUTHINFO_UNAVAIL)
    assert [status(host, name) for name in ("root", "nobody-has-this")] == [FirstFactor.UNAVAILABLE] * 2


@pytest.mark.statement("R-053", "R-054")
@pytest.mark.parametrize("password", ["", "\0", SECRET + "\0", SECRET + "\0more", "half a character \ud800"])
def test_what_cannot_be_a_password_is_wrong_and_pam_is_not_asked(password: str) -> None:
    host = Host()
    assert status(host, password=password) is FirstFactor.WRONG
    assert status(host, "nobody-has-this", password) is FirstFactor.WRONG
    assert host.asked == []


def test_a_password_that_is_too_long_is_wrong_after_the_same_question() -> None:
    host = Host()
    assert status(host, password="é" * (LONGEST // 2)) is FirstFactor.PROVED
    assert status(host, password="x" * (LONGEST + 1)) is FirstFactor.WRONG
    assert host.asked[1] == ("svc", NOBODY, b"x" * LONGEST)


@pytest.mark.statement("P-013")
@pytest.mark.parametrize(
    "host",
    [Host(), Host(pam.PAM_SYSTEM_ERR), Host(pam.PAM_NEW_AUTHTOK_REQD), Host(error=ValueError(SECRET))],
    ids=["right", "broken", "too old", "raises"],
)
def test_no_log_line_shows_the_password_or_the_name(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    checked = SystemPasswords(ask=host)
    result = checked.check(look(), SECRET)
    assert SECRET not in caplog.text + repr(checked) + repr(result)
    assert bool(caplog.records) is (host.code != pam.PAM_SUCCESS or host.error is not None)


def test_an_error_is_no_answer() -> None:
    assert status(Host(error=OSError("libpam is gone"))) is FirstFactor.UNAVAILABLE


def test_a_host_that_hangs_is_no_answer_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    opens = threading.Event()

    def hang(service: str, account: str, password: bytes) -> int:
        opens.wait(60)
        return int(pam.PAM_SUCCESS)

    checked = SystemPasswords("svc", time_limit=0.05, threads=1, ask=hang)
    assert [checked.check(look(), SECRET).status for _ in range(2)] == [FirstFactor.UNAVAILABLE] * 2
    assert "1 of 1 calls hang" in caplog.text
    assert "every call hangs" in caplog.text
    opens.set()
    eventually(lambda: checked.check(look(), SECRET).status is FirstFactor.PROVED)


def test_a_service_that_is_not_there_is_not_replaced_by_another(caplog: pytest.LogCaptureFixture) -> None:
    assert system.ask_pam("twofold-not-there", "root", b"x") == pam.PAM_SERVICE_ERR
    assert "there is no PAM service twofold-not-there" in caplog.text


def test_a_helper_that_is_not_root_proves_nothing_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 990)
    for checked in (system.for_helper(SystemSection()), system.for_asking_server(SystemSection())):
        caplog.clear()
        assert isinstance(checked, NotRoot)
        assert [checked.check(look(), SECRET).status for _ in range(3)] == [FirstFactor.UNAVAILABLE] * 3
        assert [record.message for record in caplog.records] == [
            "passwords of the host's accounts cannot be checked: the helper does not run as root"
        ]


def test_each_user_is_checked_where_his_password_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that is not root asks the helper; here there is none."""
    monkeypatch.setattr("os.geteuid", lambda: 990)
    text = '[pam]\nsocket = "/nonexistent/pam.sock"\n'
    both: Checker = checker(parse(text, Path("/etc/twofold/twofold.toml")))
    assert both.check(look(), SECRET).status is FirstFactor.UNAVAILABLE
    assert "no helper answers at /nonexistent/pam.sock" in caplog.text
    assert both.check(Look("local", None, 1, user="root"), SECRET).status is FirstFactor.WRONG


# --- for somebody else: counted -----------------------------------------------------------------------------------


def counted(host: Host, time_limit: float = 10.0) -> SystemPasswords:
    return SystemPasswords("svc", time_limit, ask=host, guesses=Guesses(lambda: 0.0))


def test_after_many_wrong_passwords_pam_is_not_asked_any_more_about_that_account() -> None:
    host = Host(pam.PAM_AUTH_ERR)
    checked = counted(host)
    assert {checked.check(look(), SECRET).status for _ in range(ACCOUNT_FREE)} == {FirstFactor.WRONG}
    host.code = pam.PAM_SUCCESS
    held = checked.check(look(version=7), SECRET)
    assert held == FirstFactorResult(FirstFactor.UNAVAILABLE, 7, why="throttled")
    assert len(host.asked) == ACCOUNT_FREE
    assert checked.check(look("daemon"), SECRET).status is FirstFactor.PROVED


def test_a_right_password_clears_the_count() -> None:
    host = Host()
    checked = counted(host)
    for code in [*[pam.PAM_AUTH_ERR] * (ACCOUNT_FREE - 1), pam.PAM_SUCCESS] * 3:
        host.code = code
        assert checked.check(look(), SECRET).status is not FirstFactor.UNAVAILABLE


@pytest.mark.parametrize("host", [Host(pam.PAM_AUTHINFO_UNAVAIL), Host(error=OSError())], ids=["no back end", "raises"])
def test_a_host_that_does_not_answer_is_not_counted(host: Host) -> None:
    checked = counted(host)
    for _ in range(2 * ACCOUNT_FREE):
        checked.check(look(), SECRET)
    host.code, host.error = pam.PAM_SUCCESS, None
    assert checked.check(look(), SECRET).status is FirstFactor.PROVED


def test_whoever_has_no_account_is_not_counted() -> None:
    """There is nothing to be guessed, and no memory to be filled."""
    checked = counted(Host(pam.PAM_USER_UNKNOWN))
    assert {checked.check(look(f"no{n}"), SECRET).status for n in range(2 * ACCOUNT_FREE)} == {FirstFactor.WRONG}


def test_of_many_at_once_no_more_are_asked() -> None:
    host = Host(pam.PAM_AUTH_ERR)
    checked = SystemPasswords("svc", 60.0, threads=16, ask=host, guesses=Guesses(lambda: 0.0))
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: checked.check(look(), SECRET).status, range(3 * ACCOUNT_FREE)))
    assert len(host.asked) == ACCOUNT_FREE
    assert found.count(FirstFactor.WRONG) == ACCOUNT_FREE
