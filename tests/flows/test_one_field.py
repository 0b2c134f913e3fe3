"""Password and PIN in one field, on real sockets: where it is cut, what one mistake costs, how much fits in."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.flows.crowd import ask_all, numbered, wrong_pins
from tests.site import SECRET, Site, pin
from tests.vectors import yubico
from tests.wire import ACCEPT, REJECT, Nas
from validation.model import Mode, Token
from validation.requests import EnrollToken

ENDS_IN_DIGITS = "geheim12345678"
KEY, (OTP,) = yubico.KSM  # 44 characters


@dataclass
class Gateway:
    site: Site
    nas: Nas

    def login(self, user: str, typed: str) -> int:
        return self.nas.login(user, typed).code

    def all_refused(self, user: str, *entries: str) -> bool:
        """Sent together, so that their reject delays pass together."""
        answers = ask_all(self.nas, numbered(SECRET, [(user, entry) for entry in entries]))
        return {reply.code for reply in answers} == {REJECT}

    def used(self, token: Token) -> bool:
        return self.site.token_row(token.serial)["moving_factor"] != token.moving_factor

    def newcomer(self, user: str, password: str, **options: object) -> Token:
        self.site.add_user(user, password)
        return self.site.enroll(user, **options)

    def last_row(self, user: str) -> dict[str, object]:
        return [row for row in self.site.audit() if row["user"] == user and row["event"] == "login"][-1]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    site = Site(tmp_path_factory.mktemp("one-field"))
    site.add_client("ssh", mode=Mode.APPEND)
    with site.server() as server, server.nas() as nas:
        yield Gateway(site, nas)


def three_lengths(gateway: Gateway, user: str) -> dict[str, str]:
    """What the tokens of a new user show now, by serial: 6 digits, 8 digits and the 44 letters of a YubiKey."""
    six = gateway.newcomer(user, ENDS_IN_DIGITS, serial=f"SIX-{user}")
    eight = gateway.site.enroll(user, kind="hotp", digits=8, serial=f"EIGHT-{user}")
    aes = bytes.fromhex(KEY.aes + KEY.private_id)
    touch = EnrollToken(
        actor="test", user=user, kind="yubico_otp", key=aes, public_id=KEY.public_id, serial=f"TOUCH-{user}"
    )
    gateway.site.gate.administer(touch)
    assert len(OTP.text) == 44
    return {six.serial: pin(six), eight.serial: pin(eight), touch.serial or "": OTP.text}


@pytest.mark.statement("O-070")
def test_each_of_three_lengths_is_found_behind_a_password_that_ends_in_digits(gateway: Gateway) -> None:
    for serial, shown in three_lengths(gateway, "alice").items():
        assert gateway.login("alice", ENDS_IN_DIGITS + shown) == ACCEPT, serial
        assert gateway.last_row("alice")["serial"] == serial
    assert sum(gateway.site.failures("alice").values()) == 0


@pytest.mark.statement("O-070")
def test_one_mistake_with_three_lengths_to_try_is_one_failure(gateway: Gateway) -> None:
    """At the shortest length it counts as a wrong PIN, so that the easiest values to guess are the dearest."""
    six = gateway.newcomer("bob", ENDS_IN_DIGITS)
    for digits in (7, 8):
        gateway.site.enroll("bob", kind="hotp", digits=digits)
    assert gateway.all_refused("bob", ENDS_IN_DIGITS + wrong_pins(six)[0])
    assert gateway.site.failures("bob") == {"passcode": 1}
    assert gateway.all_refused("bob", ENDS_IN_DIGITS + "31415926", ENDS_IN_DIGITS + OTP.text)
    assert gateway.site.failures("bob") == {"passcode": 1, "password": 2}


@pytest.mark.statement("O-072")
def test_a_wrong_password_does_not_use_up_the_right_pin_and_is_one_failure(gateway: Gateway) -> None:
    for user, kind in (("carol", "totp"), ("dave", "hotp")):
        token = gateway.newcomer(user, ENDS_IN_DIGITS, kind=kind)
        right = pin(token)
        assert gateway.login(user, "wrong" + right) == REJECT
        assert (gateway.site.failures(user), gateway.used(token)) == ({"password": 1}, False)
        assert gateway.login(user, ENDS_IN_DIGITS + right) == ACCEPT
        assert gateway.used(token)


@pytest.mark.statement("O-073")
@pytest.mark.parametrize("letter", ["x", "é"], ids=["one octet", "two octets"])
def test_128_octets_fit_into_the_field_and_no_more(gateway: Gateway, letter: str) -> None:
    """RFC 2865 5.2. What is longer is not cut: it is refused, and nothing is compared."""
    user, whole = f"long-{ord(letter)}", letter * (122 // len(letter.encode()))
    token = gateway.newcomer(user, whole, kind="hotp")
    right = pin(token)
    assert len((whole + right).encode()) == 128
    assert gateway.all_refused(user, whole + "x" + right, whole + right + "7")
    assert (gateway.site.failures(user), gateway.used(token)) == ({}, False)
    assert gateway.login(user, whole + right) == ACCEPT


@pytest.mark.statement("O-073")
def test_a_password_alone_a_pin_alone_and_nothing_are_refused(gateway: Gateway) -> None:
    token = gateway.newcomer("erin", "123456", kind="hotp")
    assert gateway.all_refused("erin", "123456", pin(token), "", "123456" + pin(token)[:5])
    assert not gateway.used(token)
    assert gateway.login("erin", "123456" + pin(token)) == ACCEPT
