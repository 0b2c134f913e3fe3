"""One slapd for the tests of a file: they keep apart by their people. Who stops one has one of his own."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.peers.authority import Authority
from tests.peers.ldap.slapd import Slapd


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with Slapd(tmp_path_factory.mktemp("slapd")) as running:
        yield running


class Another(Protocol):
    def __call__(self, name: str, authority: Authority | None = None, encrypted: bool = True) -> Slapd: ...


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Another]:
    """Makes servers that the test may stop."""
    with ExitStack() as stack:

        def make(name: str, authority: Authority | None = None, encrypted: bool = True) -> Slapd:
            return stack.enter_context(Slapd(tmp_path / name, authority, encrypted=encrypted))

        yield make
