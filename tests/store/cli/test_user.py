"""`twofold user`: who may log in, and what becomes of open logins when that changes."""

import re

import pytest

from first_factor import checker
from tests.site import Site, hashed, pin
from tests.store import raw
from tests.store.cli.command import Twofold
from validation.model import Mode
from validation.requests import FirstFactor, LookRequest


def document(twofold: Twofold, name: str) -> dict[str, object]:
    found = twofold.done("user", "show", name, "--json").json
    assert isinstance(found, dict)
    return found


def password_is(site: Site, name: str, password: str) -> bool:
    """Whether a login with `password` would get past the first factor."""
    site.add_client()
    (look,) = site.gate.look([LookRequest(name, "vpn", Mode.CHALLENGE)])
    return checker(site.config).check(look, password).status is FirstFactor.PROVED


def events(site: Site) -> list[tuple[object, object]]:
    return [(row["event"], row["user"]) for row in site.audit()]


def test_add_says_what_comes_next(twofold: Twofold, site: Site) -> None:
    lines = twofold.done("user", "add", "alice").out.splitlines()
    assert lines == [
        "User alice added.",
        "No password yet: twofold user set alice --password-stdin",
        "Next: a first login pairs an app; or hand out a token: twofold token enroll alice",
    ]
    assert events(site) == [("store-create", ""), ("user-add", "alice")]


def test_a_user_of_this_host_has_no_password_here(twofold: Twofold, site: Site) -> None:
    added = twofold.done("user", "add", "alice", "--first-factor", "system").out.splitlines()
    assert added[1] == "The password is that of this host's account alice, as getpwnam spells it."
    shown = twofold.done("user", "show", "alice").out
    assert "  password      system\n" in shown
    assert "none set" not in shown
    assert "No password" not in shown
    refused = twofold("user", "set", "alice", "--password-stdin", stdin="geheim")
    assert (refused.status, "kept elsewhere" in refused.sentence) == (2, True)
    moved = twofold("user", "set", "alice", "--first-factor", "local", "--password-stdin", stdin="geheim")
    assert moved.status == 0, moved
    assert password_is(site, "alice", "geheim")


@pytest.mark.parametrize(
    ("typed", "password"),
    [
        ("geheim\n", "geheim"),
        ("geheim", "geheim"),
        ("geheim\r\n", "geheim"),
        (" ge heim \n", " ge heim "),
        ("ü€\n\n", "ü€\n"),
    ],
)
def test_the_password_is_what_was_typed_without_the_last_line_break(
    twofold: Twofold, site: Site, typed: str, password: str
) -> None:
    assert "password" not in twofold.done("user", "add", "alice", "--password-stdin", stdin=typed).out
    assert password_is(site, "alice", password)


def test_a_hash_is_read_only_if_a_login_can_be_checked_against_it(twofold: Twofold, site: Site) -> None:
    made = hashed("geheim")
    twofold.done("user", "add", "alice", "--password-hash-stdin", stdin=f"{made}\n")
    for verb, name in (("add", "bob"), ("set", "alice")):
        refused = twofold("user", verb, name, "--password-hash-stdin", stdin="a password, typed by mistake")
        assert (refused.status, "password hash: must be an argon2id hash" in refused.sentence) == (2, True)
        assert "typed by mistake" not in refused.err
        both = twofold("user", verb, name, "--password-hash-stdin", "--password-stdin", stdin=made)
        assert (both.status, "exclude each other" in both.sentence) == (2, True)
    assert password_is(site, "alice", "geheim")
    assert [row["name"] for row in twofold.done("user", "list", "--json").json] == ["alice"]


def test_set_changes_what_is_named(twofold: Twofold, site: Site) -> None:
    twofold.done("user", "add", "alice", "--group", "a", "--group", "b", "--password-stdin", stdin="old")
    twofold.done("user", "set", "alice", "--password-stdin", stdin="new")
    assert document(twofold, "alice")["groups"] == ["a", "b"]
    twofold.done("user", "set", "alice", "--group", "c")
    assert document(twofold, "alice")["groups"] == ["c"]
    twofold.done("user", "set", "alice", "--group", "")
    assert document(twofold, "alice")["groups"] == []
    twofold.done("user", "set", "alice", "--first-factor", "local")
    assert document(twofold, "alice")["has_password"] is True
    assert password_is(site, "alice", "new")


def test_the_list_as_a_table_and_as_a_document(twofold: Twofold, site: Site) -> None:
    twofold.done("user", "add", "bob", "--group", "staff", "--group", "vpn", "--password-stdin", stdin="x")
    twofold.done("user", "add", "alice")
    site.enroll("bob")
    twofold.done("user", "lock", "alice")
    twofold.done("user", "disable", "alice")
    table = [line.split() for line in twofold.done("user", "list").out.splitlines()]
    assert table == [
        ["name", "state", "first", "factor", "groups", "active", "tokens"],
        ["alice", "disabled,", "locked", "policy", "0"],
        ["bob", "active", "local", "staff", "vpn", "1"],
    ]
    rows = twofold.done("user", "list", "--json").json
    assert isinstance(rows, list)
    assert [row | {"created_at": "…"} for row in rows] == [
        {
            "name": "alice",
            "state": "disabled, locked",
            "first_factor": None,
            "has_password": False,
            "groups": [],
            "replies": {},
            "active_tokens": 0,
            "created_at": "…",
        },
        {
            "name": "bob",
            "state": "active",
            "first_factor": "local",
            "has_password": True,
            "groups": ["staff", "vpn"],
            "replies": {},
            "active_tokens": 1,
            "created_at": "…",
        },
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", row["created_at"]) for row in rows)


def test_an_empty_list_is_an_array(twofold: Twofold) -> None:
    assert twofold.done("user", "list", "--json").json == []


def test_show_tells_tokens_failures_and_open_logins(twofold: Twofold, site: Site) -> None:
    site.add_user("alice")
    token = site.enroll("alice", serial="TF-1")
    site.add_client()
    with site.server() as server, server.nas() as nas:
        nas.login("alice", "wrong")
        nas.login("alice", "geheim")
    shown = twofold.done("user", "show", "alice").out
    for words in ("alice: active, added ", "TF-1 (totp, active), last used never", "1 x password", "open logins   1"):
        assert words in shown
    assert document(twofold, "alice") | {"created_at": "…", "pairing_open_until": "…"} == {
        "name": "alice",
        "state": "active",
        "first_factor": "local",
        "has_password": True,
        "groups": [],
        "replies": {},
        "active_tokens": 1,
        "created_at": "…",
        "throttles": [{"factor": "password", "failures": 1, "blocked_until": None}],
        "open_challenges": 1,
        "next_login": "ask",
        "reason": "password-right",
        "registrations": ["TF-1"],
        "pairing_open_until": "…",
        "bypass_until": None,
        "guesses_left": 900,
    }
    assert pin(token) not in shown


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ([], "No registration yet: the next login begins one, where the way in allows it."),
        (["user pairing alice --close"], "No registration, and pairing is closed, so every login is refused"),
        (
            ["policy set enrolment hardware-only"],
            "Hardware-only, none assigned: every login is refused",
        ),
        (["policy set enrolment off"], "No usable token, so every login is refused: twofold token enroll alice"),
        (["policy set grace 14d"], "No registration yet: the next login is let in with a reminder, by grace."),
        (["policy set second_factor skip"], "The next login needs no PIN: policy second_factor is skip."),
        (["user bypass alice --hours 2"], "The next login needs no PIN: a bypass runs."),
        (["token enroll alice"], "The next login asks for password and PIN."),
        (["user lock alice"], "Locked, so every login is refused: twofold user unlock alice"),
        (["user disable alice"], "Disabled, so every login is refused: twofold user enable alice"),
        (["recovery issue alice"], "No registration yet: the next login begins one, where the way in allows it."),
    ],
)
def test_show_says_what_the_next_login_does(twofold: Twofold, site: Site, commands: list[str], words: str) -> None:
    site.add_user("alice")
    for command in commands:
        twofold.done(*command.split())
    assert words in twofold.done("user", "show", "alice").out.splitlines()[-1]


def test_show_says_that_there_is_no_password_yet(twofold: Twofold) -> None:
    twofold.done("user", "add", "alice")
    shown = twofold.done("user", "show", "alice").out
    assert "as policy says, none set" in shown
    assert shown.endswith("No password yet, so every login is refused: twofold user set alice --password-stdin\n")


@pytest.mark.parametrize(
    ("verb", "state"), [("lock", "locked"), ("unlock", "active"), ("disable", "disabled"), ("enable", "active")]
)
def test_a_state_is_changed_and_written_down(twofold: Twofold, site: Site, verb: str, state: str) -> None:
    twofold.done("user", "add", "alice")
    before = {"unlock": "lock", "enable": "disable"}.get(verb)
    if before is not None:
        twofold.done("user", before, "alice")
    assert twofold.done("user", verb, "alice").out == f"User alice {verb.removesuffix('e')}ed.\n"
    assert document(twofold, "alice")["state"] == state
    assert events(site)[-1] == (f"user-{verb}", "alice")


def test_unlock_takes_the_waits_away(twofold: Twofold, site: Site) -> None:
    site.add_user("alice", None)
    raw.tamper(site.config.database, "INSERT INTO throttles VALUES (1, 'password', 9, 4e9, x'')")
    assert "nothing is checked until 2096" in twofold.done("user", "show", "alice").out
    twofold.done("user", "unlock", "alice")
    assert site.failures("alice") == {"password": 0, "passcode": 0}


def test_remove_names_the_tokens_that_died(twofold: Twofold, site: Site) -> None:
    site.add_user("alice", None)
    for serial in ("TF-1", "TF-2"):
        site.enroll("alice", serial=serial)
    assert twofold.done("user", "remove", "alice").out == "User alice removed. Tokens revoked: TF-1, TF-2.\n"
    assert twofold.done("user", "list", "--json").json == []
    assert twofold.done("token", "list", "--json").json == []
    twofold.done("user", "add", "bob")
    assert twofold.done("user", "remove", "bob").out == "User bob removed. Tokens revoked: none.\n"


@pytest.mark.parametrize(
    "name", ["alice", "Müller", "a b", "DOMAIN\\user", "user@example.org", "x" * 253, "名前", "*", "0"]
)
def test_a_name_is_kept_as_it_was_written(twofold: Twofold, name: str) -> None:
    twofold.done("user", "add", name)
    assert [row["name"] for row in twofold.done("user", "list", "--json").json] == [name]
    assert document(twofold, name)["name"] == name


def test_names_that_differ_in_case_are_two_users(twofold: Twofold) -> None:
    twofold.done("user", "add", "alice")
    twofold.done("user", "add", "Alice")
    assert len(twofold.done("user", "list", "--json").json) == 2
