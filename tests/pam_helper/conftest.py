"""Alice at a terminal: a gate on a fake store, a desk around it, and the helper's part of a conversation.

room.engine   who there is, and PINs (tests/validation/engine.py)
room.login()  a login as the module would ask for it; what was shown and asked, and the verdict
"""

import pytest

from tests.pam_helper.talking import Room


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
