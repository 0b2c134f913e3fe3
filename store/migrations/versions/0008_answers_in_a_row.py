"""Recorded answers stand in the order in which they were given, so that new ones and old ones are each close together.

They are of half a minute, and an upgrade takes longer: none is carried over.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.drop_table("answers")
    op.create_table(
        "answers",
        sa.Column("id", _ID, nullable=False, autoincrement=True),
        sa.Column("packet", sa.LargeBinary, nullable=False),
        sa.Column("user_id", _ID),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("sealed_decision", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_answers"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_answers_user_id", ondelete="CASCADE"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_answers_packet", "answers", ["packet"], unique=True)
