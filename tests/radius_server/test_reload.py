"""SIGHUP reads the configuration again: whole or not at all; and how systemd is kept informed."""

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import serving
from tests.flows.crowd import numbered, send_all
from tests.radius_server.live import Person, check_accepted, check_silence, new_person
from tests.site import SECRET, TWOFOLD, ServerProcess, Site, eventually
from tests.wire import ACCEPT, REJECT, Nas, access_request, status_server
from validation.model import Mode


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    site.add_client(mode=Mode.PASSCODE_ONLY)
    return site


@pytest.fixture
def alice(site: Site) -> Person:
    return new_person(site, "alice")


def configure(site: Site, text: str, section: str = "radius") -> None:
    site.config_file.write_text(f'[store]\nchain = "test"\n[{section}]\n{text}\n')


def reload(server: ServerProcess) -> str:
    """Tell it to, and return the line that says what came of it."""
    before = len(lines_of_reload(server))
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: len(lines_of_reload(server)) > before, what="a line about the reload")
    return lines_of_reload(server)[-1]


def lines_of_reload(server: ServerProcess) -> list[str]:
    return [line for line in server.log.splitlines() if " reloaded" in line or " reload-refused" in line]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def closed(address: tuple[str, int]) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        with contextlib.suppress(BlockingIOError):
            sock.send(b"")
            sock.settimeout(0.2)
            try:
                sock.recv(1)
            except ConnectionRefusedError:
                return True
            except TimeoutError:
                return False
    return False


def test_addresses_come_and_go_and_those_that_stay_are_never_closed(site: Site, alice: Person) -> None:
    first, second = free_port(), free_port()
    configure(site, f'listen = ["127.0.0.1:{first}"]')
    with site.server() as server, server.nas() as nas:
        check_accepted(nas, alice, 0)
        configure(site, f'listen = ["127.0.0.1:{first}", "127.0.0.2:{second}"]')
        assert " reloaded" in reload(server)
        check_accepted(nas, alice, 1)
        with Nas(("127.0.0.2", second), SECRET, "127.0.0.1") as other:
            check_accepted(other, alice, 2)
            configure(site, f'listen = ["127.0.0.2:{second}"]')
            assert " reloaded" in reload(server)
            check_accepted(other, alice, 3)
            nas.send(status_server(SECRET).data)
            check_silence(other)
            assert nas.receive(0.01) is None
    assert server.log.count(" listening ") == 2


def test_all_addresses_become_one_and_all_again(site: Site, alice: Person) -> None:
    port = free_port()
    configure(site, f'listen = ["0.0.0.0:{port}"]')
    with site.server() as server, Nas(("127.0.0.2", port), SECRET, "127.0.0.1") as nas:
        check_accepted(nas, alice, 0)
        configure(site, f'listen = ["127.0.0.2:{port}"]')
        assert " reloaded" in reload(server)
        check_accepted(nas, alice, 1)
        configure(site, f'listen = ["0.0.0.0:{port}"]')
        assert " reloaded" in reload(server)
        for ahead in range(2, 6):
            check_accepted(nas, alice, ahead)


def test_a_reply_that_is_held_back_still_leaves_from_the_old_address(site: Site) -> None:
    first, second = free_port(), free_port()
    configure(site, f'listen = ["127.0.0.1:{first}"]')
    with site.server() as server, server.nas() as nas:
        send_all(nas, numbered(SECRET, [(f"nobody{n}", "123456") for n in range(20)]))
        check_silence(nas)
        configure(site, f'listen = ["127.0.0.1:{second}"]')
        assert " reloaded" in reload(server)
        codes = [reply.code for _ in range(20) if (reply := nas.receive()) is not None]
        assert codes == [REJECT] * 20


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('listen = ["127.0.0.1:x"]', "is not ADDRESS:PORT"),
        ("listen = [", "Invalid"),
        ("unknown = 1", "radius.unknown is not a known key"),
        ('accounting = "no/such/folder/file"', "cannot be opened"),
        ('metrics = "0.0.0.0:9812"', "can be reached from other hosts"),
        ('listen = ["192.0.2.1:1812"]', "Cannot assign requested address"),
    ],
)
def test_what_is_wrong_is_refused_with_a_line_and_the_old_goes_on(
    site: Site, alice: Person, text: str, why: str
) -> None:
    with site.server() as server, server.nas() as nas:
        configure(site, text)
        line = reload(server)
        assert " reload-refused " in line
        assert why in line
        assert 'effect="the old configuration goes on"' in line
        check_accepted(nas, alice)


def test_of_two_new_addresses_one_that_is_taken_refuses_both(site: Site, alice: Person) -> None:
    free = free_port()
    with site.server() as server, server.nas() as nas, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        configure(site, f'listen = ["127.0.0.1:{free}", "127.0.0.1:{taken.getsockname()[1]}"]')
        assert "Address already in use" in reload(server)
        assert closed(("127.0.0.1", free))
        check_accepted(nas, alice)


def test_status_server_names_and_log_follow(site: Site, alice: Person) -> None:
    listen = 'listen = ["127.0.0.1:0"]'
    with site.server() as server, server.nas() as nas:
        assert nas.ask(status_server(SECRET)).code == ACCEPT
        configure(site, f'{listen}\nstatus_server = false\n[names]\nrealms = ["corp"]')
        reload(server)
        nas.send(status_server(SECRET).data)
        assert nas.ask(access_request(SECRET, "CORP\\alice", alice.pin())).code == ACCEPT
        eventually(lambda: "reason=status-server-off" in server.log)
        configure(site, f'{listen}\nlog = "json"')
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: '"event": "reloaded"' in server.log)
        assert nas.ask(status_server(SECRET)).code == ACCEPT
        assert server.address == nas.server, "it was never closed"


def store_section(site: Site, text: str) -> None:
    site.config_file.write_text(f'[store]\n{text}\n[radius]\nlisten = ["127.0.0.1:0"]\n')


def test_what_needs_a_restart_is_said(site: Site) -> None:
    with site.server() as server:
        store_section(site, 'chain = "other"\nissuer = "x"')
        assert "needs_restart=chain,issuer" in reload(server)
        store_section(site, 'chain = "test"\nurl = "postgresql://twofold@db.example.org/twofold"')
        assert reload(server).endswith("needs_restart=url")


def test_it_is_said_until_the_server_is_started_anew(site: Site) -> None:
    """By each reload, such as those of logrotate: what counts is what the server was started with."""
    with site.server() as server:
        store_section(site, 'chain = "other"')
        assert reload(server).endswith("needs_restart=chain")
        assert reload(server).endswith("needs_restart=chain")
        store_section(site, 'chain = "test"')
        assert reload(server).endswith(" reloaded")


def test_options_stay_above_the_file(site: Site, alice: Person) -> None:
    with site.server("--listen", "127.0.0.1:0") as server, server.nas() as nas:
        configure(site, f'listen = ["127.0.0.1:{free_port()}"]')
        assert " reloaded" in reload(server)
        check_accepted(nas, alice)
        assert server.log.count(" listening ") == 1


def test_many_reloads_leak_nothing(site: Site, alice: Person) -> None:
    with site.server() as server, server.nas() as nas:
        reload(server)
        before = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        for _ in range(10):
            reload(server)
        assert len(os.listdir(f"/proc/{server.process.pid}/fd")) <= before
        check_accepted(nas, alice)


# --- the end


def test_told_twice_to_stop_it_does_not_wait_for_what_is_in_work(site: Site) -> None:
    """A Reject that would be held back for 6 s, which the server would wait for."""
    assert site.command("policy", "set", "reject_delay", "6s").returncode == 0
    with site.server() as server, server.nas() as nas:
        nas.send(access_request(SECRET, "nobody", "123456").data)
        check_silence(nas)
        server.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(1)
        server.process.terminate()
        assert server.process.wait(60) == 0
        with pytest.raises(BlockingIOError):
            nas.sock.recv(4096, socket.MSG_DONTWAIT)


# --- systemd


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(15)
        yield sock


@contextlib.contextmanager
def under_systemd(site: Site, notified: socket.socket, **more: str) -> "Iterator[subprocess.Popen[bytes]]":
    environment = os.environ | {"NOTIFY_SOCKET": str(notified.getsockname())} | more
    command = [*TWOFOLD, "--config", str(site.config_file), "radius", "serve"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def test_systemd_hears_of_the_start_reloads_and_the_end(site: Site, notified: socket.socket) -> None:
    with under_systemd(site, notified) as process:
        assert notified.recv(100) == b"READY=1"
        for text in ('listen = ["127.0.0.1:0"]', "wrong"):
            configure(site, text)
            process.send_signal(signal.SIGHUP)
            begun = re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=(\d+)", notified.recv(100))
            assert begun is not None
            assert 0 <= time.clock_gettime(time.CLOCK_MONOTONIC) - int(begun[1]) / 1e6 < 60
            assert notified.recv(100) == b"READY=1", "a reload that was refused ends, too"
        process.terminate()
        assert notified.recv(100) == b"STOPPING=1"


def test_the_watchdog_hears_that_it_lives(site: Site, notified: socket.socket) -> None:
    with under_systemd(site, notified, WATCHDOG_USEC="2000000") as process:
        heard = [notified.recv(100) for _ in range(4)]
        assert heard == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        process.send_signal(signal.SIGSTOP)
        while select_ready(notified, 0.6):
            notified.recv(100)
        assert not select_ready(notified, 1.0), "it lives no more"
        process.send_signal(signal.SIGCONT)
        assert notified.recv(100) == b"WATCHDOG=1"


def select_ready(sock: socket.socket, seconds: float) -> bool:
    return bool(select.select([sock], [], [], seconds)[0])


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
    ],
)
def test_the_watchdog_is_for_whom_it_names(environment: dict[str, str], seconds: float | None) -> None:
    assert serving.watchdog_seconds(environment) == seconds
