"""Limits by source address, on a real store and real sockets: spraying is stopped, a victim is not kept out."""

from collections.abc import Iterator

import pytest

from tests.flows.crowd import ask_all, numbered, wrong_pins
from tests.site import PASSWORD, SECRET, ServerProcess, Site, pin
from tests.wire import ACCEPT, CALLING_STATION_ID, CHALLENGE, REJECT, Nas, Reply
from validation.model import Mode, Token
from validation.requests import SetRule
from validation.settings import Scope

HOME, ELSEWHERE, OFFICE = "192.0.2.99", "198.51.100.7", "2001:db8::7"
VPN, SSH = "127.0.0.2", "127.0.0.3"  # a gateway that can ask, and one with password and PIN in one field
HELD_LONG = {"lock_base": "1h", "reject_delay": "0s"}  # so that no hold ends on a slow machine


@pytest.fixture
def town(site: Site) -> Iterator[Site]:
    site.add_client("vpn", f"{VPN}/32")
    site.add_client("ssh", f"{SSH}/32", mode=Mode.APPEND)
    for key, value in HELD_LONG.items():
        set_policy(site, key, value)
    yield site
    site.database.close()


def set_policy(site: Site, key: str, value: str) -> None:
    site.gate.administer(SetRule(actor="test", key=key, value=value, scope=Scope()))


def newcomer(site: Site, name: str) -> Token:
    site.add_user(name)
    return site.enroll(name, kind="hotp")


def calling_from(source: str) -> list[tuple[int, bytes]]:
    return [(CALLING_STATION_ID, source.encode())]


def step(server: ServerProcess, name: str, typed: str, source: str, nas: str = VPN, **options: object) -> Reply:
    with server.nas(source=nas) as gateway:
        return gateway.login(name, typed, extra=calling_from(source), **options)


def log_in(server: ServerProcess, token: Token, name: str, source: str, ahead: int = 0) -> int:
    """The last code that a login with the right password and the next PIN gets."""
    first = step(server, name, PASSWORD, source)
    if first.code != CHALLENGE:
        return first.code
    return step(server, name, pin(token, ahead), source, state=first.state).code


def type_wrong(nas: Nas, names: list[str], source: str) -> list[int]:
    requests = numbered(SECRET, [(name, "Password1") for name in names], extra=calling_from(source))
    return [reply.code for reply in ask_all(nas, requests, 90)]


@pytest.mark.statement("C-022")
def test_spraying_one_password_over_200_users_is_stopped_at_its_source_and_nowhere_else(town: Site) -> None:
    """Known and unknown names; sent at once, so that many are decided in one batch; over all doors and a restart."""
    names = [f"user{number}" for number in range(200)]
    for name in names[::2]:
        town.add_user(name)
    token, other = newcomer(town, "alice"), newcomer(town, "bob")
    with town.server() as server:
        with server.nas(source=VPN) as gateway:
            assert set(type_wrong(gateway, names, ELSEWHERE)) == {REJECT}
        assert log_in(server, token, "alice", ELSEWHERE) == REJECT
        assert step(server, "alice", PASSWORD + pin(token), ELSEWHERE, SSH).code == REJECT, "another door"
        assert log_in(server, token, "alice", OFFICE) == ACCEPT, "another source"
    with town.server() as server:
        assert log_in(server, other, "bob", ELSEWHERE) == REJECT, "a restart forgives nothing"
        assert log_in(server, token, "alice", ELSEWHERE, ahead=1) == REJECT
        assert log_in(server, other, "bob", OFFICE) == ACCEPT
    assert 1 <= [reason for _, reason in town.logins()].count("password-wrong") <= 50
    assert ("reject", "source-held") in town.logins()
    (begun,) = [row for row in town.audit() if (row["decision"], row["reason"]) == ("done", "source-held")]
    assert begun["source"] == ELSEWHERE


@pytest.mark.statement("C-022")
def test_of_200_known_users_no_more_are_tried_than_the_limit(town: Site) -> None:
    """To each of them one guess; the limit is 50, and one for each minute that this takes."""
    names = [f"user{number}" for number in range(200)]
    for name in names:
        town.add_user(name)
    with town.server() as server, server.nas(source=VPN) as gateway:
        type_wrong(gateway, names, ELSEWHERE)
        reasons = [reason for _, reason in town.logins()]
        assert 50 <= reasons.count("password-wrong") <= 52
        failed = [name for name in names if town.failures(name)]
        assert len(failed) == reasons.count("password-wrong")


@pytest.mark.statement("C-023")
def test_a_stranger_who_keeps_failing_does_not_keep_the_victim_out_at_home(town: Site) -> None:
    token = newcomer(town, "alice")
    with town.server() as server:
        assert log_in(server, token, "alice", HOME) == ACCEPT
        for nas in (VPN, SSH):
            with server.nas(source=nas) as gateway:
                assert set(type_wrong(gateway, ["alice"] * 8, ELSEWHERE)) == {REJECT}
        assert town.failures("alice")["password"] == 5
        assert log_in(server, token, "alice", OFFICE, ahead=1) == REJECT, "where he is not known he waits"
        assert log_in(server, token, "alice", HOME, ahead=1) == ACCEPT
        assert step(server, "alice", PASSWORD + pin(token, 2), HOME, SSH).code == ACCEPT, "at every door"
    with town.server() as server:
        assert log_in(server, token, "alice", HOME, ahead=3) == ACCEPT, "after a restart"
        assert town.command("user", "unlock", "alice").returncode == 0
        assert log_in(server, token, "alice", OFFICE, ahead=4) == ACCEPT, "an administrator ends the wait elsewhere"


@pytest.mark.statement("C-023")
def test_outsiders_without_the_password_cannot_disable_a_token(town: Site) -> None:
    """Three wrong PINs disable it here, after the right password alone."""
    set_policy(town, "disable_at", "3")
    set_policy(town, "lock_from", "100")
    token = newcomer(town, "alice")
    wrong = wrong_pins(token, 12)
    with town.server() as server:
        for password, state in (("Password1", "active"), (PASSWORD, "disabled")):
            with server.nas(source=SSH) as gateway:
                logins = [("alice", password + passcode) for passcode in wrong]
                for reply in ask_all(gateway, numbered(SECRET, logins, extra=calling_from(ELSEWHERE))):
                    assert reply.code == REJECT
            assert town.token_row(token.serial)["state"] == state
