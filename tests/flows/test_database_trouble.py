"""PostgreSQL is killed, stopped or cut off under a running server: silence, nothing lost, and no restart afterwards."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from tests.flows.crowd import replies
from tests.postgres import Postgres, Stores, postgres
from tests.site import PASSWORD, SECRET, ServerProcess, Site, eventually, pin
from tests.wire import ACCEPT, CHALLENGE, Nas, access_request, status_server

pytestmark = pytest.mark.peer("postgres", "psql")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    with postgres() as server:
        yield Stores(server, tmp_path_factory.mktemp("own"))


@contextmanager
def crashed(server: Postgres) -> Iterator[None]:
    server.crash()
    try:
        yield
    finally:
        server.start()


@contextmanager
def stopped(server: Postgres) -> Iterator[None]:
    """Every process of it stands still: connections look well, and nobody answers."""
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


@pytest.mark.statement("C-010", "R-064")
@pytest.mark.parametrize("trouble", [crashed, stopped])
def test_while_the_database_is_gone_nobody_is_answered_and_then_everybody(
    own: Stores, tmp_path: Path, trouble: Callable[[Postgres], AbstractContextManager[None]]
) -> None:
    site = own.site(tmp_path / "site")
    site.add_client()
    site.add_user("alice")
    token = site.enroll("alice", kind="hotp")
    with closing(site.database), site.server() as server, server.nas() as nas:
        asked = nas.login("alice", PASSWORD)
        assert asked.code == CHALLENGE
        answer = access_request(SECRET, "alice", pin(token), state=asked.state, identifier=1)
        with trouble(own.server):
            nas.send(answer.data)
            eventually(lambda: said_so(server), 30, f"a line in the log: {server.log}")
            nas.send(status_server(SECRET, identifier=0).data)
            assert nas.receive(1.0) is None, "neither login nor Status-Server"
        eventually(lambda: healthy(nas), 60, "a server that answers Status-Server again")
        nas.send(answer.data)
        (reply,) = replies(nas, [answer], 30)  # one to an older question may still come
        assert reply is not None
        assert reply.code == ACCEPT, "it was not decided, so the PIN is not used"
        check_trail(site)


def said_so(server: ServerProcess) -> bool:
    return "cannot be used" in server.log or "did not answer" in server.log


def healthy(nas: Nas) -> bool:
    nas.send(status_server(SECRET, identifier=0).data)
    reply = nas.receive(2.0)
    return reply is not None and reply.code == ACCEPT


def check_trail(site: Site) -> None:
    assert site.logins().count(("accept", "passcode-right")) == 1
    verified = site.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
