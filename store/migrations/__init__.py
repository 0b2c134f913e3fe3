"""The versions of the schema, as Alembic migrations inside the package.

Rules: a migration runs inside one transaction of the caller, so it is done or not done. A program works on `HEAD`
alone: an older store is brought forward by `twofold init`, a newer one is refused.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

HEAD = "0002"  # a test compares this with the newest file in versions/


def current(connection: Connection) -> str | None:
    """The version of the schema in this store, None in an empty file."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return str(found) if found is not None else None


def upgrade(connection: Connection) -> None:
    """Bring the schema to HEAD, inside the caller's transaction."""
    import logging

    from alembic import command  # 0.4 s to import: only for whoever really migrates
    from alembic.config import Config

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
