"""The command itself: quick where nothing needs the store, one sentence for a mistake, the right exit status."""

import importlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from store.cli.main import NOUNS, run
from tests.site import TWOFOLD, Site, eventually
from tests.store.cli.command import Twofold

HEAVY = ("sqlalchemy", "alembic", "sqlite3", "cryptography", "argon2", "rich")

# Runs each command line it is given, and says with which exit status it ended and what had been imported by then.
WATCH = """
import contextlib, io, json, sys
from store.cli.main import run
sys.stdin = io.TextIOWrapper(io.BytesIO(b""))
for arguments in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = run(arguments)
    loaded = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
    print(json.dumps([arguments, status, loaded, said.getvalue()]))
"""

MISTAKES = [
    ["nonsense"],
    ["--colour", "user", "list"],
    ["user"],
    ["user", "nonsense"],
    ["user", "add"],
    ["user", "add", "alice", "bob"],
    ["user", "add", "alice", "--first-factor", "luck"],
    ["user", "add", "alice", "--password", "geheim"],
    ["user", "show"],
    ["token", "enroll"],
    ["token", "enroll", "alice", "--digits", "5"],
    ["token", "enroll", "alice", "--digits", "six"],
    ["token", "enroll", "alice", "--kind", "motp"],
    ["token", "enroll", "alice", "--period", "soon"],
    ["token", "enroll", "alice", "--algorithm", "md5"],
    ["token", "enroll", "alice", "--kind", "hotp", "--period", "60"],
    ["token", "enroll", "alice", "--qr", "picture.gif"],
    ["token", "revoke"],
    ["token", "revoke", "TF-1", "--user", "alice"],
    ["token", "revoke", "TF-1", "--all"],
    ["token", "revoke", "TF-1", "--reason", "bored"],
    ["client", "add", "vpn"],
    ["client", "add", "vpn", "192.0.2.1"],
    ["client", "add", "vpn", "192.0.2.1", "--generate-secret", "--secret-stdin"],
    ["client", "add", "vpn", "192.0.2.1/24", "--generate-secret"],
    ["client", "add", "vpn", "vpn.example.org", "--generate-secret"],
    ["client", "add", "vpn", "fe80::1%eth0", "--generate-secret"],
    ["client", "add", "vpn", "192.0.2.1", "--mode", "guess", "--generate-secret"],
    ["client", "add", "vpn", "192.0.2.1", "--message-authenticator", "maybe", "--generate-secret"],
    ["client", "set", "vpn", "--address", "192.0.2.300"],
    ["audit", "list", "--since", "yesterday"],
    ["audit", "list", "--limit", "0"],
    ["audit", "verify", "--anchor"],
    ["radius", "serve", "--listen", "localhost"],
    ["radius", "serve", "--listen", "127.0.0.1:99999"],
    ["radius", "serve", "now"],
]


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, (*path, name))


def every_command() -> dict[tuple[str, ...], click.Command]:
    found: dict[tuple[str, ...], click.Command] = {}
    for noun, (place, _) in NOUNS.items():
        module, _, attribute = place.partition(":")
        found |= dict(commands(getattr(importlib.import_module(module), attribute), (noun,)))
    return found


def watched(lines: list[list[str]]) -> list[tuple[list[str], int, list[str], str]]:
    done = subprocess.run(
        [sys.executable, "-c", WATCH, json.dumps(lines), json.dumps(HEAVY)], capture_output=True, text=True, check=True
    )
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_help_imports_nothing_heavy() -> None:
    """For the command itself, each noun and each verb."""
    lines = [["--help"], ["-h"], ["--version"], *([*path, "--help"] for path in every_command())]
    results = watched(lines)
    assert [(line, loaded) for line, _, loaded, _ in results if loaded] == []
    assert [(line, status) for line, status, _, _ in results if status != 0] == []
    assert all(said.startswith(("Usage: ", "twofold ")) for _, _, _, said in results)
    assert len(results) > 25


def test_a_mistake_imports_no_database_and_is_named() -> None:
    results = watched(MISTAKES)
    assert [(line, loaded) for line, _, loaded, _ in results if set(loaded) & {"sqlalchemy", "sqlite3"}] == []
    assert [(line, status) for line, status, _, _ in results if status != 2] == []
    assert len(results) == len(MISTAKES)


def test_the_help_names_every_noun() -> None:
    ((_, _, _, said),) = watched([["--help"]])
    for noun, (_, text) in NOUNS.items():
        assert re.search(rf"^  {noun}\s+{re.escape(text)}$", said, re.MULTILINE), noun


def test_the_help_names_the_verbs_that_a_noun_has() -> None:
    """All of them, or some and `…`."""
    for noun, (place, text) in NOUNS.items():
        module, _, attribute = place.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Group):
            continue
        named = text.rpartition(": ")[2].rstrip(".").split(", ")
        verbs = set(command.commands)
        assert set(named) - {"…"} <= verbs, noun
        assert "…" in named or set(named) == verbs, noun


def test_the_version_is_the_packages() -> None:
    ((_, _, _, said),) = watched([["--version"]])
    assert said == f"twofold {version('twofold')}\n"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["nonsense"], "'nonsense'"),
        (["user", "nonsense"], "'nonsense'"),
        (["--colour", "user", "list"], "--colour"),
        (["user", "add"], "'NAME'"),
        (["user", "add", "alice", "--first-factor", "luck"], "'--first-factor'"),
        (["user", "add", "alice", "--password", "geheim"], "--password"),
        (["user", "add", "alice", "--group"], "--group"),
        (["token", "enroll", "alice", "--digits", "5"], "'--digits'"),
        (["token", "enroll", "alice", "--kind", "motp"], "'--kind'"),
        (["token", "enroll", "alice", "--period", "soon"], "'--period'"),
        (["token", "enroll", "alice", "--algorithm", "md5"], "'--algorithm'"),
        (["token", "enroll", "alice", "--qr", "picture.gif"], "--qr"),
        (["token", "revoke"], "--user NAME"),
        (["token", "revoke", "TF-1", "--all"], "--all"),
        (["token", "revoke", "TF-1", "--reason", "bored"], "'--reason'"),
        (["client", "add", "vpn", "192.0.2.1"], "--secret-stdin"),
        (["client", "add", "vpn", "192.0.2.1", "--generate-secret", "--secret-stdin"], "--generate-secret"),
        (["client", "add", "vpn", "192.0.2.1/24", "--generate-secret"], "address: 192.0.2.1/24 has host bits set"),
        (["client", "add", "vpn", "fe80::1%eth0", "--generate-secret"], "address: 'fe80::1%eth0'"),
        (["client", "add", "vpn", "192.0.2.1", "--mode", "guess"], "'--mode'"),
        (["client", "set", "vpn", "--address", "192.0.2.300"], "address: '192.0.2.300'"),
        (["audit", "list", "--limit", "0"], "'--limit'"),
        (["radius", "serve", "--listen", "localhost"], "--listen: 'localhost'"),
        (["radius", "serve", "now"], "now"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_it(twofold: Twofold, arguments: list[str], names: str) -> None:
    result = twofold(*arguments)
    assert (result.status, result.out) == (2, "")
    assert names in result.sentence


@pytest.mark.parametrize(
    "arguments", [["user", "show", "\udcff"], ["user", "add", "a\udce9"], ["token", "show", "\udcff"]]
)
def test_an_argument_that_is_no_text_is_refused(twofold: Twofold, arguments: list[str]) -> None:
    """A name typed in a Latin-1 terminal."""
    result = twofold(*arguments)
    assert (result.status, result.out) == (2, "")
    assert re.fullmatch(r"twofold: the argument '.*\\udc..' is not UTF-8", result.sentence)


def test_without_a_configuration_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["user", "list"], ["user", "add", "x"], ["radius", "serve"], ["audit", "verify"]):
        assert run(["--config", str(tmp_path / "t.toml"), *arguments]) == 2
        expected = f"the configuration file {tmp_path}/t.toml does not exist; create it with: twofold init"
        assert capsys.readouterr().err == f"twofold: {expected}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_in_the_configuration_is_named_with_its_line(twofold: Twofold, site: Site) -> None:
    site.config_file.write_text('[store]\nchain = "test"\ncolour = 1\n')
    result = twofold("user", "list")
    assert (result.status, result.out) == (2, "")
    assert result.sentence == f"twofold: {site.config_file}, line 3: store.colour is not a known key"


def test_the_environment_names_the_configuration_and_the_option_comes_first(site: Site, tmp_path: Path) -> None:
    def listed(*options: str, **environment: str) -> int:
        inherited = {name: value for name, value in os.environ.items() if name != "TWOFOLD_CONFIG"}
        command = [*TWOFOLD, *options, "user", "list"]
        return subprocess.run(command, env=inherited | environment, capture_output=True).returncode

    missing = str(tmp_path / "missing.toml")
    assert listed(TWOFOLD_CONFIG=str(site.config_file)) == 0
    assert listed(TWOFOLD_CONFIG=missing) == 2
    assert listed("--config", str(site.config_file), TWOFOLD_CONFIG=missing) == 0


def test_a_reader_that_has_seen_enough_is_no_error(site: Site) -> None:
    """`twofold audit list | head -1`"""
    for number in range(50):
        site.add_user(f"user{number}", None)
    command = [*TWOFOLD, "--config", str(site.config_file), "audit", "list", "--json"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert done.stderr == b""


def test_an_output_that_cannot_be_written_is_one_sentence(site: Site) -> None:
    """The token is there, and its key is not: whoever reads the sentence can make another."""
    site.add_user("alice", None)
    command = [*TWOFOLD, "--config", str(site.config_file), "token", "enroll", "alice", "--serial", "TF-1"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "twofold: standard output cannot be written to: No space left on device; what was changed stays changed, "
        "and what is shown once must be made anew\n"
    )
    assert [token["serial"] for token in Twofold(site).done("token", "list", "--json").json] == ["TF-1"]


@pytest.mark.parametrize("arguments", [["user", "add", "bob", "--password-stdin"], ["token", "assign", "--from", "-"]])
def test_a_standard_input_that_is_closed_is_an_empty_one(site: Site, arguments: list[str]) -> None:
    command = [*TWOFOLD, "--config", str(site.config_file), *arguments]
    done = subprocess.run(["sh", "-c", '"$@" <&-', "sh", *command], capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch("twofold: (password: must not be empty|-: names no token)\n", done.stderr)


def test_no_file_takes_the_place_of_a_stream_that_is_closed(site: Site) -> None:
    """A database that is opened as number 1 would be written to by whoever prints."""
    command = [*TWOFOLD, "--config", str(site.config_file), "key", "new", "-"]
    done = subprocess.run(["sh", "-c", '"$@" <&- >&-', "sh", *command], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr[:4]) == (0, "key ")


def test_a_path_that_cannot_be_looked_at_is_one_sentence(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    """A name too long is such a path for everybody; a folder that one may not enter is one for all but root."""
    path = tmp_path / ("x" * 300) / "y"
    backup = tmp_path / "backup"
    twofold.done("backup", str(backup))
    for arguments in (["backup", str(path)], ["restore", str(path), "--replace"], ["--config", str(path), "init"]):
        result = twofold(*arguments)
        assert (result.status, result.out) == (2, ""), arguments
        assert re.fullmatch(r"twofold: .*/x{300}.*: File name too long", result.sentence), result
    site.config_file.write_text(f'[store]\nchain = "test"\n[key]\nfile = "{path}"\n')
    assert twofold("db", "upgrade").sentence == f"twofold: {path}: File name too long"


# --- Secrets come in by standard input or a prompt


def test_no_option_takes_a_secret() -> None:
    """What stands on a command line is in `ps`, in the shell's history and in audit logs of the system."""
    secret = re.compile(r"secret|password|passcode|key|pin", re.IGNORECASE)
    taking = [
        (path, parameter.name)
        for path, command in every_command().items()
        for parameter in command.params
        if secret.search(" ".join([parameter.name or "", *parameter.opts]))
        and not (isinstance(parameter, click.Option) and parameter.is_flag)
        and not isinstance(parameter.type, click.Path)  # the name of a file is no secret
    ]
    assert taking == []


@pytest.mark.statement("C-031")
@pytest.mark.parametrize(
    ("arguments", "prompt"),
    [
        (["user", "add", "bob", "--password-stdin"], "Password for bob: "),
        (["client", "add", "vpn", "192.0.2.1", "--secret-stdin"], "Shared secret of vpn: "),
    ],
)
def test_a_terminal_is_asked_and_does_not_show_what_is_typed(site: Site, arguments: list[str], prompt: str) -> None:
    secret = "only-the-terminal-knows-it"
    ours, theirs = pty.openpty()
    command = [*TWOFOLD, "--config", str(site.config_file), *arguments]
    shown = b""
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        try:
            while prompt.encode() not in shown:
                shown += os.read(ours, 1024)
            os.write(ours, secret.encode() + b"\n")
            eventually(lambda: process.poll() is not None, what="the end of the command")
            shown += os.read(ours, 4096)
        finally:
            process.kill()
            os.close(ours)
    assert process.returncode == 0, shown
    assert secret.encode() not in shown
    assert b"added" in shown


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (b"\xff\xfe", "Password for bob: standard input is not UTF-8"),
        (b"x" * (64 * 1024 + 1), "Password for bob: more than 65536 octets on standard input"),
        (b"", "password: must not be empty"),
        (b"\n", "password: must not be empty"),
    ],
)
def test_what_cannot_be_a_password_is_refused(twofold: Twofold, typed: bytes, words: str) -> None:
    result = twofold("user", "add", "bob", "--password-stdin", stdin=typed)
    assert (result.status, result.out) == (2, "")
    assert result.sentence == f"twofold: {words}"
    assert twofold.done("user", "list", "--json").json == []
