"""A store of the first schema is brought forward: everything is there afterwards, and logins go on where they were.

The old store is made by the old migration alone; its rows are those of a new one, in the columns that the old one has.
"""

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from store import migrations
from store.sqlite import SqliteFile, create_file
from tests.site import PASSWORD, Site, pin
from tests.store import raw
from validation.decisions import Accept, Challenge, Decision, Reject
from validation.model import Mode, Token
from validation.requests import (
    Channel,
    FirstFactor,
    FirstFactorResult,
    IssueRecovery,
    LoginRequest,
    RevokeToken,
    SetTokenUse,
)


def old_schema(path: Path, revision: str) -> None:
    """What `twofold init` of an older version made of an empty file."""
    create_file(path)
    connections = SqliteFile(path)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with connections.writing() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    connections.close()


def made_old(site: Site, revision: str = "0001") -> None:
    """Put the rows of the site's store into one of an older schema, in its place."""
    site.database.close()
    del site.database, site.gate
    new, old = site.config.database, site.folder / "old.db"
    old_schema(old, revision)
    with raw.opened(old) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("ATTACH ? AS new", (str(new),))
        for table in raw.tables(old):
            if table != "alembic_version":
                copy(connection, table)
    for path in new.parent.glob(new.name + "-*"):
        path.unlink()
    old.rename(new)


def copy(connection: sqlite3.Connection, table: str) -> None:
    columns = ", ".join(f'"{row[1]}"' for row in connection.execute(f"PRAGMA main.table_info({table})"))
    connection.execute(f"DELETE FROM main.{table}")
    connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")


def login(site: Site, user: str, passcode: str | None = None, state: str | None = None) -> Decision:
    (client,) = site.gate.clients()
    (look,) = raw.rows(site.config.database, "SELECT password_version FROM users WHERE name = ?", (user,))
    proved = (
        FirstFactorResult(FirstFactor.PROVED, look[0]) if state is None else FirstFactorResult(FirstFactor.NOT_CHECKED)
    )
    channel = Channel.for_mode(Mode.CHALLENGE)
    request = LoginRequest(user, channel, "vpn", client.version, proved, passcode=passcode, state=state)
    (decision,) = site.gate.login([request])
    assert isinstance(decision, Accept | Challenge | Reject), decision
    return decision


@pytest.fixture
def tokens(site: Site) -> dict[str, Token]:
    """Users with a token of each state, recovery codes, and an open challenge."""
    site.add_client("vpn", mode=Mode.CHALLENGE)
    found: dict[str, Token] = {}
    for name in ("active", "disabled", "revoked", "waiting"):
        site.add_user(name, PASSWORD, groups=("staff",))
        found[name] = site.enroll(name, kind="hotp", serial=f"TF-{name}", label=name)
    site.gate.administer(SetTokenUse(actor="x", serial="TF-disabled", enabled=False))
    site.gate.administer(RevokeToken(actor="x", serial="TF-revoked"))
    site.gate.administer(IssueRecovery(actor="x", name="active"))
    return found


@pytest.mark.statement("C-013")
def test_everything_is_there_afterwards_and_logins_go_on(site: Site, tokens: dict[str, Token]) -> None:
    """S05: the command says from where to where, the second does nothing, and without it nothing starts."""
    open_one = login(site, "waiting")
    assert isinstance(open_one, Challenge)
    used = login(site, "active")
    assert isinstance(used, Challenge)
    assert isinstance(login(site, "active", pin(tokens["active"]), used.state), Accept)
    before = raw.contents(site.config.database)
    made_old(site)
    assert raw.rows(site.config.database, "SELECT version_num FROM alembic_version") == [("0001",)]
    refused = site.command("token", "list")
    assert refused.returncode == 3
    assert refused.stderr.endswith("twofold db upgrade\n")
    done = site.command("db", "upgrade")
    assert done.returncode == 0, done
    assert done.stdout == f"schema   0001 -> {migrations.HEAD}\n"
    twice = site.command("db", "upgrade")
    assert (twice.returncode, twice.stdout) == (0, f"nothing to do: the schema is {migrations.HEAD} already\n")
    after = raw.contents(site.config.database)
    changed = {table for table in before if before[table] != after[table]}
    assert changed == {"audit", "audit_heads"}, "the upgrade is written down, and nothing else has changed"
    assert raw.rows(site.config.database, "PRAGMA foreign_key_check") == []

    assert isinstance(login(site, "waiting", pin(tokens["waiting"]), open_one.state), Accept)
    again = login(site, "active")
    assert isinstance(again, Challenge)
    assert not isinstance(login(site, "active", pin(tokens["active"]), again.state), Accept), "it was used before"
    assert not isinstance(login(site, "disabled"), Accept)
    states = {row: site.token_row(f"TF-{row}")["state"] for row in tokens}
    assert states == {"active": "active", "disabled": "disabled", "revoked": "revoked", "waiting": "active"}
    assert site.command("audit", "verify").returncode == 0


def test_what_the_schema_forbids_it_still_forbids(site: Site, tokens: dict[str, Token]) -> None:
    """The triggers went with the old table, and must be there again."""
    made_old(site)
    assert site.command("init").returncode == 0
    with raw.opened(site.config.database) as connection:
        for statement in (
            "UPDATE tokens SET moving_factor = -1",
            "UPDATE tokens SET state = 'active' WHERE serial = 'TF-revoked'",
            "UPDATE tokens SET sealed_key = NULL WHERE serial = 'TF-active'",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(statement)


def test_an_id_is_given_once_over_an_upgrade(site: Site, tokens: dict[str, Token]) -> None:
    """The newest token was removed with its user; the next one must not get its number."""
    newest = raw.rows(site.config.database, "SELECT max(id) FROM tokens")[0][0]
    site.add_user("gone", PASSWORD)
    site.enroll("gone", serial="TF-gone")
    assert site.command("user", "remove", "gone").returncode == 0
    made_old(site)
    with raw.opened(site.config.database) as connection:
        connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'tokens'", (newest + 1,))
    assert site.command("init").returncode == 0
    site.enroll("waiting", serial="TF-next")
    assert site.token_row("TF-next")["id"] == newest + 2
