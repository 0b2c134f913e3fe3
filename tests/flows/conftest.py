"""What the flows share: a site in a folder of its own, on either database, and processes that use it together."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.worker import Workers
from tests.postgres import Stores
from tests.site import Site


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """On SQLite, unless the test is one of those `on_both` (tests/postgres.py)."""
    site = Site(tmp_path / "site") if getattr(request, "param", "") != "postgresql" else _on_server(request, tmp_path)
    yield site
    if "database" in vars(site):
        site.database.close()


def _on_server(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    stores: Stores = request.getfixturevalue("stores")
    return stores.site(tmp_path / "site")


@pytest.fixture
def workers(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[Workers]:
    """On PostgreSQL they are of two hosts."""
    configs = [site.config_file]
    if site.config.url:
        stores: Stores = request.getfixturevalue("stores")
        configs.append(stores.beside(site, tmp_path / "other", "other").config_file)
    started = Workers(*configs)
    yield started
    started.end()
