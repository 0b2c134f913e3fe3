"""The versions of the schema, as Alembic migrations inside the package.

Rules: a migration runs inside one transaction of the caller, so it is done or not done. A program works on `HEAD`
alone: an older store is brought forward by `twofold db upgrade`, a newer one is refused. A new PostgreSQL database gets
the tables of `store.schema` at once, for there is none from before them.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from store.migrations import postgresql

HEAD = "0009"  # a test compares this with the newest file in versions/


def current(connection: Connection) -> str | None:
    """The version of the schema in this store, None in an empty file."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return str(found) if found is not None else None


_SQLITE_TRIGGERS = (
    "moving_factor_never_goes_back",
    "revoked_is_final",
    "known_keys_are_kept",
    "known_keys_stay_as_they_are",
)


def missing_triggers(connection: Connection) -> list[str]:
    """Those that repeat the invariants, and are not there."""
    if connection.dialect.name == "postgresql":
        wanted, question = postgresql.TRIGGERS, postgresql.QUESTION
    else:
        wanted, question = _SQLITE_TRIGGERS, "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    there = set(connection.execute(text(question)).scalars())
    return [name for name in wanted if name not in there]


def upgrade(connection: Connection) -> None:
    """Bring the schema to HEAD, inside the caller's transaction."""
    import logging

    from alembic import command  # 0.4 s to import: only for whoever really migrates
    from alembic.config import Config

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    if connection.dialect.name == "postgresql" and postgresql.is_new(connection):
        postgresql.create(connection)
        command.stamp(config, "head")
    else:
        command.upgrade(config, "head")


def grant(connection: Connection, url: str) -> None:
    """Give the role that servers log in with, that of `url`, the rights that it needs."""
    for statement in postgresql.grants(url):
        connection.execute(text(statement))
