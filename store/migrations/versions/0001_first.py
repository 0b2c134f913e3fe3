"""The first schema: users, tokens, throttles, challenges, policies, texts, clients, audit trail.

Frozen: what stands here is what was shipped. Later changes are later files.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

_SCOPE = ("group", "client", "service")

_TRIGGERS = (
    """CREATE TRIGGER moving_factor_never_goes_back BEFORE UPDATE OF moving_factor ON tokens
       WHEN NEW.moving_factor < OLD.moving_factor
       BEGIN SELECT RAISE(ABORT, 'a moving factor never goes back'); END""",
    """CREATE TRIGGER revoked_is_final BEFORE UPDATE OF state ON tokens
       WHEN OLD.state = 'revoked' AND NEW.state <> 'revoked'
       BEGIN SELECT RAISE(ABORT, 'a revoked token stays revoked'); END""",
    """CREATE TRIGGER known_keys_are_kept BEFORE DELETE ON known_keys
       BEGIN SELECT RAISE(ABORT, 'a key once known stays known'); END""",
    """CREATE TRIGGER known_keys_stay_as_they_are BEFORE UPDATE ON known_keys
       BEGIN SELECT RAISE(ABORT, 'a key once known stays known'); END""",
)


def upgrade() -> None:
    op.create_table(
        "meta",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_meta"),
    )
    op.create_table(
        "store_keys",
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("purpose", name="pk_store_keys"),
    )
    _create_users_and_tokens()
    _create_login_tables()
    _create_policy_tables()
    _create_client_tables()
    _create_audit_tables()
    for trigger in _TRIGGERS:
        op.execute(trigger)


def _create_users_and_tokens() -> None:
    op.create_table(
        "users",
        sa.Column("id", _ID, nullable=False, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("first_factor", sa.Text, nullable=False),
        sa.Column("groups", sa.Text, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("locked", sa.Boolean, nullable=False),
        sa.Column("password_hash", sa.Text),
        sa.Column("password_version", sa.BigInteger, nullable=False),
        sa.Column("pairing", sa.Text, nullable=False),
        sa.Column("pairing_since", sa.Float, nullable=False),
        sa.Column("first_registered_at", sa.Float),
        sa.Column("bypass_until", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
        sa.CheckConstraint("length(name) > 0", name=op.f("ck_users_name_not_empty")),
        sa.CheckConstraint("pairing IN ('new', 'reopened', 'closed')", name=op.f("ck_users_pairing")),
        sa.CheckConstraint("password_version >= 0", name=op.f("ck_users_password_version")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "known_keys",
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("serial", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name="pk_known_keys"),
    )
    op.create_table(
        "tokens",
        sa.Column("id", _ID, nullable=False, autoincrement=True),
        sa.Column("serial", sa.Text, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
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
    op.create_index("ix_tokens_user_id", "tokens", ["user_id"])


def _create_login_tables() -> None:
    op.create_table(
        "throttles",
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("factor", sa.Text, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("blocked_until", sa.Float, nullable=False),
        sa.Column("last_guess", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "factor", name="pk_throttles"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_throttles_user_id", ondelete="CASCADE"),
        sa.CheckConstraint("failures >= 0", name=op.f("ck_throttles_failures")),
        sa.CheckConstraint("factor IN ('password', 'passcode')", name=op.f("ck_throttles_factor")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "challenges",
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
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
        sa.PrimaryKeyConstraint("state", name="pk_challenges"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_challenges_user_id", ondelete="CASCADE"),
        sa.CheckConstraint("tries_left >= 1", name=op.f("ck_challenges_tries_left")),
        sa.CheckConstraint(
            "(stage = 'first-pin') = (sealed_candidate IS NOT NULL)", name=op.f("ck_challenges_candidate")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_challenges_user_id", "challenges", ["user_id"])
    op.create_index("ix_challenges_expires_at", "challenges", ["expires_at"])
    op.create_table(
        "guesses",
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("compared", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "day", name="pk_guesses"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_guesses_user_id", ondelete="CASCADE"),
        sa.CheckConstraint("compared >= 0", name=op.f("ck_guesses_compared")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reuse_windows",
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("length", sa.Float, nullable=False),
        sa.Column("passcode_mark", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "client", "source", name="pk_reuse_windows"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_reuse_windows_user_id", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    _create_source_tables()
    op.create_table(
        "tickets",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("by_admin", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_tickets"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_tickets_user_id", ondelete="CASCADE"),
    )
    op.create_index("ix_tickets_user_id", "tickets", ["user_id"])


def _create_source_tables() -> None:
    op.create_table(
        "known_sources",
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("last_accepted_at", sa.Float, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("blocked_until", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "source", name="pk_known_sources"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_known_sources_user_id", ondelete="CASCADE"),
        sa.CheckConstraint("failures >= 0", name=op.f("ck_known_sources_failures")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "source_scores",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("score", sa.Integer, nullable=False),
        sa.Column("blocked_until", sa.Float, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("source", name="pk_source_scores"),
        sa.CheckConstraint("score >= 0", name=op.f("ck_source_scores_score")),
        sqlite_with_rowid=False,
    )


def _create_policy_tables() -> None:
    op.create_table(
        "policies",
        sa.Column("id", _ID, nullable=False, autoincrement=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("key", "value", *_SCOPE, "network")),
        sa.PrimaryKeyConstraint("id", name="pk_policies"),
        sa.UniqueConstraint("key", *_SCOPE, "network", name="uq_policies_key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "texts",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("key", "language", *_SCOPE, "text")),
        sa.PrimaryKeyConstraint("key", "language", *_SCOPE, name="pk_texts"),
    )


def _create_client_tables() -> None:
    op.create_table(
        "clients",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("network", sa.Text, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("message_authenticator", sa.Text, nullable=False),
        sa.Column("status_server", sa.Boolean, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_clients"),
        sa.UniqueConstraint("network", name="uq_clients_network"),
        sa.CheckConstraint(
            "message_authenticator IN ('required', 'auto', 'off')", name=op.f("ck_clients_message_authenticator")
        ),
    )
    op.create_table(
        "signed_sources",
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("client", "address", name="pk_signed_sources"),
        sa.ForeignKeyConstraint(["client"], ["clients.name"], name="fk_signed_sources_client", ondelete="CASCADE"),
    )


def _create_audit_tables() -> None:
    texts = ("event", "decision", "reason", "user", "client", "face", "source", "serial", "actor", "request_id")
    op.create_table(
        "audit",
        sa.Column("chain", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("chain", "seq", name="pk_audit"),
        sa.CheckConstraint("seq >= 1", name=op.f("ck_audit_seq")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_audit_user", "audit", ["user", "at"])
    op.create_table(
        "audit_heads",
        sa.Column("chain", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("chain", name="pk_audit_heads"),
    )
    op.create_table(
        "floods",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("suppressed", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_floods"),
    )
