"""What is measured: a server that answers logins, and what is known of it.

Rule: each has a crowd of its own, processes whose CPU time can be read, and a sentence about what it guarantees. What
a server has forked counts as the server.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.filling import fill
from benchmarks.people import PASSWORD, Crowd
from tests.postgres import Postgres, Stores
from tests.site import SECRET, Site, eventually, family, hashed
from validation.model import Mode
from validation.requests import SetRule
from validation.settings import Scope

# Each of our clients sends from an address of its own, so that one server is asked in every way.
PASSCODES, ASKED, APPENDED = "127.0.0.1", "127.0.0.2", "127.0.0.3"
_TICKS = os.sysconf("SC_CLK_TCK")
_LISTENING = re.compile(r"listening on=127\.0\.0\.1:(\d+)")
_STOPS_WITHIN = 60


@dataclass
class Subject:
    """A server, running."""

    name: str
    guarantee: str
    address: tuple[str, int]
    crowd: Crowd
    pid: int
    others: Callable[[], list[int]] = list  # processes that work for it
    ours: bool = False
    secret: bytes = SECRET

    def cpu(self) -> float:
        """Seconds that it has used so far."""
        return sum(_cpu(pid) for pid in (*family(self.pid), *self.others()))

    def resident_mib(self) -> float:
        """Memory of the server itself; what its processes share is counted once."""
        return sum(_proportional_kib(pid) for pid in family(self.pid)) / 1024


def _proportional_kib(pid: int) -> int:
    """proc(5), smaps_rollup: a page that several processes have is divided among them."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    (kib,) = re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(kib)


def _cpu(pid: int) -> float:
    """In user and kernel mode, with the children that have ended (proc(5), fields 14 to 17)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


def prepared(site: Site, crowd: Crowd, audit_rows: int = 0) -> Site:
    """With a client for every way of asking, and everybody in the store. Refusals wait for nothing."""
    site.add_client("passcodes", f"{PASSCODES}/32", mode=Mode.PASSCODE_ONLY)
    site.add_client("asked", f"{ASKED}/32", mode=Mode.PASSCODE_ONLY, always_challenge=True)
    site.add_client("appended", f"{APPENDED}/32", mode=Mode.APPEND)
    site.gate.administer(SetRule(actor="bench", key="reject_delay", value="0", scope=Scope()))
    fill(site.database, crowd, hashed(PASSWORD), audit_rows)
    site.database.close()
    return site


@contextmanager
def twofold(name: str, site: Site, crowd: Crowd, others: Callable[[], list[int]] = list) -> Iterator[Subject]:
    """`twofold radius serve` as an administrator runs it, its log in a file."""
    log = site.folder / "log"
    program = [sys.executable, "-I", "-c", "from store.cli.main import main; main()"]
    with log.open("wb") as file:
        process = subprocess.Popen([*program, "--config", str(site.config_file), "radius", "serve"], stderr=file)
    try:
        eventually(lambda: _LISTENING.search(log.read_text()) or process.poll() is not None, what=f"a server {log}")
        found = _LISTENING.search(log.read_text())
        assert found is not None, log.read_text()
        guarantee = "each used PIN and its audit row are on disk before the answer"
        yield Subject(name, guarantee, ("127.0.0.1", int(found[1])), crowd, process.pid, others, ours=True)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_STOPS_WITHIN)


@contextmanager
def on_sqlite(folder: Path, people: int) -> Iterator[Subject]:
    crowd = Crowd(people)
    with twofold("twofold, SQLite", prepared(Site(folder), crowd), crowd) as subject:
        yield subject


@contextmanager
def on_postgresql(folder: Path, server: Postgres, people: int) -> Iterator[Subject]:
    """The CPU time of PostgreSQL is added to that of our server."""
    crowd = Crowd(people)
    folder.mkdir()
    site = prepared(Stores(server, folder / "first").site(folder / "site"), crowd)

    def processes() -> list[int]:
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        return [server.pid, *map(int, children)]

    with twofold("twofold, PostgreSQL", site, crowd, processes) as subject:
        yield subject
