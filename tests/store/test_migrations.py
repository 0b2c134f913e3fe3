"""The schema that is shipped is the schema the code works on, and an upgrade is done or not done."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event

from store import migrations
from store.schema import metadata
from store.sqlite import SqliteFile, create_file
from tests.killing import Killer
from tests.site import Site
from tests.store import raw


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[SqliteFile]:
    """A store file with nothing in it yet."""
    create_file(tmp_path / "t.db")
    connections = SqliteFile(tmp_path / "t.db")
    yield connections
    connections.close()


def test_the_newest_version_file_is_the_one_the_program_works_on() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [migrations.HEAD]
    files = {path.name.partition("_")[0] for path in (Path(migrations.__file__).parent / "versions").glob("[0-9]*.py")}
    assert files == {script.revision for script in scripts.walk_revisions()}
    assert max(files) == migrations.HEAD, "versions are compared as text, so they must sort"


def test_the_first_page_shows_what_init_says_today() -> None:
    page = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    assert re.findall(r"none -> (\d+)|schema=(\d+)", page) == [(migrations.HEAD, ""), ("", migrations.HEAD)]


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # of SQLite it cannot read them; the next test does
def test_the_migrated_schema_has_every_table_column_and_index_of_the_code(site: Site) -> None:
    with site.database.connections.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def parts(connection: Connection) -> dict[str, list[str]]:
    """The CREATE statements, taken apart at their lines, and where a column was added later. Alembic compares neither
    checks nor WITHOUT ROWID."""
    found = connection.exec_driver_sql(
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%' "
        "AND name NOT LIKE 'sqlite_%' AND type <> 'trigger'"
    )
    # A table that was renamed has its name in quotes.
    plain = {name: re.sub(r'^(CREATE TABLE|CREATE INDEX \w+ ON) "(\w+)"', r"\1 \2", sql) for name, sql in found}
    return {name: sorted(filter(None, re.split(_AT, _inside(sql)))) for name, sql in plain.items()}


def _inside(sql: str) -> str:
    """Without the last parenthesis, which stands elsewhere where a column was added."""
    return sql.replace("\n)", "") if "\n)" in sql else sql.removesuffix(")")


_AT = re.compile(r",?\s*\n\s*|\s*,\s+(?=[a-z_]+ [A-Z]+)")


def test_the_migrated_schema_has_every_constraint_of_the_code(site: Site) -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        wanted = parts(connection)
    engine.dispose()
    with site.database.connections.reading() as connection:
        assert parts(connection) == wanted


class _Planted(Exception):
    """Raised in place of a statement."""


def upgrade_but_fail_at(number: int, connections: SqliteFile) -> bool:
    """Raise in place of statement `number` of an upgrade. False if it has no so many, and went through."""
    done = 0

    def fail(*_: object) -> None:
        nonlocal done
        done += 1
        if done == number:
            raise _Planted

    try:
        with connections.writing() as connection:
            event.listen(connection, "before_cursor_execute", fail)
            migrations.upgrade(connection)
    except _Planted:
        return True
    return False


def test_an_upgrade_that_fails_at_any_statement_leaves_nothing(empty: SqliteFile) -> None:
    number = 1
    while upgrade_but_fail_at(number, empty):
        assert raw.tables(empty.path) == [], f"half a schema after statement {number}"
        number += 1
    assert number > 20
    assert set(metadata.tables) < set(raw.tables(empty.path))


def remove(database: Path) -> None:
    for name in ("", "-wal", "-shm"):
        database.with_name(database.name + name).unlink(missing_ok=True)


@pytest.mark.statement("C-013")
def test_an_init_killed_at_any_statement_leaves_no_store_or_a_whole_one(site: Site) -> None:
    """SIGKILL before each statement and before COMMIT, in processes of their own; then the survivor is looked at."""
    database, killed = site.config.database, 0
    whole = raw.tables(database)
    imports = "import alembic.command, alembic.config; from store import config, opening"
    remove(database)
    with Killer(imports, 'opening.create(config.load(Path(sys.argv[1])), "test")', str(site.config_file)) as killer:
        for moment in killer.kills():
            assert raw.tables(database) == [], f"before statement {moment}"
            remove(database)
            killed += 1
    assert raw.tables(database) == whole
    assert killed > 30
    assert site.command("audit", "verify").returncode == 0


def test_an_init_goes_on_where_a_killed_one_stopped(site: Site) -> None:
    """Config and key were there, the store empty: what a kill in the middle leaves."""
    site.config.database.unlink()
    create_file(site.config.database)
    key = site.key_file.read_bytes()
    assert site.command("init").returncode == 0
    assert site.key_file.read_bytes() == key
    assert site.command("audit", "verify").returncode == 0
