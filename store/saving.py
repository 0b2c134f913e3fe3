"""`twofold backup`: the whole store in one file, while servers write to it.

Rules: the file is SQLite's with our tables, wherever the store is. It has its name when it is whole and on the disk,
mode 0600, and never takes another's place. It says of itself that it is a backup (`meta.frozen`), so nothing serves it.
Keys and secrets stay sealed, and the master key is not in it.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import insert

from store import copying, migrations
from store.connections import Connections
from store.database import Database
from store.schema import meta
from store.sealing import sync_folder
from store.snapshots import FROZEN
from store.sqlite import SqliteFile, copy_file, create_file, settle
from validation.errors import BadInput, Refused, StoreUnavailable

BACKUP_AT = "backup_at"  # in a backup: when it was begun, in epoch seconds


def check_free(path: Path) -> None:
    """Raises Refused if something is there, BadInput if nothing can be put there."""
    if os.path.lexists(path):
        raise Refused(f"{path} exists, and is left as it is; name another file")
    if not path.parent.is_dir():
        raise BadInput(f"{path}: there is no folder {path.parent}")


def save(store: Database, path: Path) -> None:
    """Raises Refused if there is a file at `path`, StoreUnavailable if it cannot be written; then there is none."""
    check_free(path)
    begun = time.time()
    with unfinished(path) as made:
        create_file(made)
        _copy(store.connections, made)
        _mark(made, path, begun)
        settle(made)
        put(made, path)


def _copy(source: Connections, made: Path) -> None:
    if isinstance(source, SqliteFile):
        copy_file(source.path, made)
        return
    with (
        source.reading() as connection,
        closing(SqliteFile(made)) as target,
        target.writing(hurried=False) as writing,
    ):
        migrations.upgrade(writing)
        copying.copy_at_once(connection, writing)


def _mark(made: Path, path: Path, begun: float) -> None:
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(begun))
    said = f"this is a backup of {when}, and no store: PINs used since then would work again. Use: twofold restore FILE"
    facts = {FROZEN: said, BACKUP_AT: repr(begun)}
    with closing(SqliteFile(made)) as target, target.writing(hurried=False) as connection:
        connection.execute(insert(meta), [{"name": name, "value": value} for name, value in facts.items()])


# --- whole files, or none ---------------------------------------------------------------------------------------


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """The path of a file to be, in a folder of its own beside `path`. What a crash leaves there may be removed.

    Raises StoreUnavailable for what the disk says.
    """
    folder = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        folder.mkdir(0o700)
        try:
            yield folder / path.name
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except (OSError, sqlite3.Error) as error:
        what = getattr(error, "strerror", None) or error
        raise StoreUnavailable(f"{path} cannot be made: {what}") from None


def put(made: Path, path: Path) -> None:
    """Give it its name, never over another file. Raises Refused or OSError."""
    try:
        os.link(made, path)
    except FileExistsError:
        raise Refused(f"{path} has appeared in the meantime, and is left as it is") from None
    sync_folder(path.parent)
