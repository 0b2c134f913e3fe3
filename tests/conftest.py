"""What holds for every test: marks are well formed, peers are there, and Hypothesis measures no time."""

import re
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.peers import peers

if TYPE_CHECKING:
    from tests.postgres import Stores

STATEMENT_ID = re.compile(r"[ROWPVC]-\d{3}")

# A deadline would fail a test because the machine is busy.
settings.register_profile("twofold", deadline=None)
settings.load_profile("twofold")


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Stores]":
    """Sites on a PostgreSQL server that starts when it is first asked for. Who stops a server has one of his own."""
    from tests.postgres import Stores, postgres

    with postgres() as server:
        yield Stores(server, tmp_path_factory.mktemp("first"))


def pytest_configure() -> None:
    """Under nohup, or with & in a script, these signals are ignored, and programs that tests start would ignore them as
    well. Those get the default of what is handled here."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _go_on)


def _go_on(number: int, frame: object) -> None:
    """As if it were ignored."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A mark with a slip in it proves nothing, so the run does not start."""
    slips = [f"{item.nodeid}: {slip}" for item in items for slip in _slips(item)]
    if slips:
        raise pytest.UsageError(*slips)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("peer"):
        for program in mark.args:
            peers.require(program)


def _slips(item: pytest.Item) -> list[str]:
    slips = [f"mark {mark.name} without an argument" for mark in _our_marks(item) if not mark.args]
    for mark in item.iter_markers("statement"):
        slips += [f"no statement id: {name!r}" for name in mark.args if not STATEMENT_ID.fullmatch(str(name))]
    for mark in item.iter_markers("peer"):
        slips += [f"peer not in tests/peers/peers.py: {name!r}" for name in mark.args if name not in peers.PACKAGE_OF]
    return slips


def _our_marks(item: pytest.Item) -> list[pytest.Mark]:
    return [*item.iter_markers("statement"), *item.iter_markers("peer")]
