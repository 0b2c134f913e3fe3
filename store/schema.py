"""The tables. Constraints repeat the invariants, so that no program can write what the engine would not.

Rules: times are epoch seconds; secrets are sealed octets (`sealing.py`); a moving factor never goes back and a
revoked token stays revoked (triggers in the migration). Ids are never reused: a seal is bound to them.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives ids by itself only to a column of type INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")

# store_id, key_id, clients_generation, book_generation, checked_at
meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# Keys that must outlive a rotation of the master key: audit, fingerprint. Sealed with it.
store_keys = Table(
    "store_keys",
    metadata,
    Column("purpose", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("first_factor", Text, nullable=False),
    Column("groups", Text, nullable=False),  # a JSON array
    Column("disabled", Boolean, nullable=False),
    Column("locked", Boolean, nullable=False),
    Column("password_hash", Text),
    Column("password_version", BigInteger, nullable=False),
    Column("pairing", Text, nullable=False),
    Column("pairing_since", Float, nullable=False),
    Column("first_registered_at", Float),
    Column("bypass_until", Float, nullable=False),
    UniqueConstraint("name"),
    CheckConstraint("pairing IN ('new', 'reopened', 'closed')", name="pairing"),
    CheckConstraint("length(name) > 0", name="name_not_empty"),
    CheckConstraint("password_version >= 0", name="password_version"),
    sqlite_autoincrement=True,
)

# Every key that was ever here, by fingerprint: a key belongs to one token, for ever.
known_keys = Table(
    "known_keys",
    metadata,
    Column("fingerprint", LargeBinary, primary_key=True),
    Column("serial", Text, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("serial", Text, nullable=False),
    Column("user_id", _Id, ForeignKey("users.id"), index=True),  # NULL: nobody's yet
    Column("kind", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("digits", Integer, nullable=False),
    Column("period", Integer, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("sealed_key", LargeBinary),  # gone once revoked
    Column("fingerprint", LargeBinary, ForeignKey("known_keys.fingerprint"), nullable=False),
    Column("moving_factor", BigInteger, nullable=False),
    Column("drift", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("public_id", Text, nullable=False),
    Column("look_ahead", Integer),
    Column("starts_at", Float),
    Column("expires_at", Float),
    Column("last_used_at", Float),
    Column("revoked_at", Float),
    Column("revoke_reason", Text),
    UniqueConstraint("serial"),
    UniqueConstraint("fingerprint"),
    CheckConstraint("state IN ('active', 'disabled', 'revoked')", name="state"),
    CheckConstraint("origin IN ('self', 'admin')", name="origin"),
    CheckConstraint("digits BETWEEN 6 AND 8", name="digits"),
    CheckConstraint("period BETWEEN 1 AND 120", name="period"),
    CheckConstraint("look_ahead BETWEEN 0 AND 100", name="look_ahead"),
    CheckConstraint("moving_factor >= 0", name="moving_factor"),
    CheckConstraint("failures >= 0", name="failures"),
    CheckConstraint("(state = 'revoked') = (sealed_key IS NULL)", name="revoked_has_no_key"),
    CheckConstraint("(state = 'revoked') = (revoked_at IS NOT NULL)", name="revoked_at"),
    sqlite_autoincrement=True,
)

throttles = Table(
    "throttles",
    metadata,
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("factor", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("blocked_until", Float, nullable=False),
    Column("last_guess", LargeBinary, nullable=False),
    CheckConstraint("failures >= 0", name="failures"),
    CheckConstraint("factor IN ('password', 'passcode')", name="factor"),
    sqlite_with_rowid=False,
)

challenges = Table(
    "challenges",
    metadata,
    Column("state", Text, primary_key=True),
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("client", Text, nullable=False),
    Column("face", Text, nullable=False),
    Column("tries_left", Integer, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("stage", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("sealed_candidate", LargeBinary),  # the token being paired, with its key
    Column("replaces", Text, nullable=False),
    Column("ticket", LargeBinary, nullable=False),
    Column("proved", Boolean, nullable=False),
    CheckConstraint("tries_left >= 1", name="tries_left"),
    CheckConstraint("(stage = 'first-pin') = (sealed_candidate IS NOT NULL)", name="candidate"),
    sqlite_with_rowid=False,
)

# How many codes wrong PINs were held against, by user and day: the budget of 30 days.
guesses = Table(
    "guesses",
    metadata,
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("compared", Integer, nullable=False),
    CheckConstraint("compared >= 0", name="compared"),
    sqlite_with_rowid=False,
)

reuse_windows = Table(
    "reuse_windows",
    metadata,
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("client", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("expires_at", Float, nullable=False),
    Column("length", Float, nullable=False),
    Column("passcode_mark", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# Where a user was accepted from, and the wrong passwords that came from there since.
known_sources = Table(
    "known_sources",
    metadata,
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("source", Text, primary_key=True),
    Column("last_accepted_at", Float, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("blocked_until", Float, nullable=False),
    CheckConstraint("failures >= 0", name="failures"),
    sqlite_with_rowid=False,
)

# Addresses that wrong passwords came from, whoever was named. `score` is as of `at`.
source_scores = Table(
    "source_scores",
    metadata,
    Column("source", Text, primary_key=True),
    Column("score", Integer, nullable=False),
    Column("blocked_until", Float, nullable=False),
    Column("at", Float, nullable=False),
    CheckConstraint("score >= 0", name="score"),
    sqlite_with_rowid=False,
)

tickets = Table(
    "tickets",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("expires_at", Float, nullable=False),
    Column("by_admin", Boolean, nullable=False),
)

# Policy rules and texts. A scope that is not named is "": everybody.
policies = Table(
    "policies",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("group", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("network", Text, nullable=False),
    UniqueConstraint("key", "group", "client", "service", "network"),
    sqlite_autoincrement=True,
)

texts = Table(
    "texts",
    metadata,
    Column("key", Text, primary_key=True),
    Column("language", Text, primary_key=True),
    Column("group", Text, primary_key=True),
    Column("client", Text, primary_key=True),
    Column("service", Text, primary_key=True),
    Column("text", Text, nullable=False),
)

clients = Table(
    "clients",
    metadata,
    Column("name", Text, primary_key=True),
    Column("network", Text, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("mode", Text, nullable=False),
    Column("message_authenticator", Text, nullable=False),
    Column("status_server", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False),
    UniqueConstraint("network"),
    CheckConstraint("message_authenticator IN ('required', 'auto', 'off')", name="message_authenticator"),
)

signed_sources = Table(
    "signed_sources",
    metadata,
    Column("client", Text, ForeignKey("clients.name", ondelete="CASCADE"), primary_key=True),
    Column("address", Text, primary_key=True),
)

audit = Table(
    "audit",
    metadata,
    Column("chain", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("at", Float, nullable=False),
    Column("event", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("face", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("serial", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("detail", Text, nullable=False),  # a JSON object
    Column("mac", LargeBinary, nullable=False),
    CheckConstraint("seq >= 1", name="seq"),
    sqlite_with_rowid=False,
)

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("chain", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)

floods = Table(
    "floods",
    metadata,
    Column("key", Text, primary_key=True),
    Column("since", Float, nullable=False),
    Column("suppressed", Integer, nullable=False),
)

Index("ix_audit_user", audit.c.user, audit.c.at)
