"""A store that does not fit is refused with one clear sentence, and nothing is created or changed on the way."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from store import migrations, opening
from store.config import KeySource
from store.key_sources import read
from store.sealing import create_key_file
from store.sqlite import create_file
from tests.site import Site
from tests.store import raw
from validation.errors import StoreMismatch, StoreUnavailable
from validation.requests import AddUser


def folder(site: Site) -> dict[str, bytes]:
    """Every file beside the store and what is in it."""
    return {path.name: path.read_bytes() for path in site.folder.iterdir() if path.is_file()}


def refusal(site: Site) -> str:
    """The sentence with which opening is refused; proves that it changed nothing."""
    before = folder(site)
    with pytest.raises(StoreMismatch) as caught:
        opening.open_store(site.config)
    assert folder(site) == before
    return str(caught.value)


def in_place_of(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def without_lock_files(site: Site) -> Site:
    for path in site.folder.glob("*.db.*"):
        path.unlink()
    return site


def test_a_store_that_fits_opens(site: Site) -> None:
    store = opening.open_store(site.config)
    assert store.clients() == ()
    store.close()


def test_opening_leaves_no_file_behind(site: Site) -> None:
    before = folder(without_lock_files(site))
    opening.open_store(site.config).close()
    assert folder(site) == before


def test_a_missing_store_is_refused(site: Site) -> None:
    site.config.database.unlink()
    assert refusal(without_lock_files(site)) == (
        f"there is no store at {site.config.database}; create one with: twofold init"
    )


def test_a_store_in_a_folder_that_is_missing_is_refused(site: Site, tmp_path: Path) -> None:
    site.config_file.write_text(f'[store]\npath = "{tmp_path}/nowhere/t.db"\n')
    assert "there is no store at" in refusal(site)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.statement("C-015")
def test_a_missing_key_is_refused(site: Site) -> None:
    site.key_file.unlink()
    assert refusal(site) == (
        f"the key file {site.key_file} is missing; without it the store cannot be read. Restore it"
    )


@pytest.mark.statement("C-015")
def test_a_wrong_key_is_refused_and_both_keys_are_named(site: Site) -> None:
    right = read(KeySource(site.key_file))
    in_place_of(site.key_file, create_key_file)
    wrong = read(KeySource(site.key_file))
    sentence = refusal(without_lock_files(site))
    assert f"it is key {wrong.id.hex()}, the store was sealed with {right.id.hex()}. Nothing was changed" in sentence
    assert right.octets.hex() not in sentence
    assert wrong.octets.hex() not in sentence


@pytest.mark.statement("C-015", "O-048")
def test_a_wrong_key_that_claims_to_be_the_right_one_opens_nothing(site: Site) -> None:
    """Whoever can write the database can write the name of his own key into it."""
    in_place_of(site.key_file, create_key_file)
    wrong = read(KeySource(site.key_file)).id.hex()
    raw.tamper(site.config.database, ("UPDATE meta SET value = ? WHERE name = 'key_id'", (wrong,)))
    assert "is damaged" in refusal(site)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", "has schema 9999, newer than this version's"),
        ("UPDATE alembic_version SET version_num = '0000'", f"has schema 0000, this version needs {migrations.HEAD}"),
        ("DROP TABLE alembic_version", "is no Twofold store"),
        ("DELETE FROM alembic_version", "is no Twofold store"),
    ],
)
@pytest.mark.statement("C-013")
def test_another_schema_is_refused(site: Site, statement: str, words: str) -> None:
    raw.tamper(site.config.database, statement)
    assert words in refusal(site)


@pytest.mark.statement("C-013")
def test_init_does_not_touch_a_newer_schema(site: Site) -> None:
    raw.tamper(site.config.database, "UPDATE alembic_version SET version_num = '9999'")
    before = raw.contents(site.config.database)
    with pytest.raises(StoreMismatch, match=r"newer than this version's .*: upgrade Twofold"):
        opening.create(site.config, "test")
    assert raw.contents(site.config.database) == before


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM meta WHERE name = 'store_id'",
        "UPDATE meta SET value = 'another' WHERE name = 'store_id'",
        "DELETE FROM store_keys WHERE purpose = 'audit'",
        "DELETE FROM store_keys WHERE purpose = 'fingerprint'",
        "UPDATE store_keys SET sealed = x'00' WHERE purpose = 'audit'",
        "UPDATE store_keys SET sealed = (SELECT sealed FROM store_keys WHERE purpose = 'fingerprint') "
        "WHERE purpose = 'audit'",
    ],
)
def test_keys_that_were_tampered_with_are_refused(site: Site, statement: str) -> None:
    raw.tamper(site.config.database, statement)
    assert "is damaged" in refusal(site)


def a_text(path: Path) -> None:
    create_file(path)
    path.write_bytes(b"no database at all, " * 100)


@pytest.mark.parametrize(
    "make", [Path.mkdir, lambda path: path.symlink_to("/dev/null"), a_text], ids=["folder", "link", "text"]
)
def test_what_is_no_database_is_refused(site: Site, make: Callable[[Path], object]) -> None:
    in_place_of(site.config.database, make)
    with pytest.raises(StoreUnavailable, match=r"not a regular file|not a database"):
        opening.open_store(site.config)


def test_an_empty_database_is_no_store(site: Site) -> None:
    in_place_of(site.config.database, create_file)
    with pytest.raises(StoreMismatch, match="is no Twofold store; create one with: twofold init"):
        opening.open_store(site.config)


def test_somebody_elses_database_is_no_store(site: Site) -> None:
    in_place_of(site.config.database, create_file)
    with sqlite3.connect(site.config.database) as theirs:
        theirs.execute("CREATE TABLE songs (name TEXT)")
    theirs.close()
    with pytest.raises(StoreMismatch, match="is no Twofold store"):
        opening.open_store(site.config)


# --- Making a store


def test_init_twice_changes_nothing(site: Site) -> None:
    before = raw.contents(site.config.database), site.key_file.read_bytes()
    assert opening.create(site.config, "test").made == ()
    assert (raw.contents(site.config.database), site.key_file.read_bytes()) == before


@pytest.mark.statement("C-015")
def test_a_key_is_never_made_for_a_store_that_has_one(site: Site) -> None:
    """A new key beside an old store would make every secret in it unreadable."""
    site.key_file.unlink()
    before = folder(site)
    with pytest.raises(StoreMismatch, match=r"exists, but its key .* is missing. Restore the key file"):
        opening.create(site.config, "test")
    assert folder(site) == before


@pytest.mark.statement("C-015")
def test_init_with_a_wrong_key_changes_nothing(site: Site) -> None:
    in_place_of(site.key_file, create_key_file)
    before = raw.contents(site.config.database), site.key_file.read_bytes()
    with pytest.raises(StoreMismatch, match="does not fit the store"):
        opening.create(site.config, "test")
    assert (raw.contents(site.config.database), site.key_file.read_bytes()) == before


def test_a_new_store_may_use_a_key_that_is_there(site: Site) -> None:
    key = site.key_file.read_bytes()
    site.config.database.unlink()
    made = opening.create(site.config, "test").made
    assert [line.split()[0] for line in made] == ["store", "schema"]
    assert site.key_file.read_bytes() == key
    opening.open_store(site.config).close()


def test_two_stores_share_nothing(site: Site, tmp_path: Path) -> None:
    """Not even with one master key: ids, fingerprint and audit keys are each store's own."""
    other = Site(tmp_path / "other")
    other.config.database.unlink()
    shutil.copy(site.key_file, other.key_file)
    opening.create(other.config, "test")
    other.database.close()
    assert site.database.keys.fingerprint != other.database.keys.fingerprint
    assert site.database.keys.audit != other.database.keys.audit
    stores = [raw.rows(s.config.database, "SELECT value FROM meta WHERE name = 'store_id'") for s in (site, other)]
    assert stores[0] != stores[1]


def test_an_older_store_is_brought_forward_and_that_is_written_down(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schema is invented, and its only step is its number: what real steps do has tests of its own."""
    site.add_user("alice", None)
    site.database.close()
    raw.tamper(site.config.database, "UPDATE alembic_version SET version_num = '0000'")

    def upgrade(connection: object) -> None:
        connection.exec_driver_sql(  # type: ignore[attr-defined]
            f"UPDATE alembic_version SET version_num = '{migrations.HEAD}'"
        )

    monkeypatch.setattr(migrations, "upgrade", upgrade)
    assert opening.create(site.config, "root").made == (f"schema   0000 -> {migrations.HEAD}",)
    upgraded = Site(site.folder)
    assert [(row["event"], row["actor"]) for row in upgraded.audit()] == [
        ("store-create", "test"),
        ("user-add", "test"),
        ("store-upgrade", "root"),
    ]
    upgraded.database.close()


def test_the_first_row_of_the_trail_is_the_creation(site: Site) -> None:
    (row,) = site.audit()
    assert (row["seq"], row["event"], row["actor"], row["chain"]) == (1, "store-create", "test", "test")


def test_a_store_keeps_its_trail_when_the_host_is_renamed(site: Site) -> None:
    """Another chain name begins another chain beside the first."""
    site.config_file.write_text('[store]\nchain = "new-name"\n')
    site.gate.administer(AddUser(actor="test", name="alice"))
    assert [(row["chain"], row["seq"]) for row in site.audit()] == [("test", 1), ("new-name", 1)]
