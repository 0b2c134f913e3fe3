"""`twofold pam serve`, as a process of its own: it starts, stops, lacks things, and leaves files to their owner."""

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pam_helper.host import WITHIN, Peer, connect, connect_as, hello, kinds, needs_root, until
from tests.site import PASSWORD, TWOFOLD, ServerProcess, Site, pin
from validation.model import Token

DAEMON = 1


@pytest.fixture
def site(folder: Path) -> Site:
    made = Site(folder / "site")
    made.add_user("alice")
    return made


@pytest.fixture
def token(site: Site) -> Token:
    return site.enroll("alice")


@contextlib.contextmanager
def serving(site: Site, *arguments: str) -> Iterator[ServerProcess]:
    server = ServerProcess([*TWOFOLD, "--config", str(site.config_file), "pam", "serve", *arguments])
    try:
        until(lambda: "listening on=" in server.log or server.process.poll() is not None, "a helper that listens")
        yield server
    finally:
        server.end()


def login(path: Path, typed: str) -> list[tuple[str, bytes]]:
    peer = Peer(connect(path))
    try:
        peer.send(hello(service="login", user="alice", authtok=PASSWORD))
        assert kinds(peer.until_asked()) == "P"
        return peer.reply(typed)
    finally:
        peer.close()


@needs_root
def test_it_serves_where_it_is_told_to_and_says_so(site: Site, token: Token, folder: Path) -> None:
    places = [folder / "a", folder / "b"]
    with serving(site, "--socket", str(places[0]), "--socket", str(places[1])) as server:
        assert re.findall(r"listening on=(\S+)", server.log) == [str(place) for place in places]
        assert login(places[0], pin(token)) == [("F", b"Salice")]
        assert login(places[1], pin(token, 1)) == [("F", b"Salice")]
        assert "login success user=alice service=login" in server.log


@needs_root
def test_the_configured_sockets_are_served(folder: Path) -> None:
    run = folder / "run"
    text = f'[store]\nchain = "t"\n[pam]\nroot_socket = "{run}/priv/pam.sock"\nsocket = "{run}/pam.sock"\n'
    site = Site(folder / "site", text)
    site.add_user("alice")
    token = site.enroll("alice")
    with serving(site):
        assert login(run / "priv" / "pam.sock", pin(token)) == [("F", b"Salice")]
        assert login(run / "pam.sock", pin(token, 1)) == [("F", b"Salice")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_ends_at_once_when_idle(site: Site, folder: Path, number: signal.Signals) -> None:
    """The promise is two seconds; a machine that stands still may break it, but not every time."""
    assert any(_stops_in_time(site, folder / "s", number) for _ in range(5))


def _stops_in_time(site: Site, socket: Path, number: signal.Signals) -> bool:
    with serving(site, "--socket", str(socket)) as server:
        begun = time.monotonic()
        server.process.send_signal(number)
        assert server.process.wait(WITHIN) == 0
        took = time.monotonic() - begun
    assert server.log.endswith("stopped\n")
    return took < 2.0


def test_told_to_stop_it_waits_for_no_human(site: Site, folder: Path) -> None:
    with serving(site, "--socket", str(folder / "s")) as server:
        peer = Peer(connect(folder / "s"))
        server.process.terminate()
        assert peer.take() is None
        assert server.process.wait(WITHIN) == 0
        peer.close()


def test_it_can_be_started_again_at_once_also_after_sigkill(site: Site, folder: Path) -> None:
    for kill in (True, False, True, False, False):
        with serving(site, "--socket", str(folder / "s")) as server:
            connect(folder / "s").close()
            if kill:
                server.kill()
        assert server.process.returncode == (-signal.SIGKILL if kill else 0)


@needs_root
def test_a_second_helper_does_not_take_the_socket_of_the_first(site: Site, token: Token, folder: Path) -> None:
    with serving(site, "--socket", str(folder / "s")):
        second = site.command("pam", "serve", "--socket", str(folder / "s"))
        assert second.returncode == 2
        assert "already; stop it" in second.stderr
        assert login(folder / "s", pin(token)) == [("F", b"Salice")]


def test_without_a_store_it_does_not_start(site: Site, folder: Path) -> None:
    site.config.database.unlink()
    done = site.command("pam", "serve", "--socket", str(folder / "s"))
    assert done.returncode == 3
    assert str(site.config.database) in done.stderr
    assert not (folder / "s").exists()


@needs_root
@pytest.mark.statement("P-016", "P-028")
def test_out_of_descriptors_it_waits_and_goes_on(site: Site, token: Token, folder: Path) -> None:
    with serving(site, "--socket", str(folder / "s")) as server:
        assert login(folder / "s", pin(token)) == [("F", b"Salice")]
        pid = server.process.pid
        usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, usual[1]))
        waiting = [Peer(connect(folder / "s")) for _ in range(5)]
        for peer in waiting:
            peer.send(hello(service="login", user="alice", authtok=PASSWORD))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        assert {kinds(peer.until_asked()) for peer in waiting} == {"P"}
        for peer in waiting:
            peer.close()
        assert login(folder / "s", pin(token, 1)) == [("F", b"Salice")]


@needs_root
@pytest.mark.statement("P-024")
def test_what_it_makes_beside_the_store_belongs_to_the_owner_of_the_store(site: Site, folder: Path) -> None:
    """The RADIUS server runs as that account, and must be able to open it all."""
    token = site.enroll("alice")
    site.database.close()
    database = site.config.database
    for path in [site.folder, *site.folder.iterdir()]:
        if path.name.startswith(database.name + "-") or path.suffix in (".lock", ".queue"):
            path.unlink()
        else:
            os.chown(path, DAEMON, DAEMON)
    with serving(site, "--socket", str(folder / "s")):
        assert login(folder / "s", pin(token)) == [("F", b"Salice")]
        made = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in site.folder.iterdir()}
    assert {database.name + end for end in ("-wal", "-shm", ".lock", ".queue")} <= set(made)
    assert set(made.values()) == {(DAEMON, DAEMON)}


@needs_root
@pytest.mark.statement("P-024")
def test_a_link_in_a_folder_of_the_stores_owner_leads_root_nowhere(site: Site, folder: Path) -> None:
    """Whoever owns the folder puts another store in the place of his, or has root write where he may not."""
    site.database.close()
    roots = Site(folder / "roots")
    roots.database.close()
    before = {path.name: path.read_bytes() for path in roots.folder.iterdir()}
    site.config.database.unlink()
    site.config.database.symlink_to(roots.config.database)
    for path in [site.folder, *site.folder.iterdir()]:
        os.chown(path, DAEMON, DAEMON, follow_symlinks=False)
    done = site.command("pam", "serve", "--socket", str(folder / "s"))
    assert done.returncode == 3, done.stderr
    assert {path.name: path.read_bytes() for path in roots.folder.iterdir()} == before


@needs_root
def test_it_needs_no_more_of_a_stranger_than_that_he_can_connect(site: Site, folder: Path) -> None:
    with serving(site, "--socket", str(folder / "s")):
        (connection,) = connect_as(DAEMON, folder / "s")
        peer = Peer(connection)
        peer.send(hello(request="profile-show"))
        assert kinds(peer.until_asked()) == "EF"
        peer.close()


@needs_root
@pytest.mark.statement("P-013")
def test_a_core_file_is_never_left(site: Site, folder: Path) -> None:
    with serving(site, "--socket", str(folder / "s")) as server:
        assert resource.prlimit(server.process.pid, resource.RLIMIT_CORE) == (0, 0)


@contextlib.contextmanager
def under_systemd(site: Site, folder: Path, **more: str) -> "Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]":
    """Where the helper tells how it is, and the helper."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(folder / "notify"))
        notified.settimeout(WITHIN)
        command = [*TWOFOLD, "--config", str(site.config_file), "pam", "serve", "--socket", str(folder / "s")]
        environment = os.environ | {"NOTIFY_SOCKET": str(folder / "notify")} | more
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                yield notified, process
            finally:
                process.kill()


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(site: Site, folder: Path) -> None:
    with under_systemd(site, folder) as (notified, process):
        assert notified.recv(100) == b"READY=1"
        connect(folder / "s").close()
        process.terminate()
        assert notified.recv(100) == b"STOPPING=1"


def test_the_watchdog_hears_that_callers_are_let_in(site: Site, folder: Path) -> None:
    with under_systemd(site, folder, WATCHDOG_USEC="2000000") as (notified, process):
        heard = [notified.recv(100) for _ in range(4)]
        assert heard == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        process.terminate()
        while (heard_last := notified.recv(100)) == b"WATCHDOG=1":
            pass
        assert heard_last == b"STOPPING=1"
