"""The ballast by itself: what is made, when, and what becomes of it. Full disks are in flows/test_full_disk.py."""

import errno
import logging
import os
import resource
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from store.ballast import LEAST_FREE, SIZE, Ballast
from tests.site import Site, pin
from validation.decisions import Accept
from validation.model import Mode
from validation.requests import Channel, LoginRequest

Raising = Callable[..., None]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "twofold.db"
    path.touch()
    return path


@pytest.fixture
def ballast(database: Path) -> Ballast:
    made = Ballast(database)
    assert made.make()
    return made


def failing(number: int) -> Raising:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


# --- made


def test_its_blocks_are_taken_and_nobody_else_reads_it(ballast: Ballast) -> None:
    status = ballast.path.stat()
    assert status.st_size == SIZE
    assert status.st_blocks * 512 >= SIZE
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert ballast.is_there


def test_one_that_is_there_is_left_alone(ballast: Ballast) -> None:
    before = ballast.path.stat()
    assert not ballast.make()
    assert ballast.path.stat() == before


@pytest.mark.parametrize("half", ["cut", "sparse", "empty", "link"])
def test_what_takes_no_room_is_no_ballast_and_one_is_made_in_its_place(ballast: Ballast, half: str) -> None:
    """What a kill in the middle leaves, or a copy that kept no blocks; a link is not followed."""
    ballast.path.rename(aside := ballast.path.with_name("aside"))
    if half == "link":
        ballast.path.symlink_to(aside)
    else:
        ballast.path.touch()
        os.truncate(ballast.path, {"cut": SIZE // 2, "sparse": SIZE, "empty": 0}[half])
    before = aside.read_bytes()
    assert not ballast.is_there
    assert ballast.make()
    assert ballast.path.lstat().st_blocks * 512 >= SIZE
    assert aside.read_bytes() == before


def test_it_is_made_only_where_far_more_is_free(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ballast, "room", LEAST_FREE - 1)
    assert not Ballast(database).make()
    assert not Ballast(database).path.exists()
    monkeypatch.setattr(Ballast, "room", LEAST_FREE)
    assert Ballast(database).make()


@pytest.mark.parametrize("call", ["posix_fallocate", "fsync"])
def test_nothing_is_left_of_one_that_cannot_be_made(database: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A quota is met when it is too late to look."""
    monkeypatch.setattr(os, call, failing(errno.EDQUOT))
    with pytest.raises(OSError, match="quota"):
        Ballast(database).make()
    assert not Ballast(database).path.exists()


def test_a_server_that_cannot_make_it_says_so_once(
    database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keeping = Ballast(database)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", failing(errno.EIO))
        for _ in range(3):
            keeping.keep()
    caplog.set_level(logging.INFO)
    keeping.keep()
    keeping.keep()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", f"the ballast {keeping.path} cannot be made: Input/output error"),
        ("INFO", f"there is room on the disk of {database}: {keeping.path} was made"),
    ]


def test_root_makes_it_for_the_owner_of_the_store(database: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.chown(database, 65534, 65534)
    made = Ballast(database)
    assert made.make()
    assert (made.path.stat().st_uid, made.path.stat().st_gid) == (65534, 65534)


# --- given up


def test_it_is_given_up_once_and_that_is_said(ballast: Ballast, caplog: pytest.LogCaptureFixture) -> None:
    assert ballast.give_up(is_full=True)
    assert not ballast.path.exists()
    assert not ballast.give_up(is_full=True)
    assert not ballast.give_up(is_full=False)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"{ballast.path} was given up, so that some more logins can be recorded. Make room now" in record.message


def test_its_blocks_are_free_though_somebody_reads_it(ballast: Ballast) -> None:
    """A backup program, for example."""
    with ballast.path.open("rb") as reading:
        assert ballast.give_up(is_full=True)
        assert os.fstat(reading.fileno()).st_blocks == 0


@pytest.mark.parametrize(
    ("number", "given_up"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False), (errno.EFBIG, False)]
)
def test_for_an_error_that_may_be_another_the_disk_is_asked(
    ballast: Ballast, monkeypatch: pytest.MonkeyPatch, number: int, given_up: bool
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", failing(number))
    assert ballast.give_up(is_full=False) is given_up
    assert ballast.is_there is not given_up


@pytest.mark.statement("C-011")
def test_a_login_that_meets_a_quota_is_decided_anew(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite says "disk I/O error", here because of a limit that ends when the ballast's blocks are free."""
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", None)
    passcode = pin(site.enroll("alice", kind="hotp"))
    request = LoginRequest("alice", Channel.for_mode(Mode.PASSCODE_ONLY), "vpn", site.gate.clients()[0].version)
    ballast = Ballast(site.config.database)
    ballast.make()
    limit, truncate = resource.getrlimit(resource.RLIMIT_FSIZE), os.ftruncate

    def truncated(descriptor: int, size: int) -> None:
        truncate(descriptor, size)
        if size == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    monkeypatch.setattr(os, "posix_fallocate", failing(errno.EDQUOT))
    monkeypatch.setattr(os, "ftruncate", truncated)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limit[1]))
    try:
        (outcome,) = site.gate.login([replace(request, passcode=passcode)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert isinstance(outcome, Accept)
    assert not ballast.path.exists()
    assert site.logins() == [("accept", "passcode-right")]


def test_asking_a_disk_that_is_not_full_changes_nothing(ballast: Ballast, caplog: pytest.LogCaptureFixture) -> None:
    before = ballast.path.read_bytes()
    assert not ballast.give_up(is_full=False)
    assert ballast.path.read_bytes() == before
    assert caplog.records == []


@pytest.mark.parametrize("planted", ["link", "hard link", "pipe", "folder"])
@pytest.mark.parametrize("is_full", [True, False])
def test_what_stands_under_its_name_and_is_something_else_is_not_written_to(
    database: Path, caplog: pytest.LogCaptureFixture, planted: str, is_full: bool
) -> None:
    other = database.with_name("other")
    other.write_bytes(bytes(SIZE))
    found = Ballast(database)
    match planted:
        case "link":
            found.path.symlink_to(other)
        case "hard link":
            os.link(other, found.path)
        case "pipe":
            os.mkfifo(found.path)
        case _:
            found.path.mkdir()
    for _ in range(3):
        assert not found.give_up(is_full)
    assert other.read_bytes() == bytes(SIZE)
    assert os.path.lexists(found.path)
    (record,) = caplog.records
    assert record.message.startswith(f"the ballast {found.path} cannot be given up: ")
