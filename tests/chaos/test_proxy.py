"""The line that can be cut: when it is closed, nothing of it is left to trouble whoever comes next."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.proxy import Proxy
from tests.site import eventually


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """One that takes connections and says nothing."""
    there = tmp_path / "database"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(there))
        listening.listen()
        yield there


@pytest.mark.parametrize("delay", [0, 60])
@pytest.mark.parametrize("held", [False, True], ids=["open", "held"])
def test_nothing_is_left_of_lines_that_are_in_use_when_it_closes(database: Path, delay: float, held: bool) -> None:
    proxy = Proxy(database)
    proxy.delay = delay
    if held:
        proxy.hold()
    clients = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(5)]
    try:
        for client in clients:
            client.sendall(b"a question")
        eventually(lambda: len(proxy._lines) == 2 * len(clients), what="lines to the database")
        proxy.close()
        assert asyncio.all_tasks(proxy._loop) == set()
    finally:
        for client in clients:
            client.close()
