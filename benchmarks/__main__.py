"""What `make bench` runs: one benchmark after the other, each a program of its own.

    sudo .venv/bin/python -m benchmarks [logins|pam|startup|import|growth|overload|refusals [ITS OPTIONS]]

Without a word those of some minutes, all but the last three. Exit status 1 if one of them failed.
"""

import subprocess
import sys
from pathlib import Path

PARTS = {
    "logins": "benchmarks.logins",
    "pam": "benchmarks.pam_latency",
    "startup": "benchmarks.startup",
    "import": "benchmarks.import_tokens",
    "growth": "benchmarks.growth",
    "overload": "benchmarks.overload",
    "refusals": "benchmarks.refusal_timing",
}
USUAL = ("logins", "pam", "startup", "import")


def main(arguments: list[str]) -> int:
    if arguments and arguments[0] not in PARTS:
        print(__doc__, file=sys.stderr)
        return 2
    failed = []
    for part in arguments[:1] or USUAL:
        print(f"=== {part}\n", flush=True)
        command = [sys.executable, "-m", PARTS[part], *arguments[1:]]
        if subprocess.run(command, cwd=Path(__file__).resolve().parent.parent, check=False).returncode != 0:
            failed.append(part)
        print(flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
