"""`twofold key rotate`: another master key, while servers serve, whatever is killed, and nothing is lost.

The store holds a value of every kind that is sealed. Both databases.
"""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from store import checking, opening, rotating
from store.cli.main import run
from store.config import KeySource
from store.key_sources import read
from store.sealing import create_key_file
from tests import builders
from tests.flows.crowd import replies
from tests.killing import Killer
from tests.postgres import on_both
from tests.site import SECRET, Site, eventually, pin
from tests.store import raw
from tests.wire import ACCEPT, access_request
from validation.changes import OpenChallenge, RecordAnswer
from validation.errors import Refused, StoreMismatch
from validation.model import Answered, Mode, Stage, Token
from validation.requests import Wanted

PACKET = b"p" * 32
STATE = "cd" * 16
DAY = 86400.0
USERS = 10


@pytest.fixture
def tokens(site: Site) -> list[Token]:
    """Of ten users, and besides them: a candidate, a client with two secrets, and a recorded answer."""
    site.add_client(mode=Mode.PASSCODE_ONLY)
    assert site.command("client", "set", "vpn", "--secret-stdin", "--overlap", "1d", stdin=SECRET).returncode == 0
    for n in range(USERS):
        site.add_user(f"user{n}", password=None)
    made = [site.enroll(f"user{n}", kind="hotp") for n in range(USERS)]
    candidate = builders.totp_token(id=0, key=b"a-candidate-of-20-oc")
    challenge = builders.challenge(
        state=STATE, stage=Stage.FIRST_PIN, user_id=1, candidate=candidate, expires_at=time.time() + DAY
    )
    answer = Answered(PACKET, 1, time.time(), 1, b"an answer")
    with site.database.transaction() as transaction:
        transaction.apply([OpenChallenge(challenge, time.time()), RecordAnswer(answer)])
    return made


def key_id(path: Path) -> str:
    return read(KeySource(path)).id.hex()


def name_keys(site: Site, text: str) -> None:
    """[key] of its configuration, which is the last section."""
    bare = site.config_file.read_text().partition("[key]\n")[0]
    site.config_file.write_text(f"{bare}[key]\n{text}\n")


@pytest.fixture
def ids(site: Site, tokens: list[Token]) -> tuple[str, str]:
    """The key in use and a new one, both named."""
    create_key_file(site.folder / "new.key")
    name_keys(site, 'file = "new.key"\nold_file = "master.key"')
    return key_id(site.folder / "master.key"), key_id(site.folder / "new.key")


def counts(site: Site) -> dict[str, int]:
    return rotating.standing(site.config).counts


def check_whole(site: Site, tokens: list[Token]) -> None:
    """With whatever keys are named now, every value of every kind opens and is what it was."""
    store = opening.open_store(site.config)
    try:
        assert list(checking.problems(store)) == []
        (client,) = store.clients()
        assert (client.secret, client.old_secret) == (SECRET, SECRET)
        (by_state,) = store.look([Wanted(state=STATE)])
        assert by_state.challenge is not None
        assert by_state.challenge.candidate is not None
        assert by_state.challenge.candidate.key == b"a-candidate-of-20-oc"
        (by_packet,) = store.look([Wanted(packet=PACKET)])
        assert by_packet.answered is not None
        assert by_packet.answered.decision == b"an answer"
        found = store.look([Wanted(user=f"user{n}") for n in range(USERS)])
        assert [snapshot.tokens[0].key for snapshot in found] == [token.key for token in tokens]
    finally:
        store.close()


# --- The rotation itself


@on_both
@pytest.mark.statement("C-014")
def test_after_a_rotation_the_old_key_can_be_destroyed(site: Site, tokens: list[Token], ids: tuple[str, str]) -> None:
    """And before it, it cannot: the host says which key it needs."""
    old, new = ids
    before = counts(site)
    assert before == {old: sum(before.values())}
    done = rotating.rotate(site.config, "test")
    assert done == rotating.Rotation(old, new, sum(before.values()))
    assert counts(site) == {new: sum(before.values())}
    (site.folder / "master.key").unlink()
    assert "old key   not here any more, and not needed" in site.command("key", "status").stdout
    check_whole(site, tokens)
    name_keys(site, 'file = "new.key"')
    check_whole(site, tokens)
    assert rotating.rotate(site.config, "test") is None
    assert site.command("audit", "verify").returncode == 0
    told = [(row["event"], row["reason"], row["detail"]) for row in site.audit() if row["event"] == "key-rotate"]
    assert [(event, reason) for event, reason, _ in told] == [("key-rotate", "begun"), ("key-rotate", "finished")]


def test_a_key_that_the_store_has_outlived_can_be_destroyed_and_a_backup_from_then_says_what_it_needs(
    site: Site, tokens: list[Token], ids: tuple[str, str], tmp_path: Path
) -> None:
    backup = tmp_path / "before.db"
    assert site.command("backup", str(backup)).returncode == 0
    rotating.rotate(site.config, "test")
    site.database.close()
    both = site.config_file.read_text()
    name_keys(site, 'file = "new.key"')
    done = site.command("restore", str(backup), "--replace")
    assert done.returncode == 3
    assert f"it is key {ids[1]}, the store was sealed with {ids[0]}. Nothing was changed" in done.stderr
    site.config_file.write_text(both)
    assert site.command("restore", str(backup), "--replace").returncode == 0
    assert rotating.standing(site.config).key_id == ids[0]
    assert site.command("key", "rotate").returncode == 0
    assert set(counts(site)) == {ids[1]}


def test_a_backup_made_in_the_middle_needs_both_keys(
    site: Site, tokens: list[Token], ids: tuple[str, str], tmp_path: Path
) -> None:
    half_rotated(site)
    backup = tmp_path / "between.db"
    assert site.command("backup", str(backup)).returncode == 0
    site.database.close()
    both = site.config_file.read_text()
    name_keys(site, 'file = "new.key"')
    assert f"was sealed with {ids[0]}" in site.command("restore", str(backup), "--replace").stderr
    site.config_file.write_text(both)
    assert site.command("restore", str(backup), "--replace").returncode == 0
    assert site.command("key", "rotate").returncode == 0
    assert set(counts(site)) == {ids[1]}
    assert site.command("db", "check").returncode == 0


class Stopped(Exception):
    """Instead of a kill, where what is left is looked at from the same process."""


def half_rotated(site: Site) -> None:
    """Begun, and some values sealed anew."""
    with pytest.raises(Stopped):
        rotating.rotate(site.config, "test", watch=lambda rows: stopped)
    assert rotating.standing(site.config).old_key_id


def stopped(values: Iterable[None]) -> Iterator[None]:
    for number, value in enumerate(values):
        if number == 2:
            raise Stopped
        yield value


# --- Killed


def killer_of(site: Site) -> Killer:
    rotate = 'rotating.rotate(config.load(Path(sys.argv[1])), "test")'
    return Killer("from store import config, rotating; rotating._AT_ONCE = 5", rotate, str(site.config_file))


@pytest.mark.statement("C-014")
def test_a_rotation_killed_after_any_statement_loses_nothing_and_the_next_run_finishes(
    site: Site, tokens: list[Token], ids: tuple[str, str]
) -> None:
    """Each time from the start; what is left opens with both keys, and after the next run with the new one alone."""
    site.database.close()
    database = site.config.database
    kept = database.read_bytes()
    assert not database.with_name("twofold.db-wal").exists()
    both = site.config_file.read_text()
    killed, between = 0, 0
    with killer_of(site) as killer:
        for moment in killer.kills():
            check_whole(site, tokens)
            between += bool(rotating.standing(site.config).old_key_id)
            rotating.rotate(site.config, "test")
            assert set(counts(site)) == {ids[1]}, f"before statement {moment}"
            name_keys(site, 'file = "new.key"')
            check_whole(site, tokens)
            site.config_file.write_text(both)
            for end in ("-wal", "-shm"):
                database.with_name(database.name + end).unlink(missing_ok=True)
            database.write_bytes(kept)
            killed += 1
    assert killed > 40
    assert between > 20, "killed before it had begun, or after it was done"


@pytest.mark.peer("postgres", "psql")
@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
@pytest.mark.statement("C-014")
def test_a_rotation_killed_again_and_again_goes_on_where_it_was(
    site: Site, tokens: list[Token], ids: tuple[str, str]
) -> None:
    """Each run gets a statement further than the one before."""
    killed = 0
    with killer_of(site) as killer:
        for _ in killer.kills():
            killed += 1
            if killed % 5 == 0:
                check_whole(site, tokens)
    assert killed > 20
    assert set(counts(site)) == {ids[1]}
    name_keys(site, 'file = "new.key"')
    check_whole(site, tokens)
    assert site.command("audit", "verify").returncode == 0


# --- While others work


@on_both
def test_a_writer_that_began_before_the_rotation_leaves_nothing_under_the_old_key(
    site: Site, tokens: list[Token], ids: tuple[str, str]
) -> None:
    """It has sealed with the old key and not committed. On SQLite the rotation cannot begin before it has."""
    candidate = builders.totp_token(id=0)
    late = builders.challenge(
        state="ef" * 16, stage=Stage.FIRST_PIN, user_id=2, candidate=candidate, expires_at=time.time() + DAY
    )
    rotation = threading.Thread(target=rotating.rotate, args=(site.config, "test"))
    with site.database.transaction() as transaction:
        transaction.apply([OpenChallenge(late, time.time())])
        rotation.start()
        eventually(lambda: not site.config.url or rotating.standing(site.config).old_key_id, what="a rotation begun")
        assert rotation.is_alive()
    rotation.join(60)
    assert not rotation.is_alive()
    assert set(counts(site)) == {ids[1]}
    check_whole(site, tokens)


def test_what_was_sealed_ahead_of_a_transaction_is_sealed_again_if_the_key_has_changed(
    site: Site, tokens: list[Token], ids: tuple[str, str]
) -> None:
    """As by an import of 100,000 tokens that has begun before."""
    from validation.changes import InsertToken

    token = builders.totp_token(id=0, serial="BOX-1", user_id=None, key=b"one-of-a-box-of-20-o")
    site.database.seal_ahead([token])
    rotating.rotate(site.config, "test")
    with site.database.transaction() as transaction:
        transaction.apply([InsertToken(token)])
    assert set(counts(site)) == {ids[1]}


@on_both
def test_a_running_server_takes_the_new_key_and_nobody_is_refused(site: Site, tokens: list[Token]) -> None:
    """It was started when the configuration named the old key alone; logins go on all the time."""
    with site.server() as server, server.nas() as nas:
        assert nas.ask(access_request(SECRET, "user0", pin(tokens[0]))).code == ACCEPT
        create_key_file(site.folder / "new.key")
        name_keys(site, 'file = "new.key"\nold_file = "master.key"')
        done = threading.Event()

        def rotate() -> None:
            rotating.rotate(site.config, "test")
            done.set()

        rotation = threading.Thread(target=rotate)
        rotation.start()
        asked = 0
        while asked < 20 or not done.is_set():
            user, ahead = asked % (USERS - 1) + 1, asked // (USERS - 1)
            typed = pin(tokens[user], ahead)
            assert nas.ask(access_request(SECRET, f"user{user}", typed)).code == ACCEPT, server.log
            asked += 1
        rotation.join(60)
        assert set(counts(site)) == {key_id(site.folder / "new.key")}
        (site.folder / "master.key").unlink()
        assert nas.ask(access_request(SECRET, "user0", pin(tokens[0], 1))).code == ACCEPT
    assert "store-unavailable" not in server.log


# --- Several hosts


@pytest.mark.peer("postgres", "psql")
@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_a_host_without_the_new_key_keeps_silent_and_is_back_as_soon_as_it_has_it(
    site: Site, tokens: list[Token], ids: tuple[str, str], tmp_path: Path
) -> None:
    """Nobody is refused and nothing counts: the gateway asks the other server."""
    other = beside(site, tmp_path / "other")
    with other.server() as server, server.nas() as nas:
        assert nas.ask(access_request(SECRET, "user0", pin(tokens[0]))).code == ACCEPT
        refused = site.command("key", "rotate")
        assert refused.returncode == 1
        assert "other hosts use this store, too: other." in refused.stderr
        assert site.command("key", "rotate", "--on-every-host").returncode == 0
        asked = access_request(SECRET, "user1", pin(tokens[1]))
        nas.send(asked.data)
        assert nas.receive(2.0) is None
        eventually(lambda: f"sealed with key {ids[1]}, which this host does not hold" in server.log, what="the reason")
        shutil.copy(site.folder / "new.key", other.folder)
        name_keys(other, 'file = "new.key"')

        def answered() -> bool:
            nas.send(asked.data)
            (reply,) = replies(nas, [asked], 1.5)
            return reply is not None and reply.code == ACCEPT

        eventually(answered, what="an answer")
    assert site.failures("user1") == {}
    assert other.command("key", "status").returncode == 0


def beside(site: Site, folder: Path) -> Site:
    """Another host on the same store, with the old key alone."""
    folder.mkdir()
    shutil.copy(site.folder / "master.key", folder)
    bare = site.config_file.read_text().partition("[key]\n")[0]
    return Site(folder, bare.replace('chain = "test"', 'chain = "other"'))


# --- Refused


def refusal(site: Site, kind: type[Exception] = Refused) -> str:
    before = raw.contents(site.config.database)
    with pytest.raises(kind) as caught:
        rotating.rotate(site.config, "test")
    assert raw.contents(site.config.database) == before
    return str(caught.value)


@pytest.mark.statement("C-015")
def test_without_the_old_key_nothing_begins(site: Site, tokens: list[Token], ids: tuple[str, str]) -> None:
    name_keys(site, 'file = "new.key"')
    assert f"it is key {ids[1]}, the store was sealed with {ids[0]}. Nothing was changed" in refusal(
        site, StoreMismatch
    )


def test_a_third_key_waits_until_the_second_is_everywhere(
    site: Site, tokens: list[Token], ids: tuple[str, str]
) -> None:
    half_rotated(site)
    create_key_file(site.folder / "third.key")
    name_keys(site, 'file = "third.key"\nold_file = "new.key"')
    assert "was sealed with" in refusal(site, StoreMismatch)
    name_keys(site, 'file = "master.key"\nold_file = "new.key"')
    assert f"the rotation to key {ids[1]} is unfinished, and [key] names another, {ids[0]}" in refusal(site)


def test_a_value_under_a_key_that_nobody_has_stops_it_before_it_begins(
    site: Site, tokens: list[Token], ids: tuple[str, str]
) -> None:
    raw.tamper(
        site.config.database,
        (
            "UPDATE tokens SET sealed_key = ? WHERE serial = ?",
            (b"\x01" + b"strange!" + os.urandom(60), tokens[0].serial),
        ),
    )
    assert b"strange!".hex() in refusal(site)


@pytest.mark.parametrize("value", ["a text, no octets", 5, "", b"", b"\x01"])
def test_what_is_no_sealed_value_stops_it_too_and_the_status_counts_it(
    site: Site, tokens: list[Token], ids: tuple[str, str], value: object
) -> None:
    raw.tamper(site.config.database, ("UPDATE tokens SET sealed_key = ? WHERE serial = ?", (value, tokens[0].serial)))
    strange = b" text, n".hex() if value == "a text, no octets" else "none at all"
    assert f"some values are sealed with a key that is not here, {strange}: twofold db check" in refusal(site)
    status = site.command("key", "status")
    assert status.returncode == 0
    assert f"values    {sum(counts(site).values()) - 1} under key {ids[0]}" in status.stdout
    assert f"{strange}" in status.stdout


def test_a_text_with_octets_that_are_none_stops_it_too(site: Site, tokens: list[Token], ids: tuple[str, str]) -> None:
    raw.tamper(site.config.database, "UPDATE tokens SET sealed_key = CAST(x'01fffffffffffffffffe' AS TEXT)")
    assert f"values    {len(tokens)} under key ffffffffffffffff" in site.command("key", "status").stdout
    with pytest.raises(Refused, match="ffffffffffffffff: twofold db check"):
        rotating.rotate(site.config, "test")


def test_a_value_that_does_not_open_is_named_and_all_others_are_sealed_anew(
    site: Site, tokens: list[Token], ids: tuple[str, str]
) -> None:
    """A damaged row must not keep everybody's keys under a stolen master key."""
    old, new = ids
    damaged = bytes.fromhex(f"01{old}") + os.urandom(60)
    raw.tamper(
        site.config.database,
        ("UPDATE tokens SET sealed_key = ? WHERE serial = ?", (damaged, tokens[3].serial)),
    )
    with pytest.raises(Refused) as caught:
        rotating.rotate(site.config, "test")
    assert f"1 values cannot be opened: tokens.sealed_key of {tokens[3].serial}." in str(caught.value)
    assert counts(site)[old] == 1
    assert site.command("token", "revoke", tokens[3].serial, "--reason", "lost").returncode == 0
    done = rotating.rotate(site.config, "test")
    assert done is not None
    assert set(counts(site)) == {new}


def test_a_store_that_is_being_moved_is_not_sealed_anew(site: Site, tokens: list[Token], ids: tuple[str, str]) -> None:
    raw.tamper(site.config.database, "INSERT INTO meta VALUES ('frozen', 'the store has moved')")
    assert refusal(site, StoreMismatch) == "the store has moved"


def test_a_row_that_names_another_key_does_not_make_anybody_look_for_it(site: Site, tokens: list[Token]) -> None:
    """A login would wait for the program that has it, each time."""
    strange = b"\x01" + b"strange!" + os.urandom(60)
    serial = tokens[0].serial
    raw.tamper(site.config.database, ("UPDATE tokens SET sealed_key = ? WHERE serial = ?", (strange, serial)))
    path = site.folder / "program"
    path.write_text(f"#!/bin/sh\necho run >> {site.folder}/runs\ncat {site.folder}/master.key\n")
    path.chmod(0o700)
    name_keys(site, f'command = ["{path}"]')
    store = opening.open_store(site.config)
    try:
        (snapshot,) = store.look([Wanted(user="user0")])
        assert snapshot.damage
    finally:
        store.close()
    assert (site.folder / "runs").read_text() == "run\n"


# --- The command


def test_what_the_command_says(site: Site, tokens: list[Token], ids: tuple[str, str]) -> None:
    old, new = ids
    values = sum(counts(site).values())
    status = site.command("key", "status").stdout.splitlines()
    assert status == [
        f"store     sealed with key {old}",
        f"values    {values} under key {old}",
        f"held      key {new}: {site.folder / 'new.key'}",
        f"held      key {old}: {site.folder / 'master.key'}",
    ]
    said = site.command("key", "rotate").stdout
    assert said.startswith(f"sealed {values} values with key {new}; none is under key {old} any more\n")
    assert site.command("key", "rotate").stdout.startswith("nothing to do")


def test_status_tells_what_is_missing_and_how_far_a_rotation_is(
    site: Site, tokens: list[Token], ids: tuple[str, str]
) -> None:
    half_rotated(site)
    assert "values are still sealed with the old master key" in site.command("doctor").stdout
    name_keys(site, 'file = "new.key"\nold_file = "gone.key"')
    done = site.command("key", "status")
    assert done.returncode == 1
    assert f"values are under key {ids[0]}. Run: twofold key rotate" in done.stdout
    assert f"missing   key {ids[0]}: nobody is let in by this host" in done.stdout
    assert "gone.key is missing" in done.stdout
    assert json.loads(site.command("key", "status", "--json").stdout)["missing"] == [ids[0]]


def test_a_new_key_is_never_written_over_anything_nor_shown(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.key"
    done = site.command("key", "new", str(path))
    assert done.stdout == f"{path}: key {key_id(path)}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    assert site.command("key", "new", str(path)).returncode == 1
    assert path.read_bytes() == before
    piped = site.command("key", "new", "-")
    (tmp_path / "b.key").touch(0o600)
    (tmp_path / "b.key").write_text(piped.stdout)
    assert piped.stderr == f"key {key_id(tmp_path / 'b.key')}\n"
    assert site.command("key", "new", str(tmp_path / "nowhere" / "a.key")).returncode == 1
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert run(["key", "new", "-"]) == 1
