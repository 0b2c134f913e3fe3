"""Views for people: what is asked for, in order, and never a key, a secret or a hash."""

import json
from typing import Any

import pytest

from store import listings
from tests.site import PASSWORD, SECRET, Site
from tests.store import raw


@pytest.fixture
def crowd(site: Site) -> Site:
    for name in ("bob", "alice", "carol"):
        site.add_user(name, PASSWORD if name == "alice" else None, groups=("staff",) if name == "bob" else ())
    site.enroll("carol", serial="TF-C")
    site.enroll("alice", serial="TF-A1")
    site.enroll("alice", kind="hotp", serial="TF-A2")
    site.add_client("vpn", "192.0.2.1/32")
    site.add_client("mail", "192.0.2.2/32")
    return site


def test_users_come_by_name_with_their_active_tokens(crowd: Site) -> None:
    with crowd.database.connections.reading() as connection:
        found = listings.user_rows(connection)
        (alice,) = listings.user_rows(connection, "alice")
    shown = [(row["name"], row["groups"], row["has_password"], row["active_tokens"]) for row in found]
    assert shown == [("alice", [], True, 2), ("bob", ["staff"], False, 0), ("carol", [], False, 1)]
    assert alice == found[0]


def test_tokens_come_by_user_and_can_be_picked(crowd: Site) -> None:
    with crowd.database.connections.reading() as connection:
        every = [row["serial"] for row in listings.token_rows(connection)]
        alices = [row["serial"] for row in listings.token_rows(connection, user="alice")]
        one = [row["user"] for row in listings.token_rows(connection, serial="TF-C")]
    assert (every, alices, one) == (["TF-A1", "TF-A2", "TF-C"], ["TF-A1", "TF-A2"], ["carol"])


@pytest.mark.statement("O-048")
def test_no_view_shows_what_is_sealed_or_hashed(crowd: Site) -> None:
    with crowd.database.connections.reading() as connection:
        shown: list[Any] = [
            *listings.user_rows(connection),
            *listings.token_rows(connection),
            *listings.client_rows(connection),
            *listings.audit_rows(connection),
        ]
    columns = {name for row in shown for name in row}
    assert not columns & {"password_hash", "sealed_key", "fingerprint", "sealed_secret"}
    text = repr(shown)
    for (secret,) in raw.rows(
        crowd.config.database,
        "SELECT sealed_key FROM tokens UNION SELECT fingerprint FROM tokens UNION SELECT sealed_secret FROM clients "
        "UNION SELECT password_hash FROM users WHERE password_hash IS NOT NULL",
    ):
        assert repr(secret)[2:-1] not in text
    assert SECRET.decode() not in text


def test_audit_rows_come_from_old_to_new(crowd: Site) -> None:
    with crowd.database.connections.reading() as connection:
        rows = list(listings.audit_rows(connection))
        newest = list(listings.audit_rows(connection, limit=2))
        alices = [row["event"] for row in listings.audit_rows(connection, names=["alice"])]
        later = list(listings.audit_rows(connection, since=rows[3]["at"]))
        none = list(listings.audit_rows(connection, names=["nobody"]))
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert newest == rows[-2:]
    assert alices == ["user-add", "token-enroll", "token-enroll"]
    assert later == [row for row in rows if row["at"] >= rows[3]["at"]]
    assert none == []


def test_a_row_that_was_tampered_with_can_still_be_listed(crowd: Site) -> None:
    """`audit list` shows what is there; `audit verify` says what is wrong with it."""
    raw.tamper(
        crowd.config.database,
        "UPDATE audit SET detail = 'no json' WHERE seq = 2",
        "UPDATE audit SET detail = '[1]' WHERE seq = 3",
        "UPDATE audit SET mac = 'text' WHERE seq = 4",
    )
    rows = crowd.audit()
    details = [row["detail"] for row in rows[1:3]]
    assert details == [{"unreadable": "no json"}, {"unreadable": "[1]"}]
    assert rows[3]["mac"] == "text"
    assert json.dumps(rows)
