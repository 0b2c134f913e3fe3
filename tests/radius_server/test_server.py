"""The process: where it listens, how it ends, how it follows the store, and that nobody holds up anybody."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.crowd import ask_all, numbered, send_all
from tests.radius_server.conftest import NasFrom
from tests.radius_server.live import Live, Person, Source, check_accepted, check_silence, new_person
from tests.site import PASSWORD, SECRET, ServerProcess, Site, eventually
from tests.wire import ACCEPT, CHALLENGE, REJECT, Nas, Reply, Request, access_request, status_server
from validation.model import Mode
from validation.requests import SetClient, SetRule
from validation.settings import Scope

OTHER_SECRET = b"another-secret-of-24-octets"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    site.add_client(mode=Mode.PASSCODE_ONLY)
    return site


@pytest.fixture
def alice(site: Site) -> Person:
    return new_person(site, "alice")


@pytest.fixture
def server(site: Site, alice: Person) -> Iterator[ServerProcess]:
    with site.server() as server:
        yield server


# --- Where it listens


def test_it_listens_at_several_addresses_of_both_families(site: Site, alice: Person) -> None:
    site.add_client("six", "::1/128", mode=Mode.PASSCODE_ONLY)
    with site.server("--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen", "127.0.0.2:0") as server:
        eventually(lambda: len(server.addresses) == 3)
        assert [address for address, _ in server.addresses] == ["127.0.0.1", "::1", "127.0.0.2"]
        assert "listening on=[::1]:" in server.log
        for ahead, address in enumerate(server.addresses):
            source = "::1" if ":" in address[0] else "127.0.0.1"
            with Nas(address, SECRET, source) as nas:
                check_accepted(nas, alice, ahead)


@pytest.mark.statement("R-015")
def test_a_reply_comes_from_the_address_the_request_was_sent_to(site: Site, alice: Person) -> None:
    """Not with one socket for all addresses; here each address has its own."""
    with site.server("--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0") as server:
        eventually(lambda: len(server.addresses) == 2)
        for ahead, address in enumerate(server.addresses):
            with Nas(address, SECRET, "127.0.0.1") as nas:
                nas.send(access_request(SECRET, alice.name, alice.pin(ahead)).data)
                nas.sock.settimeout(10)
                assert nas.sock.recvfrom(4096)[1] == address


def test_a_taken_port_is_a_usage_error_that_names_the_option(site: Site) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = site.command("radius", "serve", "--listen", address)
    assert done.returncode == 2
    assert f"cannot listen on {address}: Address already in use; choose another with --listen" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("wrong", ["::1:1812", "127.0.0.1:99999", "[127.0.0.1]:1812", "localhost:1812", ":1812"])
def test_an_address_that_is_none_is_a_usage_error_that_names_the_option(site: Site, wrong: str) -> None:
    done = site.command("radius", "serve", "--listen", wrong)
    assert done.returncode == 2
    assert "--listen" in done.stderr
    assert wrong in done.stderr


def test_no_other_user_can_bind_the_same_address(server: ServerProcess) -> None:
    """With SO_REUSEADDR on ours, this would succeed and take our datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="Address already in use"):
            thief.bind(server.address)


# --- How it ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_delivers_the_rejects_in_work_and_ends_well(server: ServerProcess, number: int) -> None:
    with server.nas() as nas:
        requests = numbered(SECRET, [(f"nobody{n}", "123456") for n in range(20)])
        send_all(nas, requests)
        check_silence(nas)  # all were read, and their Rejects are held back
        server.process.send_signal(number)
        assert [code_of(nas.receive()) for _ in requests] == [REJECT] * 20
    assert server.process.wait(60) == 0
    server.end()
    assert " stopped" in server.log
    assert "Traceback" not in server.log


def test_told_to_stop_it_answers_what_waits_for_a_password_check(site: Site, alice: Person) -> None:
    site.add_client("challenge", "127.0.0.2/32")
    with site.server() as server, server.nas(source="127.0.0.2") as nas, server.nas(source="127.0.0.2") as probe:
        send_all(nas, numbered(SECRET, [("alice", PASSWORD)] * 12))
        assert probe.ask(status_server(SECRET)).code == ACCEPT
        server.process.send_signal(signal.SIGTERM)
        assert [code_of(nas.receive()) for _ in range(12)] == [CHALLENGE] * 12
        assert server.process.wait(60) == 0


# --- Nobody holds up anybody


@pytest.mark.statement("R-065")
def test_an_accept_is_answered_before_200_rejects_that_came_before_it(site: Site, alice: Person) -> None:
    """They are held back for as long as the policy says."""
    site.gate.administer(SetRule(actor="test", key="reject_delay", value="5s", scope=Scope()))
    with site.server() as server, server.nas() as crowd, server.nas() as nas:
        began = time.monotonic()
        send_all(crowd, numbered(SECRET, [(f"nobody{n}", "123456") for n in range(200)]))
        check_accepted(nas, alice)
        assert arrived(crowd) == 0
        assert code_of(crowd.receive()) == REJECT
        assert time.monotonic() - began >= 5.0
        assert [code_of(crowd.receive()) for _ in range(199)] == [REJECT] * 199


@pytest.mark.statement("R-065")
def test_a_reject_is_held_back_and_has_jitter(server: ServerProcess) -> None:
    """Never for less than the delay, however busy the machine is; and not in the order they came."""
    with server.nas() as nas:
        began = time.monotonic()
        send_all(nas, numbered(SECRET, [(f"nobody{n}", "123456") for n in range(20)]))
        order = [identifier_of(nas.receive())]
        assert time.monotonic() - began >= 1.0
        order += [identifier_of(nas.receive()) for _ in range(19)]
    assert sorted(order) == list(range(20))
    assert order != sorted(order)


def identifier_of(reply: Reply | None) -> int:
    assert reply is not None
    return reply.identifier


def test_status_server_is_answered_before_password_checks_that_came_before_it(live: Live, nas_from: NasFrom) -> None:
    crowd, nas, person = nas_from(Source.CHALLENGE), nas_from(Source.CHALLENGE), live.person()
    send_all(crowd, numbered(SECRET, [(person.name, PASSWORD)] * 20))
    assert nas.ask(status_server(SECRET)).code == ACCEPT
    left = 20 - arrived(crowd)
    assert left > 0
    assert [code_of(crowd.receive()) for _ in range(left)] == [CHALLENGE] * left


def arrived(nas: Nas) -> int:
    """How many datagrams are there now; they are thrown away."""
    nas.sock.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while nas.sock.recv(4096):
            count += 1
    return count


def code_of(reply: Reply | None) -> int | None:
    return reply.code if reply is not None else None


def test_64_logins_that_come_together_are_each_answered_rightly(live: Live, nas_from: NasFrom) -> None:
    nas, people = nas_from(), [live.person() for _ in range(64)]
    requests = numbered(SECRET, [(p.name, p.pin(0 if n % 2 else 50)) for n, p in enumerate(people)])
    assert [reply.code for reply in ask_all(nas, requests)] == [REJECT, ACCEPT] * 32
    assert [person.counter for person in people] == [0, 1] * 32


@pytest.mark.statement("R-063")
def test_each_of_10_240_requests_gets_one_reply(site: Site, server: ServerProcess) -> None:
    """`ask_all` fails for a second reply to a request and for a missing one."""
    assert site.command("policy", "set", "reject_delay", "0s").returncode == 0
    with server.nas() as nas:
        for batch in range(40):
            requests = numbered(SECRET, [(f"nobody{batch}-{n}", "123456") for n in range(256)])
            assert [reply.code for reply in ask_all(nas, requests, 30.0)] == [REJECT] * 256
        assert arrived(nas) == 0


def test_whoever_reads_packets_comes_before_whoever_decides(server: ServerProcess) -> None:
    """Else a flood makes the socket run over, and answers to challenges are lost in it."""
    reads, decides = (os.getpriority(os.PRIO_PROCESS, pid) for pid in (server.process.pid, server.gate_pid))
    assert decides == min(19, reads + 3)


# --- Following the store


@pytest.mark.statement("R-028")
def test_clients_are_followed_without_a_restart_and_an_old_secret_stops_working(
    site: Site, server: ServerProcess, alice: Person
) -> None:
    with server.nas() as nas, server.nas(OTHER_SECRET) as changed, server.nas(source="127.0.0.2") as added:
        add = ["client", "add", "new", "127.0.0.2", "--mode", "passcode-only", "--secret-stdin"]
        assert site.command(*add, stdin=SECRET).returncode == 0
        eventually(lambda: answers(added), what="a new client that is served")
        check_accepted(added, alice, 0)
        check_accepted(nas, alice, 1)

        assert site.command("client", "set", "vpn", "--secret-stdin", stdin=OTHER_SECRET).returncode == 0
        eventually(lambda: answers(changed), what="a new secret that works")
        nas.send(access_request(SECRET, alice.name, alice.pin(2)).data)
        check_silence(changed)
        assert alice.counter == 2
        check_accepted(changed, alice, 2)

        assert site.command("client", "remove", "new").returncode == 0
        eventually(lambda: not answers(added), what="a removed client that is not served")
        check_accepted(changed, alice, 3)


def answers(nas: Nas) -> bool:
    """Whether a probe is answered, within a time that a loaded machine keeps."""
    nas.send(status_server(nas.secret).data)
    return nas.receive(0.5) is not None


def send_last(nas: Nas, alice: Person) -> Request:
    """A right login, which waits behind so many password checks that its client can be changed before it is decided."""
    send_all(nas, numbered(SECRET, [(f"nobody{n}", "geheim123456") for n in range(60)]))
    last = access_request(SECRET, alice.name, PASSWORD + alice.pin(), identifier=255)
    nas.send(last.data)
    nas.send(status_server(SECRET, identifier=254).data)
    assert identifier_of(nas.receive()) == 254, "all were read"
    return last


@pytest.mark.statement("R-028")
def test_a_request_that_came_under_the_old_secret_gets_no_answer(site: Site, alice: Person) -> None:
    site.add_client("append", "127.0.0.2/32", mode=Mode.APPEND)
    with site.server() as server, server.nas(source="127.0.0.2") as nas, server.nas(source="127.0.0.2") as probe:
        last = send_last(nas, alice)
        site.gate.administer(SetClient(actor="test", name="append", secret=OTHER_SECRET))
        eventually(lambda: alice.logins, what="a decision about the last of them")
        eventually(lambda: not answers(probe), what="an old secret that is not served")
        nas.send(last.data)
        server.process.terminate()
        assert server.process.wait(60) == 0  # what was held back has left
        identifiers = [reply.identifier for reply in iter(lambda: nas.receive(0.5), None)]
    assert 255 not in identifiers
    assert alice.logins == [("reject", "client-changed")]
    assert (alice.counter, alice.failures) == (0, 0)


def test_nobody_is_refused_because_an_admin_changes_the_client_meanwhile(site: Site, alice: Person) -> None:
    """There is silence, and the retransmission is decided by the client as it is then."""
    site.add_client("append", "127.0.0.2/32", mode=Mode.APPEND)
    with site.server() as server, server.nas(source="127.0.0.2") as nas, server.nas(source="127.0.0.2") as probe:
        last = send_last(nas, alice)
        site.gate.administer(SetClient(actor="test", name="append", status_server=False))
        eventually(lambda: alice.logins, what="a decision about the last of them")
        eventually(lambda: not answers(probe), what="a server that follows the change")
        nas.send(last.data)
        while (reply := nas.receive()) is not None and reply.identifier != 255:
            pass
        assert code_of(reply) == ACCEPT
    assert alice.logins == [("reject", "client-changed"), ("accept", "passcode-right")]
    assert alice.failures == 0
