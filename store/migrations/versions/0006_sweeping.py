"""What has expired is found by an index: a login that sweeps it out must not walk through what has not."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_reuse_windows_expires_at", "reuse_windows", ["expires_at"])
    op.create_index("ix_tickets_expires_at", "tickets", ["expires_at"])
    op.create_index("ix_floods_since", "floods", ["since"])
    ends: sa.ColumnElement[float] = sa.column("at") + sa.column("score") * sa.literal_column("60")
    op.create_index("ix_source_scores_end", "source_scores", [ends])
