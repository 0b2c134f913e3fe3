"""Tokens that are nobody's yet, and the time in which a token is of use.

SQLite cannot change a column, so the table is made anew and its rows are carried over, with their ids and the last id
that was given: no id is given twice.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_KEPT = (
    "id, serial, user_id, kind, origin, state, label, digits, period, algorithm, sealed_key, fingerprint, "
    "moving_factor, drift, failures, created_at, public_id, look_ahead, last_used_at, revoked_at, revoke_reason"
)
_TRIGGERS = (
    """CREATE TRIGGER moving_factor_never_goes_back BEFORE UPDATE OF moving_factor ON tokens
       WHEN NEW.moving_factor < OLD.moving_factor
       BEGIN SELECT RAISE(ABORT, 'a moving factor never goes back'); END""",
    """CREATE TRIGGER revoked_is_final BEFORE UPDATE OF state ON tokens
       WHEN OLD.state = 'revoked' AND NEW.state <> 'revoked'
       BEGIN SELECT RAISE(ABORT, 'a revoked token stays revoked'); END""",
)


def upgrade() -> None:
    _create("tokens_new")
    op.execute(f"INSERT INTO tokens_new ({_KEPT}) SELECT {_KEPT} FROM tokens")  # noqa: S608 - constants
    op.execute("DELETE FROM sqlite_sequence WHERE name = 'tokens_new'")
    op.execute("INSERT INTO sqlite_sequence SELECT 'tokens_new', seq FROM sqlite_sequence WHERE name = 'tokens'")
    op.drop_table("tokens")
    op.rename_table("tokens_new", "tokens")
    op.create_index("ix_tokens_user_id", "tokens", ["user_id"])
    for trigger in _TRIGGERS:
        op.execute(trigger)


def _create(name: str) -> None:
    op.create_table(
        name,
        sa.Column("id", _ID, nullable=False, autoincrement=True),
        sa.Column("serial", sa.Text, nullable=False),
        sa.Column("user_id", _ID),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("digits", sa.Integer, nullable=False),
        sa.Column("period", sa.Integer, nullable=False),
        sa.Column("algorithm", sa.Text, nullable=False),
        sa.Column("sealed_key", sa.LargeBinary),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("moving_factor", sa.BigInteger, nullable=False),
        sa.Column("drift", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("public_id", sa.Text, nullable=False),
        sa.Column("look_ahead", sa.Integer),
        sa.Column("starts_at", sa.Float),
        sa.Column("expires_at", sa.Float),
        sa.Column("last_used_at", sa.Float),
        sa.Column("revoked_at", sa.Float),
        sa.Column("revoke_reason", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("serial", name="uq_tokens_serial"),
        sa.UniqueConstraint("fingerprint", name="uq_tokens_fingerprint"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_tokens_user_id"),
        sa.ForeignKeyConstraint(["fingerprint"], ["known_keys.fingerprint"], name="fk_tokens_fingerprint"),
        sa.CheckConstraint("state IN ('active', 'disabled', 'revoked')", name=op.f("ck_tokens_state")),
        sa.CheckConstraint("origin IN ('self', 'admin')", name=op.f("ck_tokens_origin")),
        sa.CheckConstraint("digits BETWEEN 6 AND 8", name=op.f("ck_tokens_digits")),
        sa.CheckConstraint("period BETWEEN 1 AND 120", name=op.f("ck_tokens_period")),
        sa.CheckConstraint("look_ahead BETWEEN 0 AND 100", name=op.f("ck_tokens_look_ahead")),
        sa.CheckConstraint("moving_factor >= 0", name=op.f("ck_tokens_moving_factor")),
        sa.CheckConstraint("failures >= 0", name=op.f("ck_tokens_failures")),
        sa.CheckConstraint("(state = 'revoked') = (sealed_key IS NULL)", name=op.f("ck_tokens_revoked_has_no_key")),
        sa.CheckConstraint("(state = 'revoked') = (revoked_at IS NOT NULL)", name=op.f("ck_tokens_revoked_at")),
        sqlite_autoincrement=True,
    )
