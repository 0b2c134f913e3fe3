"""A new PostgreSQL database: the tables, the triggers that repeat the invariants, and what the servers' role may do.

Rules: two that create at the same moment wait for one another. The servers' role can neither change nor remove a row of
the audit trail or of the keys that were ever known, nor change a table; who owns the tables is nobody's login.
"""

from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit

from sqlalchemy import Connection, inspect, text

from store.schema import audit, audit_starts, known_keys, metadata
from validation.errors import BadInput

_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('twofold schema', 0))"

_RULES = {
    "tokens_move_on": (
        "tokens",
        "UPDATE",
        """IF NEW.moving_factor < OLD.moving_factor THEN
               RAISE integrity_constraint_violation USING MESSAGE = 'a moving factor never goes back';
           END IF;
           IF OLD.state = 'revoked' AND NEW.state <> 'revoked' THEN
               RAISE integrity_constraint_violation USING MESSAGE = 'a revoked token stays revoked';
           END IF;""",
    ),
    "known_keys_are_kept": (
        "known_keys",
        "UPDATE OR DELETE",
        "RAISE integrity_constraint_violation USING MESSAGE = 'a key once known stays known';",
    ),
}

TRIGGERS = tuple(_RULES)
QUESTION = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'"

_RIGHTS = {audit: "SELECT, INSERT", known_keys: "SELECT, INSERT", audit_starts: "SELECT"}


def is_new(connection: Connection) -> bool:
    connection.execute(text(_ALONE))
    return not inspect(connection).has_table("alembic_version")


def create(connection: Connection) -> None:
    metadata.create_all(connection, checkfirst=False)
    for name, (table, event, body) in _RULES.items():
        connection.execute(
            text(
                f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN {body} RETURN COALESCE(NEW, OLD); END $$"
            )
        )
        connection.execute(
            text(f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()")
        )


def grants(url: str) -> Iterator[str]:
    """The statements that let the role of `url` serve logins and commands, and nothing more."""
    role = urlsplit(url).username or str(parse_qs(urlsplit(url).query).get("user", [""])[0])
    if not role:
        raise BadInput("store.url names no user, so nobody can be given rights: postgresql://USER@...")
    quoted = '"' + unquote(role).replace('"', '""') + '"'
    yield f"GRANT USAGE ON SCHEMA public TO {quoted}"
    yield f"GRANT SELECT ON alembic_version TO {quoted}"
    for table in metadata.sorted_tables:
        rights = _RIGHTS.get(table, "SELECT, INSERT, UPDATE, DELETE")
        yield f'GRANT {rights} ON "{table.name}" TO {quoted}'
    yield f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {quoted}"
