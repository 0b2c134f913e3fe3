"""A PostgreSQL server of our own for tests: Debian's programs, a folder and a socket that nobody else knows.

Rules: `crash`, `stop` and `start` act on this server alone. Unless told otherwise it does not wait for the disk:
tests are then quicker, and none of them pulls the plug. Each `database` is new.
"""

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

import pytest

from tests.peers import peers
from tests.site import Site

PORT = 5432  # only a part of the socket's name, unless it is to listen
_HASTE = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"


class Postgres:
    """One server, started."""

    def __init__(self, folder: Path, settings: str = _HASTE, listen: str = "") -> None:
        self.folder = folder
        self._account = pwd.getpwnam("postgres")
        self._numbers = itertools.count()
        self._port = PORT
        shutil.chown(folder, self._account.pw_uid, self._account.pw_gid)
        self._run(
            "initdb", "-D", self.data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"
        )
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(
                f"listen_addresses = '{listen}'\nunix_socket_directories = '{folder}'\nport = {PORT}\n"
                f"max_connections = 100\nshared_buffers = 16MB\nlogging_collector = off\n{settings}"
            )
        self.start()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @cached_property
    def _programs(self) -> Path:
        return Path(peers.require("postgres")).resolve().parent

    def _run(self, program: str, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._programs / program, *arguments],
            user=self._account.pw_uid,
            group=self._account.pw_gid,
            extra_groups=[],
            cwd="/",
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=check,
            timeout=120,
        )

    def start(self) -> None:
        # pg_ctl hands its output to the server, which would keep a pipe of ours open.
        self._run("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "-t", "60", "start")

    def stop(self) -> None:
        """As an admin does it."""
        self._run("pg_ctl", "-D", self.data, "-m", "fast", "-w", "-t", "60", "stop")

    def crash(self) -> None:
        """Killed in the middle of everything."""
        self._run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "-t", "60", "stop", check=False)

    def use_tls(self, certificate: Path, key: Path) -> int:
        """Over TCP from now on with TLS and passwords alone; the port."""
        for name, source, mode in (("server.crt", certificate, 0o644), ("server.key", key, 0o600)):
            there = self.data / name
            shutil.copy(source, there)
            shutil.chown(there, self._account.pw_uid, self._account.pw_gid)
            there.chmod(mode)
        hba = self.data / "pg_hba.conf"
        hba.write_text("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
        self.stop()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"ssl = on\nport = {port}\n")
        self._port = port
        self.start()
        return port

    @property
    def pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def signal(self, number: signal.Signals) -> None:
        """To every process of this server."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for pid in (self.pid, *map(int, children)):
            with suppress(ProcessLookupError):  # a child may end by itself
                os.kill(pid, number)

    def sql(self, statement: str, database: str = "postgres") -> list[list[str]]:
        """What psql prints, by row and column."""
        there = ("-h", self.folder, "-p", str(self._port), "-U", "postgres", "-d", database)
        done = self._run("psql", *there, "-AtX", "-v", "ON_ERROR_STOP=1", "-c", statement)
        return [line.split("|") for line in done.stdout.splitlines()]

    def database(self, template: str = "template0") -> str:
        """A new database, empty or a copy; its address."""
        name = f"twofold_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def url(self, database: str, user: str = "postgres", **more: str) -> str:
        where = {"host": str(self.folder), "port": str(self._port)}
        options = "&".join(f"{key}={value}" for key, value in {**where, **more}.items())
        return f"postgresql://{user}@/{database}?{options}"


@contextmanager
def postgres(settings: str = _HASTE, listen: str = "") -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="twofold-pg-", dir="/tmp"))  # a socket's path may have 107 octets
    try:
        server = Postgres(folder, settings, listen)
        try:
            yield server
        finally:
            server.crash()
    finally:
        shutil.rmtree(folder)


# The fixture `site` is then on either database.
on_both = pytest.mark.parametrize(
    "site", ["sqlite", pytest.param("postgresql", marks=pytest.mark.peer("postgres", "psql"))], indirect=True
)

CONFIG = """[store]
url = "{url}"
chain = "{chain}"
[radius]
listen = ["127.0.0.1:0"]
"""


class Stores:
    """Sites whose store is on one server. The first makes the tables, the others are copies of it."""

    def __init__(self, server: Postgres, folder: Path) -> None:
        self.server = server
        self._first = Site(folder, CONFIG.format(url=server.database(), chain="test"))

    @property
    def _template(self) -> str:
        return self._first.config.url.partition("?")[0].rpartition("/")[2]

    def site(self, folder: Path, more: str = "") -> Site:
        """A site with a store of its own."""
        folder.mkdir()
        shutil.copy(self._first.key_file, folder)
        url = self.server.database(self._template)
        return Site(folder, CONFIG.format(url=url, chain="test") + more)

    def beside(self, site: Site, folder: Path, chain: str, more: str = "") -> Site:
        """Another host on the same store."""
        folder.mkdir()
        shutil.copy(site.key_file, folder)
        return Site(folder, CONFIG.format(url=site.config.url, chain=chain) + more)
