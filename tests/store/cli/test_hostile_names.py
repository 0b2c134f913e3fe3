"""Names that strangers choose can forge no line of a log and steer no terminal, and can be read back."""

import json
import os
import re
import unicodedata
from collections.abc import Iterator

import pytest

from store.cli import shared
from tests.site import SECRET, Site, eventually
from tests.store import raw
from tests.store.cli.command import Twofold
from tests.wire import Nas, access_request

pytestmark = pytest.mark.statement("C-032")

NAMES = [
    "alice\nreject user=root client=vpn",
    "alice\r\n2026-01-01 00:00:00,000 INFO accept user=root client=vpn",
    "a\rb",
    "a\0b",
    "a\x1b[2J\x1b[31mb",
    "a\x9b31mb",
    "a\x7fb\x08\x08c",
    "a\u2028b\u2029c",
    "a\x85b\x0bc\x0cd\x1ce",
    "a\u202eecila",
    "a\u200bb\ufeffc",
    "a\ue000b\U000f0000c",
    'a" user="root',
    "a user=root client=other reason=passcode-right",
    "a=b",
    "a\\",
    "a\\nb\\x1b",
    '\\"',
    "a\tb",
    "é" * 126,
    "\x01" * 253,
    "\U0001f600 \U000e0001",
    " ",
    "'; DROP TABLE users; --",
    "%s%n{0}{user}",
    "../../etc/passwd",
    "[bold red]alice[/]",
    ":warning:",
]
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?:DEBUG|INFO|WARNING|ERROR) (?P<message>\S.*)")
PAIR = re.compile(r' ([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "]*)')
ESCAPE = re.compile(r"\\(?:\\|\"|x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")


def steers(text: str) -> list[str]:
    """The characters of `text` that a terminal or a reader of lines would act on."""
    return [char for char in text if unicodedata.category(char)[0] == "C" or char in "\u2028\u2029"]


def parsed(message: str) -> tuple[str, dict[str, str]]:
    """A log line taken apart again: its first word and its values, unescaped."""
    word, _, _ = message.partition(" ")
    values: dict[str, str] = {}
    at = len(word)
    while at < len(message):
        match = PAIR.match(message, at)
        assert match is not None, f"cannot be read from {message[at:]!r}"
        name, value = match.groups()
        assert name not in values
        values[name] = unescaped(value[1:-1] if value.startswith('"') else value)
        at = match.end()
    return word, values


def unescaped(text: str) -> str:
    def char(match: "re.Match[str]") -> str:
        code = match[1] or match[2] or match[3]
        return chr(int(code, 16)) if code else match[0][1]

    return ESCAPE.sub(char, text)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, str]]:
    """A site whose server was asked to let each of NAMES in, and its log."""
    site = Site(tmp_path_factory.mktemp("hostile"))
    site.add_client("vpn")
    with site.server() as server:
        requests = [access_request(SECRET, name, "geheim", identifier=n) for n, name in enumerate(NAMES)]
        with Nas(server.address, SECRET) as nas:
            for request in requests:
                nas.send(request.data)
            waiting = {request.data[1] for request in requests}
            while waiting:
                reply = nas.receive()
                assert reply is not None, f"no answer to {waiting}"
                waiting.discard(reply.identifier)
        eventually(lambda: server.log.count(" reject ") >= len(NAMES), what="a line for each name")
    yield site, server.log
    site.database.close()


def test_each_request_is_one_line_of_the_log(asked: tuple[Site, str]) -> None:
    _, log = asked
    assert log.endswith("\n")
    lines = log.split("\n")[:-1]
    assert steers("".join(lines)) == []
    messages = [match["message"] for match in map(LINE.fullmatch, lines) if match]
    assert len(messages) == len(lines), "a line that is none of ours"
    rejects = [parsed(message)[1] for message in messages if message.startswith("reject ")]
    assert len(rejects) == len(NAMES)
    assert {(values["client"], values["reason"]) for values in rejects} == {("vpn", "user-unknown")}
    assert not [message for message in messages if message.startswith("accept ")]


def test_the_names_can_be_read_back_from_the_log(asked: tuple[Site, str]) -> None:
    _, log = asked
    messages = [match["message"] for match in map(LINE.fullmatch, log.split("\n")) if match]
    users = {parsed(message)[1]["user"] for message in messages if message.startswith("reject ")}
    assert len(users) == len(NAMES)
    for name in NAMES:
        assert name in users or any(len(user) > 40 and name.startswith(user.rstrip("…")) for user in users), name


def test_the_trail_keeps_the_names_as_they_came(asked: tuple[Site, str]) -> None:
    """Unknown users are written down at most once a minute; those that are, are whole."""
    site, _ = asked
    kept = {row["user"] for row in site.audit() if row["event"] == "login"}
    assert kept
    assert kept <= set(NAMES)


@pytest.fixture
def planted(site: Site) -> Site:
    """A store in which every text that is shown somewhere is hostile, one of them 64 kB long.

    The engine would refuse them all, so they are written past it.
    """
    site.add_user("alice", None)
    site.enroll("alice", serial="TF-1")
    site.add_client("vpn")
    raw.tamper(site.config.database, "DELETE FROM users", "DELETE FROM tokens", "DELETE FROM clients")
    long = ("\x1b[31m\r\n" + "x" * 57) * 1024
    with raw.opened(site.config.database) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        for number, name in enumerate([*NAMES, long], 1):
            user = (number, name, 0, "local", json.dumps([name]), 0, 0, None, 0, "new", 0, None, 0, "{}")
            connection.execute(f"INSERT INTO users VALUES ({', '.join('?' * len(user))})", user)
            token = (
                number,
                name,
                number,
                name,
                "self",
                "active",
                name,
                6,
                30,
                name,
                b"x",
                b"%d" % number,
                0,
                0,
                0,
                0,
                "",
            )
            connection.execute(f"INSERT INTO tokens VALUES ({', '.join('?' * len(token))}{', NULL' * 6}, 0)", token)
            client = (name, name, b"x", name, "off", 1, number, 0, name, 0, None, 0)
            connection.execute(f"INSERT INTO clients VALUES ({', '.join('?' * len(client))})", client)
            row = ("test", 100 + number, number, *[name] * 10, json.dumps({"why": name}), b"x")
            connection.execute(f"INSERT INTO audit VALUES ({', '.join('?' * len(row))})", row)
    return site


VIEWS = [["user", "list"], ["token", "list"], ["client", "list"], ["audit", "list"]]


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("view", VIEWS, ids=" ".join)
def test_no_table_is_steered(twofold: Twofold, view: list[str]) -> None:
    said = twofold.done(*view).out
    assert set(steers(said)) == {"\n"}
    assert max(map(len, said.splitlines())) <= 200
    assert len(said) < 200_000, "64 kB names are cut"
    for shown in (
        r"alice\x0areject",
        r"a\x1b[2J\x1b[31mb",
        r"a\u2028b",
        r"a\x9b31mb",
        r"a\u202eecila",
        "…",
        "[bold red]",
    ):
        assert shown in said, shown


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("view", VIEWS, ids=" ".join)
def test_no_document_is_steered_and_every_name_comes_back(twofold: Twofold, view: list[str]) -> None:
    result = twofold.done(*view, "--json")
    assert set(steers(result.out)) == {"\n"}
    assert result.out.isascii()
    field = {"user": "name", "token": "serial", "client": "name", "audit": "user"}[view[0]]
    assert {row[field] for row in result.json} >= set(NAMES)


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("noun", ["user", "token", "client"])
def test_no_single_view_is_steered(twofold: Twofold, noun: str) -> None:
    for name in NAMES:
        if "\0" in name or name.startswith("-"):
            continue
        said = twofold.done(noun, "show", "--", name).out
        assert set(steers(said)) == {"\n"}, name
        assert len(said.splitlines()) < 25


@pytest.mark.parametrize("name", [name for name in NAMES if "\0" not in name])
def test_no_refusal_is_steered(twofold: Twofold, name: str) -> None:
    for arguments in (
        ["user", "show", "--", name],
        ["user", "add", "--group", name, "--", "x" * 300],
        ["token", "revoke", "--", name],
        ["token", "enroll", "alice", f"--serial={name}"],
        ["client", "show", "--", name],
        ["client", "add", "--generate-secret", "--", "vpn", name],
        ["audit", "list", f"--since={name}"],
    ):
        result = twofold(*arguments)
        assert result.status in (1, 2)
        assert set(steers(result.err)) == {"\n"}, arguments
        assert len(result.err.splitlines()) == 1, arguments


def test_who_was_at_the_keyboard_is_written_down_though_his_name_is_no_text(
    twofold: Twofold, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is whatever the caller says, where the kernel does not know who logged in."""
    monkeypatch.setattr(shared, "_login_uid", lambda: None)
    monkeypatch.setenv("SUDO_USER", os.fsdecode(b"a\xffb"))
    twofold.done("user", "add", "alice")
    assert str(site.audit()[-1]["actor"]).startswith("a\ufffdb as ")
