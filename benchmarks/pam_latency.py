"""How much a second factor adds to a login through PAM: Twofold beside pam_oath and pam_google_authenticator.

    sudo .venv/bin/python -m benchmarks.pam_latency [--runs 25]

Every run is one `pamtester SERVICE USER authenticate` with the right HOTP value on standard input; the services take
turns, so that whatever else the machine does hits all alike. The baseline is a stack of pam_permit alone. Printed are
the median, what it is above the baseline, and the ratio to Twofold, with what each side guarantees. Needs root, and the
packages pamtester, libpam-oath and libpam-google-authenticator; everything happens in a private mount namespace, and
what is kept is on a real disk.
"""

import argparse
import base64
import hashlib
import hmac
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import machine

USER = "bench"
KEY = b"12345678901234567890"
HERE = Path(__file__).resolve().parent.parent
SERVICES = {
    "baseline": ("pam_permit alone", "nothing is asked"),
    "twofold": ("pam_twofold", "the used PIN is on disk before the answer"),
    "oath": ("pam_oath", "rewrites its users file at each login"),
    "google": ("pam_google_authenticator", "rewrites the user's file at each login"),
}


def hotp(counter: int) -> str:
    digest = hmac.digest(KEY, counter.to_bytes(8, "big"), hashlib.sha1)
    at = digest[-1] & 15
    return f"{(int.from_bytes(digest[at : at + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--runs", type=int, default=25)
    options.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.inside is not None:
        return measure(chosen.inside, chosen.runs)
    if os.geteuid() != 0:
        sys.exit("needs root: PAM services and a user are made in a private mount namespace")
    missing = [program for program in ("pamtester", "unshare", "useradd") if shutil.which(program) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}")
    machine.refuse_memory(machine.USUAL_FOLDER)
    with tempfile.TemporaryDirectory(dir=machine.USUAL_FOLDER) as folder:
        print(f"fsync of this disk: p50 {machine.fsync_ms(Path(folder)):.2f} ms")
        again = [sys.executable, "-m", "benchmarks.pam_latency", "--runs", str(chosen.runs), "--inside", folder]
        return subprocess.run(["unshare", "-m", "--propagation", "private", *again], cwd=HERE, check=False).returncode


def measure(folder: Path, runs: int) -> int:
    """In the namespace."""
    set_up(folder)
    helper = start_helper(folder)
    try:
        services = [name for name in SERVICES if (Path("/etc/pam.d") / f"bench-{name}").exists()]
        took: dict[str, list[float]] = {name: [] for name in services}
        for run in range(runs):
            for name in services:
                first = 1 if name == "google" else 0  # where its counters begin
                took[name].append(log_in(f"bench-{name}", hotp(first + run)))
    finally:
        helper.send_signal(signal.SIGTERM)
        helper.wait(10)
    tell(took)
    return 0


def set_up(folder: Path) -> None:
    for name in ("up", "work"):
        (folder / name).mkdir()
    overlay = f"lowerdir=/etc,upperdir={folder}/up,workdir={folder}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", overlay, "/etc"], check=True)
    subprocess.run(["useradd", "-M", "-d", str(folder), "-s", "/bin/false", USER], check=True)
    folder.chmod(0o755)
    module = HERE / "build" / "pam_twofold.so"
    if not module.exists():
        sys.exit(f"{module} is missing: make module")
    stack("baseline", "pam_permit.so")
    stack("twofold", f"{module} socket={folder}/pam.sock")
    users = folder / "users.oath"
    users.write_text(f"HOTP {USER} - {KEY.hex()}\n")
    users.chmod(0o600)
    stack("oath", f"pam_oath.so usersfile={users} window=5 digits=6")
    google = folder / "google"
    google.write_text(f'{base64.b32encode(KEY).decode()}\n" HOTP_COUNTER 1\n')
    google.chmod(0o400)
    stack("google", f"pam_google_authenticator.so secret={google} user=root no_increment_hotp")


def stack(name: str, module: str) -> None:
    """Services whose module is not installed are left out of the table."""
    base = module.split()[0]
    places = [Path(base), *Path("/lib").glob(f"*/security/{base}"), *Path("/usr/lib").glob(f"*/security/{base}")]
    if any(place.exists() for place in places):
        text = f"auth required {module}\naccount required pam_permit.so\n"
        (Path("/etc/pam.d") / f"bench-{name}").write_text(text)


def start_helper(folder: Path) -> subprocess.Popen[bytes]:
    config = folder / "twofold.toml"
    twofold = [str(Path(sys.executable).parent / "twofold"), "--config", str(config)]
    quiet = {"stdout": subprocess.DEVNULL, "check": True}
    subprocess.run([*twofold, "init"], **quiet)
    subprocess.run([*twofold, "user", "add", USER], **quiet)
    key = base64.b32encode(KEY)
    subprocess.run([*twofold, "token", "enroll", USER, "--kind", "hotp", "--key-stdin"], input=key, **quiet)
    log = (folder / "helper.log").open("wb")
    helper = subprocess.Popen([*twofold, "pam", "serve", "--socket", str(folder / "pam.sock")], stderr=log)
    until = time.monotonic() + 20
    while not (folder / "pam.sock").exists():
        if time.monotonic() > until or helper.poll() is not None:
            sys.exit(f"the helper did not start: {(folder / 'helper.log').read_text()}")
        time.sleep(0.02)
    return helper


def log_in(service: str, passcode: str) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    done = subprocess.run(
        ["pamtester", service, USER, "authenticate"], input=f"{passcode}\n".encode(), capture_output=True, check=False
    )
    took = (time.perf_counter() - begun) * 1000
    if done.returncode != 0:
        sys.exit(f"{service} refused: {done.stderr.decode()}{done.stdout.decode()}")
    return took


def tell(took: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(times) for name, times in took.items()}
    above = {name: median - medians["baseline"] for name, median in medians.items()}
    print(f"{len(took['baseline'])} logins each, in turns, through pamtester; milliseconds\n")
    print(f"{'stack':28}{'median':>8}{'p90':>8}{'added':>8}{'ratio':>8}  what is kept")
    for name, times in took.items():
        title, kept = SERVICES[name]
        p90 = sorted(times)[int(len(times) * 0.9)]
        ratio = f"{above[name] / above['twofold']:8.2f}" if name != "baseline" else " " * 8
        print(f"{title:28}{medians[name]:8.2f}{p90:8.2f}{above[name]:8.2f}{ratio}  {kept}")


if __name__ == "__main__":
    sys.exit(main())
