"""Tens of thousands of spoiled requests over the whole way through a running server, from a seed.

TWOFOLD_FUZZ_SEED and TWOFOLD_FUZZ_PACKETS choose another run; `python -m tests.radius_server.fuzz` makes a long one.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.radius_server.fuzz import Run, new_site
from tests.radius_server.mutating import Mutator
from tests.site import TWOFOLD

SEED = int(os.environ.get("TWOFOLD_FUZZ_SEED", "20250714"))
PACKETS = int(os.environ.get("TWOFOLD_FUZZ_PACKETS", "20000"))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    site = new_site(tmp_path / "site")
    with site.server(program=TWOFOLD) as server:
        run = Run(site, server, random.Random(SEED))
        yield run
        run.close()


@pytest.mark.statement("R-016")
@pytest.mark.timeout(900)  # for a longer run by TWOFOLD_FUZZ_PACKETS
def test_spoiled_packets_neither_break_nor_bloat_the_server(run: Run) -> None:
    print(f"TWOFOLD_FUZZ_SEED={SEED} TWOFOLD_FUZZ_PACKETS={PACKETS}")
    run.warm_up()
    result = run.measure(PACKETS)
    print(result)
    assert result.trouble == []
    assert 0 < result.replies <= PACKETS
    assert result.logins >= PACKETS // 1000


def test_a_seed_brings_the_same_packets_back() -> None:
    once, again = (Mutator(random.Random(SEED)) for _ in range(2))
    assert [once.spoiled(True) for _ in range(500)] == [again.spoiled(True) for _ in range(500)]
