"""C-013: an upgrade is killed with SIGKILL after each of its statements, from every older schema there is.

Each time the store is the old one, row by row, and the next run goes on to the end. What the killed process had open is
gone with it: each attempt is a process of its own.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from store import migrations
from tests.site import Site
from tests.store import raw
from tests.store.test_upgrade import made_old, tokens
from validation.model import Token

__all__ = ["tokens"]  # a fixture

OLDER = sorted(
    path.name[:4]
    for path in (Path(migrations.__file__).parent / "versions").glob("[0-9]*.py")
    if path.name[:4] < migrations.HEAD
)

# Prints how the process ended that was to die before statement 0, 1, 2, ... or before COMMIT, one for each line read.
KILLED = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
import alembic.command, alembic.config
from store import config, opening
wanted = config.load(Path(sys.argv[1]))
for statement, _ in enumerate(sys.stdin):
    child = os.fork()
    if not child:
        left = statement
        def die(*_):
            global left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        event.listen(Engine, "before_cursor_execute", die)
        event.listen(Engine, "commit", die)
        opening.upgrade(wanted, "test")
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@contextmanager
def attempts(site: Site) -> Iterator[Iterator[int]]:
    """How one process after the other ended, each a statement further."""
    command = [sys.executable, "-c", KILLED, str(site.config_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:

        def ended() -> Iterator[int]:
            assert program.stdin is not None
            assert program.stdout is not None
            while True:
                program.stdin.write("next\n")
                program.stdin.flush()
                yield int(program.stdout.readline())

        yield ended()


def whole(database: Path) -> tuple[list[tuple[Any, ...]], dict[str, list[tuple[Any, ...]]]]:
    """The schema and every row."""
    return raw.rows(database, "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"), raw.contents(database)


@pytest.mark.statement("C-013")
@pytest.mark.parametrize("revision", OLDER)
def test_an_upgrade_killed_after_any_statement_leaves_the_old_store_and_the_next_one_finishes(
    site: Site, tokens: dict[str, Token], revision: str
) -> None:
    database = site.config.database
    schema = raw.tables(database)
    made_old(site, revision)
    old = whole(database)
    killed = 0
    with attempts(site) as ended:
        while status := next(ended):
            assert status == signal.SIGKILL
            assert whole(database) == old, f"after statement {killed}"
            killed += 1
    assert killed > 15
    assert raw.rows(database, "SELECT version_num FROM alembic_version") == [(migrations.HEAD,)]
    assert raw.tables(database) == schema
    assert site.command("db", "check").returncode == 0
    assert site.token_row(tokens["active"].serial)["state"] == "active"
