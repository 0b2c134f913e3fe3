"""What packets were answered, so that a retransmission gets the same from every server."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "answers",
        sa.Column("packet", sa.LargeBinary, nullable=False),
        sa.Column("user_id", _ID),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("sealed_decision", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("packet", name="pk_answers"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_answers_user_id", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_answers_user_id", "answers", ["user_id"])
    op.create_index("ix_answers_at", "answers", ["at"])
