"""What the flows share: a site in a folder of its own, and processes that use it together."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.worker import Workers
from tests.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def workers(site: Site) -> Iterator[Workers]:
    started = Workers(site.config_file)
    yield started
    started.end()
