"""`twofold radius serve`: where it listens, how it ends, and that it does not start on a mistake."""

import signal
import socket

import pytest

from tests.site import SECRET, Site, eventually, pin
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
    with site.server("--listen", "127.0.0.1:0", "--listen", "[::1]:0") as server:
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
    with site.server() as server:
        assert [address for address, _ in server.addresses] == ["127.0.0.1"]
        with server.nas() as nas:
            assert nas.ask(status_server(SECRET)).code == ACCEPT


def test_an_option_comes_instead_of_the_configuration(site: Site) -> None:
    with site.server("--listen", "[::1]:0") as server:
        assert [address for address, _ in server.addresses] == ["::1"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to(site: Site, number: signal.Signals) -> None:
    with site.server() as server:
        server.process.send_signal(number)
        eventually(lambda: server.process.poll() is not None, what="the end of the server")
        assert server.process.returncode == 0
        eventually(lambda: "stopped" in server.log, what="the last line")
        assert "Traceback" not in server.log


def test_a_client_that_was_removed_is_soon_unknown(site: Site) -> None:
    with site.server() as server, server.nas() as nas:
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
