"""`twofold init`: everything that is missing is made, and nothing that is there is touched."""

import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from store.cli.main import run
from store.config import load, template
from tests.site import Site
from tests.store import raw
from tests.store.cli.command import Twofold

FULL_DISK = """
import resource, sys
from store.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
main()
"""


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_everything_is_made_beside_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--config", str(tmp_path / "twofold.toml"), "init"]) == 0
    assert said(capsys) == [
        f"config   {tmp_path}/twofold.toml",
        f"key      {tmp_path}/master.key",
        f"store    {tmp_path}/twofold.db",
        "schema   none -> 0009",
        f"ballast  {tmp_path}/twofold.db.ballast",
        "ready",
    ]
    assert {path.name for path in tmp_path.iterdir()} >= {"twofold.toml", "master.key", "twofold.db"}
    assert run(["--config", str(tmp_path / "twofold.toml"), "user", "list"]) == 0


def test_a_second_time_nothing_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert run(["--config", str(tmp_path / "twofold.toml"), "init"]) == 0
        lines = said(capsys)
        files = [(tmp_path / name).read_bytes() for name in ("twofold.toml", "master.key")]
        rows = raw.contents(tmp_path / "twofold.db")
    assert lines == ["nothing to do: everything is there already"]
    assert run(["--config", str(tmp_path / "twofold.toml"), "init"]) == 0
    assert [(tmp_path / name).read_bytes() for name in ("twofold.toml", "master.key")] == files
    assert raw.contents(tmp_path / "twofold.db") == rows


def test_the_environment_names_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_CONFIG", str(tmp_path / "from-environment.toml"))
    assert run(["init"]) == 0
    assert (tmp_path / "from-environment.toml").exists()


def test_a_configuration_that_is_there_is_followed_and_kept(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    text = '[store]\npath = "var/store.db"\nchain = "north"\n[key]\nfile = "var/key"\n'
    file = tmp_path / "t.toml"
    file.write_text(text)
    file.chmod(0o600)
    assert run(["--config", str(file), "init"]) == 0
    assert file.read_text() == text
    assert {path.name for path in (tmp_path / "var").iterdir()} >= {"store.db", "key"}
    assert raw.rows(tmp_path / "var" / "store.db", "SELECT chain, event FROM audit") == [("north", "store-create")]


def test_what_is_missing_of_three_is_made(site: Site, twofold: Twofold) -> None:
    key = site.key_file.read_bytes()
    site.config.database.unlink()
    lines = twofold.done("init").out.splitlines()
    assert [line.split()[0] for line in lines] == ["store", "schema", "ballast", "ready"]
    assert site.key_file.read_bytes() == key


def test_without_a_ballast_a_store_is_of_use(site: Site, twofold: Twofold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.ballast.Ballast.room", 0)
    result = twofold("init")
    assert (result.status, result.out) == (0, "nothing to do: everything is there already\n")
    assert result.err == (
        f"note: the ballast {site.folder}/twofold.db.ballast, for a disk that is full, was not made: "
        "0 MB are free, and 32 MB must be\n"
    )
    monkeypatch.undo()
    assert twofold.done("init").out.splitlines() == [f"ballast  {site.folder}/twofold.db.ballast", "ready"]


def test_the_creation_is_written_down_with_who_did_it(tmp_path: Path) -> None:
    assert run(["--config", str(tmp_path / "twofold.toml"), "init"]) == 0
    ((event, actor),) = raw.rows(tmp_path / "twofold.db", "SELECT event, actor FROM audit")
    assert event == "store-create"
    assert actor != ""


# --- Refusals


def test_a_missing_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--config", str(tmp_path / "nowhere" / "twofold.toml"), "init"]) == 2
    expected = f"the directory {tmp_path}/nowhere does not exist; create it, or choose another with --config"
    assert capsys.readouterr().err == f"twofold: {expected}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_looked_at_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever keeps one out: as the service's user that is most often the mode of a folder of root's."""
    folder = tmp_path / ("x" * 300)
    assert run(["--config", str(folder / "twofold.toml"), "init"]) == 2
    assert capsys.readouterr().err == f"twofold: {folder} cannot be written: File name too long\n"


@pytest.mark.parametrize("line", ['[store]\npath = "nowhere/t.db"', '[key]\nfile = "nowhere/key"'])
def test_a_path_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    """And when the folder is there, `init` goes on where it stopped."""
    file = tmp_path / "twofold.toml"
    file.write_text(line)
    file.chmod(0o600)
    assert run(["--config", str(file), "init"]) == 2
    assert re.fullmatch(
        rf"twofold: {tmp_path}/nowhere/(t\.db|key) cannot be written: No such file or directory\n",
        capsys.readouterr().err,
    )
    (tmp_path / "nowhere").mkdir()
    assert run(["--config", str(file), "init"]) == 0
    assert run(["--config", str(file), "audit", "verify"]) == 0


def test_a_broken_configuration_is_not_written_over(site: Site, twofold: Twofold) -> None:
    site.config_file.write_text("[store\n")
    result = twofold("init")
    assert result.status == 2
    assert f"{site.config_file}: " in result.sentence
    assert site.config_file.read_text() == "[store\n"


def test_a_lost_key_is_not_replaced(site: Site, twofold: Twofold) -> None:
    site.key_file.unlink()
    before = site.config.database.read_bytes()
    result = twofold("init")
    assert result.status == 3
    assert "exists, but its key" in result.sentence
    assert site.config.database.read_bytes() == before
    assert not site.key_file.exists()


@pytest.mark.parametrize("octets", [0, 40, 700, 100_000])
def test_a_disk_that_is_full_leaves_no_half_of_a_file(tmp_path: Path, octets: int) -> None:
    """No file may grow beyond `octets`: whatever init could not finish, the next one does."""
    config = tmp_path / "twofold.toml"
    command = [sys.executable, "-c", FULL_DISK, str(octets), "--config", str(config), "init"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (2, 3), done
    assert done.stderr.startswith("twofold: ")
    assert len(done.stderr.splitlines()) == 1
    if (tmp_path / "master.key").exists():
        assert len((tmp_path / "master.key").read_text()) == 65
    if config.exists():
        assert config.read_text() == template(load(config).chain)
    assert run(["--config", str(config), "init"]) == 0
    assert run(["--config", str(config), "audit", "verify"]) == 0
    assert stat.S_IMODE((tmp_path / "master.key").stat().st_mode) == 0o600
