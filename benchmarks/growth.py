"""Whether a login costs more where there are more users: 1,000 beside 100,000 and 1,000,000, on SQLite.

    .venv/bin/python -m benchmarks.growth [--sizes 1000,100000,1000000] [--repeats 5]

Each store has ten rows of the trail for each user. A server of each size runs, and they take turns. Everybody has a
counter token, so that few people can log in as often as many. Memory is what the server has resident after its logins.
To fill the largest store takes some minutes and 3 GB of disk.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import machine
from benchmarks.logins import ALL
from benchmarks.people import Crowd
from benchmarks.rounds import Result, measured
from benchmarks.subjects import Subject, prepared, twofold
from benchmarks.tables import HEAD, line, ratio
from tests.site import Site

AUDIT_ROWS = 10  # of each user


@contextmanager
def of_size(folder: Path, users: int) -> Iterator[Subject]:
    begun, crowd = time.monotonic(), Crowd(users, "hotp")
    site = prepared(Site(folder), crowd, AUDIT_ROWS)
    octets = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{users:,} users: filled in {time.monotonic() - begun:.0f} s, {octets / 1024**2:,.0f} MiB", flush=True)
    with twofold(f"{users:,} users", site, crowd) as subject:
        yield subject


def told(results: Sequence[Result]) -> Iterator[str]:
    """The last columns: how many times the CPU time and the median wait of the smallest, and memory."""
    first = results[0]
    yield HEAD + f"{'CPU x':>8}{'p50 x':>8}{'MiB':>7}"
    for result in results:
        cpu = ratio(result.cpu_us, first.cpu_us)
        wait = ratio(result.median(lambda r: r.load.p50_ms), first.median(lambda r: r.load.p50_ms))
        yield line(result) + f"{cpu:>8}{wait:>8}{result.subject.resident_mib():7.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sizes", default="1000,100000,1000000")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=machine.USUAL_FOLDER, help="on a real disk")
    chosen = parser.parse_args()
    machine.refuse_memory(chosen.folder)
    print(f"{machine.described()}\n", flush=True)
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="twofold-bench-") as name, ExitStack() as stack:
        sizes = [int(size) for size in chosen.sizes.split(",")]
        subjects = [stack.enter_context(of_size(Path(name) / str(size), size)) for size in sizes]
        for scenario in ("passcodes", "window-1"):
            print(f"\n{ALL[scenario].title}", flush=True)
            print("\n".join(told(measured(ALL[scenario], subjects, chosen.repeats))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
