"""What becomes of logins when five times as much is asked of the RADIUS server as it can do.

    .venv/bin/python -m benchmarks.overload [--seconds 30] [--people 600]

Two scenes, each on a server of its own with a real store, over loopback:

- `passwords`: one gateway. People log in with password and PIN, among a crowd that has a password checked and does not
  exist. The server's bound is argon2.
- `decisions`: the crowd comes from another gateway, without passwords to be checked. The bound is the gate.

First it is measured what the server can do, then five times that is sent for as long as `--seconds`, then it is
measured when a whole login works again. Both ends share this machine, so the sender takes from what the server can do.
Needs the development extra: it stands on what the tests use.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.flows.storm import PATIENCE, TRIES, Storm, crowd, people, percentiles
from tests.site import SECRET, ServerProcess, Site
from validation.model import Mode

TIMES = 5
CROWD_FROM = {"passwords": "127.0.0.1", "decisions": "127.0.0.2"}
MEASURE = 3.0  # seconds
PEOPLE_A_SECOND = 20.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--seconds", type=float, default=30.0)
    options.add_argument("--people", type=int, default=600)
    options.add_argument("--scene", choices=[*CROWD_FROM], action="append")
    chosen = options.parse_args()
    print(f"{os.cpu_count()} cores, {chosen.seconds:g} s of {TIMES} times what the server can do")
    for scene in chosen.scene or CROWD_FROM:
        with tempfile.TemporaryDirectory() as folder:
            run(scene, Path(folder), chosen.seconds, chosen.people)


def run(scene: str, folder: Path, seconds: float, count: int) -> None:
    site = Site(folder / "site")
    site.add_client("vpn", "127.0.0.1/32")
    site.add_client("other", "127.0.0.2/32", mode=Mode.PASSCODE_ONLY)
    site.command("policy", "set", "reject_delay", "0")  # else the delay would be measured
    crew, others = people(site, count), list(crowd(SECRET, "123456"))
    with site.server() as server, Storm(server.address, SECRET, "127.0.0.1", crew, CROWD_FROM[scene]) as storm:
        can = storm.capacity(MEASURE, others)
        before = server.resident_kib()
        storm.crowd_replies = 0
        storm.blow(seconds, TIMES * can - PEOPLE_A_SECOND, PEOPLE_A_SECOND, others)
        most = server.peak_kib()
        back = recovery(storm, time.monotonic())
        storm.calm(PATIENCE * TRIES)
        report(scene, storm, seconds, can)
        print(f"  memory: {before / 1024:.0f} MiB before, {most / 1024:.0f} MiB at the most")
        print(f"  a whole login was quick again {back:.1f} s after the end")
        print(f"  dropped, from the log: {drops(server)}")


def recovery(storm: Storm, ended: float) -> float:
    """Seconds until a login succeeds with each answer within a second; the next three must, too."""
    while True:
        begun = time.monotonic()
        if all(storm.one_login() for _ in range(4)):
            return begun - ended
        if begun > ended + 30:
            sys.exit("logins did not become normal again within 30 s")


def report(scene: str, storm: Storm, seconds: float, can: float) -> None:
    tally = storm.tally
    print(f"{scene}: it can do {can:.0f} a second; {storm.offered:.0f} a second were sent")
    print(f"  the crowd got {storm.crowd_replies / seconds:.0f} answers a second")
    print(f"  people: {tally.begun} began, {tally.asked} were asked for a PIN after {percentiles(tally.first_seconds)}")
    print(
        f"  second steps: {tally.answered} answered, {tally.lost} lost, {tally.let_in} let in, {tally.sent_again} sent"
    )
    print(f"  again; answered after {percentiles(tally.second_seconds)}")


def drops(server: ServerProcess) -> str:
    server.end()
    return server.log.rpartition(" stopped ")[2].strip()


if __name__ == "__main__":
    main()
