"""How much a second factor adds to a login through PAM: Twofold beside pam_oath and pam_google_authenticator.

    sudo .venv/bin/python -m benchmarks.pam_latency [--runs 200] [--people 1000]

Every run is one `pamtester SERVICE USER authenticate` with the right HOTP value on standard input, and a stack of one
module. Rules:

- A round has one login of each stack, another one first in each; the first rounds warm up and are not counted.
- What a stack adds is the median of its differences to pam_permit alone in the same round: what else the machine does
  hits both. Beside it stand the quartiles, and the CPU time, which depends on that less.
- All keep what they keep in one folder on a real disk, where one small write and its fsync are timed in each round.
- pam_oath has all its users in one file, as its README says, and writes that anew at each login. So it is measured with
  one user, with 256 as beside FreeRADIUS, and with as many as Twofold's store has: `--people`. 1,000 is a company that
  has a second factor for everybody, and the smallest store of `growth`. Whoever logs in stands in the middle.
  pam_google_authenticator has a file for each of its users; how many there are does not matter.

Needs root, and the packages pamtester, libpam-oath and libpam-google-authenticator. What PAM reads lies in a mount
namespace that ends with the benchmark.
"""

import argparse
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.filling import fill
from benchmarks.people import Crowd, Person, hotp
from tests.site import Site, eventually

HERE = Path(__file__).resolve().parent.parent
MODULE = HERE / "build" / "pam_twofold.so"
BESIDE_FREERADIUS = 256  # `freeradius.OATH`
_WARMING = 10  # rounds
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Stack:
    """One module, and what it says of a login when it has let somebody in."""

    name: str
    module: str
    kept: str
    first: int = 0  # where its counters begin

    @property
    def is_installed(self) -> bool:
        module = self.module.split()[0]
        places = [
            Path(module),
            *Path("/lib").glob(f"*/security/{module}"),
            *Path("/usr/lib").glob(f"*/security/{module}"),
        ]
        return any(place.exists() for place in places)


@dataclass(frozen=True, slots=True)
class Login:
    """Milliseconds; the CPU time is that of pamtester."""

    took: float
    cpu: float


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--runs", type=int, default=200)
    options.add_argument("--people", type=int, default=1000)
    options.add_argument("--folder", type=Path, default=machine.USUAL_FOLDER, help="on a real disk")
    options.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.inside is not None:
        return measure(chosen.inside, chosen.runs, chosen.people)
    if os.geteuid() != 0:
        sys.exit("needs root: PAM services are made in a private mount namespace")
    missing = [program for program in ("pamtester", "unshare") if shutil.which(program) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}")
    if not MODULE.exists():
        sys.exit(f"{MODULE} is missing: make module")
    machine.refuse_memory(chosen.folder)
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="twofold-bench-") as folder:
        again = [sys.executable, "-m", "benchmarks.pam_latency", *sys.argv[1:], "--inside", folder]
        return subprocess.run(["unshare", "-m", "--propagation", "private", *again], cwd=HERE, check=False).returncode


def measure(folder: Path, runs: int, people: int) -> int:
    """In the namespace."""
    print(machine.described(), flush=True)
    folder.chmod(0o755)
    crowd = Crowd(people, "hotp")
    person = crowd.people[people // 2]
    stacks = [stack for stack in laid_out(folder, crowd, person) if stack.is_installed]
    services(folder, stacks)
    with helper(folder, crowd) as pid:
        rounds(folder, stacks, person, range(_WARMING))
        before = _cpu(pid)
        logins, fsync = rounds(folder, stacks, person, range(_WARMING, _WARMING + runs))
        served = (_cpu(pid) - before) / runs
    print(f"fsync of this disk: p50 {statistics.median(fsync):.2f} ms")
    print(f"{runs} logins each, in turns, through pamtester; milliseconds\n")
    tell(stacks, logins, served)
    return 0


# --- what is measured -------------------------------------------------------------------------------------------


def laid_out(folder: Path, crowd: Crowd, person: Person) -> Iterator[Stack]:
    """The first is the baseline."""
    yield Stack("pam_permit alone", "pam_permit.so", "nothing is asked")
    kept = "the used PIN and its audit row are on disk before the answer"
    yield Stack(f"pam_twofold, {len(crowd.people):,} users", f"{MODULE} socket={folder}/pam.sock", kept)
    for count in sorted({1, BESIDE_FREERADIUS, len(crowd.people)}):
        users = folder / f"users-{count}.oath"
        others = [other for other in crowd.people if other is not person][: count - 1]
        others.insert(len(others) // 2, person)
        users.write_text("".join(f"HOTP {one.name} - {one.key.hex()}\n" for one in others))
        users.chmod(0o600)
        name = f"pam_oath, {count:,} user{'s' if count > 1 else ''}"
        yield Stack(
            name, f"pam_oath.so usersfile={users} window=5 digits=6", "its users file is written anew and synced"
        )
    google = folder / "google"
    google.write_text(f'{person.base32}\n" HOTP_COUNTER 1\n')
    google.chmod(0o400)
    module = f"pam_google_authenticator.so secret={google} user=root no_increment_hotp"
    yield Stack("pam_google_authenticator", module, "the user's file is written anew and synced", first=1)


def services(folder: Path, stacks: Sequence[Stack]) -> None:
    """In a folder of their own, put over that of the host."""
    pam = folder / "pam.d"
    pam.mkdir()
    for number, stack in enumerate(stacks):
        text = f"auth required {stack.module}\naccount required pam_permit.so\n"
        (pam / f"bench-{number}").write_text(text)
    (pam / "other").write_text("auth required pam_deny.so\naccount required pam_deny.so\n")
    subprocess.run(["mount", "--bind", str(pam), "/etc/pam.d"], check=True)


@contextmanager
def helper(folder: Path, crowd: Crowd) -> Iterator[int]:
    """`twofold pam serve` with everybody in its store, as an administrator runs it; its log in a file. Its pid."""
    site = Site(folder / "site")
    fill(site.database, crowd, None)
    site.database.close()
    program = [sys.executable, "-I", "-c", "from store.cli.main import main; main()", "--config", str(site.config_file)]
    log = folder / "helper.log"
    with log.open("wb") as file:
        running = subprocess.Popen([*program, "pam", "serve", "--socket", str(folder / "pam.sock")], stderr=file)
    try:
        eventually(lambda: "listening on=" in log.read_text() or running.poll() is not None, what="a helper")
        assert running.poll() is None, log.read_text()
        yield running.pid
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(60)


def _cpu(pid: int) -> float:
    """Milliseconds of a process so far (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) * 1000 / _TICKS


# --- measuring --------------------------------------------------------------------------------------------------


def rounds(
    folder: Path, stacks: Sequence[Stack], person: Person, counters: range
) -> tuple[dict[str, list[Login]], list[float]]:
    """The logins of each stack, round by round, and how long an fsync took in each."""
    logins, fsync = defaultdict[str, list[Login]](list), list[float]()
    for counter in counters:
        fsync.append(machine.fsync_ms(folder, 1))
        for number in range(len(stacks)):
            at = (counter + number) % len(stacks)
            logins[stacks[at].name].append(log_in(f"bench-{at}", person, stacks[at].first + counter))
    return logins, fsync


def log_in(service: str, person: Person, counter: int) -> Login:
    typed = f"{hotp(person.key, counter)}\n".encode()
    used, begun = _cpu_of_children(), time.perf_counter()
    done = subprocess.run(
        ["pamtester", service, person.name, "authenticate"], input=typed, capture_output=True, check=False
    )
    took, cpu = (time.perf_counter() - begun) * 1000, _cpu_of_children() - used
    if done.returncode != 0:
        sys.exit(f"{service} refused: {done.stderr.decode()}{done.stdout.decode()}")
    return Login(took, cpu)


def _cpu_of_children() -> float:
    """Those that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def tell(stacks: Sequence[Stack], logins: dict[str, list[Login]], served: float) -> None:
    """`served`: CPU time of the helper for one login."""
    baseline = logins[stacks[0].name]
    added = {
        name: [login.took - alone.took for login, alone in zip(mine, baseline, strict=True)]
        for name, mine in logins.items()
    }
    ours = statistics.median(added[stacks[1].name])
    print(f"{'stack':28}{'median':>8}{'p90':>8}{'added':>8}{'quartiles':>15}{'ratio':>7}{'CPU':>7}  what is kept")
    for stack in stacks:
        took, above = sorted(login.took for login in logins[stack.name]), added[stack.name]
        low, middle, high = statistics.quantiles(above, n=4)
        cpu = statistics.mean(login.cpu for login in logins[stack.name])
        cpu -= statistics.mean(alone.cpu for alone in baseline)
        compared = f"{'':30}"
        if stack is not stacks[0]:
            cpu += served if stack is stacks[1] else 0.0
            compared = f"{middle:8.2f}{f'{low:.2f} to {high:.2f}':>15}{middle / ours:7.2f}{cpu:7.2f}"
        print(
            f"{stack.name:28}{statistics.median(took):8.2f}{took[int(len(took) * 0.9)]:8.2f}{compared:37}  {stack.kept}"
        )


if __name__ == "__main__":
    sys.exit(main())
