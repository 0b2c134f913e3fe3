"""Users who come from another host's /etc/shadow log in with the password they had, and are hashed anew by that."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from first_factor.local import LocalPasswords
from tests.peers import peers
from tests.site import ServerProcess, Site, eventually, hashed, pin
from tests.store import raw
from tests.wire import ACCEPT, CHALLENGE, REJECT, Nas, access_request
from validation.decisions import Challenge, Look, Reason, Reject
from validation.model import Mode, Token
from validation.requests import Channel, FirstFactor, FirstFactorResult, LoginRequest, LookRequest, SetUser

pytestmark = pytest.mark.peer("openssl", "mkpasswd")

MAKE = {
    "sha512": ("openssl", "passwd", "-6", "-stdin"),
    "sha256": ("openssl", "passwd", "-5", "-stdin"),
    "rounds": ("mkpasswd", "--stdin", "--method=sha512crypt", "--rounds=20000"),
    "yescrypt": ("mkpasswd", "--stdin", "--method=yescrypt"),
}


def password_of(name: str) -> str:
    return f"pw-of-{name}-Ä"


def made(name: str) -> str:
    program, *options = MAKE[name]
    command = [peers.require(program), *options]
    typed = password_of(name) + "\n"
    return subprocess.run(command, input=typed, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """With everybody of a list as `awk -F: '{print $1 "," $2}' /etc/shadow` gives it."""
    made_site = Site(tmp_path / "site")
    made_site.add_client()
    made_site.add_client("vpn2", "127.0.0.2/32", mode=Mode.APPEND)
    listed = tmp_path / "users.csv"
    listed.write_text("name,password_hash\n" + "".join(f"{name},{made(name)}\n" for name in MAKE))
    done = made_site.command("user", "import", str(listed))
    assert (done.returncode, done.stdout) == (0, f"  added       {len(MAKE)}\n"), done.stderr
    return made_site


@pytest.fixture
def server(site: Site) -> Iterator[ServerProcess]:
    with site.server() as running:
        yield running


@pytest.fixture
def nas(server: ServerProcess) -> Iterator[Nas]:
    with server.nas() as made_nas:
        yield made_nas


def stored(site: Site, name: str) -> tuple[str, int]:
    """The hash and its version."""
    (row,) = raw.rows(site.config.database, f"SELECT password_hash, password_version FROM users WHERE name = '{name}'")
    assert isinstance(row[0], str)
    assert isinstance(row[1], int)
    return row[0], row[1]


@pytest.mark.parametrize("name", MAKE)
def test_a_right_password_lets_in_and_leaves_argon2id_behind(site: Site, nas: Nas, name: str) -> None:
    token = site.enroll(name, kind="hotp")
    before, version = stored(site, name)
    assert nas.login(name, password_of(name) + "x").code == REJECT
    assert stored(site, name) == (before, version), "a wrong one changes nothing"
    for ahead in range(2):
        asked = nas.login(name, password_of(name))
        assert asked.code == CHALLENGE
        after, number = stored(site, name)
        assert after.startswith("$argon2id$")
        assert number == version + 1, "once"
        assert nas.login(name, pin(token, ahead), state=asked.state).code == ACCEPT
    assert nas.login(name, password_of(name) + "x").code == REJECT
    assert site.failures(name)["password"] == 1


def test_in_one_field_too(site: Site, server: ServerProcess) -> None:
    token = site.enroll("sha512", kind="hotp")
    with server.nas(source="127.0.0.2") as nas:
        assert nas.login("sha512", password_of("sha512") + pin(token)).code == ACCEPT
        assert stored(site, "sha512")[0].startswith("$argon2id$")
        assert nas.login("sha512", password_of("sha512") + pin(token, 1)).code == ACCEPT


@pytest.mark.parametrize("verb", ["add", "set"])
def test_a_hash_can_be_given_to_one_user(site: Site, nas: Nas, verb: str) -> None:
    if verb == "set":
        site.add_user("alice")
    done = site.command("user", verb, "alice", "--password-hash-stdin", stdin=made("yescrypt") + "\n")
    assert done.returncode == 0, done.stderr
    site.enroll("alice")
    assert nas.login("alice", password_of("yescrypt")).code == CHALLENGE
    assert nas.login("alice", "geheim").code == REJECT
    eventually(lambda: stored(site, "alice")[0].startswith("$argon2id$"))


# --- what is on its way while the hash changes ------------------------------------------------------------------


@pytest.fixture
def token(site: Site) -> Token:
    return site.enroll("sha512")


def looked(site: Site) -> Look:
    (look,) = site.gate.look([LookRequest("sha512", "vpn", Mode.CHALLENGE)])
    return look


def request(site: Site, result: FirstFactorResult) -> LoginRequest:
    (client,) = [client for client in site.gate.clients() if client.name == "vpn"]
    return LoginRequest("sha512", Channel.for_mode(Mode.CHALLENGE), "vpn", client.version, result)


def checked(site: Site, typed: str = "") -> FirstFactorResult:
    return LocalPasswords(1).check(looked(site), typed or password_of("sha512"))


@pytest.mark.usefixtures("token")
def test_of_two_logins_at_once_one_hashes_anew_and_the_other_is_asked_again(site: Site) -> None:
    """It saw a hash that is no more, which is all that can be told of it; nothing counts against the user."""
    first, second = checked(site), checked(site)
    assert first.rehash != second.rehash
    (one,) = site.gate.login([request(site, first)])
    (other,) = site.gate.login([request(site, second)])
    assert isinstance(one, Challenge)
    assert isinstance(other, Reject)
    assert other.reason is Reason.PASSWORD_CHANGED
    assert stored(site, "sha512")[0] == first.rehash
    assert site.failures("sha512").get("password", 0) == 0
    again = checked(site)
    assert (again.status, again.rehash) == (FirstFactor.PROVED, None)


@pytest.mark.usefixtures("token")
def test_a_password_that_an_admin_sets_meanwhile_stays_and_the_old_one_is_worth_nothing(site: Site) -> None:
    result = checked(site)
    new = hashed("new password")
    site.gate.administer(SetUser(actor="test", name="sha512", password_hash=new))
    (outcome,) = site.gate.login([request(site, result)])
    assert isinstance(outcome, Reject)
    assert outcome.reason is Reason.PASSWORD_CHANGED
    assert stored(site, "sha512")[0] == new
    assert checked(site).status is FirstFactor.WRONG
    assert checked(site, "new password").status is FirstFactor.PROVED


@pytest.mark.usefixtures("token")
def test_a_login_that_is_refused_hashes_nothing_anew(site: Site) -> None:
    """A right password of somebody who is refused for another reason is no success through the gate."""
    before = stored(site, "sha512")
    result = checked(site)
    (outcome,) = site.gate.login([replace(request(site, result), client_version=99)])
    assert isinstance(outcome, Reject)
    assert stored(site, "sha512") == before


def test_a_stored_hash_that_cannot_be_checked_means_silence_and_no_failure(site: Site, nas: Nas) -> None:
    """As if a back end did not answer; so it is where libcrypt is missing."""
    raw.tamper(site.config.database, "UPDATE users SET password_hash = '$y$j9T..$damaged$' WHERE name = 'sha512'")
    nas.send(access_request(nas.secret, "sha512", password_of("sha512")).data)
    eventually(lambda: site.logins() == [("reject", "first-factor-unavailable")], what="the login")
    assert site.failures("sha512").get("password", 0) == 0
