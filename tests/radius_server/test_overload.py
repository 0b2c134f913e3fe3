"""More logins than the server can do, in short: `benchmarks/overload.py` does the same for half a minute."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.storm import PATIENCE, TRIES, Person, Storm, crowd, people, percentiles
from tests.radius_server.conftest import NasFrom
from tests.radius_server.live import Live, Source
from tests.radius_server.test_server import arrived
from tests.site import PASSWORD, SECRET, TWOFOLD, ServerProcess, Site, eventually
from tests.wire import ACCEPT, CHALLENGE, access_request
from validation.model import Mode

SECONDS = 6.0


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    site.add_client("vpn", "127.0.0.1/32")
    site.add_client("other", "127.0.0.2/32", mode=Mode.PASSCODE_ONLY)
    return site


@pytest.fixture
def crew(site: Site) -> list[Person]:
    return people(site, 60)


@pytest.fixture
def server(site: Site, crew: list[Person]) -> Iterator[ServerProcess]:
    with site.server(program=TWOFOLD) as server:
        yield server


@pytest.mark.statement("R-099")
@pytest.mark.parametrize(("crowd_from", "crowd_a_second"), [("127.0.0.1", 400.0), ("127.0.0.2", 12_000.0)])
def test_who_was_asked_for_a_pin_is_let_in_however_many_begin_a_login(
    server: ServerProcess, crew: list[Person], crowd_from: str, crowd_a_second: float
) -> None:
    """From the same gateway with passwords to check, and from another one without."""
    with Storm(server.address, SECRET, "127.0.0.1", crew, crowd_from) as storm:
        storm.ask(20, think=SECONDS / 2)
        before = server.resident_kib()
        storm.blow(SECONDS, crowd_a_second, 10.0, list(crowd(SECRET, "123456", 2_011)))
        grown = server.peak_kib() - before
        storm.calm(PATIENCE * TRIES)
        assert storm.tally.asked >= 20
        assert (storm.tally.lost, storm.tally.let_in) == (0, storm.tally.asked)
        assert grown < 150 * 1024
        eventually(lambda: storm.one_login(patience=5.0), what="a login after the storm")
    server.end()
    assert "overload" in server.log
    assert "Traceback" not in server.log


@pytest.mark.statement("R-099")
def test_an_answer_passes_the_logins_that_wait_for_a_password_check(live: Live, nas_from: NasFrom) -> None:
    crowded, nas, person = nas_from(Source.CHALLENGE), nas_from(Source.CHALLENGE), live.person()
    state = nas.login(person.name, PASSWORD).state
    for number in range(100):
        crowded.send(access_request(SECRET, f"nobody{number}", "x", identifier=number).data)
    assert nas.login(person.name, person.pin(), state=state).code == ACCEPT
    assert arrived(crowded) < 100


def test_a_made_up_state_gets_nobody_ahead_and_nothing_else_either(live: Live, nas_from: NasFrom) -> None:
    """It stands with the new logins, and is refused like any State that is unknown."""
    nas, person = nas_from(Source.CHALLENGE), live.person()
    assert nas.login(person.name, person.pin(), state=b"0" * 32).code == 3
    assert person.logins == [("reject", "state-unknown")]
    assert (person.counter, person.failures) == (0, 0)


def test_a_flood_from_one_gateway_does_not_keep_another_from_its_password_checks(live: Live, nas_from: NasFrom) -> None:
    crowded, nas, person = nas_from(Source.APPEND), nas_from(Source.UNSIGNED_CHALLENGE), live.person()
    for number in range(200):
        crowded.send(access_request(SECRET, f"nobody{number}", "geheim123456", identifier=number).data)
    assert nas.login(person.name, PASSWORD).code == CHALLENGE
    assert arrived(crowded) < 100


def test_no_share_of_a_measurement_is_more_than_the_most_that_was_measured() -> None:
    """Of a few values that lie far apart, too."""
    assert percentiles([0.010, 0.020, 0.060]) == "p50 20 ms, p99 59 ms, most 60 ms"
    assert percentiles([0.010]) == "none"
