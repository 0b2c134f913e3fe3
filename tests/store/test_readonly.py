"""A file that could not be written when it was opened, and can be now: the process finds out by itself."""

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.namespace import mount_namespace

# One thread reads now and then, as a server does to see whether clients have changed, while another one writes.
READER_AND_WRITER = """
import pathlib, subprocess, sys
from store.sqlite import SqliteFile
from validation.errors import StoreUnavailable

database = SqliteFile(pathlib.Path(sys.argv[1]))

def read():
    with database.reading() as connection:
        connection.exec_driver_sql("SELECT * FROM words").all()

def write():
    try:
        with database.writing() as connection:
            connection.exec_driver_sql("INSERT INTO words VALUES ('kept')")
            return "written"
    except StoreUnavailable as error:
        return str(error)

with database.reading() as connection:
    connection.exec_driver_sql("SELECT * FROM words").all()
    subprocess.run(["mount", "-o", "remount,bind,rw", sys.argv[2]], check=True)
    print(write())
for _ in range(3):
    print(write())
    read()
"""


@pytest.mark.statement("C-011")
@pytest.mark.peer("mount", "unshare")
@pytest.mark.parametrize("what", ["folder", "file"])
def test_after_two_failures_at_most_a_store_that_was_read_only_is_written_though_others_read(
    tmp_path: Path, what: str
) -> None:
    """Somebody outside has it open, so that it can be read, and a read is going on when writing becomes possible."""
    path = tmp_path / "twofold.db"
    place = tmp_path if what == "folder" else path
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as outside, mount_namespace() as namespace:
        outside.execute("PRAGMA journal_mode=WAL")
        outside.execute("CREATE TABLE words (word)")
        namespace.run("mount", "--bind", place, place)
        namespace.run("mount", "-o", "remount,bind,ro", place)
        command = namespace.inside(sys.executable, "-c", READER_AND_WRITER, path, place)
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
        kept = outside.execute("SELECT count(*) FROM words").fetchone()[0]
    assert said[-1] == "written", said
    assert kept == said.count("written")
    assert len(said) == 4
