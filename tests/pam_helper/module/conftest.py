"""The module, built once for a run of the tests: as it is shipped, and with the sanitizers of gcc."""

from pathlib import Path

import pytest

from tests.pam_helper.module.harness import ALONE, Built, Stack, build
from tests.peers import peers


@pytest.fixture(scope="session")
def compiler() -> None:
    for needed in ("gcc", "pam_modules.h"):
        peers.require(needed)


@pytest.fixture(scope="session")
def shipped(compiler: None, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("module") / "shipped")


@pytest.fixture(scope="session")
def sanitized(compiler: None, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("module") / "sanitized", *SANITIZERS)


SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


@pytest.fixture
def stack(shipped: Built, tmp_path: Path) -> Stack:
    """One line, so that the code told is the module's own."""
    return one_line(shipped, tmp_path)


@pytest.fixture(params=["shipped", "sanitized"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Stack:
    """The same, once with the module as shipped and once with the one that reports what it should not do."""
    return one_line(request.getfixturevalue(request.param), tmp_path)


def one_line(built: Built, folder: Path) -> Stack:
    stack = Stack(built, folder)
    stack.service(ALONE)
    return stack
