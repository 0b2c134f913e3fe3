"""Runs `build/load` (benchmarks/load/) and reads its report."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks.people import Entries, lines

PROGRAM = Path(__file__).resolve().parent.parent / "build" / "load"


@dataclass(frozen=True)
class Load:
    """What the load generator saw; times in milliseconds."""

    seconds: float
    finished: int
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    sent: int
    resent: int
    accepts: int
    rejects: int
    challenges: int
    forged: int
    unasked: int
    lost: int
    own_cpu: float


def load(
    address: tuple[str, int],
    secret: bytes,
    people: Entries,
    options: Mapping[str, float] = MappingProxyType({}),
    *,
    source: str = "127.0.0.1",
    program: Path = PROGRAM,
    at_start: Callable[[int], object] = int,
) -> Load:
    """`options` are those of the program: window, rate, seconds, timeout, tries. `at_start` is called with the process
    id when its clock starts."""
    if not program.exists():
        sys.exit(f"{program} is missing: make load")
    given = [f"--{name}={value:g}" for name, value in options.items()]
    command = [str(program), f"--source={source}", *given, address[0], str(address[1]), secret.decode()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(lines(people))
        process.stdin.close()
        if process.stdout.readline() == "ready\n":
            at_start(process.pid)
        report = process.stdout.read()
    if process.returncode != 0:
        raise RuntimeError(f"load ended with {process.returncode}: {report}")
    return Load(**json.loads(report))
