"""What the tests of the RADIUS face share: one running server, sockets that get closed, new people."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeAlias

import pytest

from tests.radius_server.live import Live, Person, Source, add_clients, running
from tests.site import SECRET, Site
from tests.wire import Nas

NasFrom: TypeAlias = Callable[..., Nas]


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    site = Site(tmp_path_factory.mktemp("radius") / "site")
    add_clients(site)
    with running(site) as live:
        yield live
        assert "Traceback" not in live.server.log, live.server.log


@pytest.fixture
def nas_from(live: Live) -> Iterator[NasFrom]:
    """`nas_from(source, secret)`: a socket of one of the clients of `live`."""
    with ExitStack() as sockets:

        def open_socket(source: str = Source.PASSCODE, secret: bytes = SECRET) -> Nas:
            return sockets.enter_context(live.nas(source, secret))

        yield open_socket


@pytest.fixture
def person(live: Live) -> Person:
    return live.person()
