"""Alice at a terminal: a gate on a fake store, a desk around it, and the helper's part of a conversation.

room.engine   who there is, and PINs (tests/validation/engine.py)
room.login()  a login as the module would ask for it; what was shown and asked, and the verdict
    host          a real helper on a real socket, with alice and `token` in a real store
waits         its conversations wait for a key, instead of what they do otherwise
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pam_helper import service
from tests.pam_helper.host import Host, open_folder, until
from tests.pam_helper.talking import Room
from tests.pam_helper.waits import Waits, tasks
from validation.model import Token


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def alice(room: Room) -> str:
    room.engine.add_user("alice")
    return "alice"


@pytest.fixture
def serial(room: Room, alice: str) -> str:
    """Of alice's TOTP token."""
    return room.engine.enroll(alice)


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


@pytest.fixture
def host(folder: Path) -> Iterator[Host]:
    """With alice, her password and her token."""
    with Host(folder) as made:
        made.site.add_user("alice")
        yield made


@pytest.fixture
def token(host: Host) -> Token:
    return host.site.enroll("alice")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waits]:
    made = Waits()
    monkeypatch.setattr(service, "login", made.talk)
    monkeypatch.setattr(service, "care", made.talk)
    yield made
    for key in made.keys:
        key.touch()
    until(lambda: not tasks(), "the end of all tasks")
