"""The numbers for Prometheus, and the door they are read at."""

import contextlib
import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest

from radius_server import metrics
from radius_server.counts import BUCKETS, Counts
from radius_server.log import Drops
from radius_server.metrics import MetricsDoor, render
from store.config import Listen
from tests.radius_server.live import check_accepted, new_person
from tests.site import PASSWORD, SECRET, ServerProcess, Site, eventually
from tests.wire import ACCEPT, CHALLENGE, REJECT, access_request, status_server
from validation.errors import BadInput
from validation.model import Mode

SAMPLE = re.compile(r'([a-z_]+)(\{([a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? ([0-9.e+-]+)')


def fetch(address: Listen, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as reply:  # a loopback address
        assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        text: str = reply.read().decode()
    return text


def samples(text: str) -> dict[str, float]:
    """Every line is a comment or a sample, and none is there twice."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith(("# HELP ", "# TYPE ")):
            continue
        match = SAMPLE.fullmatch(line)
        assert match is not None, line
        name = line.rpartition(" ")[0]
        assert name not in found
        found[name] = float(match[4])
    return found


# --- The text


def test_nothing_counted_is_a_whole_text() -> None:
    found = samples(render(Counts(), Drops(), 0, {"gate": 0}))
    assert found["twofold_store_available"] == 1
    assert found['twofold_radius_waiting{queue="gate"}'] == 0
    assert found['twofold_radius_seconds_bucket{decision="accept",le="+Inf"}'] == 0


def test_a_hostile_name_of_a_client_stays_one_label() -> None:
    counts = Counts()
    counts.request('a"} 1\nfake{x="\\', 1)
    found = samples(render(counts, Drops(), 0, {}))
    (name,) = [name for name in found if "requests_total" in name]
    assert name == r'twofold_radius_requests_total{client="a\"} 1\nfake{x=\"\\",code="access-request"}'


def test_buckets_hold_all_that_is_not_longer() -> None:
    counts = Counts()
    for seconds in (0.0005, BUCKETS[0], 0.3, 99.0):
        counts.seconds["accept"].add(seconds)
    found = samples(render(counts, Drops(), 0, {}))
    bucket = 'twofold_radius_seconds_bucket{{decision="accept",le="{}"}}'
    assert [found[bucket.format(le)] for le in ("0.001", "0.25", "0.5", "10", "+Inf")] == [2, 2, 3, 3, 4]
    assert found['twofold_radius_seconds_count{decision="accept"}'] == 4
    assert found['twofold_radius_seconds_sum{decision="accept"}'] == pytest.approx(99.3015)


# --- The door


@pytest.fixture
def door() -> Iterator[MetricsDoor]:
    door = MetricsDoor(Listen("127.0.0.1", 0), lambda: "twofold_x 1\n")
    door.start()
    yield door
    door.close()


def talk(door: MetricsDoor, *pieces: bytes) -> bytes:
    """What comes back until it hangs up."""
    with socket.create_connection((door.bound.address, door.bound.port), timeout=10) as sock:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                sock.sendall(piece)
        found = b""
        with contextlib.suppress(ConnectionError):
            while more := sock.recv(4096):
                found += more
        return found


def test_it_knows_one_thing_alone(door: MetricsDoor) -> None:
    assert fetch(door.bound) == fetch(door.bound, "/metrics?x=y") == "twofold_x 1\n"
    with pytest.raises(HTTPError, match="404"):
        fetch(door.bound, "/")
    for request in (b"POST /metrics HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"\xff\0 \r\n\r\n", b"GET /metrics\r\n\r\n"):
        assert talk(door, request).startswith(b"HTTP/1.1 405 ")


def test_who_says_too_much_is_hung_up_on(door: MetricsDoor) -> None:
    assert talk(door, b"GET /metrics HTTP/1.1\r\n", b"X: " + b"x" * metrics.REQUEST_MOST) == b""
    assert fetch(door.bound) == "twofold_x 1\n"


def test_who_says_nothing_or_little_is_hung_up_on_and_the_next_is_served(door: MetricsDoor) -> None:
    """All connect first, so that the last waits for each of them to be given up."""
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            slow = stack.enter_context(socket.create_connection((door.bound.address, door.bound.port)))
            slow.sendall(b"GET /metr")
        assert fetch(door.bound) == "twofold_x 1\n"


def test_who_reads_nothing_is_hung_up_on() -> None:
    door = MetricsDoor(Listen("127.0.0.1", 0), lambda: "x" * 50_000_000)
    door.start()
    with contextlib.closing(door), socket.create_connection((door.bound.address, door.bound.port)) as deaf:
        deaf.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert talk(door, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404 ")


def test_after_it_was_closed_the_address_is_free() -> None:
    door = MetricsDoor(Listen("127.0.0.1", 0), lambda: "")
    door.start()
    door.close()
    again = MetricsDoor(door.bound, lambda: "")
    assert again.bound == door.bound
    again.close()


def test_an_address_that_is_taken_is_named(door: MetricsDoor) -> None:
    with pytest.raises(BadInput, match=rf"\[radius\] metrics: cannot listen on {door.bound}: Address already in use"):
        MetricsDoor(door.bound, lambda: "")


def test_a_text_that_cannot_be_made_is_no_end(caplog: pytest.LogCaptureFixture) -> None:
    texts = iter(["fine\n"])
    door = MetricsDoor(Listen("127.0.0.1", 0), lambda: next(texts))
    door.start()
    with contextlib.closing(door):
        assert talk(door, b"GET /metrics HTTP/1.1\r\n\r\n").endswith(b"fine\n")
        eventually(lambda: talk(door, b"GET /metrics HTTP/1.1\r\n\r\n") == b"")
        assert talk(door, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404 ")
    assert caplog.messages[0] == "internal-error where=metrics error=StopIteration"


# --- A running server


@pytest.fixture
def site(tmp_path: Path) -> Site:
    text = '[store]\nchain = "test"\n[radius]\nlisten = ["127.0.0.1:0"]\nmetrics = "127.0.0.1:0"\n'
    site = Site(tmp_path / "site", text)
    site.add_client("vpn", mode=Mode.PASSCODE_ONLY)
    site.add_client("asks", "127.0.0.2/32")
    return site


def address_of(server: ServerProcess) -> Listen:
    found = re.search(r" metrics on=(\S+):(\d+)", server.log)
    assert found is not None
    return Listen(found[1], int(found[2]))


def read(server: ServerProcess) -> dict[str, float]:
    """Who is too slow on a loaded machine is hung up on, and asks again."""
    for _ in range(5):
        with contextlib.suppress(ConnectionError):
            return samples(fetch(address_of(server)))
    raise AssertionError("always hung up on")


@pytest.mark.statement("R-137")
def test_what_happened_is_counted_and_status_server_apart(site: Site) -> None:
    alice = new_person(site, "alice")
    with site.server() as server, server.nas() as nas, server.nas(source="127.0.0.2") as asks:
        eventually(lambda: " metrics on=" in server.log)
        check_accepted(nas, alice)
        assert nas.login("alice", "000000").code == REJECT
        for _ in range(3):
            nas.ask(status_server(SECRET))
        assert asks.login("alice", PASSWORD).code == CHALLENGE
        assert asks.login("alice", "wrong").code == REJECT
        nas.send(access_request(SECRET, "alice", "1", message_authenticator="none").data)
        expected = {
            'twofold_radius_requests_total{client="vpn",code="access-request"}': 2,
            'twofold_radius_requests_total{client="vpn",code="status-server"}': 3,
            'twofold_radius_requests_total{client="asks",code="access-request"}': 2,
            'twofold_radius_decisions_total{client="vpn",decision="accept",reason="passcode-right"}': 1,
            'twofold_radius_decisions_total{client="vpn",decision="reject",reason="passcode-wrong"}': 1,
            'twofold_radius_decisions_total{client="asks",decision="challenge",reason="password-right"}': 1,
            'twofold_radius_decisions_total{client="asks",decision="reject",reason="password-wrong"}': 1,
            'twofold_radius_drops_total{reason="message-authenticator-missing"}': 1,
            'twofold_password_checks_total{kind="local",outcome="proved"}': 1,
            'twofold_password_checks_total{kind="local",outcome="wrong"}': 1,
            'twofold_radius_seconds_count{decision="accept"}': 1,
            'twofold_radius_seconds_count{decision="challenge"}': 1,
            'twofold_radius_seconds_count{decision="reject"}': 2,
            "twofold_radius_in_work": 0,
            "twofold_store_available": 1,
        }
        eventually(lambda: expected.items() <= read(server).items(), what=f"{expected}")
        assert "alice" not in fetch(address_of(server)), "no names of users"


def test_made_up_names_and_addresses_make_it_no_longer(site: Site) -> None:
    with site.server() as server, server.nas() as nas, server.nas(source="127.0.9.9") as stranger:
        eventually(lambda: " metrics on=" in server.log)
        for number in range(30):
            nas.send(access_request(SECRET, f"nobody{number}", "000000").data)
            stranger.send(access_request(SECRET, f"nobody{number}", "000000").data)
        wanted = 'twofold_radius_decisions_total{client="vpn",decision="reject",reason="user-unknown"}'
        eventually(lambda: read(server).get(wanted) == 30)
        assert len([name for name in read(server) if "seconds" not in name]) < 20


def test_a_store_that_is_away_is_seen(site: Site) -> None:
    with site.server() as server, server.nas() as nas:
        eventually(lambda: " metrics on=" in server.log)
        moved = site.config.database.rename(site.config.database.with_suffix(".away"))
        nas.send(status_server(SECRET).data)
        eventually(lambda: read(server)["twofold_store_available"] == 0)
        moved.rename(site.config.database)
        assert nas.ask(status_server(SECRET)).code == ACCEPT
        eventually(lambda: read(server)["twofold_store_available"] == 1)


def test_the_server_goes_on_while_slow_callers_hang_at_the_door(site: Site) -> None:
    alice = new_person(site, "alice")
    with site.server() as server, server.nas() as nas, contextlib.ExitStack() as stack:
        eventually(lambda: " metrics on=" in server.log)
        address = address_of(server)
        for _ in range(40):
            slow = stack.enter_context(socket.socket())
            slow.setblocking(False)
            slow.connect_ex((address.address, address.port))
        for ahead in range(3):
            check_accepted(nas, alice, ahead)
        assert len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) < 30
