"""The file-system rights of another account, for a block and a thread."""

import os
import threading
from pathlib import Path

import pytest

from pam_helper.owner import rights_of_owner, rights_of_this_process
from tests.pam_helper.host import needs_root
from validation.errors import StoreUnavailable

pytestmark = needs_root

DAEMON = 1


@pytest.fixture
def store(folder: Path) -> Path:
    """In a folder of the account daemon."""
    home = folder / "home"
    home.mkdir()
    (home / "store").touch()
    for path in (home, home / "store"):
        os.chown(path, DAEMON, DAEMON)
    return home / "store"


def readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except PermissionError:
        return False
    return True


@pytest.fixture
def mine(folder: Path) -> Path:
    path = folder / "mine"
    path.touch(mode=0o600)
    return path


@pytest.mark.statement("P-015", "P-024")
def test_what_is_made_belongs_to_the_owner_and_what_is_roots_is_closed(store: Path, mine: Path) -> None:
    with rights_of_owner(store):
        (store.parent / "made").touch()
        assert not readable(mine)
        with pytest.raises(PermissionError):
            (mine.parent / "made").touch()
    assert ((store.parent / "made").stat().st_uid, (store.parent / "made").stat().st_gid) == (DAEMON, DAEMON)
    assert readable(mine), "they are given back"


@pytest.mark.statement("P-015")
def test_they_are_given_back_after_an_error_too(store: Path, mine: Path) -> None:
    with pytest.raises(ZeroDivisionError), rights_of_owner(store):
        _ = 1 / 0
    assert readable(mine)


@pytest.mark.statement("P-015")
def test_only_this_thread_has_them(store: Path, mine: Path) -> None:
    inside, looked, seen = threading.Event(), threading.Event(), list[bool]()

    def other() -> None:
        assert inside.wait(60)
        seen.append(readable(mine))
        looked.set()

    thread = threading.Thread(target=other)
    thread.start()
    with rights_of_owner(store):
        inside.set()
        assert looked.wait(60)
        assert not readable(mine)
    thread.join()
    assert seen == [True]


def test_for_a_moment_they_are_given_back_and_taken_again(store: Path, mine: Path) -> None:
    with rights_of_owner(store):
        with rights_of_this_process():
            assert readable(mine)
        assert not readable(mine)


def test_of_a_link_the_owner_of_the_link_counts(store: Path, mine: Path) -> None:
    link = store.parent / "link"
    link.symlink_to(mine)
    os.chown(link, DAEMON, DAEMON, follow_symlinks=False)
    with rights_of_owner(link):
        assert not readable(link)


def test_without_a_store_there_is_no_answer(folder: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be opened"), rights_of_owner(folder / "nothing"):
        raise AssertionError("not reached")
