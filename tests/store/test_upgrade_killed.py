"""C-013: an upgrade is killed with SIGKILL before each of its statements, from every older schema there is.

Each time the store is the old one, row by row, and the next run goes on to the end. What the killed process had open is
gone with it: each attempt is a process of its own.
"""

from pathlib import Path
from typing import Any

import pytest

from store import migrations
from tests.killing import Killer
from tests.site import Site
from tests.store import raw
from tests.store.test_upgrade import made_old, tokens
from validation.model import Token

__all__ = ["tokens"]  # a fixture

IMPORTS = "import alembic.command, alembic.config; from store import config, opening"

OLDER = sorted(
    path.name[:4]
    for path in (Path(migrations.__file__).parent / "versions").glob("[0-9]*.py")
    if path.name[:4] < migrations.HEAD
)


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
    with Killer(IMPORTS, 'opening.upgrade(config.load(Path(sys.argv[1])), "test")', str(site.config_file)) as killer:
        for moment in killer.kills():
            assert whole(database) == old, f"before statement {moment}"
            killed += 1
    assert killed > 15
    assert raw.rows(database, "SELECT version_num FROM alembic_version") == [(migrations.HEAD,)]
    assert raw.tables(database) == schema
    assert site.command("db", "check").returncode == 0
    assert site.token_row(tokens["active"].serial)["state"] == "active"
