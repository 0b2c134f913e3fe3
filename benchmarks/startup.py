"""How long somebody waits who types a `twofold` command.

    .venv/bin/python -m benchmarks.startup [--runs 15]

Each run is a process of its own; the commands take turns. What Python takes to start and end comes first.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import machine
from tests.site import Site

_TWOFOLD = ("-I", "-c", "from store.cli.main import main; main()")
COMMANDS: dict[str, tuple[str, ...]] = {
    "python, nothing done": ("-I", "-c", ""),
    "twofold --help": (*_TWOFOLD, "--help"),
    "twofold user --help": (*_TWOFOLD, "user", "--help"),
    "twofold user list": (*_TWOFOLD, "--config", "@", "user", "list"),
    "twofold user add": (*_TWOFOLD, "--config", "@", "user", "add", "#"),
    "twofold audit verify": (*_TWOFOLD, "--config", "@", "audit", "verify"),
}


def once(command: tuple[str, ...], config: Path, number: int) -> float:
    """Milliseconds. `@` stands for the configuration, `#` for a new name."""
    stands_for = {"@": str(config), "#": f"user{number}"}
    begun = time.perf_counter()
    subprocess.run([sys.executable, *(stands_for.get(w, w) for w in command)], stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - begun) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    took: dict[str, list[float]] = {name: [] for name in COMMANDS}
    machine.refuse_memory(machine.USUAL_FOLDER)
    with tempfile.TemporaryDirectory(dir=machine.USUAL_FOLDER) as folder:
        config = Site(Path(folder) / "site").config_file
        for number in range(runs):
            for name, command in COMMANDS.items():
                took[name].append(once(command, config, number))
    print(f"{runs} runs each, in turns; milliseconds\n\n{'':28}{'median':>8}{'longest':>9}")
    for name, times in took.items():
        print(f"{name:28}{statistics.median(times):8.0f}{max(times):9.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
