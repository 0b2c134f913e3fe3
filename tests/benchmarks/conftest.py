"""The load generator, built once."""

import subprocess
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.peers import peers


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for needed in ("cc", "make"):
        peers.require(needed)
    folder = tmp_path_factory.mktemp("load")
    subprocess.run(["make", "-s", "load", f"BUILD={folder}"], cwd=ROOT, check=True)
    return folder / "load"
