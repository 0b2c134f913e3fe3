"""Open challenges are counted apart by whether a password was proved for them: each index can count one sort."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_challenges_client", "challenges")
    op.drop_index("ix_challenges_user_id", "challenges")
    op.create_index("ix_challenges_client", "challenges", ["client", "proved", "expires_at"])
    op.create_index("ix_challenges_user", "challenges", ["user_id", "proved", "expires_at"])
