"""`twofold db copy`: a whole store from one database to the other, frozen, compared, and never in use in both."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from store import copying, moving, opening
from store.connections import Connections
from store.schema import meta
from store.sqlite import create_file
from tests.postgres import Stores
from tests.site import SECRET, Site, pin
from tests.wire import ACCEPT, access_request
from validation.decisions import Accept
from validation.errors import Refused, StoreMismatch, StoreUnavailable
from validation.model import Mode
from validation.requests import Channel, LoginRequest

pytestmark = pytest.mark.peer("postgres", "psql")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "site")
    fill(site)
    yield site
    site.database.close()


def fill(site: Site) -> None:
    """A little of everything, and an id that is gone for good."""
    site.add_client(mode=Mode.PASSCODE_ONLY)
    for name in ("alice", "bob", "Zoë", "ALICE"):
        site.add_user(name)
    for command in (
        ("user", "remove", "bob"),
        ("policy", "set", "enrolment", "hardware-only", "--group", "staff"),
        ("message", "set", "welcome", "Grüß Gott"),
        ("ticket", "issue", "alice"),
        ("recovery", "issue", "alice"),
    ):
        assert site.command(*command).returncode == 0, command


def login(site: Site, passcode: str) -> LoginRequest:
    (client,) = site.gate.clients()
    return LoginRequest("alice", Channel.for_mode(Mode.PASSCODE_ONLY), "vpn", client.version, passcode=passcode)


def contents(connections: Connections) -> dict[str, list[Any]]:
    """What must be the same on both sides."""
    with connections.reading() as connection:
        found: dict[str, list[Any]] = {
            table.name: list(map(tuple, connection.execute(select(table).order_by(*table.primary_key.columns))))
            for table in copying.TABLES
        }
        found["meta"] = sorted(map(tuple, connection.execute(select(meta))))
    return found


def go_on_with(site: Site, place: str) -> Site:
    """The configuration names another place from here on."""
    site.database.close()
    key = "url" if "://" in place else "path"
    there = site.config_file.read_text().splitlines()
    kept = [line for line in there if not line.startswith(("url =", "path ="))]
    kept.insert(kept.index("[store]") + 1, f'{key} = "{place}"')
    moved = Site.__new__(Site)
    moved.folder, moved.config_file = site.folder, site.config_file
    site.config_file.write_text("\n".join(kept) + "\n")
    return moved


def test_a_store_goes_to_postgresql_and_back_and_nothing_is_lost(site: Site, stores: Stores, tmp_path: Path) -> None:
    token = site.enroll("alice", kind="hotp")
    used = pin(token)
    (outcome,) = site.gate.login([login(site, used)])
    assert isinstance(outcome, Accept)
    before = contents(site.database.connections)
    url, back = stores.server.database(), str(tmp_path / "back.db")

    done = site.command("db", "copy", str(site.config.database), url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(
        f'compared: the same on both sides\nNow name it in the configuration of every host: [store] url = "{url}"\n'
    )
    there = go_on_with(site, url)
    check_same(before, contents(there.database.connections))
    assert there.command("audit", "verify").returncode == 0
    assert there.command("db", "check").returncode == 0
    (again,) = there.gate.login([login(there, used)])
    assert not isinstance(again, Accept), "a PIN that was used before is used"
    (outcome,) = there.gate.login([login(there, pin(token, 1))])
    assert isinstance(outcome, Accept)

    assert there.command("db", "copy", url, back).returncode == 0
    home = go_on_with(there, back)
    (outcome,) = home.gate.login([login(home, pin(token, 2))])
    assert isinstance(outcome, Accept)
    assert home.command("db", "check").stdout.startswith("whole")
    home.database.close()


def check_same(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> None:
    """But for the row that tells of the move."""
    assert [row[3] for row in after["audit"] if row not in before["audit"]] == ["store-move"]
    for found in (before, after):
        del found["audit"], found["audit_heads"]
    assert before == after


def test_no_id_is_given_twice_afterwards(site: Site, stores: Stores) -> None:
    """bob's is gone with him, and stays so."""
    newest = max(row[0] for row in contents(site.database.connections)["users"])
    site.add_user("eve")
    assert site.command("user", "remove", "eve").returncode == 0
    url = stores.server.database()
    assert site.command("db", "copy", str(site.config.database), url).returncode == 0
    there = go_on_with(site, url)
    there.add_user("mallory")
    ids = {row[1]: row[0] for row in contents(there.database.connections)["users"]}
    assert ids["mallory"] == newest + 2
    there.database.close()


def test_from_the_first_moment_the_old_store_is_silent(site: Site, stores: Stores) -> None:
    """A server that still runs on it answers nobody, so its gateways try the next one."""
    token = site.enroll("alice", kind="hotp")
    asked = login(site, pin(token))
    with site.server() as server, server.nas() as nas:
        assert nas.ask(access_request(SECRET, "alice", "000000")).code != ACCEPT
        url = stores.server.database()
        assert site.command("db", "copy", str(site.config.database), url).returncode == 0
        nas.send(access_request(SECRET, "alice", pin(token)).data)
        (outcome,) = site.gate.login([asked])
        assert isinstance(outcome, StoreUnavailable)
        assert "has moved to postgresql://" in str(outcome)
        assert nas.receive(2.0) is None
    done = site.command("user", "list")
    assert done.returncode == 3
    assert "has moved to postgresql://" in done.stderr
    assert "name that in [store] of the configuration" in done.stderr


KILLED = """
import os, signal, sys
from store import copying
real, left = copying._copy_chunk, [int(sys.argv.pop(1))]
def chunk(*arguments):
    done = real(*arguments)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
copying._copy_chunk = chunk
copying.CHUNK = 2
from store.cli.main import main
main()
"""


def test_a_copy_that_is_killed_anywhere_is_finished_by_the_next(site: Site, stores: Stores) -> None:
    """With a failpoint behind every chunk; each run gets some further, and none is in use before the last."""
    before = contents(site.database.connections)
    url, kills = stores.server.database(), 0
    arguments = ["--config", str(site.config_file), "db", "copy", str(site.config.database), url]
    while True:
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(4 * kills + 2), *arguments], capture_output=True, text=True, timeout=60
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills += 1
        go_on_with(site, url)
        with pytest.raises(StoreMismatch, match="is being made; finish it with: twofold db copy"):
            opening.open_store(site.config)
        go_on_with(site, arguments[-2])
    assert kills >= 3
    assert site.command(*arguments[2:]).stdout.startswith("nothing to do: it was copied before")
    there = go_on_with(site, url)
    check_same(before, contents(there.database.connections))
    there.database.close()


# --- A copy that is given up


@pytest.fixture(params=["file", "server"])
def target(request: pytest.FixtureRequest, stores: Stores, tmp_path: Path) -> str:
    return str(tmp_path / "target.db") if request.param == "file" else stores.server.database()


def is_used(site: Site, place: str) -> bool:
    """Whether a store there would serve logins."""
    here = str(site.config.database)
    try:
        opening.open_store(go_on_with(site, place).config).close()
    except StoreMismatch:
        return False
    finally:
        go_on_with(site, here)
    return True


def test_a_copy_that_is_given_up_while_it_goes_on_is_never_in_use(site: Site, target: str) -> None:
    """By somebody who takes it for dead; else the old store and the new one were both in use."""
    here = str(site.config.database)
    wanted = moving.Move(site.config, here, target)
    given_up: list[str] = []

    def give_up(table: str, rows: int) -> None:
        if not given_up:
            moving.abandon(wanted)
        given_up.append(table)

    with pytest.raises(Refused, match="or given that up, in the meantime"):
        moving.move(wanted, "test", give_up)
    assert len(given_up) > 1
    assert (is_used(site, here), is_used(site, target)) == (True, False)


def test_of_two_copies_at_once_the_newer_one_is_finished(site: Site, target: str) -> None:
    here = str(site.config.database)
    wanted = moving.Move(site.config, here, target)
    begun: list[str] = []

    def begin_another(table: str, rows: int) -> None:
        if not begun:
            begun.append(table)
            assert moving.move(wanted, "test", lambda table, rows: None)

    with pytest.raises((Refused, StoreUnavailable)):
        moving.move(wanted, "test", begin_another)
    assert (is_used(site, here), is_used(site, target)) == (False, True)
    assert site.command("db", "copy", here, target).stdout.startswith("nothing to do: it was copied before")


def test_a_store_that_has_moved_elsewhere_is_not_used_again(site: Site, target: str, tmp_path: Path) -> None:
    """A name mistyped behind it: the store is in use where it went, and would be here, too."""
    here, other = str(site.config.database), tmp_path / "other.db"
    create_file(other)
    assert site.command("db", "copy", here, target).returncode == 0
    done = site.command("db", "copy", here, str(other), "--abandon")
    assert done.returncode == 3
    assert "has moved to" in done.stderr
    assert not is_used(site, here)


def test_a_backup_is_not_made_a_store_by_giving_up_a_copy(site: Site, tmp_path: Path) -> None:
    """It would be used without its guards raised."""
    backup, other = str(tmp_path / "backup.db"), tmp_path / "other.db"
    create_file(other)
    assert site.command("backup", backup).returncode == 0
    done = site.command("db", "copy", backup, str(other), "--abandon")
    assert done.returncode == 3
    assert "this is a backup of" in done.stderr
    assert not is_used(site, backup)


def test_where_nothing_was_copied_there_is_nothing_to_give_up(site: Site, tmp_path: Path) -> None:
    create_file(tmp_path / "other.db")
    done = site.command("db", "copy", str(site.config.database), str(tmp_path / "other.db"), "--abandon")
    assert done.returncode == 1
    assert "is in use; there is no copy to give up" in done.stderr


def test_a_copy_that_was_killed_is_given_up(site: Site, target: str) -> None:
    here = str(site.config.database)
    arguments = ["--config", str(site.config_file), "db", "copy", here, target]
    done = subprocess.run([sys.executable, "-c", KILLED, "3", *arguments], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert not is_used(site, here)
    assert site.command(*arguments[2:], "--abandon").returncode == 0
    assert (is_used(site, here), is_used(site, target)) == (True, False)


@pytest.mark.parametrize("place", ["missing/new.db", "file/new.db"])
def test_a_place_where_nothing_can_be_made_is_named_and_the_store_goes_on(
    site: Site, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").touch()
    here = str(site.config.database)
    done = site.command("db", "copy", here, str(tmp_path / place))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"twofold: {tmp_path / place} cannot be made: ")
    assert is_used(site, here)
