"""What is measured of the machine itself, so that other numbers can be held against it."""

import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from argon2 import PasswordHasher

from benchmarks.people import PASSWORD
from first_factor.local import hash_password

IN_MEMORY = {"tmpfs", "ramfs", "overlayfs"}
USUAL_FOLDER = Path("/var/tmp")  # noqa: S108 - below it a folder that nobody knows is made
_SYNCS = 100


def file_system(folder: Path) -> str:
    done = subprocess.run(["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def refuse_memory(folder: Path) -> None:
    """A commit that reaches no disk costs nothing."""
    kind = file_system(folder)
    if kind in IN_MEMORY:
        sys.exit(f"{folder} is on {kind}, where nothing reaches a disk: choose another folder with --folder")


def fsync_ms(folder: Path, times: int = _SYNCS) -> float:
    """Median time of one small write and its fsync."""
    path = folder / "fsync"
    took = []
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            begun = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            took.append(time.perf_counter() - begun)
    path.unlink()
    return statistics.median(took) * 1000


def argon2_per_second(seconds: float = 1.5) -> float:
    """How many passwords all cores can check, and do nothing else."""
    made, hasher = hash_password(PASSWORD), PasswordHasher()
    done = [0] * (os.cpu_count() or 1)
    until = time.monotonic() + seconds

    def work(which: int) -> None:
        while time.monotonic() < until:
            hasher.verify(made, PASSWORD)
            done[which] += 1

    threads = [threading.Thread(target=work, args=(which,)) for which in range(len(done))]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.monotonic() - begun)


def described() -> str:
    model = next((line.split(":", 1)[1].strip() for line in _cpu_facts() if line.startswith("model name")), "?")
    load = "/".join(f"{one:.2f}" for one in os.getloadavg())
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores ({model}), Linux {platform.release()}, "
        f"Python {platform.python_version()}, load before {load}"
    )


def _cpu_facts() -> list[str]:
    return Path("/proc/cpuinfo").read_text().splitlines()
