"""`twofold token`: what is printed is what is stored, and what is stored lets its owner in."""

import re
import time

import pytest

from tests.site import Site
from tests.store import raw
from tests.store.cli.command import Twofold
from tests.store.cli.otp import App, scanned
from validation.decisions import Accept, Decision, Reason
from validation.model import Mode
from validation.requests import Channel, LoginRequest

KEY_20 = "3d69dc311d8d74e1ce092e408027fe7cc9ca5f76"
KEY_16 = "ae67a8c866a8f9b8b10d0359001b8a7d"
T = 1_767_225_600  # 2026-01-01T00:00:00Z

# Real spellings of two keys, as people paste them (keepassxc#1022, #3825, onetimepass#20, totp-cli#8, rotp#39).
SPELLINGS = [
    (KEY_20, "HVU5YMI5RV2ODTQJFZAIAJ76PTE4UX3W"),
    (KEY_20, "hvu5ymi5rv2odtqjfzaiaj76pte4ux3w"),
    (KEY_20, "hvu5 ymi5 rv2o dtqj fzai aj76 pte4 ux3w"),
    (KEY_20, "HVU5-YMI5-RV2O-DTQJ-FZAI-AJ76-PTE4-UX3W"),
    (KEY_16, "VZT2RSDGVD43RMINANMQAG4KPU======"),
    (KEY_16, "VZT2RSDGVD43RMINANMQAG4KPU"),
    (KEY_16, "vzt2rsdgvd43rminanmqag4kpu"),
    (KEY_16, "vzt2rsdgvd43rminanmqag4kpu  "),
]
# What apps show for them at T and one step later, computed with another program.
SHOWN = {KEY_20: ("028033", "074041"), KEY_16: ("820668", "149412")}


@pytest.fixture(autouse=True)
def alice(site: Site) -> None:
    site.add_user("alice", None)
    site.add_client("vpn", mode=Mode.PASSCODE_ONLY)


def login(site: Site, passcode: str, user: str = "alice") -> Decision:
    """A login by PIN alone, through the gate."""
    (client,) = site.gate.clients()
    channel = Channel.for_mode(Mode.PASSCODE_ONLY)
    (decision,) = site.gate.login([LoginRequest(user, channel, "vpn", client.version, passcode=passcode)])
    assert not isinstance(decision, Exception)
    return decision


def enrolled(twofold: Twofold, *options: str, stdin: str = "") -> tuple[dict[str, object], App]:
    """The document of `enroll --json` and what an app makes of its address."""
    document = twofold.done("token", "enroll", "alice", "--json", *options, stdin=stdin).json
    return document, scanned(document["uri"])


# --- enroll


def test_the_document_says_what_was_stored(twofold: Twofold, site: Site) -> None:
    document, app = enrolled(twofold, "--label", "blue phone")
    assert re.fullmatch(r"TF-[2-9A-HJ-NP-Z]{6}", str(document["serial"]))
    key, uri = document.pop("key"), document.pop("uri")
    assert document == {
        "serial": document["serial"],
        "user": "alice",
        "kind": "totp",
        "digits": 6,
        "algorithm": "sha1",
        "label": "blue phone",
        "period": 30,
    }
    assert app == App("totp", "Twofold", "alice", app.key, 6, "SHA1", 30, None)
    assert isinstance(key, str)
    assert f"secret={key}&" in str(uri)
    row = site.token_row(str(document["serial"]))
    assert {name: row[name] for name in document} == document


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("digits", ["6", "7", "8"])
@pytest.mark.parametrize(("kind", "options"), [("totp", ["--period", "60"]), ("hotp", [])])
def test_what_is_printed_lets_its_owner_in(
    twofold: Twofold, site: Site, kind: str, options: list[str], digits: str, algorithm: str
) -> None:
    document, app = enrolled(twofold, "--kind", kind, "--digits", digits, "--algorithm", algorithm, *options)
    assert (app.kind, app.digits, app.algorithm) == (kind, int(digits), algorithm.upper())
    assert (app.period, app.counter) == ((60, None) if kind == "totp" else (None, 0))
    assert login(site, app.shows(time.time())) == Accept("alice", Reason.PASSCODE_RIGHT, str(document["serial"]), kind)


@pytest.mark.statement("O-002")
def test_a_made_key_has_160_bits_and_is_never_made_twice(twofold: Twofold) -> None:
    keys = [enrolled(twofold)[1].key for _ in range(5)]
    assert {len(key) for key in keys} == {20}
    assert len(set(keys)) == 5


def test_without_json_the_key_is_shown_in_groups_of_four(twofold: Twofold) -> None:
    said = twofold.done("token", "enroll", "alice").out
    lines = said.splitlines()
    assert re.fullmatch(r"Token TF-\w{6} for alice \(TOTP, 6 digits, every 30 s\)\. It works at once\.", lines[0])
    (key,) = re.findall(r"^Key   ((?:[A-Z2-7]{4} ){7}[A-Z2-7]{4})$", said, re.MULTILINE)
    (link,) = re.findall(r"^Link  (\S+)$", said, re.MULTILINE)
    assert f"secret={key.replace(' ', '')}&" in link
    assert scanned(link).account == "alice"
    assert lines[-1] == "Shown once. Hand it over in person."
    assert max(map(len, lines[:-2])) <= 80, "the QR code and the key fit a terminal"


def test_the_key_is_not_shown_again(twofold: Twofold) -> None:
    document, _ = enrolled(twofold, "--serial", "TF-1")
    key = str(document["key"])
    for arguments in (
        ["token", "list"],
        ["token", "list", "--json"],
        ["token", "show", "TF-1"],
        ["token", "show", "TF-1", "--json"],
        ["user", "show", "alice"],
        ["audit", "list"],
        ["audit", "list", "--json"],
    ):
        assert key not in twofold.done(*arguments).out.replace(" ", "")


def test_the_issuer_of_the_configuration_is_in_the_address(twofold: Twofold, site: Site) -> None:
    site.config_file.write_text('[store]\nissuer = "Müller: & Söhne"\n')
    _, app = enrolled(twofold)
    assert (app.issuer, app.account) == ("Müller: & Söhne", "alice")


@pytest.mark.parametrize("user", ["Bob Müller", "bob:1", "bob@example.org", "DOMAIN\\bob", "a/b?c#d&e=f%41+"])
def test_any_account_survives_the_address(twofold: Twofold, site: Site, user: str) -> None:
    site.add_user(user, None)
    assert scanned(twofold.done("token", "enroll", user, "--json").json["uri"]).account == user


def test_a_serial_may_be_given(twofold: Twofold) -> None:
    document, _ = enrolled(twofold, "--serial", "2600135000012")
    assert document["serial"] == "2600135000012"


# --- Keys from elsewhere


@pytest.mark.parametrize(("key", "spelling"), SPELLINGS)
def test_a_key_is_taken_however_it_is_spelled(twofold: Twofold, site: Site, key: str, spelling: str) -> None:
    document, app = enrolled(twofold, "--key-stdin", "--serial", "TF-1", stdin=spelling + "\n")
    assert app.key.hex() == key
    assert (app.shows(T), app.shows(T + 30)) == SHOWN[key]
    assert login(site, app.shows(time.time())) == Accept("alice", Reason.PASSCODE_RIGHT, "TF-1", "totp")
    assert document["key"] == spelling.strip().upper().replace(" ", "").replace("-", "").rstrip("=")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("HVU5YMI50189DTQJFZAIAJ76PTE4UX3W", "the character '0' does not occur in Base32"),
        ("HVU5YMI5RV2ODTQJFZAIAJ76PTE4UX", "30 Base32 characters are not a whole number of octets"),
        ("HVU5YMI5=V2ODTQJFZAIAJ76PTE4UX3W", "the character '='"),
        ("HVU5YMI5RV2ODTQJFZAIAJ76PTE4UX3ß", "the character 'ß'"),
        ("3d69dc311d8d74e1ce092e408027fe7cc9ca5f76", "it looks like hex, which must be converted first"),
        ("", "key: empty"),
        (" - \n", "key: empty"),
    ],
)
def test_what_is_no_key_is_refused_with_the_first_bad_character(
    twofold: Twofold, site: Site, typed: str, words: str
) -> None:
    before = raw.contents(site.config.database)
    result = twofold("token", "enroll", "alice", "--key-stdin", stdin=typed)
    assert (result.status, result.out) == (2, "")
    assert result.sentence.startswith("twofold: key: ")
    assert words in result.sentence
    assert len(typed) < 8 or typed.strip() not in result.err, "the key is repeated"
    assert raw.contents(site.config.database) == before


def base32(octets: int) -> str:
    import base64

    return base64.b32encode(bytes(range(1, octets + 1))).decode()


@pytest.mark.statement("O-002", "O-051")
@pytest.mark.parametrize(
    ("octets", "forced", "status", "words"),
    [
        (13, False, 2, "104 bits are too few; at least 112 are needed"),
        (13, True, 2, "104 bits are too few; at least 112 are needed"),
        (14, False, 2, "112 bits; RFC 4226 asks for at least 128"),
        (15, False, 2, "120 bits; RFC 4226 asks for at least 128"),
        (14, True, 0, ""),
        (16, False, 0, ""),
        (20, False, 0, ""),
        (64, False, 0, ""),
    ],
)
@pytest.mark.parametrize("kind", ["totp", "hotp"])
def test_a_key_must_be_long_enough(
    twofold: Twofold, site: Site, kind: str, octets: int, forced: bool, status: int, words: str
) -> None:
    options = ["--kind", kind, "--key-stdin", "--serial", "TF-1", *(["--allow-short-key"] if forced else [])]
    result = twofold("token", "enroll", "alice", "--json", *options, stdin=base32(octets))
    assert result.status == status, result
    assert words in result.err
    if status:
        assert result.sentence.startswith("twofold: key: ")
        assert twofold.done("token", "list", "--json").json == []
    else:
        app = scanned(result.json["uri"])
        assert login(site, app.shows(time.time())) == Accept("alice", Reason.PASSCODE_RIGHT, "TF-1", kind)


@pytest.mark.parametrize("period", ["30", "60", "120"])
@pytest.mark.statement("O-022")
def test_a_step_may_have_up_to_two_minutes(twofold: Twofold, site: Site, period: str) -> None:
    _, app = enrolled(twofold, "--period", period, "--serial", "TF-1")
    assert app.period == int(period)
    assert login(site, app.shows(time.time())) == Accept("alice", Reason.PASSCODE_RIGHT, "TF-1", "totp")


@pytest.mark.parametrize("period", ["121", "9", "0", "-30", "99999999999999999999"])
@pytest.mark.statement("O-022")
def test_a_step_of_another_length_is_refused(twofold: Twofold, period: str) -> None:
    result = twofold("token", "enroll", "alice", "--period", period)
    assert (result.status, result.out) == (2, "")
    assert "period" in result.sentence
    assert twofold.done("token", "list", "--json").json == []


def test_a_counter_token_has_no_period(twofold: Twofold) -> None:
    result = twofold("token", "enroll", "alice", "--kind", "hotp", "--period", "30")
    assert (result.status, result.out) == (2, "")
    assert result.sentence == "Error: --period goes with --kind totp: a counter token knows no time"


def test_a_key_belongs_to_one_token_for_ever(twofold: Twofold, site: Site) -> None:
    """Not under another serial, not for another user, not after it was revoked, not after its user was removed."""
    site.add_user("bob", None)
    spelling = SPELLINGS[0][1]
    twofold.done("token", "enroll", "alice", "--key-stdin", "--serial", "TF-1", stdin=spelling)
    for step in ([], ["token", "revoke", "TF-1"], ["user", "remove", "alice"]):
        if step:
            twofold.done(*step)
        result = twofold("token", "enroll", "bob", "--key-stdin", "--serial", "TF-2", stdin=spelling.lower())
        assert (result.status, result.out) == (1, "")
        assert "this key is already known, as TF-1" in result.sentence
        assert spelling not in result.err.upper()


# --- list, show


def test_list_and_show(twofold: Twofold, site: Site) -> None:
    assert twofold.done("token", "list", "--json").json == []
    site.add_user("bob", None)
    twofold.done("token", "enroll", "bob", "--serial", "TF-B", "--kind", "hotp", "--digits", "8")
    twofold.done("token", "enroll", "alice", "--serial", "TF-A", "--label", "phone")
    rows = twofold.done("token", "list", "--json").json
    assert [(row["serial"], row["user"], row["kind"], row["state"]) for row in rows] == [
        ("TF-A", "alice", "totp", "active"),
        ("TF-B", "bob", "hotp", "active"),
    ]
    totp, hotp = (row | {"created_at": "…"} for row in rows)
    assert totp == {
        "serial": "TF-A",
        "user": "alice",
        "kind": "totp",
        "state": "active",
        "origin": "self",
        "label": "phone",
        "digits": 6,
        "algorithm": "sha1",
        "period": 30,
        "next_step": 0,
        "drift": 0,
        "starts_at": None,
        "expires_at": None,
        "failures": 0,
        "created_at": "…",
        "last_used_at": None,
        "revoked_at": None,
        "revoke_reason": None,
    }
    assert (hotp["counter"], hotp["digits"], hotp["period"]) == (0, 8, None)
    assert twofold.done("token", "list", "--json", "--user", "bob").json == [rows[1]]
    assert twofold.done("token", "show", "TF-A", "--json").json == rows[0]
    table = [line.split() for line in twofold.done("token", "list").out.splitlines()]
    assert table[1] == ["TF-A", "alice", "totp", "active", "self", "never", "phone"]
    shown = dict(line.split(None, 1) for line in twofold.done("token", "show", "TF-A").out.splitlines())
    assert (shown["serial"], shown["label"], shown["drift"]) == ("TF-A", "phone", "0")
    assert "window" not in shown, "that is the policy's, which may differ from client to client"


def test_a_login_is_seen_in_the_list(twofold: Twofold, site: Site) -> None:
    _, app = enrolled(twofold, "--serial", "TF-1", "--kind", "hotp")
    assert isinstance(login(site, app.at(3)), Accept)
    row = twofold.done("token", "show", "TF-1", "--json").json
    assert row["counter"] == 4
    assert row["last_used_at"] is not None


# --- revoke


def test_revoke_by_serial(twofold: Twofold, site: Site) -> None:
    _, app = enrolled(twofold, "--serial", "TF-1", "--kind", "hotp")
    result = twofold.done("token", "revoke", "TF-1", "--reason", "lost")
    assert result.out == "Revoked: TF-1.\n"
    assert "alice has no registration left: the next login pairs an app, or hands out a ticket for that." in result.err
    row = twofold.done("token", "show", "TF-1", "--json").json
    assert (row["state"], row["revoke_reason"]) == ("revoked", "lost")
    assert row["revoked_at"] is not None
    assert not isinstance(login(site, app.at(0)), Accept)
    assert site.audit()[-2]["detail"] == {"why": "lost"}


def test_revoke_says_what_is_left(twofold: Twofold) -> None:
    for serial in ("TF-1", "TF-2"):
        enrolled(twofold, "--serial", serial)
    assert twofold.done("token", "revoke", "TF-1").err == "note: alice can still log in with TF-2.\n"


def test_revoke_by_user(twofold: Twofold) -> None:
    enrolled(twofold, "--serial", "TF-1")
    assert twofold.done("token", "revoke", "--user", "alice").out == "Revoked: TF-1.\n"
    for serial in ("TF-2", "TF-3"):
        enrolled(twofold, "--serial", serial)
    result = twofold("token", "revoke", "--user", "alice")
    assert result.status == 1
    assert "alice has 2 tokens (TF-2, TF-3); name one serial, or give --all" in result.sentence
    assert twofold.done("token", "revoke", "--user", "alice", "--all").out == "Revoked: TF-2, TF-3.\n"
    assert {row["state"] for row in twofold.done("token", "list", "--json").json} == {"revoked"}


def test_a_revoked_token_stays_in_the_list_and_cannot_be_revoked_again(twofold: Twofold) -> None:
    enrolled(twofold, "--serial", "TF-1")
    twofold.done("token", "revoke", "TF-1")
    result = twofold("token", "revoke", "TF-1")
    assert (result.status, result.sentence) == (1, "twofold: token TF-1 is revoked already")
    assert twofold("token", "enroll", "alice", "--serial", "TF-1").status == 1


def test_a_token_may_be_forgiven_more_presses_than_the_policy(twofold: Twofold, site: Site) -> None:
    twofold.done("token", "enroll", "alice", "--kind", "hotp", "--look-ahead", "50", "--serial", "TF-1")
    assert twofold.done("token", "show", "TF-1", "--json").json["look_ahead"] == 50
    assert "--look-ahead goes with --kind hotp" in twofold("token", "enroll", "alice", "--look-ahead", "5").err
    assert twofold("token", "enroll", "alice", "--kind", "hotp", "--look-ahead", "101").status == 2


def test_a_sheet_of_recovery_codes_is_no_token_to_choose_from(twofold: Twofold, site: Site) -> None:
    site.enroll("alice", serial="TF-1")
    twofold.done("recovery", "issue", "alice")
    assert [row["active_tokens"] for row in twofold.done("user", "list", "--json").json] == [1]
    assert twofold.done("token", "revoke", "--user", "alice").out == "Revoked: TF-1.\n"
    assert "has no token to revoke" in twofold("token", "revoke", "--user", "alice").err
    states = {row["kind"]: row["state"] for row in twofold.done("token", "list", "--json").json}
    assert states == {"totp": "revoked", "recovery_code": "active"}
    twofold.done("token", "revoke", "--user", "alice", "--all")
