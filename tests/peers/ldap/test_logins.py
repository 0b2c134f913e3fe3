"""Whole logins over RADIUS with a password that a directory checks: the real server, `radclient`, and a real slapd."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.flows.crowd import wrong_pins
from tests.peers.ldap.conftest import Another
from tests.peers.ldap.slapd import GROUPS, PEOPLE, Slapd
from tests.peers.oathtool import totp_now
from tests.peers.test_radclient import Heard, run_radclient
from tests.site import SECRET, ServerProcess, Site, eventually
from validation.model import FirstFactorKind, Mode, Token
from validation.requests import AddUser

pytestmark = pytest.mark.peer("slapd", "ldapadd", "ldapmodify", "ldapsearch", "radclient", "oathtool")

PASSWORD = "pw-of-a-person"
CHALLENGE, APPEND = "127.0.0.2", "127.0.0.3"


@dataclass
class House:
    """A server that asks a directory, and two gateways. Each test brings its own people."""

    site: Site
    slapd: Slapd
    server: ServerProcess
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def newcomer(self, password: str = PASSWORD) -> tuple[str, Token]:
        name = f"user{next(self._numbers)}"
        self.slapd.add_person(name, password)
        self.site.gate.administer(AddUser(actor="test", name=name, first_factor=FirstFactorKind.LDAP))
        return name, self.site.enroll(name)

    def ask(self, gateway: str, name: str, typed: str, state: str | None = None, timeout: int = 8) -> Heard:
        attributes = [f"Packet-Src-IP-Address = {gateway}", f'User-Name = "{name}"', f'User-Password = "{typed}"']
        attributes += [f"State = {state}"] if state else []
        return run_radclient(self.server, "auth", [*attributes, "Message-Authenticator = 0x00"], timeout=timeout)

    def log_in(self, name: str, token: Token, password: str = PASSWORD) -> str | None:
        return self.ask(APPEND, name, password + totp_now(token.key)).code

    def failures(self, name: str) -> int:
        return sum(self.site.failures(name).values())

    def rows(self, name: str) -> list[dict[str, object]]:
        return [row for row in self.site.audit() if row["user"] == name and row["event"] == "login"]

    def reasons(self, name: str) -> list[object]:
        return [row["reason"] for row in self.rows(name)]

    def detail(self, row: dict[str, object]) -> dict[str, object]:
        found = row["detail"]
        return dict(json.loads(found)) if isinstance(found, str) else dict(found)  # type: ignore[call-overload]


def site_of(folder: Path, section: str) -> Site:
    site = Site(folder, f'[store]\nchain = "test"\n[radius]\nlisten = ["127.0.0.1:0"]\n{section}')
    site.add_client("challenge", f"{CHALLENGE}/32", SECRET, Mode.CHALLENGE)
    site.add_client("append", f"{APPEND}/32", SECRET, Mode.APPEND)
    return site


@pytest.fixture(scope="module")
def house(slapd: Slapd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    site = site_of(tmp_path_factory.mktemp("house"), slapd.section())
    with site.server() as server:
        yield House(site, slapd, server)


def test_password_of_the_directory_and_then_a_pin(house: House) -> None:
    name, token = house.newcomer()
    challenge = house.ask(CHALLENGE, name, PASSWORD)
    assert challenge.code == "Access-Challenge", challenge.output
    assert house.ask(CHALLENGE, name, totp_now(token.key), challenge.state).ok
    assert house.failures(name) == 0


def test_a_user_whom_the_command_has_added(house: House) -> None:
    house.slapd.add_person("by-command", PASSWORD)
    done = house.site.command("user", "add", "by-command", "--first-factor", "ldap")
    assert done.returncode == 0, done.stderr
    assert house.log_in("by-command", house.site.enroll("by-command")) == "Access-Accept"


def test_both_in_one_field(house: House) -> None:
    name, token = house.newcomer()
    assert house.log_in(name, token) == "Access-Accept"


def test_a_wrong_password_is_one_failure_here_and_there(house: House) -> None:
    name, token = house.newcomer()
    assert house.log_in(name, token, "a guess") == "Access-Reject"
    assert house.failures(name) == 1
    assert house.slapd.failures(f"uid={name},{PEOPLE}") == 1
    assert house.log_in(name, token) == "Access-Accept", "the PIN was not used up"


def test_a_wrong_pin_after_a_right_password(house: House) -> None:
    name, token = house.newcomer()
    assert house.ask(APPEND, name, PASSWORD + wrong_pins(token)[0]).code == "Access-Reject"
    assert house.log_in(name, token) == "Access-Accept"


def test_who_is_not_here_costs_the_directory_nothing(house: House) -> None:
    """He has an account there, and none here: no guess of his password reaches it."""
    dn = house.slapd.add_person("only-there", PASSWORD)
    assert house.ask(CHALLENGE, "only-there", "a guess").code == "Access-Reject"
    assert house.ask(CHALLENGE, "only-there", PASSWORD).code == "Access-Reject"
    assert house.slapd.failures(dn) == 0


def test_who_is_locked_here_is_not_asked_about_there(house: House) -> None:
    name, token = house.newcomer()
    assert house.site.command("user", "lock", name).returncode == 0
    assert house.log_in(name, token, "a guess") == "Access-Reject"
    assert house.slapd.failures(f"uid={name},{PEOPLE}") == 0


@pytest.mark.parametrize(
    ("attribute", "value", "why"),
    [("pwdAccountLockedTime", "000001010000Z", "locked"), ("pwdReset", "TRUE", "must-change")],
    ids=["locked", "must be changed"],
)
def test_what_the_directory_does_not_let_in_is_refused(house: House, attribute: str, value: str, why: str) -> None:
    """Like a wrong password, also where the bind succeeds. The trail says why; the person is not told."""
    name, token = house.newcomer()
    house.slapd.change(f"uid={name},{PEOPLE}", attribute, value)
    refused = house.ask(APPEND, name, PASSWORD + totp_now(token.key))
    assert (refused.code, refused.text) == ("Access-Reject", "The login was refused.")
    assert house.ask(CHALLENGE, name, PASSWORD).code == "Access-Reject", "no question for a PIN either"
    assert house.failures(name) == 2
    assert [house.detail(row)["why"] for row in house.rows(name)] == [why, why]


@pytest.mark.statement("C-054")
def test_a_name_with_a_filter_in_it_is_a_name(house: House) -> None:
    """`*` is a user here, and nobody there."""
    done = house.site.command("user", "add", "user*", "--first-factor", "ldap")
    assert done.returncode == 0, done.stderr
    token = house.site.enroll("user*")
    house.newcomer()
    assert house.log_in("user*", token) == "Access-Reject"


def test_a_group_of_the_directory_has_its_policies(another: Another, tmp_path: Path) -> None:
    """`VPN Users` there is `trusted` here, which needs no PIN; who is not in it is asked for one."""
    slapd = another("grouped")
    groups = f'[first_factor.ldap.groups]\nbase = "{GROUPS}"\nnames = {{"VPN Users" = "trusted"}}\n'
    site = site_of(tmp_path / "site", slapd.section(more=groups))
    assert site.command("policy", "set", "second_factor", "skip", "--group", "trusted").returncode == 0
    with site.server() as server:
        house = House(site, slapd, server)
        (inside, _), (outside, token) = house.newcomer(), house.newcomer()
        slapd.add(
            f"dn: cn=VPN Users,{GROUPS}\nobjectClass: groupOfNames\ncn: VPN Users\nmember: uid={inside},{PEOPLE}\n\n"
            f"dn: cn=trusted,{GROUPS}\nobjectClass: groupOfNames\ncn: trusted\nmember: uid={outside},{PEOPLE}\n"
        )
        assert house.ask(CHALLENGE, inside, PASSWORD).code == "Access-Accept"
        assert house.ask(CHALLENGE, inside, "a guess").code == "Access-Reject"
        challenge = house.ask(CHALLENGE, outside, PASSWORD)
        assert challenge.code == "Access-Challenge"
        assert house.ask(CHALLENGE, outside, totp_now(token.key), challenge.state).ok


def test_a_directory_that_is_down_is_silence_and_counts_nothing(another: Another, tmp_path: Path) -> None:
    slapd = another("alone")
    site = site_of(tmp_path / "site", slapd.section())
    with site.server() as server:
        house = House(site, slapd, server)
        name, token = house.newcomer()
        assert house.log_in(name, token) == "Access-Accept"
        slapd.stop()
        for typed in (PASSWORD, "a guess"):
            assert house.ask(CHALLENGE, name, typed, timeout=2).code is None
        assert house.failures(name) == 0
        eventually(lambda: "no server answers" in server.log, what="a line in the log")
        slapd.start()
        assert house.ask(CHALLENGE, name, PASSWORD).code == "Access-Challenge"
        assert "wrong" not in " ".join(map(str, house.reasons(name)))


def test_the_second_directory_answers_while_the_first_is_down(another: Another, tmp_path: Path) -> None:
    first = another("first")
    second = another("second", first.authority)
    site = site_of(tmp_path / "site", first.section(first.url, second.url))
    with site.server() as server:
        house = House(site, second, server)
        name, token = house.newcomer()
        first.stop()
        assert house.log_in(name, token) == "Access-Accept"
        assert f"directory {first.url} is left aside" in server.log


def test_a_service_account_that_is_refused_is_silence_and_says_what_to_do(another: Another, tmp_path: Path) -> None:
    slapd = another("strict")
    site = site_of(tmp_path / "site", slapd.section())
    (slapd.folder / "reader.password").write_text("not the password")
    with site.server() as server:
        house = House(site, slapd, server)
        name, _ = house.newcomer()
        assert house.ask(CHALLENGE, name, PASSWORD, timeout=2).code is None
        assert "look at bind_dn and bind_password_file" in server.log
        assert "not the password" not in server.log
        assert house.failures(name) == 0


def test_without_a_directory_in_the_configuration_there_is_silence(slapd: Slapd, tmp_path: Path) -> None:
    site = site_of(tmp_path / "site", "")
    with site.server() as server:
        house = House(site, slapd, server)
        site.command("user", "add", "alice", "--first-factor", "ldap")
        assert house.ask(CHALLENGE, "alice", PASSWORD, timeout=2).code is None
        assert "[first_factor.ldap] is missing in" in server.log
        assert house.failures("alice") == 0
