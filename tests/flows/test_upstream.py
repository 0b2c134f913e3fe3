"""A login whose password another RADIUS server checks: what of it that server sees, and what it cannot do.

That server is made by hand, so that it can misbehave; a real one is in tests/peers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.first_factor.upstream import SECRET as UPSTREAM_SECRET
from tests.first_factor.upstream import Answers, Upstream, accept, challenge, reject, reply, upstream
from tests.flows.crowd import wrong_pins
from tests.site import SECRET, Site, eventually, pin
from tests.wire import ACCEPT, CHALLENGE, PROXY_STATE, REJECT, Nas, Reply, access_request, status_server
from validation.model import FirstFactorKind, Token
from validation.requests import AddUser, ChangeUserState, SetRule, UserAct
from validation.settings import Scope


class House:
    """Twofold, a gateway, and the other server."""

    def __init__(self, folder: Path, other: Upstream) -> None:
        folder.mkdir()
        secret = folder / "upstream.secret"
        secret.touch(0o600)
        secret.write_bytes(UPSTREAM_SECRET)
        self.other = other
        self.site = Site(
            folder,
            '[store]\nchain = "test"\n[radius]\nlisten = ["127.0.0.1:0"]\n[first_factor.radius]\n'
            f'servers = ["127.0.0.1:{other.address[1]}"]\nsecret_file = "upstream.secret"\n'
            'reply = "keep"\nretries = 0\ntimeout = 0.5\n',
        )
        self.site.add_client()

    def newcomer(self, name: str) -> Token:
        self.site.gate.administer(AddUser(actor="test", name=name, first_factor=FirstFactorKind.RADIUS))
        return self.site.enroll(name)


@contextmanager
def house_with(folder: Path, answers: Answers) -> Iterator[tuple[House, Nas]]:
    with upstream(answers) as other:
        house = House(folder / "site", other)
        with house.site.server() as server, server.nas() as nas:
            yield house, nas


@pytest.mark.statement("R-120", "R-121", "R-122")
def test_nothing_of_the_gateways_goes_to_the_other_server(tmp_path: Path) -> None:
    """Twofold is no proxy: it asks in its own name. Its health checks end here, too."""
    with house_with(tmp_path, accept) as (house, nas):
        house.newcomer("alice")
        extra = [(PROXY_STATE, b"\0one"), (PROXY_STATE, b"two"), (4, bytes([192, 0, 2, 1])), (31, b"192.0.2.9")]
        asked = nas.ask(access_request(SECRET, "alice", "geheim", extra=extra))
        assert (asked.code, asked.values(PROXY_STATE)) == (CHALLENGE, [b"\0one", b"two"])
        assert nas.ask(status_server(SECRET)).code == ACCEPT
        (request,) = house.other.requests
        assert sorted(kind for kind, _ in Reply(request).attributes) == [1, 2, 32, 80]


def test_its_accept_is_no_accept_without_the_pin(tmp_path: Path) -> None:
    """Not even one that says who it is for, carries a State or keys."""
    said = [(1, b"root"), (24, b"its-state"), (33, b"its-proxy-state"), (18, b"Come in"), (11, b"staff")]
    with house_with(tmp_path, lambda request: [reply(request, 2, said)]) as (house, nas):
        token = house.newcomer("alice")
        asked = nas.login("alice", "geheim")
        assert asked.code == CHALLENGE
        assert b"its-state" not in asked.data
        again = nas.login("alice", wrong_pins(token, 1)[0], state=asked.state)
        assert again.code == CHALLENGE
        accepted = nas.login("alice", pin(token), state=again.state)
        assert accepted.code == ACCEPT
        assert [kind for kind, _ in accepted.attributes] == [80, 11]
        assert len(house.other.requests) == 1, "the PIN is nothing for the other server"


@pytest.mark.statement("R-064")
@pytest.mark.parametrize("answers", [challenge, lambda request: [reply(request, signature="none")]])
def test_what_is_no_answer_is_silence_and_counts_nothing(tmp_path: Path, answers: Answers) -> None:
    with house_with(tmp_path, answers) as (house, nas):
        house.site.gate.administer(
            SetRule(actor="test", key="reject_delay", value="0", scope=Scope())
        )  # would be first
        token = house.newcomer("alice")
        nas.send(access_request(SECRET, "alice", "geheim").data)
        eventually(lambda: ("reject", "first-factor-unavailable") in house.site.logins(), what="a row in the trail")
        house.other.answers = accept
        asked = nas.login("alice", "geheim")  # the first reply on this socket is that of this request
        assert nas.login("alice", pin(token), state=asked.state).code == ACCEPT
        assert house.site.failures("alice") == {}


def test_nobody_is_locked_there_by_names_that_are_nobodys_here(tmp_path: Path) -> None:
    with house_with(tmp_path, accept) as (house, nas):
        house.newcomer("locked")
        house.site.gate.administer(ChangeUserState(actor="test", name="locked", act=UserAct.LOCK))
        assert [nas.login(name, "geheim").code for name in ("nobody", "locked")] == [REJECT] * 2
        assert house.other.requests == []


@pytest.mark.parametrize("answers", [accept, reject])
def test_a_packet_that_comes_again_asks_it_nothing(tmp_path: Path, answers: Answers) -> None:
    """It may count wrong passwords, and lock who has typed one twice."""
    with house_with(tmp_path, answers) as (house, nas), house.site.server() as other, other.nas() as second:
        house.newcomer("alice")
        request = access_request(SECRET, "alice", "geheim")
        assert nas.ask(request).data == second.ask(request).data
        assert len(house.other.requests) == 1
