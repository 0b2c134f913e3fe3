"""A first login in the terminal: nobody has prepared anything, and at the end there is a token."""

import re
import time
from pathlib import Path

import pytest

from tests.peers.pam.house import PIN, Entrance
from tests.store.cli.test_qr import decoded, png, seen
from tests.vectors import reference
from validation.model import RevokeReason
from validation.tokens.uri import key_from_text

pytestmark = pytest.mark.peer("login", "su", "sudo", "ssh", "sshd", "ssh-keygen", "nsenter", "unshare", "cc", "zbarimg")

WELCOME = "Enter s to go on, or n for instructions: ?$"
FIRST = "First PIN from the app: ?$"


class Phone:
    """It has what it saw on the screen, and nothing else."""

    def __init__(self, picture: Path) -> None:
        self.picture = picture
        self.uri = ""

    def scan(self, screen: str) -> str:
        """The first PIN, of the code that was drawn."""
        drawn = [line for line in screen.splitlines() if set(line) & set("█▀▄")]
        self.picture.write_bytes(png(seen("\n".join(drawn))))
        self.uri = decoded(self.picture)
        return self.pin()

    def pin(self, ahead: int = 0) -> str:
        (secret,) = re.findall(r"secret=([A-Z2-7]+)", self.uri)
        return reference.hotp(key_from_text(secret), int(time.time()) // 30 + ahead)


def test_from_a_password_to_a_token_by_the_code_on_the_screen(entrance: Entrance, tmp_path: Path) -> None:
    house, phone = entrance.house, Phone(tmp_path / "screen.png")
    bob = house.somebody("bob", token=False)
    answers = ((WELCOME, "n"), ("then enter s to go on: ?$", ""), (FIRST, "000000"), (FIRST, phone.scan))
    first = entrance.visit(bob, *answers)
    assert entrance.is_in(first, "bob"), first.screen + house.said()
    if not entrance.way.startswith("ssh"):  # sshd shows what comes after the last question in a login shell alone
        assert "Done. From now on each login asks for a PIN." in first.screen
        assert "If you change phones, delete the account in the old app." in first.screen
    (group,) = set(re.findall(r"^(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}$", first.screen, re.MULTILINE))
    assert group.replace(" ", "") in phone.uri, "the key for those without a camera is that of the code"
    ahead = house.site.gate.outlook("bob")
    assert ahead is not None
    (serial,) = ahead.serials
    assert phone.uri in first.screen, "and the address beside it, too"
    assert house.site.token_row(serial)["kind"] == "totp"
    second = entrance.visit(bob, (PIN, lambda screen: phone.pin(1)))
    assert entrance.is_in(second, "bob"), second.screen


def test_giving_up_leaves_nothing(entrance: Entrance) -> None:
    bob = entrance.house.somebody("bob", token=False)
    given_up = entrance.visit(bob, (WELCOME, "s"), (FIRST, "1"), (FIRST, "2"), (FIRST, "3"))
    assert given_up.who is None, given_up.screen
    ahead = entrance.house.site.gate.outlook("bob")
    assert ahead is not None
    assert ahead.serials == ()


def test_after_a_compromise_nobody_pairs(entrance: Entrance) -> None:
    alice = entrance.house.somebody()
    entrance.house.revoke(alice, RevokeReason.COMPROMISE)
    refused = entrance.visit(alice, ("Press Enter to close: ?$", ""))
    assert (refused.who, "Scan" in refused.screen) == (None, False)
    assert entrance.house.last() == ("reject", "pairing-closed")
