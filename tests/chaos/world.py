"""Everything a round runs on: one database, two RADIUS servers and a PAM helper as processes, each behind a line of
its own to the database.

Rules: a server that starts is a new run, at an address of its own, so that a reply says which process it is from.
Nothing here decides when something breaks (`nemesis.py`), or what is right (`checker.py`). With SQLite all three
share the file, as on one machine.
"""

import contextlib
import os
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from store.config import Config
from tests.chaos.proxy import Proxy
from tests.chaos.served import Fate, cheap_hasher, nursery, serve
from tests.postgres import CONFIG, PORT, Postgres
from tests.site import SECRET, Site, eventually, family
from validation.gate import Gate
from validation.model import Mode
from validation.requests import SetRule
from validation.settings import Scope

PASSWORD = "geheim"
PASSWORD_HASH = cheap_hasher().hash(PASSWORD)
PIN_CLIENT, ASKING_CLIENT = "gate", "vpn"  # by the address they come from
SOURCES = {PIN_CLIENT: "127.0.0.1", ASKING_CLIENT: "127.0.0.2"}
SERVICE = "login"

SETTINGS = "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\ntrack_commit_timestamp = on\n"
_LISTENING = re.compile(r"listening on=(\S+)")
_PATIENCE = 60.0  # seconds for a server to start


@dataclass
class Host:
    """One server or helper, over all its runs."""

    name: str
    config_file: Path
    chain: str
    helper: bool
    folder: Path
    proxy: Proxy | None
    fault: str = ""
    run: int = 0
    process: BaseProcess | None = None
    port: int = 0
    runs: dict[int, int] = field(default_factory=dict)  # which run had a port

    def __post_init__(self) -> None:
        self.fate = Fate(self.folder / f"{self.name}.fate")

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}-{self.run}.log"

    @property
    def socket(self) -> Path:
        """Where the helper listens."""
        return self.folder / f"{self.name}-{self.run}.sock"

    def start(self) -> None:
        """Begin a run; `is_ready` tells when it can be asked."""
        self.run += 1
        where = ["pam", "serve", "--socket", str(self.socket)]
        if not self.helper:
            where = ["radius", "serve", "--listen", "127.0.0.1:0"]
        arguments = ["--config", str(self.config_file), *where]
        told = (arguments, self.fate.path, self.log, self.fault)
        self.process = nursery().Process(target=serve, args=told, daemon=True)
        self.process.start()

    def is_ready(self) -> bool:
        found = _LISTENING.search(self.log.read_text()) if self.log.exists() else None
        if found is None or not self.alive:
            return False
        if not self.helper:
            self.port = int(found[1].rpartition(":")[2])
            self.runs[self.port] = self.run
        return True

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.alive and self.process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def kill_gate(self) -> None:
        """The process alone that decides logins."""
        if self.process is not None and self.process.pid is not None:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for pid in family(self.process.pid):
                    if Path(f"/proc/{pid}/comm").read_text() == "twofold-gate\n":
                        os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join(_PATIENCE)

    def bring_back(self) -> None:
        """Whatever has happened to it: it serves when this returns."""
        self.signal(signal.SIGCONT)

        def serves() -> bool:
            if not self.alive:
                self.start()
            return self.is_ready()

        eventually(serves, _PATIENCE, f"{self.name} serving; its log: {self.log}")


@dataclass
class World:
    site: Site
    servers: list[Host]
    helper: Host
    database: Postgres | None = None

    @property
    def gate(self) -> Gate:
        """Of the admin, whose line to the database is whole."""
        return self.site.gate

    @property
    def hosts(self) -> list[Host]:
        return [*self.servers, self.helper]

    def heal(self) -> None:
        """Nothing is broken any more when this returns."""
        for host in self.hosts:
            host.fate.write()
            if host.proxy is not None:
                host.proxy.heal()
        for host in self.hosts:
            host.bring_back()


@contextlib.contextmanager
def world(folder: Path, database: Postgres | None = None, fault: str = "") -> Iterator[World]:
    """On `database`, which nobody else may need, or else on SQLite; `fault` is one of `planted.py`, for each server."""
    made = _sqlite(folder, fault) if database is None else _postgresql(database, folder, fault)
    try:
        _prepare(made)
        for host in made.hosts:
            host.start()
        made.heal()
        yield made
    finally:
        for host in made.hosts:
            host.kill()
            if host.proxy is not None:
                host.proxy.close()
        made.site.database.close()


def _prepare(made: World) -> None:
    for name, mode in ((PIN_CLIENT, Mode.PASSCODE_ONLY), (ASKING_CLIENT, Mode.CHALLENGE)):
        made.site.add_client(name, f"{SOURCES[name]}/32", SECRET, mode)
    made.gate.administer(SetRule(actor="test", key="reject_delay", value="0", scope=Scope()))


def _sqlite(folder: Path, fault: str) -> World:
    site = Site(folder / "site")
    made = [
        Host(name, site.config_file, site.config.chain, name == "desk", folder, None, fault)
        for name in ("one", "two", "desk")
    ]
    return World(site, made[:2], made[2])


def _postgresql(database: Postgres, folder: Path, fault: str) -> World:
    site = Site(folder / "site", CONFIG.format(url=database.database(), chain="admin"))
    made = [_behind(database, site.config, folder, name, fault) for name in ("one", "two", "desk")]
    return World(site, made[:2], made[2], database)


def _behind(database: Postgres, config: Config, folder: Path, name: str, fault: str) -> Host:
    proxy = Proxy(database.folder / f".s.PGSQL.{PORT}")
    there = folder / name
    there.mkdir()
    shutil.copy(str(config.key.file), there)
    base, _, _ = config.url.partition("?")
    url = f"{base}?host=127.0.0.1&port={proxy.port}"
    host = Site(there, CONFIG.format(url=url, chain=name))
    return Host(name, host.config_file, name, name == "desk", folder, proxy, fault)
