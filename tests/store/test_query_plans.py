"""No statement on the road of a login takes longer because there is more in the store: each finds its rows by an index.

The statements are those that logins of every kind make, heard while they make them (`tests/store/logins.py`).
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from first_factor import local
from store.schema import metadata
from tests.postgres import Stores
from tests.site import Site
from tests.store.logins import CHEAP, DAY, Statement, all_logins
from tests.store.plans import Finding, findings
from validation.decisions import Reason

# What is read whole, and why that is no matter: it holds what an admin has typed, and not a row for each user.
WHOLE = {
    ("DELETE", "answers"): "all of a user, when something ends his logins: there are those of the last minute",
    ("SELECT", "policies"): "the book, read anew when it has changed",
    ("SELECT", "texts"): "the book",
    ("SELECT", "replies"): "the book",
    ("SELECT", "clients"): "by the server when one has changed",
    ("SELECT", "signed_sources"): "gateways that have signed; with their clients",
}

# What is sorted after it was found by an index, and why it is never much.
SORTED = {
    ("DELETE", "known_sources"): "the sources of one user, of which 20 stay",
    ("SELECT", "users"): "those of one batch, to be locked in their order",
    ("SELECT", "tokens"): "those that one command names, to be locked in their order",
}

# So that a listener that hears nothing is no proof: by their statements, and by how the logins ended.
HEARD = {
    "SELECT": "users tokens throttles challenges guesses reuse_windows known_sources source_scores answers tickets "
    "clients signed_sources policies texts replies meta audit_heads floods",
    "INSERT": "tokens known_keys throttles challenges guesses reuse_windows known_sources source_scores answers "
    "tickets audit floods meta signed_sources",
    "UPDATE": "users tokens audit_heads floods meta",
    "DELETE": "challenges guesses reuse_windows known_sources source_scores answers tickets floods",
}
REASONS = {
    *(Reason.PASSCODE_RIGHT, Reason.REUSED, Reason.SKIPPED, Reason.BYPASS, Reason.GRACE, Reason.REGISTERED),
    *(Reason.PASSWORD_RIGHT, Reason.ONBOARDING, Reason.ASKED, Reason.PASSWORD_WRONG, Reason.PASSCODE_WRONG),
    *(Reason.PASSCODE_USED, Reason.PASSCODE_REPEATED, Reason.KEY_RIGHT, Reason.KEY_ELSEWHERE, Reason.FIRST_PIN_WRONG),
    *(Reason.USER_UNKNOWN, Reason.USER_DISABLED, Reason.USER_LOCKED, Reason.WAITING, Reason.SOURCE_HELD),
    *(Reason.TICKET_WRONG, Reason.STATE_UNKNOWN, Reason.STATE_EXPIRED, Reason.FIRST_FACTOR_UNAVAILABLE),
    *(Reason.NO_TOKEN, Reason.HARDWARE_ONLY, Reason.PAIRING_CLOSED, Reason.REQUEST_UNSUPPORTED),
}

NOT_OF_LOGINS = {"ix_audit_user": "twofold audit list --user"}
# Without a unique one the statements that rely on it would fail.
INDEXES = sorted(str(one.name) for table in metadata.sorted_tables for one in table.indexes if not one.unique)


@dataclass(frozen=True)
class Heard:
    site: Site
    statements: tuple[Statement, ...]
    reasons: frozenset[str]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer("postgres"))])
def heard(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heard]:
    """All logins, once for all tests on a database."""
    folder = tmp_path_factory.mktemp("plans") / "site"
    site = Site(folder) if request.param == "sqlite" else _on_server(request, folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(local, "_HASHER", CHEAP)
            house = all_logins(site)
        if request.param == "postgresql":
            fill(site)
        yield Heard(site, tuple(house.statements.values()), frozenset(house.reasons))
    finally:
        site.database.close()


def _on_server(request: pytest.FixtureRequest, folder: Path) -> Site:
    stores: Stores = request.getfixturevalue("stores")
    return stores.site(folder)


def fill(site: Site, rows: int = 20_000) -> None:
    """PostgreSQL plans by how much there is, as of the last ANALYZE; SQLite, which nobody has told, does not. None of
    it is old enough to be swept out."""
    late = site.database.connections.now() + 10 * 365 * DAY
    mark, empty = "decode(md5(n::text), 'hex')", "''::bytea"
    columns = {
        "users": "n, 'filler' || n, 0, '', '[]', false, false, NULL, 0, 'new', 0, NULL, 0, '{}'",
        "known_keys": f"{mark}, 'F' || n",
        "tokens": f"n, 'F' || n, n, 'hotp', 'self', 'active', '', 6, 30, 'sha1', {empty}, {mark}, 0, 0, 0, 0, '', "
        "NULL, NULL, NULL, false, NULL, NULL, NULL",
        "throttles": f"n, 'passcode', 1, 0, {empty}",
        "challenges": f"md5(n::text), n, 'vpn' || mod(n, 5), 'radius', 3, {late} + n, 'pin', 'login', NULL, '', "
        f"{empty}, true, '', '[]', '[]'",
        "guesses": "n, 1, 1",
        "reuse_windows": f"n, 'vpn', '192.0.2.1', {late} + n, 1, {empty}",
        "known_sources": "n, '192.0.2.1', 0, 0, 0",
        "source_scores": f"'filler' || n, mod(n, 9), 0, {late} + n",
        "answers": f"n, {mark}, n, {late} + n, 1, {empty}",
        "tickets": f"{mark}, n, {late} + n, true",
        "floods": f"'filler' || n, {late} + n, 0",
        "audit": f"'filler', n, 0, 'login', 'accept', '', 'filler' || n, '', '', '', '', '', '', '{{}}', {empty}",
        "audit_heads": f"'filler' || n, 1, {empty}",
    }
    with site.database.connections.writing(hurried=False) as connection:
        for table, values in columns.items():
            numbers = f"generate_series(1000001, {1_000_000 + rows}) AS n"
            connection.exec_driver_sql(f"INSERT INTO {table} SELECT {values} FROM {numbers}")
        connection.exec_driver_sql("ANALYZE")


def asked_about(site: Site, statements: tuple[Statement, ...]) -> list[Finding]:
    with site.database.connections.reading() as connection:
        return findings(connection, statements)


def unexplained(found: list[Finding]) -> list[str]:
    explained = {"scan": WHOLE, "sort": SORTED}
    return [str(one) for one in found if (one.verb, one.table) not in explained.get(one.what, {})]


def test_every_statement_of_a_login_finds_its_rows_by_an_index(heard: Heard) -> None:
    assert unexplained(asked_about(heard.site, heard.statements)) == []


def test_the_statements_are_those_of_every_kind_of_login(heard: Heard) -> None:
    assert heard.reasons >= REASONS
    there = {(statement.verb, statement.table) for statement in heard.statements}
    assert {(verb, table) for verb, tables in HEARD.items() for table in tables.split()} - there == set()
    sizes = {statement.text.count("%(w") + statement.text.count("?") for statement in heard.statements}
    assert {1, 64} <= sizes, "logins alone, and in batches"


def test_no_exception_is_made_for_what_is_not_done(heard: Heard) -> None:
    whole = {(one.verb, one.table) for one in asked_about(heard.site, heard.statements) if one.what == "scan"}
    assert set(WHOLE) <= whole


class _Undone(Exception):
    """Thrown away with the transaction it ends."""


def without(site: Site, index: str, statements: tuple[Statement, ...]) -> list[str]:
    """What is found where one index is missing."""
    found: list[str] = []
    with suppress(_Undone), site.database.connections.writing(hurried=False) as connection:
        connection.exec_driver_sql(f"DROP INDEX {index}")
        found = unexplained(findings(connection, statements))
        raise _Undone
    return found


@pytest.mark.parametrize("index", sorted(set(INDEXES) - set(NOT_OF_LOGINS)))
def test_an_index_that_is_missing_is_missed(heard: Heard, index: str) -> None:
    missed = without(heard.site, index, heard.statements)
    assert missed != []
    (table,) = [table.name for table in metadata.sorted_tables for one in table.indexes if one.name == index]
    assert any(f" {table} " in line for line in missed), missed


@pytest.mark.parametrize("index", NOT_OF_LOGINS)
def test_what_is_said_to_be_of_no_login_is_of_none(heard: Heard, index: str) -> None:
    assert without(heard.site, index, heard.statements) == []


PLANTED = (
    "SELECT id FROM users WHERE disabled",
    "UPDATE tokens SET failures = 0 WHERE label = 'x'",
    "DELETE FROM audit WHERE at < 0",
    "SELECT name FROM users ORDER BY created_at",
    "SELECT serial FROM tokens ORDER BY serial",
    "SELECT count(*) FROM challenges WHERE tries_left > 1",
)


@pytest.mark.parametrize("text", PLANTED)
def test_a_statement_without_an_index_is_found(heard: Heard, text: str) -> None:
    assert unexplained(asked_about(heard.site, (Statement(text, ()),))) != []
