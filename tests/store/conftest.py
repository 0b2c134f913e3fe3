"""What the tests of the store share: a site of their own, closed when they end."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site import Site


@pytest.fixture(scope="session")
def fresh_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site in which nothing has happened; making one takes longer than most tests do."""
    return Site(tmp_path_factory.mktemp("fresh") / "site").folder


@pytest.fixture
def site(fresh_site: Path, tmp_path: Path) -> Iterator[Site]:
    shutil.copytree(fresh_site, tmp_path / "site")
    site = Site(tmp_path / "site")
    yield site
    if "database" in vars(site):
        site.database.close()
