"""`twofold radius serve`: where it listens, how it ends, and that it does not start on a mistake."""

import contextlib
import os
import signal
import socket
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.site import PASSWORD, SECRET, TWOFOLD, Site, eventually, pin
from tests.wire import ACCEPT, CHALLENGE, Nas, status_server
from validation.requests import RemoveClient


@pytest.fixture
def site(site: Site) -> Site:
    site.add_client("vpn", "127.0.0.1/32")
    site.add_client("vpn6", "::1/128")
    return site


def test_each_address_that_was_named_is_served(site: Site) -> None:
    site.add_user("alice")
    token = site.enroll("alice")
    with site.server("--listen", "127.0.0.1:0", "--listen", "[::1]:0", program=TWOFOLD) as server:
        four, six = server.addresses
        assert (four[0], six[0]) == ("127.0.0.1", "::1")
        with Nas(four, SECRET) as nas:
            challenge = nas.login("alice", "geheim")
            assert challenge.code == CHALLENGE
        with Nas(six, SECRET) as nas:
            assert nas.ask(status_server(SECRET)).code == ACCEPT
        with Nas(four, SECRET) as nas:
            assert nas.login("alice", pin(token), state=challenge.state).code == ACCEPT


def test_without_an_option_the_configured_addresses_are_served(site: Site) -> None:
    with site.server(program=TWOFOLD) as server:
        assert [address for address, _ in server.addresses] == ["127.0.0.1"]
        with server.nas() as nas:
            assert nas.ask(status_server(SECRET)).code == ACCEPT


def test_an_option_comes_instead_of_the_configuration(site: Site) -> None:
    with site.server("--listen", "[::1]:0", program=TWOFOLD) as server:
        assert [address for address, _ in server.addresses] == ["::1"]


def sockets(pid: int) -> dict[str, list[str]]:
    """The sockets of a process by kind; of those with an address, that address and port as the kernel writes them."""
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since
            links.append(os.readlink(entry))
    mine = {link[8:-1] for link in links if link.startswith("socket:[")}
    found: dict[str, list[str]] = {}
    # The column that holds the inode, and the one that holds the local address (or a path).
    tables = {"tcp": (9, 1), "tcp6": (9, 1), "udp": (9, 1), "udp6": (9, 1), "raw": (9, 1), "raw6": (9, 1)}
    tables |= {"unix": (6, 7), "packet": (8, 0), "netlink": (9, 1), "icmp": (9, 1), "icmp6": (9, 1), "udplite": (9, 1)}
    for kind, (inode, address) in tables.items():
        table = Path(f"/proc/{pid}/net/{kind}")
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            fields = line.split()
            if fields[inode] in mine:
                mine.remove(fields[inode])
                found.setdefault(kind, []).append(fields[address] if address < len(fields) else "")
    assert not mine, "a socket of a kind that was not looked for"
    return found


@pytest.mark.statement("O-089")
def test_its_only_sockets_are_udp_at_the_addresses_it_was_told(site: Site) -> None:
    """So there is nothing to connect to: servers share a store, and no protocol. After logins as before."""
    site.add_user("alice")
    token = site.enroll("alice")
    with site.server("--listen", "127.0.0.1:0", "--listen", "[::1]:0", program=TWOFOLD) as server:
        four, six = (written(*address) for address in server.addresses)
        check_sockets(server.process.pid, {"udp": [four], "udp6": [six]})
        with server.nas() as nas:
            assert nas.login("alice", pin(token), state=nas.login("alice", PASSWORD).state).code == ACCEPT
        check_sockets(server.process.pid, {"udp": [four], "udp6": [six]})


def check_sockets(pid: int, expected: dict[str, list[str]]) -> None:
    found = sockets(pid)
    assert set(found.pop("unix", [])) <= {""}, "a socket pair of the event loop has no name to connect to"
    assert found == expected


def written(address: str, port: int) -> str:
    """As in /proc/net: words of four octets in the order of the machine."""
    packed = ip_address(address).packed
    words = (int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4))
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


def test_a_listening_socket_would_be_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert written(*listening.getsockname()) in sockets(os.getpid())["tcp"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to(site: Site, number: signal.Signals) -> None:
    with site.server(program=TWOFOLD) as server:
        server.process.send_signal(number)
        eventually(lambda: server.process.poll() is not None, what="the end of the server")
        assert server.process.returncode == 0
        eventually(lambda: "stopped" in server.log, what="the last line")
        assert "Traceback" not in server.log


def test_a_client_that_was_removed_is_soon_unknown(site: Site) -> None:
    with site.server(program=TWOFOLD) as server, server.nas() as nas:
        assert nas.ask(status_server(SECRET)).code == ACCEPT
        site.gate.administer(RemoveClient(actor="test", name="vpn"))

        def unknown() -> bool:
            nas.send(status_server(SECRET).data)
            return "reason=unknown-client" in server.log

        eventually(unknown, what="a removed client that is unknown to the server")


def test_an_address_in_use_is_named(site: Site) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = site.command("radius", "serve", "--listen", address)
    assert done.returncode == 2
    expected = f"twofold: cannot listen on {address}: Address already in use; choose another with --listen"
    assert done.stderr.splitlines()[-1] == expected
    assert "Traceback" not in done.stderr


def test_an_address_of_another_machine_is_named(site: Site) -> None:
    done = site.command("radius", "serve", "--listen", "192.0.2.1:0")
    assert done.returncode == 2
    assert "cannot listen on 192.0.2.1:0: " in done.stderr.splitlines()[-1]


def test_a_mistake_in_the_configured_addresses_is_named(site: Site) -> None:
    site.config_file.write_text('[store]\nchain = "test"\n[radius]\nlisten = ["127.0.0.1:0", "here"]\n')
    done = site.command("radius", "serve")
    assert done.returncode == 2
    assert done.stderr == (
        f"twofold: {site.config_file}, line 4: radius.listen: 'here' is not ADDRESS:PORT, such as 127.0.0.1:1812 or "
        "[::1]:1812\n"
    )
