"""How long a boxful of tokens takes, and how much memory: import of CSV, export as PSKC, import of that elsewhere.

    .venv/bin/python -m benchmarks.import_tokens [--rows 100000]

Each step is a `twofold` of its own; memory is the most it had resident. What is wanted: under 300 MiB for 100,000 rows,
in one transaction each.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import machine

TWOFOLD = [sys.executable, "-c", "from store.cli.main import main; main()"]
_MEASURED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def measured(what: str, folder: Path, *arguments: str) -> float:
    """Run a command and print what it took; MiB."""
    command = [*TWOFOLD, "--config", str(folder / "twofold.toml"), *arguments]
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", _MEASURED, *command], stdout=subprocess.PIPE, check=True)
    mib = int(done.stdout) / 1024
    print(f"{what:34} {time.monotonic() - began:7.1f} s {mib:7.0f} MiB", flush=True)
    return mib


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    machine.refuse_memory(machine.USUAL_FOLDER)
    with tempfile.TemporaryDirectory(dir=machine.USUAL_FOLDER) as name:
        folder = Path(name)
        first, second, key = folder / "first", folder / "second", folder / "key"
        for site in (first, second):
            site.mkdir()
            measured("init", site, "init")
        key.write_text(os.urandom(32).hex())
        box = folder / "box.csv"
        box.write_text("".join(f"B{n:07},{os.urandom(20).hex()},totp,6,30\n" for n in range(rows)))
        most = [
            measured(f"import {rows} rows of CSV", first, "token", "import", str(box)),
            measured("the same again: unchanged", first, "token", "import", str(box)),
            measured("export as PSKC", first, "token", "export", str(folder / "b"), "--all", "--key-file", str(key)),
            measured("import of that elsewhere", second, "token", "import", str(folder / "b"), "--key-file", str(key)),
        ]
    return 0 if max(most) < 300 else 1


if __name__ == "__main__":
    sys.exit(main())
