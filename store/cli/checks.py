"""What `twofold doctor` asks of the store: can it be used, is the clock right, do the policies make sense."""

import ctypes
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from store import listings, opening, rotating
from store.ballast import LEAST_FREE, Ballast
from store.config import Config
from store.locking import lock_files
from store.migrations import HEAD
from validation.errors import TwofoldError
from validation.explaining import lint
from validation.findings import Finding, advice, fine, serious
from validation.messages import printable
from validation.settings import Book, Scope

_LEAST_FREE = 5  # percent
_APART_MOST = 10.0  # seconds
_AHEAD_MOST = 60.0  # seconds that the newest row of the trail may lie before us
_CLOCK_UNSYNCHRONISED = 5  # TIME_ERROR, adjtimex(2)


def synchronised() -> bool:
    """Whether the kernel says that something keeps its clock right."""
    room = ctypes.create_string_buffer(512)  # struct timex, all zero: change nothing
    return int(ctypes.CDLL(None).adjtimex(room)) != _CLOCK_UNSYNCHRONISED


def checks(
    config: Config | None, root: Path = Path("/"), in_step: Callable[[], bool] = synchronised
) -> Iterator[Finding]:
    if config is None:
        return
    yield from _folders(config)
    try:
        with closing(opening.open_store(config)) as store, store.connections.reading() as connection:
            users, clients = listings.user_rows(connection), listings.client_rows(connection)
            newest = [float(row["at"]) for row in listings.audit_rows(connection, limit=1)]
            book, served = store.book(), {client.name for client in store.clients()}
            ahead = store.connections.skew()
    except TwofoldError as error:
        yield serious("store", f"{error}.", "Nobody is let in until this is mended")
        return
    if config.url:
        yield _on_a_server(config, len(users))
    else:
        yield from _unwritable(config)
        yield _room(config, len(users))
        yield from _ballast(config)
    yield from _clock(newest, in_step)
    yield from _apart(ahead)
    yield from _keys(config)
    yield from _policies(book, users, clients)
    yield from _not_served(clients, served)
    yield from _bypasses(users, time.time())


def _folders(config: Config) -> Iterator[Finding]:
    """Who can write beside a file can put another in its place."""
    files = [path for path in (config.file, config.key.file, config.owners_file) if path is not None]
    for folder in sorted({path.absolute().parent for path in files}):
        try:
            status = os.stat(folder)
        except OSError:
            continue  # the store says it better
        if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
            mode = stat.S_IMODE(status.st_mode)
            text = f"others can put files of their own into {folder} (mode {mode:04o})."
            yield serious("files", text, f"chmod go-w {folder}")


def _room(config: Config, users: int) -> Finding:
    usage = shutil.disk_usage(config.database.parent)
    text = f"SQLite, schema {HEAD}, {_counted(users)}"
    if not usage.total:  # some network file systems do not tell
        return fine("store", text)
    free = 100 * usage.free // usage.total
    text += f", disk {free} % free"
    if free < _LEAST_FREE:
        return advice("store", f"{text}: on a full disk nobody gets in.", f"Make room on {config.database.parent}")
    return fine("store", text)


def _unwritable(config: Config) -> Iterator[Finding]:
    """What a login writes to. A kernel makes a file system read-only when its disk has faults."""
    name = config.database.name
    beside = (config.database.with_name(name + "-wal"), config.database.with_name(name + "-shm"))
    for path in (config.database.parent, config.database, *beside, *lock_files(config.database)):
        if not os.access(path, os.W_OK, effective_ids=True) and path.exists():  # SQLite may have removed it
            text = f"{path} cannot be written to: no login can be recorded, so nobody gets in."
            remedy = "Mount its file system for writing, if that is read-only; else give it back to the store's owner"
            yield serious("store", text, remedy)
            return


def _ballast(config: Config) -> Iterator[Finding]:
    ballast = Ballast(config.database)
    if ballast.is_there:
        return
    text = (
        f"there is no {ballast.path.name}, which keeps logins going on a full disk: {ballast.room >> 20} MB are free."
    )
    if ballast.room < LEAST_FREE:
        remedy = (
            f"Make room on {config.database.parent}: with {LEAST_FREE >> 20} MB free a running server makes it anew"
        )
    else:
        remedy = "A running server makes it, or: twofold init"
    yield advice("ballast", text, remedy)


def _on_a_server(config: Config, users: int) -> Finding:
    text = f"{config.store_name}, schema {HEAD}, {_counted(users)}"
    if "sslmode=" in config.url and not re.search("sslmode=verify-full", config.url):
        return advice("store", f"{text}: whoever can redirect its packets can pose as it.", "Use sslmode=verify-full")
    return fine("store", text)


def _apart(ahead: float) -> Iterator[Finding]:
    """Logins go by the database's clock. PINs that apps show go by the true time."""
    if abs(ahead) >= _APART_MOST:
        word = "behind" if ahead > 0 else "ahead of"
        text = f"this host is {abs(ahead):,.0f} seconds {word} the database's, by which all logins go."
        yield serious("clock", text, "Keep both right: apt install chrony")


def _keys(config: Config) -> Iterator[Finding]:
    found = rotating.standing(config)
    if found.old_key_id:
        left = found.counts.get(found.old_key_id, 0)
        yield advice("key", f"{left:,} values are still sealed with the old master key.", "twofold key rotate")
    elif found.key_id != found.held[0].key.id.hex():
        text = "the store is sealed with the old master key, and nobody gets in without it."
        yield advice("key", text, "twofold key rotate")


def _counted(users: int) -> str:
    return f"{users:,} user{'' if users == 1 else 's'}"


def _clock(newest: list[float], in_step: Callable[[], bool]) -> Iterator[Finding]:
    ahead = max(newest, default=0.0) - time.time()
    if ahead > _AHEAD_MOST:
        text = f"the newest row of the trail is {ahead:,.0f} seconds ahead: the clock was wrong, or is now."
        yield serious("clock", text, "Set it, and keep it right: apt install chrony")
    elif not in_step():
        text = "nothing keeps the clock right; PINs of apps are refused once it is a minute off."
        yield advice("clock", text, "apt install chrony, or systemctl enable --now systemd-timesyncd")
    else:
        yield fine("clock", "kept right by the system")


def _policies(book: Book, users: list[listings.Row], clients: list[listings.Row]) -> Iterator[Finding]:
    groups = frozenset(group for row in users for group in row["groups"])
    found = list(lint(book, groups, frozenset(row["name"] for row in clients)))
    for line in found:
        report = serious if any(line.startswith(f"{rule}:") for rule in _for_everybody(book)) else advice
        yield report("policy", line, "twofold policy show tells how it was set; twofold policy unset takes it away")
    if not found:
        yield fine("policy", "nothing to mend")


def _not_served(clients: list[listings.Row], served: set[str]) -> Iterator[Finding]:
    for name in [row["name"] for row in clients if row["name"] not in served]:
        text = "its row is damaged: requests from it are not answered."
        yield serious(f"client {printable(name)}", text, f"twofold client set {printable(name)} --generate-secret")


def _for_everybody(book: Book) -> list[object]:
    return [r for r in book.rules if r.key == "second_factor" and r.value == "skip" and r.scope == Scope()]


def _bypasses(users: list[listings.Row], now: float) -> Iterator[Finding]:
    for row in users:
        hours = (float(row["bypass_until"] or 0) - now) / 3600
        if hours > 0:
            name = printable(str(row["name"]))
            text = f"needs no PIN for {hours:.1f} hours more: an administrator said so."
            yield advice(f"user {name}", text, f"twofold user bypass {name} --hours 0")
