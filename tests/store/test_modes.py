"""Files that hold secrets, or decide where secrets are, are nobody else's: made so, and refused otherwise."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import opening
from store.cli.main import run
from store.config import load
from store.locking import lock_files
from store.sqlite import check_file, create_file
from tests.site import Site
from validation.errors import BadInput, StoreMismatch

pytestmark = pytest.mark.statement("C-030", "O-048")


@pytest.fixture
def no_umask() -> Iterator[None]:
    """Nothing is taken away from the modes that files are created with."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def twofold(folder: Path, *arguments: str) -> int:
    return run(["--config", str(folder / "twofold.toml"), *arguments])


@pytest.mark.usefixtures("no_umask")
def test_every_file_is_made_for_the_owner_alone(tmp_path: Path) -> None:
    """From `init` to a picture of a key, with the store in use, so that SQLite's own files are there too."""
    assert twofold(tmp_path, "init") == 0
    store = opening.open_store(load(tmp_path / "twofold.toml"))
    assert twofold(tmp_path, "user", "add", "alice") == 0
    for kind in ("png", "svg"):
        assert twofold(tmp_path, "token", "enroll", "alice", "--qr", str(tmp_path / f"qr.{kind}")) == 0
    assert twofold(tmp_path, "audit", "verify", "--anchor", str(tmp_path / "anchor")) == 0
    found = modes(tmp_path)
    store.close()
    assert found == {
        "twofold.toml": 0o640,
        "master.key": 0o600,
        "twofold.db": 0o600,
        "twofold.db-wal": 0o600,
        "twofold.db-shm": 0o600,
        "twofold.db.lock": 0o600,
        "twofold.db.queue": 0o600,
        "twofold.db.ballast": 0o600,
        "qr.png": 0o600,
        "qr.svg": 0o600,
        "anchor": 0o600,
    }


@pytest.mark.usefixtures("no_umask")
def test_an_anchor_that_is_moved_forward_stays_the_owners(tmp_path: Path, site: Site) -> None:
    anchor = tmp_path / "anchor"
    for user in ("alice", "bob"):
        site.add_user(user, None)
        assert twofold(site.folder, "audit", "verify", "--anchor", str(anchor)) == 0
    assert modes(tmp_path)["anchor"] == 0o600


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o620, 0o610, 0o644, 0o666, 0o777])
def test_a_looser_mode_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "t.db"
    create_file(path)
    path.chmod(mode)
    with pytest.raises(StoreMismatch) as caught:
        check_file(path)
    assert str(caught.value) == f"{path} has mode {mode:04o}, so others can get at it; run: chmod 600 {path}"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o440])
def test_a_mode_that_is_tight_enough_is_taken(site: Site, mode: int) -> None:
    site.key_file.chmod(mode)
    site.config.database.chmod(0o640 if mode & 0o040 else 0o600)
    assert twofold(site.folder, "user", "list") == 0


@pytest.mark.parametrize("name", ["master.key", "twofold.db", "twofold.db-wal", "twofold.db-shm", "twofold.db.lock"])
def test_the_store_is_not_opened_while_others_may_read_a_file_of_it(
    site: Site, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reading the lock file is enough to take the lock, and then nobody can log in."""
    site.add_user("alice", None)  # a connection stays open, and with it SQLite's own files
    (site.folder / name).chmod(0o644)
    for arguments in (["user", "list"], ["user", "add", "bob"], ["audit", "verify"], ["init"]):
        assert twofold(site.folder, *arguments) == 3
        assert f"{name} has mode 0644, so others can get at it; run: chmod 600" in capsys.readouterr().err


@pytest.mark.statement("W-018")
@pytest.mark.parametrize("made", ["link", "pipe", "folder"])
@pytest.mark.parametrize("name", ["twofold.db", "master.key"])
def test_a_link_a_pipe_or_a_folder_in_place_of_the_store_is_not_opened(
    site: Site, made: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who owns a security key stands in the store, and nowhere else; a link to a good one is none."""
    path = site.folder / name
    path.rename(aside := site.folder / "aside")
    if made == "link":
        path.symlink_to(aside)
    elif made == "pipe":
        os.mkfifo(path, 0o600)
    else:
        path.mkdir()
    for arguments in (["user", "list"], ["user", "add", "bob"]):
        assert twofold(site.folder, *arguments) == 3
        said = capsys.readouterr().err
        assert str(path) in said
        assert ("is not a regular file" in said) or ("cannot be opened" in said)


@pytest.mark.statement("W-018")
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_store_that_others_may_write_lets_nobody_in(site: Site, mode: int) -> None:
    site.config.database.chmod(mode)
    with pytest.raises(StoreMismatch, match=f"mode {mode:04o}"):
        opening.open_store(site.config)


def test_both_lock_files_are_looked_at(tmp_path: Path) -> None:
    create_file(tmp_path / "t.db")
    for path in lock_files(tmp_path / "t.db"):
        path.touch()
        path.chmod(0o604)
        with pytest.raises(StoreMismatch, match=path.name):
            check_file(tmp_path / "t.db")
        path.chmod(0o600)
    check_file(tmp_path / "t.db")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_configuration_that_others_may_write_is_refused(site: Site, mode: int) -> None:
    """It says where the store and the key are."""
    site.config_file.chmod(mode)
    with pytest.raises(BadInput, match=f"has mode {mode:04o}, so others can change it; run: chmod 640"):
        load(site.config_file)


@pytest.mark.parametrize("name", ["master.key", "twofold.db"])
def test_the_server_does_not_start_on_files_of_a_looser_mode(site: Site, name: str) -> None:
    (site.folder / name).chmod(0o644)
    done = site.command("radius", "serve")
    assert done.returncode == 3
    assert f"{name} has mode 0644" in done.stderr
    assert "listening" not in done.stderr
