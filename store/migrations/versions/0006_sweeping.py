"""What has expired is found by an index: a login that sweeps it out must not walk through what has not."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_reuse_windows_expires_at", "reuse_windows", ["expires_at"])
    op.create_index("ix_tickets_expires_at", "tickets", ["expires_at"])
    op.create_index("ix_floods_since", "floods", ["since"])
