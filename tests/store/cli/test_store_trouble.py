"""A store that is missing, of another version, sealed with another key or locked: exit status 3, and nothing done."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store.sealing import create_key_file
from tests.flows.namespace import mount_namespace
from tests.site import SECRET, TWOFOLD, Site
from tests.store import raw
from tests.store.cli.command import Twofold

KEY = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

READING = [
    ["user", "list"],
    ["user", "list", "--json"],
    ["user", "show", "alice"],
    ["token", "list"],
    ["token", "show", "TF-1"],
    ["client", "list"],
    ["client", "show", "vpn"],
    ["audit", "list"],
    ["audit", "verify"],
]
WRITING = [
    (["user", "add", "bob"], b""),
    (["user", "add", "bob", "--password-stdin"], b"geheim"),
    (["user", "set", "alice", "--group", "x"], b""),
    (["user", "lock", "alice"], b""),
    (["user", "unlock", "alice"], b""),
    (["user", "disable", "alice"], b""),
    (["user", "enable", "alice"], b""),
    (["user", "remove", "alice"], b""),
    (["token", "enroll", "alice"], b""),
    (["token", "enroll", "alice", "--key-stdin"], KEY.encode()),
    (["token", "revoke", "TF-1"], b""),
    (["token", "revoke", "--user", "alice"], b""),
    (["client", "add", "two", "192.0.2.2", "--secret-stdin"], SECRET),
    (["client", "set", "vpn", "--mode", "append"], b""),
    (["client", "remove", "vpn"], b""),
]


@pytest.fixture(autouse=True)
def filled(site: Site) -> None:
    site.add_user("alice", None)
    site.enroll("alice", serial="TF-1")
    site.add_client("vpn", "192.0.2.1/32")
    site.database.close()


def missing_store(site: Site) -> None:
    for path in site.folder.glob("twofold.db*"):
        path.unlink()


def missing_key(site: Site) -> None:
    site.key_file.unlink()


def wrong_key(site: Site) -> None:
    site.key_file.unlink()
    create_key_file(site.key_file)


def newer_schema(site: Site) -> None:
    raw.tamper(site.config.database, "UPDATE alembic_version SET version_num = '9999'")


def no_database(site: Site) -> None:
    site.config.database.write_bytes(b"no database at all, " * 100)


TROUBLES: dict[Callable[[Site], None], str] = {
    missing_store: "there is no store at",
    missing_key: "is missing; without it the store cannot be read. Restore it",
    wrong_key: "does not fit the store",
    newer_schema: "newer than this version's",
    no_database: "file is not a database",
}


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
@pytest.mark.statement("C-015", "O-048")
def test_every_command_says_what_is_wrong_with_the_store(
    twofold: Twofold, site: Site, trouble: Callable[[Site], None]
) -> None:
    trouble(site)
    before = {path.name: path.read_bytes() for path in site.folder.iterdir()}
    for arguments, stdin in [*((line, b"") for line in READING), *WRITING]:
        result = twofold(*arguments, stdin=stdin)
        assert (result.status, result.out) == (3, ""), arguments
        assert TROUBLES[trouble] in result.sentence, arguments
    assert {path.name: path.read_bytes() for path in site.folder.iterdir()} == before


@pytest.mark.parametrize("trouble", [missing_store, wrong_key, newer_schema], ids=lambda trouble: trouble.__name__)
def test_the_server_does_not_start_on_such_a_store(site: Site, trouble: Callable[[Site], None]) -> None:
    trouble(site)
    done = site.command("radius", "serve")
    assert done.returncode == 3
    assert TROUBLES[trouble] in done.stderr.splitlines()[-1]
    assert "listening" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_another_process_writes_to_is_waited_for_and_then_left_alone(site: Site) -> None:
    """Five seconds are waited; three commands at once, so that it is not fifteen. Reading goes on meanwhile."""
    before = raw.contents(site.config.database)
    chosen = [WRITING[0], WRITING[8], WRITING[13]]
    with raw.opened(site.config.database) as other:
        other.execute("BEGIN IMMEDIATE")
        processes = [
            subprocess.Popen(
                [*TWOFOLD, "--config", str(site.config_file), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for arguments, _ in chosen
        ]
        assert site.command("user", "list").returncode == 0
        said = [process.communicate(timeout=60) for process in processes]
        other.execute("ROLLBACK")
    assert [process.returncode for process in processes] == [3, 3, 3]
    for out, err in said:
        assert out == ""
        (line,) = err.splitlines()
        assert line.startswith("twofold: ")
        assert "database is locked" in line or "another process has been writing to the store for 5 s" in line
    assert raw.contents(site.config.database) == before
    assert site.command("user", "add", "bob").returncode == 0


@pytest.mark.peer("mount", "unshare")
@pytest.mark.parametrize("arguments", [["user", "list"], ["user", "add", "bob"], ["db", "check"], ["backup", "/tmp/b"]])
def test_on_a_full_disk_it_is_said_that_it_is_full(site: Site, tmp_path: Path, arguments: list[str]) -> None:
    """Where SQLite cannot make the file that its readers share, it says `disk I/O error` alone."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with mount_namespace() as namespace:
        namespace.run("mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", disk)
        namespace.run("sh", "-c", f"cp -a {site.folder}/. {disk} && cat /dev/zero > {disk}/fill 2> /dev/null; true")
        command = namespace.inside(*TWOFOLD, "--config", disk / "twofold.toml", *arguments)
        done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.endswith(f"The disk is full: make room on {disk}\n"), done.stderr


# --- A store that goes away in the middle of a command


@contextmanager
def key_that_opens(site: Site, times: int) -> Iterator[None]:
    """The master key comes from a program that gives it so often, and then no more."""
    left, program = site.folder / "left", site.folder / "program"
    left.write_text(str(times))
    program.write_text(
        f'#!/bin/sh\nn=$(cat {left}); [ "$n" -gt 0 ] || exit 1; echo $((n - 1)) > {left}; cat {site.key_file}\n'
    )
    program.chmod(0o700)
    before = site.config_file.read_text()
    site.config_file.write_text(f'{before}[key]\ncommand = ["{program}"]\n')
    try:
        yield
    finally:
        site.config_file.write_text(before)


def test_no_token_is_made_whose_sheet_cannot_be(twofold: Twofold, site: Site, tmp_path: Path) -> None:
    """Its key would be on no sheet, and nowhere else."""
    sheet = tmp_path / "alice.html"
    with key_that_opens(site, times=1):
        result = twofold("token", "enroll", "alice", "--sheet", str(sheet))
    assert (result.status, result.out) == (3, "")
    assert [token["serial"] for token in twofold.done("token", "list", "--json").json] == ["TF-1"]
    assert not sheet.exists()
    with key_that_opens(site, times=2):
        twofold.done("token", "enroll", "alice", "--sheet", str(sheet))


def test_a_secret_that_was_made_is_shown_though_the_texts_of_the_preset_cannot_be_set(
    twofold: Twofold, site: Site
) -> None:
    with key_that_opens(site, times=1):
        result = twofold("client", "add", "gate", "192.0.2.9", "--preset", "cisco", "--generate-secret")
    assert result.status == 3
    assert "ended with status 1" in result.sentence
    assert [f"Secret  {client.secret.decode()}\n" for client in site.gate.clients() if client.name == "gate"] == [
        result.out
    ]
