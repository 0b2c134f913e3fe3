"""A process whose nth change of the store's files fails: what it answers, and what it leaves.

    python -m tests.faults.failing [--every STEP] [--hasty]

goes through n = 1, 1 + STEP, ... until nothing fails any more, with "no space left" and "I/O error", once and from then
on, for logins at a gate and for `init`. It is one process, started by itself once more with failing_io.c in it; each
round prints one line of JSON if something is wrong, and the last line counts. `--hasty` plants a gate that answers
though the commit failed: then there must be complaints.
"""

import argparse
import contextlib
import ctypes
import errno
import itertools
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from store import config as configuration
from store import opening
from store.ballast import Ballast
from store.notices import NoNotices
from tests.site import Site, pin
from tests.store import raw
from validation.decisions import Accept
from validation.errors import BadInput, StoreMismatch, StoreUnavailable
from validation.gate import Gate, Outcome
from validation.model import Mode, Token
from validation.requests import Channel, LoginRequest, SetRule
from validation.settings import Scope

SOURCE = Path(__file__).with_name("failing_io.c")
ERRORS = (errno.ENOSPC, errno.EIO)
KEY_FILE_OCTETS = 65  # hex, and the end of the line
CHANNEL = Channel.for_mode(Mode.PASSCODE_ONLY)


@dataclass(frozen=True)
class Fault:
    """The `nth` change below a folder fails with `number`."""

    nth: int
    number: int
    lasting: bool

    def __str__(self) -> str:
        return f"{errno.errorcode[self.number]} at change {self.nth}{' and after' if self.lasting else ''}"


@dataclass
class Seen:
    changes: int = 0


class Switch:
    """The functions of failing_io.c in this process."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.fail_disarm.restype = ctypes.c_long

    @contextlib.contextmanager
    def armed(self, folder: Path, fault: Fault) -> Iterator[Seen]:
        seen = Seen()
        nth, lasting = ctypes.c_long(fault.nth), ctypes.c_int(fault.lasting)
        self._library.fail_arm(os.fsencode(folder), nth, ctypes.c_int(fault.number), lasting)
        try:
            yield seen
        finally:
            seen.changes = self._library.fail_disarm()


class HastyGate(Gate):
    """The planted fault: what was decided leaves though it could not be written down."""

    def _decide_batch(self, batch: Sequence[LoginRequest], tries: int = 1) -> Sequence[Outcome]:
        decided = super()._decide_batch(batch, tries)
        if not isinstance(decided[-1], StoreUnavailable):
            return decided
        snapshots = self._store.look([request.wanted for request in batch])
        return [verdict.decision for verdict in self._verdicts(snapshots, batch)]


# --- logins


@dataclass
class Logins:
    """Rounds on one store: in each, alice's next PIN twice and bob's wrong one, through a gate opened for it."""

    switch: Switch
    site: Site
    gate: type[Gate]
    alice: Token
    wrong: dict[str, str]  # user -> a PIN that he never shows
    ballast: Ballast
    counter: int = 0  # alice's, by what the trail says
    accepts: int = 0
    complaints: list[str] = field(default_factory=list)

    def run(self, step: int) -> int:
        """How many rounds there were."""
        rounds = 0
        for number, lasting in itertools.product(ERRORS, (False, True)):
            for nth in itertools.count(1, step):
                rounds += 1
                if not self._round(Fault(nth, number, lasting)):
                    break
        return rounds

    def _round(self, fault: Fault) -> bool:
        """False if there were not so many changes, so nothing failed."""
        passcode = pin(self.alice, ahead=self.counter)
        self.ballast.make()  # each round with one: what is begun anew when it is given up meets the fault as well
        with self.switch.armed(self.site.folder, fault) as seen:
            told = self._log_in(passcode)
        self._judge(fault, told)
        self._heal(fault)
        return seen.changes >= fault.nth

    def _log_in(self, passcode: str) -> int:
        """How often alice was let in. A gate is opened and closed: opening, recovery and checkpoint fail, too."""
        try:
            store = opening.open_store(self.site.config)
        except (StoreUnavailable, StoreMismatch):
            return 0
        gate = self.gate(store, opening.SystemMoments(), opening.LoggedFaults(), NoNotices())
        outcomes: list[Outcome] = []
        try:
            version = gate.clients()[0].version
            for user, typed in (("alice", passcode), ("bob", self.wrong["bob"]), ("alice", passcode)):
                outcomes += gate.login([LoginRequest(user, CHANNEL, "vpn", version, passcode=typed)])
        except StoreUnavailable:
            pass
        finally:
            store.close()
        return sum(isinstance(outcome, Accept) for outcome in outcomes)

    def _judge(self, fault: Fault, told: int) -> None:
        moved = self._moving_factor() - self.counter
        recorded = self._recorded() - self.accepts
        self.counter += moved
        self.accepts += recorded
        if told > 1:
            self._complain(fault, f"one PIN was accepted {told} times")
        if told > recorded:
            self._complain(fault, f"{told} accepted, {recorded} recorded")
        if recorded != moved:
            self._complain(fault, f"{recorded} recorded, and the counter moved by {moved}")

    def _heal(self, fault: Fault) -> None:
        """The fault is over: alice gets in, and the store is whole."""
        if self._log_in(pin(self.alice, ahead=self.counter)) != 1:
            self._complain(fault, "does not heal")
        self.counter, self.accepts = self._moving_factor(), self._recorded()
        if (found := raw.rows(self.site.config.database, "PRAGMA integrity_check")) != [("ok",)]:
            self._complain(fault, f"integrity_check: {found}")
        if problems := opening.read_trail(self.site.config).problems:
            self._complain(fault, f"the trail: {problems}")

    def _moving_factor(self) -> int:
        ((moving_factor,),) = raw.rows(self.site.config.database, "SELECT moving_factor FROM tokens WHERE id = 1")
        return int(moving_factor)

    def _recorded(self) -> int:
        accepts = "SELECT count(*) FROM audit WHERE event = 'login' AND decision = 'accept'"
        return int(raw.rows(self.site.config.database, accepts)[0][0])

    def _complain(self, fault: Fault, what: str) -> None:
        self.complaints.append(f"logins, {fault}: {what}")


def logins(switch: Switch, folder: Path, gate: type[Gate]) -> Logins:
    site = Site(folder)
    site.add_client(mode=Mode.PASSCODE_ONLY)
    most = SetRule(actor="test", key="guess_budget", value="100000", scope=Scope())  # each round guesses
    site.gate.administer(most)
    tokens = {}
    for user in ("alice", "bob"):
        site.add_user(user, password=None)
        tokens[user] = site.enroll(user, kind="hotp")
    # Wrong PINs must not make bob wait: a repeated one counts once.
    near = {pin(tokens["bob"], ahead) for ahead in range(20)}
    wrong = next(text for text in (f"{n:06}" for n in range(21)) if text not in near)
    site.database.close()
    return Logins(switch, site, gate, tokens["alice"], {"bob": wrong}, Ballast(site.config.database))


# --- init


@dataclass
class Inits:
    """Rounds of making a site: whole or not at all, file by file; the next one finishes."""

    switch: Switch
    folder: Path
    tables: list[str]  # of a whole store
    complaints: list[str] = field(default_factory=list)

    def run(self, step: int) -> int:
        rounds = 0
        for number, lasting in itertools.product(ERRORS, (False, True)):
            for nth in itertools.count(1, step):
                rounds += 1
                if not self._round(Fault(nth, number, lasting), self.folder / f"{rounds}"):
                    break
        return rounds

    def _round(self, fault: Fault, folder: Path) -> bool:
        folder.mkdir()
        file = folder / "twofold.toml"
        with self.switch.armed(folder, fault) as seen, contextlib.suppress(OSError, StoreUnavailable):
            self._make(file)
        for what in self._halves(folder):
            self.complaints.append(f"init, {fault}: {what}")
        try:
            self._make(file)
            problems: tuple[str, ...] = opening.read_trail(configuration.load(file)).problems
        except (OSError, BadInput, StoreMismatch, StoreUnavailable) as error:
            problems = (f"the next init does not finish: {error}",)
        self.complaints += [f"init, {fault}: {problem}" for problem in problems]
        return seen.changes >= fault.nth

    def _make(self, file: Path) -> None:
        """As `twofold init` does, but for the ballast, without which a store is whole."""
        opening.create_config(file, "test")
        opening.create(configuration.load(file), "test")

    def _halves(self, folder: Path) -> Iterator[str]:
        wanted = {"twofold.toml": len(configuration.template("test").encode()), "master.key": KEY_FILE_OCTETS}
        for name, octets in wanted.items():
            path = folder / name
            if path.exists() and path.stat().st_size != octets:
                yield f"{name} has {path.stat().st_size} octets of {octets}"
        if (database := folder / "twofold.db").exists() and raw.tables(database) not in ([], self.tables):
            yield "half a schema"


# --- the process


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.failing", description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="STEP", help="n = 1, 1 + STEP, ...")
    parser.add_argument("--init-every", type=int, default=1, metavar="STEP", help="the same for `init`, which is slow")
    parser.add_argument("--hasty", action="store_true", help="plant a gate that answers without a commit")
    given = parser.parse_args(arguments)
    if "fail_arm" not in os.environ.get("TWOFOLD_FAULTS", ""):
        return _started_again(arguments)
    gate = HastyGate if given.hasty else Gate
    logging.getLogger("twofold.store").setLevel(logging.CRITICAL)  # it tells of each ballast
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="twofold-failing-") as folder:
        found = logins(Switch(), Path(folder) / "logins", gate)
        counted = {"logins": found.run(given.every)}
        inits = Inits(found.switch, Path(folder), raw.tables(found.site.config.database))
        if not given.hasty:
            counted["init"] = inits.run(given.init_every)
    complaints = [*found.complaints, *inits.complaints]
    for complaint in complaints:
        print(complaint)
    print(json.dumps({"rounds": counted, "seconds": round(time.monotonic() - start), "complaints": len(complaints)}))
    return 1 if complaints else 0


def _started_again(arguments: list[str]) -> int:
    """With failing_io.c in it."""
    with tempfile.TemporaryDirectory(prefix="twofold-failing-") as folder:
        library = Path(folder) / "failing_io.so"
        command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
        subprocess.run(command, check=True)
        more = {"LD_PRELOAD": str(library), "TWOFOLD_FAULTS": "fail_arm"}
        program = [sys.executable, "-m", "tests.faults.failing", *arguments]
        return subprocess.run(program, env=os.environ | more, cwd=Path(__file__).parents[2]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
