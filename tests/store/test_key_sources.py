"""Where a master key may come from, and what is said when none comes: from a file, from systemd, from a program."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from store import key_sources, opening
from store.config import KeySource, parse
from store.key_sources import read
from store.sealing import MasterKey, create_key_file
from tests.site import Site
from tests.store import raw
from validation.errors import BadInput, StoreMismatch

FILE = Path("/etc/twofold/twofold.toml")
TEXT = bytes(range(32)).hex()


def program(folder: Path, text: str) -> KeySource:
    path = folder / "from-the-vault"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return KeySource(command=(str(path),))


def credential(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str = TEXT) -> KeySource:
    """As systemd lays it out: a folder and a file that only the service may read."""
    folder.mkdir()
    path = folder / "master-key"
    path.write_text(text)
    path.chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return KeySource(credential="master-key")


def refused(source: KeySource) -> str:
    with pytest.raises(StoreMismatch) as caught:
        read(source)
    assert TEXT not in str(caught.value)
    return str(caught.value)


# --- A credential of systemd


def test_a_credential_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(credential(tmp_path / "c", monkeypatch)) == MasterKey(bytes(range(32)))


def test_without_systemd_there_is_none_and_it_is_said_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    said = refused(KeySource(credential="master-key"))
    assert "systemd-run --pipe --wait -p LoadCredential=master-key:FILE twofold" in said


def test_a_credential_that_was_not_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credential(tmp_path / "c", monkeypatch)
    assert "the credential " in refused(KeySource(credential="other"))


def test_a_credential_that_others_may_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = credential(tmp_path / "c", monkeypatch)
    (tmp_path / "c" / "master-key").chmod(0o444)
    assert "so others can get at it" in refused(source)


# --- A program


def test_what_a_program_prints_is_the_key(tmp_path: Path) -> None:
    assert read(program(tmp_path, f"echo {TEXT}")) == MasterKey(bytes(range(32)))


def test_a_program_gets_its_arguments_and_no_shell(tmp_path: Path) -> None:
    source = program(tmp_path, f'[ "$#" = 2 ] && [ "$2" = "; rm -rf \\$HOME" ] && echo {TEXT}')
    assert read(KeySource(command=(*source.command, "get", "; rm -rf $HOME"))) == MasterKey(bytes(range(32)))


def test_a_program_has_nothing_to_read(tmp_path: Path) -> None:
    """One that asks for a password must not wait at the terminal of whoever starts the server."""
    assert read(program(tmp_path, f"cat; echo {TEXT}")) == MasterKey(bytes(range(32)))


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("echo 'no permission' >&2; exit 3", "ended with status 3: no permission"),
        (f"echo {TEXT}; exit 1", "ended with status 1"),
        ("kill -9 $$", "ended with status -9"),
        ("echo", "should hold 64 hex characters"),
        (f"echo {TEXT}{TEXT}", "should hold 64 hex characters"),
        ("printf '\\377\\376'", "should hold 64 hex characters"),
        ("printf '\\033[2Jgone' >&2; exit 1", "ended with status 1: \\x1b[2Jgone"),
    ],
)
@pytest.mark.statement("C-015")
def test_a_program_that_gives_no_key_is_named(tmp_path: Path, does: str, says: str) -> None:
    source = program(tmp_path, does)
    said = refused(source)
    assert says in said
    assert source.command[0] in said


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    said = refused(KeySource(command=(str(tmp_path / "nowhere"),)))
    assert said.endswith("cannot be started: No such file or directory")


@pytest.mark.parametrize("then", ["wait", f"echo {TEXT}; exit 0"])
def test_a_program_that_hangs_is_ended_with_what_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """Its child would hold the pipe open for an hour."""
    monkeypatch.setattr(key_sources, "TIME_LIMIT", 0.3)
    source = program(tmp_path, f"sleep 3600 & echo $! > {tmp_path}/child; {then}")
    assert "did not end within" in refused(source)
    child = int((tmp_path / "child").read_text())
    with pytest.raises(ProcessLookupError):
        _until_gone(child)


def test_a_program_that_leaves_a_child_behind_does_not_hold_us_up(tmp_path: Path) -> None:
    source = program(tmp_path, f"echo {TEXT}; sleep 2 >/dev/null 2>&1 & exit 0")
    assert read(source) == MasterKey(bytes(range(32)))


def _until_gone(pid: int) -> None:
    while True:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":  # nobody waits for it here
            raise ProcessLookupError


# --- The configuration


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("", KeySource(Path("/etc/twofold/master.key"))),
        ('[key]\nfile = "/run/a.key"', KeySource(Path("/run/a.key"))),
        ('[key]\ncredential = "twofold-key"', KeySource(credential="twofold-key")),
        ('[key]\ncommand = ["/usr/bin/vault", "get"]', KeySource(command=("/usr/bin/vault", "get"))),
    ],
)
def test_the_configuration_names_one_source(text: str, source: KeySource) -> None:
    assert parse(text, FILE).key == source


def test_the_key_before_may_be_named_beside_it() -> None:
    config = parse('[key]\ncredential = "new"\nold_file = "master.key"', FILE)
    assert config.old_key == KeySource(Path("/etc/twofold/master.key"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('file = "a"\ncredential = "b"', "line 3: key.credential: a key is in one place, and key.file is named, too"),
        ('old_file = "a"\nold_command = ["b"]', "line 3: key.old_command: a key is in one place"),
        ('credential = "../../etc/passwd"', "line 2: key.credential is not right"),
        ('credential = ".."', "line 2: key.credential is not right"),
    ],
)
def test_what_names_no_source_or_two_is_refused(text: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(f"[key]\n{text}\n", FILE)
    assert says in str(caught.value)


# --- Stores


Name = Callable[[Path, MasterKey, pytest.MonkeyPatch], str]


def in_a_file(folder: Path, key: MasterKey, monkeypatch: pytest.MonkeyPatch) -> str:
    path = folder / "here.key"
    path.touch(0o600)
    path.write_text(key.octets.hex())
    return f'file = "{path}"'


def from_systemd(folder: Path, key: MasterKey, monkeypatch: pytest.MonkeyPatch) -> str:
    return f'credential = "{credential(folder / "credentials", monkeypatch, key.octets.hex()).credential}"'


def from_a_program(folder: Path, key: MasterKey, monkeypatch: pytest.MonkeyPatch) -> str:
    return f'command = ["{program(folder, f"echo {key.octets.hex()}").command[0]}"]'


SOURCES = [in_a_file, from_systemd, from_a_program]


def named(site: Site, key: str) -> None:
    site.config_file.write_text(f"{site.config_file.read_text()}[key]\n{key}\n")


@pytest.mark.parametrize("source", SOURCES)
def test_a_store_opens_with_its_key_from_anywhere(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Name
) -> None:
    key = read(KeySource(site.key_file))
    site.key_file.unlink()
    named(site, source(tmp_path, key, monkeypatch))
    site.add_user("alice", password=None)
    assert len(site.enroll("alice").key) >= 20


@pytest.mark.statement("C-015")
@pytest.mark.parametrize("source", SOURCES)
def test_a_wrong_key_from_anywhere_is_refused_and_nothing_is_changed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Name
) -> None:
    right, wrong = read(KeySource(site.key_file)), MasterKey(os.urandom(32))
    named(site, source(tmp_path, wrong, monkeypatch))
    before = raw.contents(site.config.database)
    for act in (lambda: opening.open_store(site.config), lambda: opening.create(site.config, "test")):
        with pytest.raises(StoreMismatch) as caught:
            act()
        said = str(caught.value)
        assert f"it is key {wrong.id.hex()}, the store was sealed with {right.id.hex()}. Nothing was changed" in said
        assert wrong.octets.hex() not in said
    assert raw.contents(site.config.database) == before


@pytest.mark.statement("C-015")
@pytest.mark.parametrize("source", ['credential = "nothing"', 'command = ["/bin/false"]', 'file = "nowhere.key"'])
def test_a_missing_key_is_refused_and_none_is_made(site: Site, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """`init` neither: a new key beside an old store would make every secret in it unreadable."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(site.folder))
    named(site, source)
    before = raw.contents(site.config.database), sorted(site.folder.iterdir())
    for act in (lambda: opening.open_store(site.config), lambda: opening.create(site.config, "test")):
        with pytest.raises(StoreMismatch):
            act()
    assert (raw.contents(site.config.database), sorted(site.folder.iterdir())) == before


def test_init_takes_the_key_of_a_program_for_a_new_store(site: Site, tmp_path: Path) -> None:
    site.config.database.unlink()
    key = create_key_file(tmp_path / "a.key")
    named(site, f'command = ["{sys.executable}", "-c", "print(open({str(tmp_path / "a.key")!r}).read())"]')
    made = site.command("init")
    assert made.returncode == 0, made.stderr
    assert "key   " not in made.stdout
    assert raw.rows(site.config.database, "SELECT value FROM meta WHERE name = 'key_id'") == [(key.id.hex(),)]
    assert stat.S_IMODE(site.config.database.stat().st_mode) == 0o600
