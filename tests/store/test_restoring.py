"""Backups and restores at their edges: whose key, what is in the way, what is no backup, and killed at any moment."""

import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import opening
from store.cli.checks import checks
from store.sealing import create_key_file
from tests.killing import COMMAND, FILES, Killer
from tests.postgres import Stores
from tests.site import Site
from tests.store import raw
from validation.errors import StoreMismatch, TwofoldError

SAYS_IT = "this is a backup of .*, and no store: PINs used since then would work again. Use: twofold restore FILE"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "site")
    site.add_user("alice")
    site.enroll("alice", kind="hotp")
    yield site
    site.database.close()


@pytest.fixture
def backup(site: Site, tmp_path: Path) -> Path:
    path = tmp_path / "backup.db"
    done = site.command("backup", str(path))
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def fresh(site: Site, tmp_path: Path) -> Site:
    """Another machine, with a configuration and a copy of the key."""
    return machine(tmp_path / "fresh", site.key_file)


def machine(folder: Path, key: Path | None) -> Site:
    folder.mkdir()
    made = Site.__new__(Site)
    made.folder, made.config_file = folder, folder / "twofold.toml"
    made.config_file.write_text('[store]\nchain = "fresh"\n')
    made.config_file.chmod(0o640)
    if key is not None:
        shutil.copy(key, folder / "master.key")
    return made


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def refused(site: Site, *command: str) -> str:
    before = files(site.folder)
    done = site.command(*command)
    assert (done.returncode, done.stdout) != (0, ""), done
    assert done.returncode != 0
    assert files(site.folder) == before, "something was left behind"
    return done.stderr


# --- backup


@pytest.mark.statement("C-030")
def test_a_backup_is_for_its_owner_alone_and_never_takes_a_files_place(site: Site, backup: Path) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert files(backup.parent) == {"site", "backup.db"}
    before = backup.read_bytes()
    assert "exists, and is left as it is; name another file" in refused(site, "backup", str(backup))
    assert backup.read_bytes() == before
    link = backup.with_name("link")
    link.symlink_to("nowhere")
    assert "exists, and is left as it is" in refused(site, "backup", str(link))
    assert "there is no folder" in refused(site, "backup", str(backup.parent / "no" / "b.db"))
    assert [row["event"] for row in site.audit()].count("backup") == 1


@pytest.mark.statement("C-031")
def test_the_master_key_is_not_in_it_and_that_is_said(site: Site, tmp_path: Path) -> None:
    done = site.command("backup", str(tmp_path / "b.db"))
    assert "The master key is not in it. Keep a copy of the key somewhere else." in done.stdout
    octets, key = (tmp_path / "b.db").read_bytes(), site.key_file.read_text().strip()
    assert key.encode() not in octets
    assert bytes.fromhex(key) not in octets


def test_nothing_serves_a_backup(fresh: Site, backup: Path) -> None:
    shutil.copy(backup, fresh.config.database)
    with pytest.raises(StoreMismatch, match=SAYS_IT):
        opening.open_store(fresh.config)
    target = fresh.folder / "target.db"
    for command in (("init",), ("db", "check"), ("db", "guard"), ("db", "copy", str(backup), str(target))):
        assert "this is a backup of" in fresh.command(*command).stderr
    assert not target.exists()


# --- the key (S07)


@pytest.mark.statement("C-015")
def test_s07_without_the_key_with_another_and_with_one_that_others_may_read(
    tmp_path: Path, site: Site, backup: Path
) -> None:
    """S07, (a) to (d)."""
    fresh = machine(tmp_path / "fresh", None)
    assert "the key file" in (said := refused(fresh, "restore", str(backup)))
    assert "is missing" in said
    other = Site(tmp_path / "other")
    shutil.copy(other.key_file, fresh.folder)
    said = refused(fresh, "restore", str(backup))
    assert f"the key in {fresh.key_file} does not fit the store {backup}: it is key " in said
    shutil.copy(site.key_file, fresh.folder)
    fresh.key_file.chmod(0o644)
    assert "has mode 0644, so others can get at it; run: chmod 600" in refused(fresh, "restore", str(backup))
    fresh.key_file.chmod(0o600)
    done = fresh.command("restore", str(backup))
    assert done.returncode == 0, done.stderr
    assert "no old store\ncould be read that would tell them" in done.stdout
    assert fresh.command("db", "check").returncode == 0


# --- what is in the way, and what is no backup


def test_a_store_that_is_there_is_left_alone_or_put_aside_with_what_is_undone(site: Site, backup: Path) -> None:
    assert "--replace puts it aside and keeps it" in refused(site, "restore", str(backup))
    policy = ("policy", "set", "tries", "5", "--group", "staff")
    for command in (("user", "add", "bob"), ("user", "lock", "alice"), policy):
        assert site.command(*command).returncode == 0
    site.database.close()
    done = site.command("restore", str(backup), "--replace")
    assert done.returncode == 0, done.stderr
    undone = done.stdout.partition("Undone, to be made again where it must be:\n")[2].splitlines()
    assert [line.split("UTC")[1].split(" by ")[0].strip() for line in undone] == [
        "user-add bob",
        "user-lock alice",
        "policy-set key=tries scope=group staff value=5",
    ]
    (kept,) = site.folder.glob("twofold.db.until-*")
    assert str(kept) in done.stdout
    with raw.opened(kept) as connection:
        assert connection.execute("SELECT name FROM users ORDER BY name").fetchall() == [("alice",), ("bob",)]
    assert files(site.folder) == {"twofold.toml", "master.key", "twofold.db", kept.name, *locks()}


def locks() -> set[str]:
    return {"twofold.db.lock", "twofold.db.queue"}


def test_a_store_that_somebody_has_open_is_not_replaced(site: Site, backup: Path) -> None:
    """SQLite would go on in the old file, and write its leftovers into those of the new one."""
    site.add_user("bob")
    done = site.command("restore", str(backup), "--replace")
    assert done.returncode == 1
    assert "is in use; stop the servers and the helper of this host first" in done.stderr
    assert not list(site.folder.glob("*until*"))
    site.add_user("carol")
    assert site.command("db", "check").returncode == 0


def test_a_store_that_cannot_be_read_is_put_aside_all_the_same(site: Site, backup: Path) -> None:
    site.database.close()
    site.config.database.write_bytes(b"rubbish" * 1000)
    done = site.command("restore", str(backup), "--replace")
    assert done.returncode == 0, done.stderr
    (kept,) = site.folder.glob("twofold.db.until-*")
    assert kept.read_bytes() == b"rubbish" * 1000
    assert "could be read that would tell them" in done.stdout
    assert site.command("db", "check").returncode == 0


def test_a_write_ahead_log_without_its_database_is_not_the_new_ones(fresh: Site, backup: Path) -> None:
    (fresh.folder / "twofold.db-wal").write_bytes(b"of another time")
    assert fresh.command("restore", str(backup)).returncode == 0
    assert fresh.command("db", "check").returncode == 0
    assert len(list(fresh.folder.glob("twofold.db.until-*-wal"))) == 1


def test_a_copy_made_by_hand_is_restored_as_well(site: Site, fresh: Site, tmp_path: Path) -> None:
    hand = tmp_path / "hand.db"
    with raw.opened(site.config.database) as source, sqlite3.connect(hand) as target:
        source.backup(target)
    target.close()
    done = fresh.command("restore", str(hand))
    assert done.returncode == 0, done.stderr
    assert [row["event"] for row in fresh.audit()][-1] == "restore"
    fresh.database.close()


def test_what_is_no_backup_or_not_whole_is_refused(fresh: Site, backup: Path, tmp_path: Path) -> None:
    assert "there is no such file" in refused(fresh, "restore", str(tmp_path / "none"))
    assert "there is no such file" in refused(fresh, "restore", str(tmp_path))
    text = tmp_path / "text"
    text.write_text("no database" * 100)
    assert f"{text} is no backup that can be read" in refused(fresh, "restore", str(text))
    empty = tmp_path / "empty"
    empty.touch()
    assert f"{empty} is no Twofold store" in refused(fresh, "restore", str(empty))
    for damage, says in (
        ("UPDATE audit SET decision = 'other' WHERE seq = 2", "row 2"),
        ("UPDATE tokens SET sealed_key = zeroblob(60)", "the sealed"),
        ("UPDATE alembic_version SET version_num = '9999'", "newer than this version's"),
        ("DROP TRIGGER moving_factor_never_goes_back", "the trigger"),
        ("DELETE FROM meta WHERE name = 'backup_at'", "this is a backup of"),
    ):
        spoilt = tmp_path / "spoilt.db"
        shutil.copy(backup, spoilt)
        with raw.opened(spoilt) as connection:
            connection.execute(damage)
            connection.commit()
        assert says in refused(fresh, "restore", str(spoilt)), damage


@pytest.mark.peer("postgres", "psql")
def test_on_postgresql_the_database_must_be_empty(stores: Stores, tmp_path: Path, backup: Path) -> None:
    there = stores.site(tmp_path / "there")
    assert "rename that database and make an empty one" in refused(there, "restore", str(backup))
    assert "--replace is for files" in refused(there, "restore", str(backup), "--replace")


# --- killed


def killed(site: Site, *command: str) -> Iterator[None]:
    """After each kill, and once more when one has gone through."""
    imports, run = COMMAND
    whole = f"{imports}, store.cli.backup, store.restoring, store.saving"
    files = (*FILES, "os.chmod", "os.chown", "sqlite3.connect")
    arguments = ("--config", str(site.config_file), *command)
    with Killer(whole, run, *arguments, statements=("commit",), files=files) as killer:
        for _ in killer.kills():
            yield
    yield


@pytest.mark.timeout(240)
def test_a_backup_that_is_killed_leaves_none_or_a_whole_one(site: Site, tmp_path: Path) -> None:
    path, whole = tmp_path / "b.db", 0
    kills = 0
    for _ in killed(site, "backup", str(path)):
        kills += 1
        if path.exists():
            with raw.opened(path) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert connection.execute("SELECT count(*) FROM meta WHERE name = 'frozen'").fetchall() == [(1,)]
            path.unlink()
            whole += 1
    assert kills > 6
    assert whole >= 1


@pytest.mark.timeout(240)
@pytest.mark.parametrize("replaced", [False, True])
def test_a_restore_that_is_killed_leaves_the_old_store_or_the_new_one(
    site: Site, fresh: Site, backup: Path, replaced: bool
) -> None:
    where, options = (site, ["--replace"]) if replaced else (fresh, [])
    site.add_user("late")
    site.database.close()
    seen = []
    for _ in killed(where, "restore", str(backup), *options):
        seen.append(state_of(where))
        if seen[-1] == "new" and not replaced:
            where.config.database.unlink()
    old = "old" if replaced else "none"
    assert seen == sorted(seen, key=lambda state: state == "new"), seen
    assert set(seen) == {old, "new"}
    assert len(seen) > 8


def state_of(site: Site) -> str:
    """Which store is there, if it can be used."""
    if not site.config.database.exists():
        return "none"
    try:
        store = opening.open_store(site.config)
    except TwofoldError as error:
        return str(error)
    with store.connections.reading() as connection:
        events = [event for (event,) in connection.exec_driver_sql("SELECT event FROM audit ORDER BY at")]
        names = [name for (name,) in connection.exec_driver_sql("SELECT name FROM users")]
    store.close()
    if events[-1] == "restore" and "late" not in names:
        return "new"
    return "old" if "late" in names else f"neither: {events}"


def test_a_backup_from_before_a_rotation_is_to_be_rotated_again(site: Site, backup: Path) -> None:
    """Nobody gets in any more once the old key is taken out of the configuration, as after a rotation."""
    site.database.close()
    create_key_file(site.folder / "new.key")
    there = site.config_file.read_text()
    site.config_file.write_text(f'{there}[key]\nfile = "new.key"\nold_file = "master.key"\n')
    assert site.command("key", "rotate").returncode == 0
    assert key_findings(site) == []
    done = site.command("restore", str(backup), "--replace")
    assert done.returncode == 0, done.stderr
    assert "which [key] names as the old one, and nobody gets in without it: twofold key rotate" in done.stderr
    assert key_findings(site) == ["the store is sealed with the old master key, and nobody gets in without it."]
    assert site.command("key", "rotate").returncode == 0
    assert key_findings(site) == []


def key_findings(site: Site) -> list[str]:
    return [one.text for one in checks(site.config, in_step=lambda: True) if one.topic == "key"]
