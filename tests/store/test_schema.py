"""Constraints and triggers repeat the invariants: no program can write what the engine would not."""

import re
import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, UniqueConstraint

from store.schema import metadata
from tests.builders import RFC_KEY
from tests.site import Site
from tests.store import raw
from validation.model import MessageAuthenticatorRule
from validation.requests import RememberSigner, RemoveUser, RevokeToken, SetRule, SetText
from validation.settings import Scope

REST = "'pin', 'login', NULL, '', x'', 1, '', '[]', '[]'"  # of a challenge that waits for a PIN
OPENED = "INSERT INTO challenges VALUES ('s', 1, 'vpn', 'radius', 1, 1"
NO_REPLIES = "'pin', 'login', NULL, '', x'', 1, '', '[]', NULL"

# What each rule of the schema says -> a statement that breaks it. A rule without a line here fails the last test.
BREAKS = {
    # checks
    "ck_users_name_not_empty": "UPDATE users SET name = ''",
    "ck_users_password_version": "UPDATE users SET password_version = -1",
    "ck_tokens_state": "UPDATE tokens SET state = 'lost' WHERE serial = 'TF-ACTIVE'",
    "ck_tokens_origin": "UPDATE tokens SET origin = 'factory'",
    "ck_tokens_digits": "UPDATE tokens SET digits = 5",
    "ck_tokens_period": "UPDATE tokens SET period = 121",
    "ck_tokens_look_ahead": "UPDATE tokens SET look_ahead = 101",
    "ck_tokens_moving_factor": "INSERT INTO tokens SELECT 99, 'X', user_id, kind, origin, state, label, digits, "
    "period, algorithm, sealed_key, fingerprint, -1, drift, failures, created_at, '', NULL, NULL, NULL, NULL, "
    "NULL, NULL, 0 FROM tokens WHERE serial = 'TF-ACTIVE'",
    "ck_tokens_failures": "UPDATE tokens SET failures = -1",
    "ck_tokens_revoked_has_no_key": "UPDATE tokens SET state = 'revoked', revoked_at = 1 WHERE serial = 'TF-ACTIVE'",
    "ck_tokens_revoked_at": "UPDATE tokens SET state = 'revoked', sealed_key = NULL WHERE serial = 'TF-ACTIVE'",
    "ck_throttles_failures": "INSERT INTO throttles VALUES (1, 'password', -1, 0, x'')",
    "ck_throttles_factor": "INSERT INTO throttles VALUES (1, 'luck', 0, 0, x'')",
    "ck_known_sources_failures": "INSERT INTO known_sources VALUES (1, '192.0.2.1', 0, -1, 0)",
    "ck_source_scores_score": "INSERT INTO source_scores VALUES ('192.0.2.1', -1, 0, 0)",
    "ck_challenges_tries_left": f"INSERT INTO challenges VALUES ('s', 1, 'vpn', 'radius', 0, 1, {REST})",
    "ck_challenges_candidate": "INSERT INTO challenges VALUES ('s', 1, 'vpn', 'radius', 1, 1, 'first-pin', 'login', "
    "NULL, '', x'', 1, '', '[]', '[]')",
    "ck_challenges_nobody_is_refused": f"INSERT INTO challenges VALUES ('s', NULL, 'vpn', 'radius', 1, 1, {REST})",
    "ck_users_pairing": "UPDATE users SET pairing = 'always'",
    "ck_guesses_compared": "INSERT INTO guesses VALUES (1, 1, -1)",
    "uq_policies_key": "INSERT INTO policies SELECT 99, key, 'off', \"group\", client, service, network, nas "
    "FROM policies",
    "ck_clients_message_authenticator": "UPDATE clients SET message_authenticator = 'maybe'",
    "ck_audit_seq": "UPDATE audit SET seq = 0 WHERE seq = 1",
    "ck_audit_starts_seq": "INSERT INTO audit_starts VALUES ('test', 0, x'00', 'store-create', x'00')",
    # uniqueness
    "uq_users_name": "UPDATE users SET name = 'alice'",
    "uq_tokens_serial": "UPDATE tokens SET serial = 'TF-ACTIVE'",
    "uq_tokens_fingerprint": "UPDATE tokens SET fingerprint = (SELECT fingerprint FROM tokens WHERE state = 'revoked')",
    "uq_clients_network": "UPDATE clients SET network = '127.0.0.1/32'",
    # foreign keys
    "fk_tokens_user_id": "UPDATE tokens SET user_id = 99",
    "fk_tokens_fingerprint": "UPDATE tokens SET fingerprint = x'00' WHERE serial = 'TF-ACTIVE'",
    "fk_throttles_user_id": "INSERT INTO throttles VALUES (99, 'password', 0, 0, x'')",
    "fk_challenges_user_id": f"INSERT INTO challenges VALUES ('s', 99, 'vpn', 'radius', 1, 1, {REST})",
    "fk_guesses_user_id": "INSERT INTO guesses VALUES (99, 1, 1)",
    "fk_reuse_windows_user_id": "INSERT INTO reuse_windows VALUES (99, 'vpn', '192.0.2.1', 1, 1, x'')",
    "fk_known_sources_user_id": "INSERT INTO known_sources VALUES (99, '192.0.2.1', 0, 0, 0)",
    "fk_answers_user_id": "INSERT INTO answers VALUES (1, x'00', 99, 1, 1, x'00')",
    "fk_tickets_user_id": "INSERT INTO tickets VALUES (x'00', 99, 1, 0)",
    "fk_signed_sources_client": "INSERT INTO signed_sources VALUES ('nobody', '192.0.2.1')",
    # triggers
    "moving_factor_never_goes_back": "UPDATE tokens SET moving_factor = 6 WHERE serial = 'TF-ACTIVE'",
    "revoked_is_final": "UPDATE tokens SET state = 'active', sealed_key = x'00', revoked_at = NULL "
    "WHERE serial = 'TF-GONE'",
    "known_keys_are_kept": "DELETE FROM known_keys WHERE serial = 'TF-UNUSED'",
    "known_keys_stay_as_they_are": "UPDATE known_keys SET fingerprint = x'00' WHERE serial = 'TF-UNUSED'",
}

SAYS = {
    "ck": "CHECK constraint failed: {name}$",
    "uq": "UNIQUE constraint failed",
    "fk": "FOREIGN KEY constraint failed",
}
TRIGGER_SAYS = {
    "moving_factor_never_goes_back": "a moving factor never goes back",
    "revoked_is_final": "a revoked token stays revoked",
    "known_keys_are_kept": "a key once known stays known",
    "known_keys_stay_as_they_are": "a key once known stays known",
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two users, two clients, a token at counter 7, one that is revoked, and the key of a removed user."""
    site = Site(tmp_path_factory.mktemp("schema"))
    for name in ("alice", "bob", "gone"):
        site.add_user(name, None)
    site.enroll("alice", kind="hotp", serial="TF-ACTIVE", moving_factor=7)
    site.enroll("bob", serial="TF-GONE")
    site.gate.administer(RevokeToken(actor="test", serial="TF-GONE"))
    site.enroll("gone", serial="TF-UNUSED")
    site.gate.administer(RemoveUser(actor="test", name="gone"))
    site.add_client("vpn", "127.0.0.1/32")
    site.add_client("auto", "127.0.0.2/32", rule=MessageAuthenticatorRule.AUTO)
    site.gate.administer(RememberSigner(actor="radius", name="auto", address="127.0.0.2"))
    site.gate.administer(SetRule(actor="test", key="tries", value="2", scope=Scope()))
    site.gate.administer(SetText(actor="test", key="refused", language="", text="No.", scope=Scope()))
    yield site
    site.database.close()


@pytest.fixture
def database(filled: Site) -> Iterator[sqlite3.Connection]:
    """What a test writes is rolled back."""
    with raw.opened(filled.config.database) as connection:
        connection.execute("BEGIN")
        yield connection
        connection.rollback()


@pytest.mark.parametrize("name", BREAKS)
def test_the_rule_bites(database: sqlite3.Connection, name: str) -> None:
    expected = TRIGGER_SAYS.get(name) or SAYS[name[:2]].format(name=name)
    before = "\n".join(database.iterdump())
    with pytest.raises(sqlite3.IntegrityError, match=expected):
        database.execute(BREAKS[name])
    assert "\n".join(database.iterdump()) == before


def test_every_rule_of_the_schema_has_a_statement_that_breaks_it(database: sqlite3.Connection) -> None:
    named = {
        str(constraint.name)
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint | UniqueConstraint | ForeignKeyConstraint)
    }
    triggers = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}
    assert named | triggers == set(BREAKS)
    stored = "\n".join(sql for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE type = 'table'"))
    assert set(re.findall(r"CONSTRAINT (ck_\w+|uq_\w+|fk_\w+)", stored)) == named


EMPTY = (
    "answers",
    "throttles",
    "challenges",
    "floods",
    "guesses",
    "reuse_windows",
    "tickets",
    "known_sources",
    "source_scores",
    "replies",
    "audit_starts",
)
FULL = [name for name in metadata.tables if name not in EMPTY]


@pytest.mark.parametrize("table", FULL)
def test_no_column_that_must_be_filled_can_be_emptied(database: sqlite3.Connection, table: str) -> None:
    """In the tables that have rows here; an id may not even be set to NULL."""
    columns = [column.name for column in metadata.tables[table].columns if not column.nullable]
    database.execute("DROP TRIGGER known_keys_stay_as_they_are")
    for column in columns:
        with pytest.raises(sqlite3.IntegrityError, match=rf"NOT NULL constraint failed: {table}\.{column}|datatype"):
            database.execute(f'UPDATE {table} SET "{column}" = NULL')


@pytest.mark.parametrize(
    "insert",
    [
        "INSERT INTO throttles VALUES (1, 'password', NULL, 0, x'')",
        "INSERT INTO throttles VALUES (1, 'password', 0, NULL, x'')",
        "INSERT INTO throttles VALUES (1, NULL, 0, 0, x'')",
        f"INSERT INTO challenges VALUES (NULL, 1, 'vpn', 'radius', 1, 1, {REST})",
        f"INSERT INTO challenges VALUES ('s', 1, NULL, 'radius', 1, 1, {REST})",
        f"INSERT INTO challenges VALUES ('s', 1, 'vpn', NULL, 1, 1, {REST})",
        f"INSERT INTO challenges VALUES ('s', 1, 'vpn', 'radius', NULL, 1, {REST})",
        f"INSERT INTO challenges VALUES ('s', 1, 'vpn', 'radius', 1, NULL, {REST})",
        "INSERT INTO throttles VALUES (1, 'password', 0, 0, NULL)",
        f"{OPENED}, 'pin', NULL, NULL, '', x'', 1, '', '[]', '[]')",
        f"{OPENED}, 'pin', 'login', NULL, NULL, x'', 1, '', '[]', '[]')",
        f"{OPENED}, 'pin', 'login', NULL, '', NULL, 1, '', '[]', '[]')",
        "INSERT INTO guesses VALUES (1, 1, NULL)",
        "INSERT INTO reuse_windows VALUES (1, 'vpn', '192.0.2.1', NULL, 1, x'')",
        "INSERT INTO reuse_windows VALUES (1, 'vpn', '192.0.2.1', 1, NULL, x'')",
        "INSERT INTO reuse_windows VALUES (1, 'vpn', '192.0.2.1', 1, 1, NULL)",
        "INSERT INTO known_sources VALUES (1, NULL, 0, 0, 0)",
        "INSERT INTO known_sources VALUES (1, '192.0.2.1', NULL, 0, 0)",
        "INSERT INTO known_sources VALUES (1, '192.0.2.1', 0, NULL, 0)",
        "INSERT INTO known_sources VALUES (1, '192.0.2.1', 0, 0, NULL)",
        "INSERT INTO source_scores VALUES (NULL, 0, 0, 0)",
        "INSERT INTO source_scores VALUES ('192.0.2.1', NULL, 0, 0)",
        "INSERT INTO source_scores VALUES ('192.0.2.1', 0, NULL, 0)",
        "INSERT INTO source_scores VALUES ('192.0.2.1', 0, 0, NULL)",
        "INSERT INTO answers VALUES (1, NULL, 1, 1, 1, x'')",
        "INSERT INTO answers VALUES (1, x'00', 1, NULL, 1, x'')",
        "INSERT INTO answers VALUES (1, x'00', 1, 1, NULL, x'')",
        "INSERT INTO answers VALUES (1, x'00', 1, 1, 1, NULL)",
        "INSERT INTO tickets VALUES (x'00', 1, NULL, 0)",
        "INSERT INTO tickets VALUES (x'00', 1, 1, NULL)",
        f"INSERT INTO challenges VALUES ('s', 1, 'vpn', 'radius', 1, 1, {NO_REPLIES})",
        "INSERT INTO replies VALUES (NULL, '', '', '[]')",
        "INSERT INTO replies VALUES ('Class', NULL, '', '[]')",
        "INSERT INTO replies VALUES ('Class', '', NULL, '[]')",
        "INSERT INTO replies VALUES ('Class', '', '', NULL)",
        "INSERT INTO audit_starts VALUES (NULL, 1, x'00', '', x'00')",
        "INSERT INTO audit_starts VALUES ('test', NULL, x'00', '', x'00')",
        "INSERT INTO audit_starts VALUES ('test', 1, NULL, '', x'00')",
        "INSERT INTO audit_starts VALUES ('test', 1, x'00', NULL, x'00')",
        "INSERT INTO audit_starts VALUES ('test', 1, x'00', '', NULL)",
        "INSERT INTO floods VALUES (NULL, 0, 0)",
        "INSERT INTO floods VALUES ('k', NULL, 0)",
        "INSERT INTO floods VALUES ('k', 0, NULL)",
    ],
)
def test_no_login_row_can_be_half_empty(database: sqlite3.Connection, insert: str) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="NOT NULL constraint failed"):
        database.execute(insert)


def test_a_second_row_with_one_key_is_refused(database: sqlite3.Connection) -> None:
    for table in ("meta", "store_keys", "known_keys", "audit", "audit_heads", "signed_sources", "clients", "users"):
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE constraint failed"):
            database.execute(f"INSERT INTO {table} SELECT * FROM {table}")


def test_what_belongs_to_a_user_or_client_goes_with_it(database: sqlite3.Connection) -> None:
    database.execute("INSERT INTO throttles VALUES (1, 'password', 1, 0, x'')")
    database.execute(f"INSERT INTO challenges VALUES ('s', 1, 'vpn', 'radius', 1, 1, {REST})")
    database.execute("INSERT INTO guesses VALUES (1, 1, 1)")
    database.execute("INSERT INTO reuse_windows VALUES (1, 'vpn', '192.0.2.1', 1, 1, x'')")
    database.execute("INSERT INTO tickets VALUES (x'00', 1, 1, 0)")
    database.execute("INSERT INTO known_sources VALUES (1, '192.0.2.1', 0, 0, 0)")
    database.execute("UPDATE tokens SET user_id = 2 WHERE user_id = 1")
    database.execute("DELETE FROM users WHERE id = 1")
    database.execute("DELETE FROM clients WHERE name = 'auto'")
    gone = ("throttles", "challenges", "signed_sources", "guesses", "reuse_windows", "tickets", "known_sources")
    assert [database.execute(f"SELECT * FROM {table}").fetchall() for table in gone] == [[]] * len(gone)


def test_an_id_is_never_given_twice(site: Site) -> None:
    """A seal is bound to the user's id: a new user must not inherit a removed one's."""
    for name in ("one", "two"):
        site.add_user(name, None)
    site.gate.administer(RemoveUser(actor="test", name="two"))
    site.add_user("three", None)
    assert raw.rows(site.config.database, "SELECT id, name FROM users ORDER BY id") == [(1, "one"), (3, "three")]


@pytest.mark.statement("O-004")
@pytest.mark.parametrize("counter", [2**32 - 1, 2**32, 2**63 - 2])
def test_the_store_holds_a_counter_of_eight_octets(site: Site, counter: int) -> None:
    site.add_user("alice", None)
    token = site.enroll("alice", kind="hotp", key=RFC_KEY, moving_factor=counter)
    assert site.token_row(token.serial)["moving_factor"] == counter
