"""Sockets of the real kernel: replies leave from the address that was asked, and many datagrams come by one call."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from radius_server.datagrams import AT_ONCE, MOST
from radius_server.listening import Door, Way
from store.config import Listen
from tests.radius_server.live import Person, check_silence, new_person
from tests.site import SECRET, ServerProcess, Site
from tests.wire import ACCEPT, Nas, access_request, status_server
from validation.errors import BadInput
from validation.model import Mode


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_client("six", "::1/128", mode=Mode.PASSCODE_ONLY)
    return site


@pytest.fixture
def alice(site: Site) -> Person:
    return new_person(site, "alice")


def asking(server: ServerProcess, address: str) -> Nas:
    return Nas((address, server.address[1]), SECRET, "::1" if ":" in address else "127.0.0.1")


def heard_from(nas: Nas, data: bytes) -> tuple[str, int]:
    nas.send(data)
    nas.sock.settimeout(10)
    address: tuple[str, int] = nas.sock.recvfrom(4096)[1][:2]
    return address


@pytest.mark.statement("R-015")
@pytest.mark.parametrize(
    ("listen", "asked"), [("0.0.0.0:0", ["127.0.0.1", "127.0.0.2", "127.9.9.9"]), ("[::]:0", ["::1"])]
)
def test_one_socket_for_all_addresses_answers_from_the_one_that_was_asked(
    site: Site, alice: Person, listen: str, asked: list[str]
) -> None:
    with site.server("--listen", listen) as server:
        for ahead, address in enumerate(asked):
            with asking(server, address) as nas:
                data = access_request(SECRET, alice.name, alice.pin(ahead)).data
                assert heard_from(nas, data) == nas.server
                assert heard_from(nas, data) == nas.server, "a kept reply, too"
    assert alice.logins == [("accept", "passcode-right")] * len(asked)


@pytest.mark.statement("R-015")
def test_a_refusal_that_is_held_back_leaves_from_there_too(site: Site, alice: Person) -> None:
    with site.server("--listen", "0.0.0.0:0") as server, asking(server, "127.0.0.2") as nas:
        assert heard_from(nas, access_request(SECRET, alice.name, "000000").data) == nas.server


@pytest.mark.statement("R-110")
def test_the_same_octets_to_another_address_of_one_socket_are_no_copy_to_the_process(site: Site, alice: Person) -> None:
    request = access_request(SECRET, alice.name, alice.pin())
    with site.server("--listen", "0.0.0.0:0") as server, asking(server, "127.0.0.1") as nas:
        assert nas.ask(request).code == ACCEPT
        nas.server = ("127.0.0.2", nas.server[1])
        assert nas.ask(request).code == ACCEPT
    assert alice.logins == [("accept", "passcode-right")]
    assert [row["event"] for row in site.audit()].count("retransmission") == 1, "it came to the store"


def test_all_addresses_of_ipv6_are_none_of_ipv4(site: Site) -> None:
    with site.server("--listen", "[::]:0") as server, asking(server, "127.0.0.1") as nas, asking(server, "::1") as six:
        nas.send(status_server(SECRET).data)
        check_silence(six)
        with pytest.raises((BlockingIOError, ConnectionRefusedError)):
            nas.sock.recv(4096, socket.MSG_DONTWAIT)


# --- The call itself


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door(Listen("127.0.0.1", 0))
    yield door
    door.close()


@contextlib.contextmanager
def sender(door: Door, source: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(door.sock.family, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.connect((source, door.bound.port))
        yield sock


def test_nothing_there_is_no_error(door: Door) -> None:
    assert door.receive() == []


@pytest.mark.parametrize("count", [1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE])
def test_all_come_whole_and_in_order(door: Door, count: int) -> None:
    sent = [bytes([number]) * number for number in range(count)]
    with sender(door) as sock:
        for data in sent:
            sock.send(data)
        received = []
        while batch := door.receive():
            assert len(batch) <= AT_ONCE
            received += batch
        peer = sock.getsockname()
    assert [data for data, _ in received] == sent
    assert {way for _, way in received} == {Way(door, peer)}


def test_a_short_one_after_a_long_one_holds_nothing_of_it(door: Door) -> None:
    with sender(door) as sock:
        for data in (b"x" * (MOST - 28), b"", b"y"):
            sock.send(data)
            assert [received for received, _ in door.receive()] == [data]


def test_a_reply_goes_back_to_the_right_one_of_many(door: Door) -> None:
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(sender(door)) for _ in range(10)]
        for number, sock in enumerate(socks):
            sock.send(b"%d" % number)
        for data, way in door.receive():
            door.send(b"to " + data, way)
        assert [sock.recv(99) for sock in socks] == [b"to %d" % number for number in range(10)]


def test_peers_of_ipv6_are_as_the_socket_module_has_them() -> None:
    door = Door(Listen("::", 0))
    with contextlib.closing(door), sender(door, "::1") as sock:
        sock.send(b"six")
        ((data, way),) = door.receive()
        assert (data, way.peer, way.local) == (b"six", sock.getsockname(), bytes(15) + b"\1")
        door.send(b"back", way)
        assert sock.recv(99) == b"back"


def test_a_closed_socket_is_an_error(door: Door) -> None:
    door.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        door.receive()


def test_a_door_of_ours_may_be_narrowed_and_nobody_else_comes_in_between() -> None:
    wide = Door(Listen("0.0.0.0", 0))
    narrow = Listen("127.0.0.1", wide.bound.port)
    with contextlib.closing(wide), pytest.raises(BadInput, match="Address already in use"):
        Door(narrow)
    wide = Door(Listen("0.0.0.0", 0))
    narrow = Listen("127.0.0.1", wide.bound.port)
    with contextlib.closing(wide), contextlib.closing(Door(narrow, beside=[wide])) as door, sender(door) as sock:
        sock.send(b"x")
        assert [data for data, _ in door.receive()] == [b"x"]
        assert [
            each.sock.getsockopt(socket.SOL_SOCKET, option)
            for each in (wide, door)
            for option in (socket.SO_REUSEPORT, socket.SO_REUSEADDR)
        ] == [0] * 4
