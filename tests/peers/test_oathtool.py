"""Our HOTP and TOTP against `oathtool` of the OATH Toolkit: the same values for random tokens, and only those fit."""

import random

import pytest

from tests.builders import hotp_token, totp_token
from tests.peers.oathtool import oathtool
from validation.model import Token
from validation.tokens import hotp
from validation.tokens.hotp import Hotp
from validation.tokens.kind import ALGORITHMS, DIGITS, Window
from validation.tokens.totp import Totp

pytestmark = pytest.mark.peer("oathtool")

WINDOW = Window(totp_window=1, drift_limit=10, look_ahead=9)
dice = random.Random(20260101)  # seeded: a failure can be repeated


def random_hotp() -> Token:
    counter = dice.randrange(2 ** dice.randrange(1, 63))
    return hotp_token(key=dice.randbytes(dice.randrange(14, 129)), digits=dice.choice(DIGITS), moving_factor=counter)


def random_totp() -> tuple[Token, int]:
    token = totp_token(
        key=dice.randbytes(dice.randrange(14, 129)),
        digits=dice.choice(DIGITS),
        algorithm=dice.choice(ALGORITHMS),
        period=dice.randrange(10, 121),
    )
    return token, dice.randrange(2 ** dice.randrange(8, 36))  # seconds since 1970, up to the year 4147


AT_THE_END = hotp_token(moving_factor=2**63 - 11)  # what it shows last: the next counter must fit 63 bits


@pytest.mark.parametrize("token", [AT_THE_END, *(random_hotp() for _ in range(50))], ids=range(51))
def test_hotp_values_and_look_ahead(token: Token) -> None:
    counter = token.moving_factor
    values = oathtool(token.key, "--counter", str(counter), "--digits", str(token.digits), "--window", "9")
    assert values == [hotp.value_at(token, counter + ahead) for ahead in range(10)]
    found = [Hotp().compare(token, value, 0.0, WINDOW).match for value in values]
    assert [match and match.moving_factor for match in found] == [counter + values.index(v) + 1 for v in values]


@pytest.mark.parametrize(("token", "now"), [random_totp() for _ in range(50)], ids=range(50))
def test_totp_values_of_every_algorithm_and_period(token: Token, now: int) -> None:
    step = now // token.period
    options = [f"--totp={token.algorithm}", "--now", f"@{now}", "--time-step-size", f"{token.period}s"]
    values = oathtool(token.key, *options, "--digits", str(token.digits), "--window", "3")
    assert values == [hotp.value_at(token, step + ahead) for ahead in range(4)]
    found = [Totp().compare(token, value, float(now), WINDOW).match for value in values]
    assert [match and match.moving_factor for match in found] == [step + 1, step + 2, None, None]
