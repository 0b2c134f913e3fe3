"""A road's gateway in another mode for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.peers.road import Road
from tests.peers.test_road import radclient
from tests.site import eventually
from validation.model import Mode
from validation.requests import SetClient, Wanted


@contextmanager
def in_mode(road: Road, mode: Mode) -> Iterator[None]:
    """CHALLENGE or APPEND, from when the server follows; before and after it is the mode that it was."""
    (seen,) = road.site.database.look([Wanted(client="gateway")])
    assert seen.client is not None
    _set(road, mode)
    try:
        yield
    finally:
        _set(road, seen.client.mode)


def _set(road: Road, mode: Mode) -> None:
    road.site.gate.administer(SetClient(actor="test", name="gateway", mode=mode))
    eventually(lambda: _speaks(road) is mode, what=f"a server that takes logins in mode {mode}")


def _speaks(road: Road) -> Mode | None:
    somebody = road.newcomer()
    said = radclient(road, somebody.name, somebody.password)
    return Mode.CHALLENGE if "Received Access-Challenge" in said else Mode.APPEND
