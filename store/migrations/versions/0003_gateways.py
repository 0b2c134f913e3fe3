"""What real gateways need: challenges of whom nothing is told, reply attributes, rules by NAS, and how clients write.

SQLite cannot change a column or a constraint, so two tables are made anew and their rows are carried over.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_CHALLENGE = (
    "state, user_id, client, face, tries_left, expires_at, stage, purpose, sealed_candidate, replaces, ticket, proved"
)
_RULE = 'id, key, value, "group", client, service, network'


def upgrade() -> None:
    _challenges()
    _policies()
    op.add_column("users", sa.Column("replies", sa.Text, nullable=False, server_default="{}"))
    for column in (
        sa.Column("always_challenge", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("encoding", sa.Text, nullable=False, server_default="utf-8"),
        sa.Column("cut_at_nul", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("sealed_old_secret", sa.LargeBinary),
        sa.Column("old_secret_until", sa.Float, nullable=False, server_default="0"),
    ):
        op.add_column("clients", column)
    op.create_table(
        "replies",
        sa.Column("attribute", sa.Text, nullable=False),
        sa.Column("group", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("values", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("attribute", "group", "client", name="pk_replies"),
    )


def _challenges() -> None:
    op.create_table(
        "challenges_new",
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("user_id", _ID),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("face", sa.Text, nullable=False),
        sa.Column("tries_left", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("sealed_candidate", sa.LargeBinary),
        sa.Column("replaces", sa.Text, nullable=False),
        sa.Column("ticket", sa.LargeBinary, nullable=False),
        sa.Column("proved", sa.Boolean, nullable=False),
        sa.Column("refusal", sa.Text, nullable=False),
        sa.Column("groups", sa.Text, nullable=False),
        sa.Column("replies", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("state", name="pk_challenges"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_challenges_user_id", ondelete="CASCADE"),
        sa.CheckConstraint("tries_left >= 1", name=op.f("ck_challenges_tries_left")),
        sa.CheckConstraint("user_id IS NOT NULL OR refusal <> ''", name=op.f("ck_challenges_nobody_is_refused")),
        sa.CheckConstraint(
            "(stage = 'first-pin') = (sealed_candidate IS NOT NULL)", name=op.f("ck_challenges_candidate")
        ),
        sqlite_with_rowid=False,
    )
    carried = f"INSERT INTO challenges_new ({_CHALLENGE}, refusal, groups, replies)"
    op.execute(f"{carried} SELECT {_CHALLENGE}, '', '[]', '[]' FROM challenges")  # noqa: S608 - constants
    op.drop_table("challenges")
    op.rename_table("challenges_new", "challenges")
    op.create_index("ix_challenges_user_id", "challenges", ["user_id"])
    op.create_index("ix_challenges_expires_at", "challenges", ["expires_at"])
    op.create_index("ix_challenges_client", "challenges", ["client", "expires_at"])


def _policies() -> None:
    op.create_table(
        "policies_new",
        sa.Column("id", _ID, nullable=False, autoincrement=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("group", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("network", sa.Text, nullable=False),
        sa.Column("nas", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policies"),
        sa.UniqueConstraint("key", "group", "client", "service", "network", "nas", name="uq_policies_key"),
        sqlite_autoincrement=True,
    )
    op.execute(f"INSERT INTO policies_new ({_RULE}, nas) SELECT {_RULE}, '' FROM policies")  # noqa: S608 - constants
    op.execute("DELETE FROM sqlite_sequence WHERE name = 'policies_new'")
    op.execute("INSERT INTO sqlite_sequence SELECT 'policies_new', seq FROM sqlite_sequence WHERE name = 'policies'")
    op.drop_table("policies")
    op.rename_table("policies_new", "policies")
