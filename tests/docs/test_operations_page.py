"""docs/operations.md is followed to the letter: keys, backup, restore, a failover, an upgrade, and what goes wrong.

Stood in for: systemctl, and the folders /var and /etc. The button of the page has the key of RFC 4226.
"""

import ast
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from radius_server.counts import Counts
from radius_server.log import Drops
from radius_server.metrics import render
from store.notices import ALARMS, NoNotices
from store.opening import LoggedFaults, SystemMoments
from tests.architecture.source import product_files
from tests.builders import RFC_KEY
from tests.docs.pages import Host, same, steps, text_of
from tests.postgres import postgres
from tests.site import pin
from tests.store.test_upgrade import made_old
from tests.trails import age, write
from validation.decisions import Accept, Reason, Reject
from validation.gate import Gate, Outcome
from validation.model import Mode
from validation.requests import Channel, EnrollToken, LoginRequest, Wanted, typed_alone

PAGE = "operations.md"
BLOCKS = re.MULTILINE | re.DOTALL


def host(folder: Path) -> Host:
    made = Host(folder)
    made.stand_in("systemctl", ":")
    made.inside("/var/backups").mkdir()
    made.add_user("alice")
    made.gate.administer(EnrollToken(actor="x", user="alice", kind="hotp", key=RFC_KEY, serial="BUTTON"))
    return made


@pytest.mark.statement("C-016")
def test_a_backup_a_restore_and_what_comes_after(tmp_path: Path) -> None:
    made = host(tmp_path / "host")
    made.follow(text_of(PAGE, "Backup"))
    made.type("twofold user add bob")
    made.database.close()
    del made.database, made.gate
    said = "".join(made.follow(text_of(PAGE, "Restore")))
    assert re.search(r"user-add bob by ", said)
    assert re.search(r"BUTTON.*needs resync", said)
    assert "bob" not in made.type("twofold user list")
    assert "needs resync" not in made.type("twofold token report")


def test_a_ballast_that_was_given_up_is_made_by_hand(tmp_path: Path) -> None:
    made = host(tmp_path / "host")
    (ballast := made.folder / "twofold.db.ballast").unlink()
    made.follow(text_of(PAGE, "Disk full"))
    assert ballast.exists()
    made.database.close()


@pytest.mark.peer("postgres", "psql")
@pytest.mark.statement("C-007")
def test_a_lost_database_is_made_anew_and_guarded(tmp_path: Path) -> None:
    made = host(tmp_path / "host")
    made.follow(text_of(PAGE, "Backup"))
    made.database.close()
    del made.database, made.gate
    with postgres() as server:
        text = made.config_file.read_text()
        made.config_file.write_text(re.sub(r"^path = .*$", f'url = "{server.database()}"', text, flags=re.MULTILINE))
        made.follow(text_of(PAGE, "Database lost"))
        made.type("twofold user add carol")
        token = made.enroll("carol", kind="hotp")
        made.follow(text_of(PAGE, "After a failover"))
        assert token.serial in made.type("twofold token report")
        assert "needs a resynchronisation" in made.type(f"twofold token test {token.serial} {pin(token)}", fails=True)
        made.database.close()


def in_var(folder: Path) -> Host:
    """As `make install` leaves it: key and store are in /var/lib/twofold."""
    made = host(folder)
    made.database.close()
    del made.database, made.gate
    there = made.inside("/var/lib/twofold")
    there.mkdir(parents=True)
    for name in ("master.key", "twofold.db"):
        made.folder.joinpath(name).rename(there / name)
    text = made.config_file.read_text()
    for name in ("master.key", "twofold.db"):
        text = text.replace(f'"{name}"', f'"{there}/{name}"')
    made.config_file.write_text(text)
    return made


def test_the_trail_is_anchored(tmp_path: Path) -> None:
    made = host(tmp_path / "host")
    made.inside("/var/lib").mkdir()
    made.follow(text_of(PAGE, "The audit trail"))
    assert "chain verified" in made.type("twofold audit verify --anchor /var/lib/twofold-anchor/anchor")
    made.database.close()


@pytest.mark.statement("C-014")
def test_the_master_key_is_rotated(tmp_path: Path) -> None:
    made = in_var(tmp_path / "host")
    before, section, after = re.split(r"^```toml\n(.*?)^```$", text_of(PAGE, "Rotate the master key"), flags=BLOCKS)
    made.follow(before)
    name_keys(made, section)
    made.follow(after)
    made.inside("/var/lib/twofold/master.key").unlink()
    name_keys(made, re.sub(r"^old_file.*\n", "", section, flags=re.MULTILINE))
    assert made.type("twofold key status").count("held") == 1
    assert "BUTTON" in made.type("twofold db check; twofold token list")


def name_keys(made: Host, section: str) -> None:
    """The section of the page, in place of the one that is there."""
    there = re.sub(r"^\[key\]$.*?(?=^\[|\Z)", "", made.config_file.read_text(), flags=BLOCKS)
    made.config_file.write_text(there + section.replace("/var/", f"{made.folder}/var/"))


@pytest.mark.peer("sqlite3")
@pytest.mark.statement("C-015")
def test_a_lost_key(tmp_path: Path) -> None:
    """Names and hashes of passwords come along."""
    made = in_var(tmp_path / "host")
    made.type("printf %s correct-horse-battery | twofold user set alice --password-stdin")
    (before,) = made.database.look([Wanted(user="alice")])
    made.database.close()
    del made.database
    made.inside("/var/lib/twofold/master.key").unlink()
    made.follow(text_of(PAGE, "Key lost"))
    (after,) = made.database.look([Wanted(user="alice")])
    made.database.close()
    assert before.user is not None
    assert after.user is not None
    assert after.user.password_hash == before.user.password_hash is not None
    assert after.tokens == ()


@pytest.mark.peer("sqlite3")
def test_old_rows_of_the_trail_go(tmp_path: Path) -> None:
    made = in_var(tmp_path / "host")
    write(made, 1200)
    made.database.close()
    del made.database
    age(made, 500)
    size = made.config.database.stat().st_size
    made.type("twofold user add bob")
    made.inside("/var/backups/twofold").mkdir()
    made.follow(text_of(PAGE, "Old rows of the trail"))
    assert made.config.database.stat().st_size < size, "VACUUM gives the room back"
    (exported,) = made.inside("/var/backups/twofold").iterdir()
    assert len(exported.read_text().splitlines()) > 1200
    assert made.type(f"sha256sum {exported}").split()[0] in made.type("twofold audit list")
    assert "whole" in made.type("twofold db check")


def test_a_clock_that_was_ahead(tmp_path: Path) -> None:
    made = host(tmp_path / "host")
    made.add_client(mode=Mode.PASSCODE_ONLY)
    token = made.enroll("alice")
    assert isinstance(login(made, pin(token, now=time.time() + 3600), ahead=3600), Accept)
    refused = login(made, pin(token))
    assert isinstance(refused, Reject)
    assert refused.reason == Reason.PASSCODE_USED
    made.follow(text_of(PAGE, "Clock wrong"))
    assert "bypass" in made.type("twofold user show alice")
    made.database.close()


def login(made: Host, passcode: str, ahead: float = 0.0) -> Outcome:
    """As it is decided where the clock is `ahead` by so many seconds."""
    gate = Gate(made.database, SystemMoments(lambda: time.time() + ahead), LoggedFaults(), NoNotices())
    (client,) = gate.clients()
    channel = Channel.for_mode(Mode.PASSCODE_ONLY)
    (outcome,) = gate.login([LoginRequest("alice", channel, "vpn", client.version, passcode=typed_alone(passcode))])
    return outcome


def test_an_upgrade(tmp_path: Path) -> None:
    """`make install` itself is run by peers/test_install.py; here it does what it does to a store."""
    made = host(tmp_path / "host")
    made.stand_in("make", 'test "$1" = install && exec twofold init')
    made.inside("/var/backups/twofold").mkdir()
    (backup, *others) = steps(text_of(PAGE, "Upgrade"))
    made.type(backup.command)
    made_old(made, "0004")
    for step in others:
        assert same(step.shown, made.type(step.command).splitlines())
    assert made.inside("/var/backups/twofold/before.db").stat().st_mode & 0o777 == 0o600


# --- lists that are those of the source


def first_column(table: str) -> list[str]:
    return re.findall(
        r"`(\w+)`", " ".join(line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `"))
    )


def test_the_numbers_are_those_that_are_served() -> None:
    served = re.findall(r"^# TYPE (\w+)", render(Counts(), Drops(), 0, {}), re.MULTILINE)
    (table,) = re.findall(r"### Numbers\n.*?\n\n(\| name .*?)\n\n", text_of(PAGE, "Run"), BLOCKS)
    assert sorted(first_column(table)) == sorted(served)


def notices() -> set[str]:
    """What events are called, wherever the source gives a `notice`: as a word, by a name or by a function."""
    found: set[str] = set()
    for _, tree in product_files():
        words = {
            node.targets[0].id: {str(node.value.value)}
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        words |= {
            node.name: set(returned(node))
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name == "_locked"
        }
        for value in given(tree):
            found |= said_by(value, words)
    return found - {""}


def said_by(value: ast.expr, words: dict[str, set[str]]) -> set[str]:
    match value:
        case ast.Constant(value=str(word)):
            return {word}
        case ast.Name(id=name) | ast.Call(func=ast.Name(id=name)):
            return words.get(name, set())
        case ast.IfExp(body=one, orelse=other):
            return said_by(one, words) | said_by(other, words)
        case _:
            return set()


def given(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="notice", value=value):
                yield value
            case ast.Assign(targets=[ast.Name(id="notice")], value=value):
                yield value
            case ast.Call(func=ast.Name(id="Touched"), args=[*_, value]):
                yield value
            case _:
                pass


def returned(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            yield from said_by(node.value, {})


def test_the_events_are_those_that_are_told() -> None:
    (table,) = re.findall(r"(\| `event` .*?)\n\n", text_of(PAGE, "Configuration"), BLOCKS)
    rows = table.splitlines()[2:]
    told = notices()
    assert {"enrolled", "locked", "revoked", "security_key_copied", "recovery_used"} <= told
    assert sorted(first_column("\n".join(rows))) == sorted(told)
    warned = [line for line in rows if line.endswith("also a warning in the log |")]
    assert sorted(first_column("\n".join(warned))) == sorted(ALARMS)
