"""`python -m tests.chaos --rounds 1000 --seed N`: a long run by hand. The exit status is 1 if a rule was broken."""

import argparse
import contextlib
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.chaos.planted import FAULTS
from tests.chaos.run import run
from tests.chaos.world import SETTINGS
from tests.postgres import postgres


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument(
        "--lanes", type=int, default=1, help="so many at once, each with its share and a seed of its own"
    )
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--fault", choices=sorted(FAULTS), default="", help="a defect to plant into the servers")
    chosen = parser.parse_args()
    return _lanes(chosen) if chosen.lanes > 1 else _lane(chosen)


def _lanes(chosen: argparse.Namespace) -> int:
    more = ["--database", chosen.database, *(["--fault", chosen.fault] if chosen.fault else [])]
    shares = [len(range(lane, chosen.rounds, chosen.lanes)) for lane in range(chosen.lanes)]
    commands = [
        [sys.executable, "-m", "tests.chaos", "--rounds", str(share), "--seed", str(chosen.seed + lane), *more]
        for lane, share in enumerate(shares)
    ]
    return max(lane.wait() for lane in [subprocess.Popen(command) for command in commands])


def _lane(chosen: argparse.Namespace) -> int:
    print(f"seed {chosen.seed}", flush=True)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="twofold-chaos-", dir="/tmp")))
        folder.chmod(0o755)
        database = stack.enter_context(postgres(SETTINGS)) if chosen.database == "postgresql" else None
        report = run(folder, chosen.rounds, chosen.seed, database, chosen.fault, say=_say)
    _say(str(report))
    for broken in report.broken:
        _say(f"broken: {broken}")
    _say("\n".join(report.story))
    return bool(report.broken)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
