"""The programs for gateways as `make gateways` makes them, each test process its own: files in `build` are shared."""

import shutil
import zipapp
from pathlib import Path

from tests.architecture.source import ROOT


def built(name: str, folder: Path) -> Path:
    """FOLDER/twofold-NAME, one file to copy."""
    stage, program = folder / f"stage-{name}", folder / f"twofold-{name}"
    for package in ("gateways", "radius_client"):
        shutil.copytree(ROOT / package, stage / package, ignore=shutil.ignore_patterns("__pycache__"))
    zipapp.create_archive(stage, program, "/usr/bin/python3 -I", f"gateways.{name}:main")
    shutil.rmtree(stage)
    return program
