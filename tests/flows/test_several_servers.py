"""Two hosts on one PostgreSQL: any of them answers any step, and what an administrator does on one holds on both.

Both run a RADIUS server, the second a PAM helper, too; each is a process of its own.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows import shifted
from tests.pam_helper.host import Peer, connect, hello, kinds, needs_root
from tests.postgres import Stores
from tests.site import PASSWORD, SECRET, TWOFOLD, ServerProcess, Site, eventually, pin
from tests.wire import ACCEPT, CHALLENGE, REJECT, Nas, Reply, Request, access_request
from validation.model import Mode, Token

pytestmark = [pytest.mark.peer("postgres", "psql"), needs_root]

SOON = 1.0  # seconds after which every server follows a change; a busy machine may need some more


@dataclass
class Host:
    """One server, and a gateway that asks it."""

    site: Site
    server: ServerProcess
    nas: Nas

    def ask(self, user: str, typed: str, state: bytes | None = None) -> Reply:
        return self.nas.ask(access_request(SECRET, user, typed, state=state))


@dataclass
class Hosts:
    one: Host
    two: Host
    socket: Path  # of the second host's helper

    def on_console(self, typed: str) -> str:
        """How a login of alice's at the second host ends, as the module hears it."""
        peer = Peer(connect(self.socket))
        try:
            peer.send(hello(service="login", user="alice", authtok=PASSWORD))
            shown = peer.until_asked()
            if kinds(shown)[-1] != "P":
                return shown[-1][1].decode()
            return peer.reply(typed)[-1][1].decode()
        finally:
            peer.close()


@contextmanager
def serving(site: Site, *program: str) -> Iterator[Host]:
    with site.server(program=program or TWOFOLD) as server, server.nas() as nas:
        yield Host(site, server, nas)


@pytest.fixture(scope="module")
def hosts(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("hosts")
    first = stores.site(folder / "one")
    second = stores.beside(first, folder / "two", "two")
    first.add_client()
    path = folder / "s"
    with ExitStack() as stack:
        one, two = stack.enter_context(serving(first)), stack.enter_context(serving(second))
        helper = ServerProcess([*TWOFOLD, "--config", str(second.config_file), "pam", "serve", "--socket", str(path)])
        stack.callback(helper.end)
        eventually(lambda: "listening on=" in helper.log or helper.process.poll() is not None, 30, helper.log)
        yield Hosts(one, two, path)
    first.database.close()


@pytest.fixture
def alice(hosts: Hosts) -> Iterator[Token]:
    """With one token; she goes when the test ends, so that the next one has an alice of its own."""
    site = hosts.one.site
    site.add_user("alice")
    yield site.enroll("alice", kind="hotp")
    assert site.command("user", "remove", "alice").returncode == 0


def test_a_login_begins_at_one_server_and_ends_at_the_other(hosts: Hosts, alice: Token) -> None:
    asked = hosts.one.ask("alice", PASSWORD)
    assert asked.code == CHALLENGE
    assert hosts.two.ask("alice", pin(alice), asked.state).code == ACCEPT
    again = hosts.two.ask("alice", PASSWORD)
    assert hosts.one.ask("alice", pin(alice), again.state).code == CHALLENGE, "used there, so used here"
    assert hosts.on_console(pin(alice)) != "Salice", "nor at a console"
    assert hosts.on_console(pin(alice, 1)) == "Salice"
    assert {row["chain"] for row in hosts.one.site.audit() if row["user"] == "alice"} == {"test", "two"}


@pytest.mark.parametrize(
    "command",
    [
        ("token", "revoke", "--user", "alice", "--reason", "compromise"),
        ("user", "lock", "alice"),
        ("user", "disable", "alice"),
    ],
    ids=["revoked", "locked", "disabled"],
)
def test_once_the_command_has_returned_nobody_gets_in_anywhere(
    hosts: Hosts, alice: Token, command: tuple[str, ...]
) -> None:
    """Not within a second but at once: every server looks when it decides. The open login ends as well."""
    asked = hosts.two.ask("alice", PASSWORD)
    assert asked.code == CHALLENGE
    assert hosts.one.site.command(*command).returncode == 0
    assert hosts.two.ask("alice", pin(alice), asked.state).code == REJECT
    assert hosts.two.ask("alice", PASSWORD).code == REJECT
    assert hosts.one.ask("alice", PASSWORD).code == REJECT
    assert hosts.on_console(pin(alice)) != "Salice"


def test_a_policy_holds_on_every_server_from_its_next_decision_on(hosts: Hosts, alice: Token) -> None:
    assert hosts.one.ask("alice", PASSWORD).code == CHALLENGE
    assert hosts.one.site.command("policy", "set", "tries", "1").returncode == 0
    try:
        asked = hosts.two.ask("alice", PASSWORD)
        assert hosts.two.ask("alice", "000000", asked.state).code == REJECT, "there is no second try any more"
    finally:
        assert hosts.one.site.command("policy", "unset", "tries").returncode == 0


@pytest.mark.statement("R-028")
def test_a_new_client_is_served_and_a_removed_one_is_not_by_every_server(hosts: Hosts, alice: Token) -> None:
    site = hosts.one.site
    site.add_client("console", "127.0.0.7/32", mode=Mode.PASSCODE_ONLY)
    with hosts.two.server.nas(source="127.0.0.7") as nas:
        request = access_request(SECRET, "alice", pin(alice))
        eventually(lambda: answer(nas, request) is not None, 15, "an answer to a new client")
        assert site.command("client", "remove", "console").returncode == 0
        late = access_request(SECRET, "alice", pin(alice, 1))
        reply = answer(nas, late)
        assert reply is None or reply.code == REJECT, "the gate knows at once, whatever the server has read"


def answer(nas: Nas, request: Request) -> Reply | None:
    """None where the server does not know the client."""
    nas.send(request.data)
    return nas.receive(SOON)


# --- clocks


@pytest.mark.statement("C-025")
@pytest.mark.parametrize("apart", [40, -40])
def test_hosts_whose_clocks_differ_accept_a_pin_once_and_say_so(hosts: Hosts, alice: Token, apart: int) -> None:
    """One clock counts, the database's, so the host that is wrong lets people in as well as the other."""
    site = hosts.two.site
    token = hosts.one.site.enroll("alice")
    wrong = [sys.executable, str(Path(shifted.__file__)), str(apart)]
    with serving(site, *wrong) as host:
        for asked_at, other in ((hosts.one, host), (host, hosts.one)):
            fresh = fresh_pin(hosts, token)
            asked = asked_at.ask("alice", PASSWORD)
            assert asked_at.ask("alice", fresh, asked.state).code == ACCEPT
            asked = other.ask("alice", PASSWORD)
            assert other.ask("alice", fresh, asked.state).code == CHALLENGE
        word = "ahead of" if apart > 0 else "behind"
        assert (
            f"the clock of this host is 40 s {word} that of the database; logins go by the database's"
            in host.server.log
        )
    found = hosts.one.site.logins()
    assert [reason for decision, reason in found if decision == "accept"][-2:] == ["passcode-right"] * 2


def fresh_pin(hosts: Hosts, token: Token) -> str:
    """A PIN of a step that was not used: each is half a minute, and none may be waited for."""
    row = hosts.one.site.token_row(token.serial)
    step = max(int(hosts.one.site.database.connections.now() // 30) - 1, int(str(row["moving_factor"])))
    return pin(token, now=30.0 * step + 1)


@pytest.mark.statement("C-025")
def test_the_doctor_finds_a_host_whose_clock_differs(hosts: Hosts) -> None:
    site = hosts.one.site
    for apart, word in ((40, "ahead of"), (-40, "behind")):
        wrong = [sys.executable, str(Path(shifted.__file__)), str(apart), "--config", str(site.config_file), "doctor"]
        done = subprocess.run(wrong, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, done.stdout + done.stderr
        assert f"this host is 40 seconds {word} the database's, by which all logins go." in done.stdout
