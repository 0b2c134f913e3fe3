"""Tokens whose counter may be older than what was used, as after a restore."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tokens", sa.Column("needs_resync", sa.Boolean, nullable=False, server_default=sa.false()))
