"""What the tests of the command line share: `twofold(...)` runs one command on the test's site."""

import pytest

from tests.site import Site
from tests.store.cli.command import Twofold


@pytest.fixture
def twofold(site: Site) -> Twofold:
    return Twofold(site)
