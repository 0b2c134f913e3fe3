"""One world for all tests that use it: they keep apart by their users, services and files."""

from collections.abc import Iterator

import pytest

from tests.peers.pam.desk import desk, office
from tests.peers.pam.house import entrance, house
from tests.peers.world import World, world_or_skip

__all__ = ["desk", "entrance", "house", "office", "world"]


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    with world_or_skip() as made:
        yield made
