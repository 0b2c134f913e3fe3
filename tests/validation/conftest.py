"""A gate on a fake store, with alice and her TOTP token."""

import pytest

from tests.validation.engine import Engine


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def alice(engine: Engine) -> str:
    engine.add_user("alice")
    return "alice"


@pytest.fixture
def serial(engine: Engine, alice: str) -> str:
    """Of alice's TOTP token."""
    return engine.enroll(alice)
