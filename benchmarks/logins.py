"""Logins over RADIUS: Twofold on SQLite and on PostgreSQL beside FreeRADIUS with rlm_totp and with modules of PAM.

    sudo .venv/bin/python -m benchmarks.logins [--only passcodes,window-1] [--repeats 3] [--people 40000]

One load generator (`make load`) sends to all of them over loopback, from the same machine. Every used PIN is another
one. Each figure is the median of the repeats. CPU is what the server used for a login in microseconds, on all cores,
with PostgreSQL's processes if it has any. Needs root for what uses PAM; what is not installed is left out and named.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks import freeradius, machine
from benchmarks.generator import load
from benchmarks.people import PASSWORD, Entries
from benchmarks.rounds import Result, Scenario, measured
from benchmarks.subjects import APPENDED, ASKED, PASSCODES, Subject, on_postgresql, on_sqlite
from benchmarks.tables import ratio, shown
from tests.peers.peers import find
from tests.postgres import postgres

AGAIN = 60  # times that one PIN is sent


def passcodes(subject: Subject, count: int) -> Entries:
    return subject.crowd.right(count)


def wrong(subject: Subject, count: int) -> Entries:
    return subject.crowd.wrong(count)


def second_steps(subject: Subject, count: int) -> Entries:
    return [(name, "", pin) for name, pin in subject.crowd.right(count)]


def appended(subject: Subject, count: int) -> Entries:
    return [(name, PASSWORD + pin) for name, pin in subject.crowd.right(count)]


ALL = {
    "passcodes": Scenario("passcode only, window 64", passcodes),
    "window-1": Scenario("passcode only, window 1", passcodes, window=1),
    "second-steps": Scenario("second step of a challenge, window 64", second_steps, ASKED),
    "refusals": Scenario("a wrong passcode, window 64", wrong, refused=True),
    "append": Scenario("password and passcode in one field, window 64", appended, APPENDED, seconds=3.0),
    "open-1000": Scenario("passcode only, 1,000 a second whatever comes back", passcodes, rate=1000.0),
    "open-5000": Scenario("passcode only, 5,000 a second whatever comes back", passcodes, rate=5000.0),
}
# What only we do is held against what the peers do with a passcode alone.
OURS_ALONE = ("second-steps", "append")
# A peer that cannot do half of what an open loop sends would only be waited for.
NEEDED = 0.5


@contextmanager
def running(folder: Path, people: int) -> Iterator[list[Subject]]:
    """Every server that can be had on this machine."""
    with ExitStack() as stack:
        subjects = [stack.enter_context(on_sqlite(folder / "sqlite", people))]
        if find("postgres") is not None:
            server = stack.enter_context(postgres("shared_buffers = 128MB\n"))
            machine.refuse_memory(server.folder)
            subjects.append(stack.enter_context(on_postgresql(folder / "postgresql", server, people)))
        else:
            print("left out: twofold, PostgreSQL (postgres is missing)")
        for number, peer in enumerate(freeradius.PEERS):
            if lacking := peer.missing():
                print(f"left out: {peer.name} ({', '.join(lacking)} missing)")
            else:
                subjects.append(stack.enter_context(freeradius.running(peer, folder / f"peer{number}", people)))
        yield subjects


class Bench:
    """The scenarios of one run, and what of them later ones are held against."""

    def __init__(self, folder: Path, subjects: Sequence[Subject], repeats: int) -> None:
        self._folder = folder
        self._subjects = subjects
        self._repeats = repeats
        self._alone: list[Result] = []  # the peers with a passcode alone, at window 64

    def run(self, name: str) -> None:
        scenario = ALL[name]
        held = "; beside what the peers do with a passcode alone" if name in OURS_ALONE and self._alone else ""
        print(f"{name}: {scenario.title}{held}", flush=True)
        syncs: list[float] = []
        results = measured(
            scenario,
            self._chosen(name, scenario),
            self._repeats,
            before_each=lambda: syncs.append(machine.fsync_ms(self._folder)),
        )
        peers = [result for result in results if not result.subject.ours and not scenario.rate]
        if name == "passcodes":
            self._alone = peers
        print(shown(results, self._alone if name in OURS_ALONE else peers))
        _hold_against_machine(scenario, results, statistics.median(syncs))
        if name == "append":
            _hold_against_argon2(results)
        print(flush=True)

    def _chosen(self, name: str, scenario: Scenario) -> list[Subject]:
        if name in OURS_ALONE:
            return [subject for subject in self._subjects if subject.ours]
        too_slow = {r.subject.name for r in self._alone if r.per_second < scenario.rate * NEEDED}
        return [subject for subject in self._subjects if subject.name not in too_slow]

    def what_is_kept(self) -> None:
        print(f"what is kept: one right PIN sent {AGAIN} times, each time in a packet of its own")
        for subject in self._subjects:
            (entry,) = subject.crowd.right(1)
            seen = load(subject.address, subject.secret, [entry] * AGAIN, {"window": 1}, source=PASSCODES)
            print(f"  {subject.name:28} accepted {seen.accepts:2} times; {subject.guarantee}", flush=True)


def _hold_against_machine(scenario: Scenario, results: Sequence[Result], fsync: float) -> None:
    print(f"  fsync of this disk between the rounds: p50 {fsync:.2f} ms", end="")
    if scenario.window == 1:
        waits = ((r.subject.name, r.median(lambda r: r.load.p50_ms) - fsync) for r in results if r.subject.ours)
        print("".join(f"; {name} {wait:+.2f} ms" for name, wait in waits), end="")
    quickest = max(results, key=lambda r: r.per_second)
    own = quickest.median(lambda r: r.load.own_cpu / max(1, r.load.sent) * 1e6)
    print(f"; the load generator used at most {own:.0f} us of CPU a login")


def _hold_against_argon2(results: Sequence[Result]) -> None:
    most = machine.argon2_per_second()
    print(f"  {most:.0f} passwords a second can be checked on all cores and nothing else;", end=" ")
    print(", ".join(f"{r.subject.name}: {ratio(r.per_second, most)} of it" for r in results))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", default=",".join(ALL), help=f"some of {','.join(ALL)}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--people", type=int, default=40_000)
    parser.add_argument("--seconds", type=float, help="of each round")
    parser.add_argument("--folder", type=Path, default=machine.USUAL_FOLDER, help="on a real disk")
    chosen = parser.parse_args()
    names = chosen.only.split(",")
    if unknown := set(names) - set(ALL):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    if chosen.seconds:
        ALL.update({name: replace(ALL[name], seconds=chosen.seconds) for name in ALL})
    machine.refuse_memory(chosen.folder)
    print(f"{machine.described()}; {machine.file_system(chosen.folder)}\n", flush=True)
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="twofold-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with running(folder, chosen.people) as subjects:
            bench = Bench(folder, subjects, chosen.repeats)
            for scenario in (name for name in ALL if name in names):
                bench.run(scenario)
            bench.what_is_kept()
    return 0


if __name__ == "__main__":
    sys.exit(main())
