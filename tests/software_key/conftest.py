"""A key plugged into this process, and a relying party at it."""

from collections.abc import Iterator

import pytest
from fido2.hid import CtapHidDevice

from tests.software_key.authenticator import SoftwareKey
from tests.software_key.ctaphid import plugged
from tests.software_key.relying import Relying


@pytest.fixture
def key() -> SoftwareKey:
    return SoftwareKey()


@pytest.fixture
def device(key: SoftwareKey) -> Iterator[CtapHidDevice]:
    with plugged(key) as device:
        yield device


@pytest.fixture
def relying(device: CtapHidDevice) -> Relying:
    return Relying(device)
