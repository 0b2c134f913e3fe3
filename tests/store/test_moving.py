"""`twofold db copy`: a whole store from one database to the other, frozen, compared, and never in use in both."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from store import copying, opening
from store.connections import Connections
from store.schema import meta
from tests.postgres import Stores
from tests.site import SECRET, Site, pin
from tests.wire import ACCEPT, access_request
from validation.decisions import Accept
from validation.errors import StoreMismatch, StoreUnavailable
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
