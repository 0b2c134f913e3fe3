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
    false,
    literal_column,
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

# On every database names are told apart, and sorted, by their code points.
_Text = Text().with_variant(Text(collation="C"), "postgresql")

# store_id, key_id, clients_generation, book_generation, checked_at; frozen: why nothing may be written any more
meta = Table(
    "meta",
    metadata,
    Column("name", _Text, primary_key=True),
    Column("value", _Text, nullable=False),
)

# Keys that must outlive a rotation of the master key: audit, fingerprint. Sealed with it.
store_keys = Table(
    "store_keys",
    metadata,
    Column("purpose", _Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("name", _Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("first_factor", _Text, nullable=False),  # "": where policy says
    Column("groups", _Text, nullable=False),  # a JSON array
    Column("disabled", Boolean, nullable=False),
    Column("locked", Boolean, nullable=False),
    Column("password_hash", _Text),
    Column("password_version", BigInteger, nullable=False),
    Column("pairing", _Text, nullable=False),
    Column("pairing_since", Float, nullable=False),
    Column("first_registered_at", Float),
    Column("bypass_until", Float, nullable=False),
    Column("replies", _Text, nullable=False, server_default="{}"),  # JSON: attribute -> values
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
    Column("serial", _Text, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("serial", _Text, nullable=False),
    Column("user_id", _Id, ForeignKey("users.id"), index=True),  # NULL: nobody's yet
    Column("kind", _Text, nullable=False),
    Column("origin", _Text, nullable=False),
    Column("state", _Text, nullable=False),
    Column("label", _Text, nullable=False),
    Column("digits", Integer, nullable=False),
    Column("period", Integer, nullable=False),
    Column("algorithm", _Text, nullable=False),
    Column("sealed_key", LargeBinary),  # gone once revoked
    Column("fingerprint", LargeBinary, ForeignKey("known_keys.fingerprint"), nullable=False),
    Column("moving_factor", BigInteger, nullable=False),
    Column("drift", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("public_id", _Text, nullable=False),
    Column("look_ahead", Integer),
    Column("starts_at", Float),
    Column("expires_at", Float),
    Column("needs_resync", Boolean, nullable=False, server_default=false()),
    Column("last_used_at", Float),
    Column("revoked_at", Float),
    Column("revoke_reason", _Text),
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
    Column("factor", _Text, primary_key=True),
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
    Column("state", _Text, primary_key=True),
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE")),  # NULL: of a name that is nobody's
    Column("client", _Text, nullable=False),
    Column("face", _Text, nullable=False),
    Column("tries_left", Integer, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("stage", _Text, nullable=False),
    Column("purpose", _Text, nullable=False),
    Column("sealed_candidate", LargeBinary),  # the token being paired, with its key
    Column("replaces", _Text, nullable=False),
    Column("ticket", LargeBinary, nullable=False),
    Column("proved", Boolean, nullable=False),
    Column("refusal", _Text, nullable=False),
    Column("groups", _Text, nullable=False),  # JSON arrays
    Column("replies", _Text, nullable=False),
    CheckConstraint("tries_left >= 1", name="tries_left"),
    CheckConstraint("user_id IS NOT NULL OR refusal <> ''", name="nobody_is_refused"),
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
    Column("client", _Text, primary_key=True),
    Column("source", _Text, primary_key=True),
    Column("expires_at", Float, nullable=False, index=True),
    Column("length", Float, nullable=False),
    Column("passcode_mark", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# Where a user was accepted from, and the wrong passwords that came from there since.
known_sources = Table(
    "known_sources",
    metadata,
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("source", _Text, primary_key=True),
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
    Column("source", _Text, primary_key=True),
    Column("score", Integer, nullable=False),
    Column("blocked_until", Float, nullable=False),
    Column("at", Float, nullable=False),
    CheckConstraint("score >= 0", name="score"),
    sqlite_with_rowid=False,
)

# What packets were answered, for their retransmissions. `at` and `generation` are those of the decision; all three
# columns are what it is sealed to. Every login makes a row that goes a minute later, so they stand in the order of
# their coming and have one index: each of another order would cost a login a page when the row comes, and when it goes.
answers = Table(
    "answers",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("packet", LargeBinary, nullable=False),
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE")),  # NULL: of a name that is nobody's
    Column("at", Float, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("sealed_decision", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

tickets = Table(
    "tickets",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("expires_at", Float, nullable=False, index=True),
    Column("by_admin", Boolean, nullable=False),
)

# Policy rules and texts. A scope that is not named is "": everybody.
policies = Table(
    "policies",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("key", _Text, nullable=False),
    Column("value", _Text, nullable=False),
    Column("group", _Text, nullable=False),
    Column("client", _Text, nullable=False),
    Column("service", _Text, nullable=False),
    Column("network", _Text, nullable=False),
    Column("nas", _Text, nullable=False),
    UniqueConstraint("key", "group", "client", "service", "network", "nas"),
    sqlite_autoincrement=True,
)

texts = Table(
    "texts",
    metadata,
    Column("key", _Text, primary_key=True),
    Column("language", _Text, primary_key=True),
    Column("group", _Text, primary_key=True),
    Column("client", _Text, primary_key=True),
    Column("service", _Text, primary_key=True),
    Column("text", _Text, nullable=False),
)

# RADIUS attributes for Access-Accepts; a scope that is not named is "". Those of one user stand with him.
replies = Table(
    "replies",
    metadata,
    Column("attribute", _Text, primary_key=True),
    Column("group", _Text, primary_key=True),
    Column("client", _Text, primary_key=True),
    Column("values", _Text, nullable=False),  # a JSON array
)

clients = Table(
    "clients",
    metadata,
    Column("name", _Text, primary_key=True),
    Column("network", _Text, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("mode", _Text, nullable=False),
    Column("message_authenticator", _Text, nullable=False),
    Column("status_server", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("always_challenge", Boolean, nullable=False, server_default=false()),
    Column("encoding", _Text, nullable=False, server_default="utf-8"),
    Column("cut_at_nul", Boolean, nullable=False, server_default=false()),
    Column("sealed_old_secret", LargeBinary),
    Column("old_secret_until", Float, nullable=False, server_default="0"),
    UniqueConstraint("network"),
    CheckConstraint("message_authenticator IN ('required', 'auto', 'off')", name="message_authenticator"),
)

signed_sources = Table(
    "signed_sources",
    metadata,
    Column("client", _Text, ForeignKey("clients.name", ondelete="CASCADE"), primary_key=True),
    Column("address", _Text, primary_key=True),
)

audit = Table(
    "audit",
    metadata,
    Column("chain", _Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("at", Float, nullable=False),
    Column("event", _Text, nullable=False),
    Column("decision", _Text, nullable=False),
    Column("reason", _Text, nullable=False),
    Column("user", _Text, nullable=False),
    Column("client", _Text, nullable=False),
    Column("face", _Text, nullable=False),
    Column("source", _Text, nullable=False),
    Column("serial", _Text, nullable=False),
    Column("actor", _Text, nullable=False),
    Column("request_id", _Text, nullable=False),
    Column("detail", _Text, nullable=False),  # a JSON object
    Column("mac", LargeBinary, nullable=False),
    CheckConstraint("seq >= 1", name="seq"),
    sqlite_with_rowid=False,
)

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("chain", _Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)

# Where the rest of a chain starts after older rows were pruned; `seal` is an HMAC over the others.
audit_starts = Table(
    "audit_starts",
    metadata,
    Column("chain", _Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    Column("began", _Text, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    CheckConstraint("seq >= 1", name="seq"),
)

floods = Table(
    "floods",
    metadata,
    Column("key", _Text, primary_key=True),
    Column("since", Float, nullable=False, index=True),
    Column("suppressed", Integer, nullable=False),
)

# When a score has fallen to 0: a minute for each point. SQLite uses the index for these very words, so no parameter.
SCORE_ENDS = source_scores.c.at + source_scores.c.score * literal_column("60")

Index("ix_source_scores_end", SCORE_ENDS)
Index("ix_challenges_client", challenges.c.client, challenges.c.proved, challenges.c.expires_at)
Index("ix_challenges_user", challenges.c.user_id, challenges.c.proved, challenges.c.expires_at)
Index("ix_answers_packet", answers.c.packet, unique=True)
Index("ix_audit_user", audit.c.user, audit.c.at)
