"""What all kinds share: the shape of a passcode, and the settings a token may have."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.builders import NOW, hotp_token, totp_token
from tests.vectors import reference
from validation.errors import BadInput, Damaged
from validation.model import Token
from validation.tokens.kind import NOTHING, Window, first_equal, likely_or_first, well_formed
from validation.tokens.registry import KINDS, kind_of

WINDOW = Window(totp_window=1, drift_limit=10, look_ahead=10)
# The kinds of RFC 4226 and 6238; the others have files of their own.
TOKENS = {"totp": totp_token(), "hotp": hotp_token()}

# Each is made from the right passcode: Python's int() or isdigit() takes several of them for it.
DISGUISES: dict[str, Callable[[str], str]] = {
    "full width": lambda pin: pin.translate({ord("0") + n: 0xFF10 + n for n in range(10)}),
    "Arabic-Indic": lambda pin: pin.translate({ord("0") + n: 0x0660 + n for n in range(10)}),
    "one superscript": lambda pin: pin[:-1] + "²",
    "plus": lambda pin: "+" + pin,
    "plus instead of a digit": lambda pin: "+" + pin[1:],
    "minus": lambda pin: "-" + pin,
    "blank before": lambda pin: " " + pin,
    "blank behind": lambda pin: pin + " ",
    "line end": lambda pin: pin + "\n",
    "NUL": lambda pin: pin + "\0",
    "underscore": lambda pin: pin[:2] + "_" + pin[2:],
    "underscore instead of a digit": lambda pin: pin[:2] + "_" + pin[3:],
    "exponent": lambda pin: "1e5",
    "exponent of six": lambda pin: "1e0000",
    "hex": lambda pin: hex(int(pin)),
    "hex of six": lambda pin: "0x1234",
    "point": lambda pin: pin + ".0",
    "one digit less": lambda pin: pin[:-1],
    "one digit more": lambda pin: pin + "0",
    "a zero before": lambda pin: "0" + pin,
    "empty": lambda pin: "",
    "a million digits": lambda pin: pin * 166_667,
    "a lone surrogate": lambda pin: pin[:-1] + "\udc80",
    "combining": lambda pin: pin[:-1] + "\u0301",
}


@pytest.mark.statement("O-012")
@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize("disguise", DISGUISES)
def test_only_exactly_so_many_ascii_digits_are_a_passcode(kind: str, disguise: str) -> None:
    token = TOKENS[kind]
    counter = int(NOW) // 30 if kind == "totp" else 0
    right = reference.hotp(token.key, counter)
    assert KINDS[kind].compare(token, right, NOW, WINDOW).match is not None
    assert KINDS[kind].compare(token, DISGUISES[disguise](right), NOW, WINDOW) == NOTHING


@pytest.mark.statement("O-012")
@pytest.mark.parametrize("digits", [6, 7, 8])
def test_the_number_of_digits_is_the_tokens(digits: int) -> None:
    assert [n for n in range(12) if well_formed("1" * n, digits)] == [digits]


@pytest.mark.statement("O-002", "O-051")
@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize(("octets", "possible"), [(0, False), (13, False), (14, True), (16, True), (20, True)])
def test_no_kind_takes_a_key_below_112_bits(kind: str, octets: int, possible: bool) -> None:
    token = replace(TOKENS[kind], key=b"k" * octets)
    assert accepted(token) is possible


@pytest.mark.statement("O-003")
@pytest.mark.parametrize("kind", TOKENS)
def test_six_seven_and_eight_digits_are_possible(kind: str) -> None:
    assert [n for n in range(12) if accepted(replace(TOKENS[kind], digits=n))] == [6, 7, 8]


@pytest.mark.statement("O-022")
def test_a_step_lasts_from_10_to_120_seconds() -> None:
    possible = [n for n in range(-1, 200) if accepted(replace(TOKENS["totp"], period=n))]
    assert possible == list(range(10, 121))
    assert {30, 60, 120} <= set(possible)


def test_a_counter_token_keeps_a_period_the_store_can_hold() -> None:
    """It means nothing there, but it is stored; what the store refuses must be refused here, in words."""
    assert [n for n in range(-1, 200) if accepted(replace(TOKENS["hotp"], period=n))] == list(range(1, 121))


@pytest.mark.parametrize("kind", TOKENS)
def test_a_moving_factor_fits_the_store_with_room_for_the_next(kind: str) -> None:
    border = {-1: False, 0: True, 2**63 - 2: True, 2**63 - 1: False, 2**64: False}
    assert {n: accepted(replace(TOKENS[kind], moving_factor=n)) for n in border} == border


@pytest.mark.parametrize("kind", TOKENS)
def test_other_hashes_are_refused(kind: str) -> None:
    algorithms = ("sha1", "sha256", "sha512", "md5", "SHA1", "sha3_256", "")
    assert [a for a in algorithms if accepted(replace(TOKENS[kind], algorithm=a))] == ["sha1", "sha256", "sha512"]


def accepted(token: Token) -> bool:
    """False if the settings were refused, naming a field and never the key."""
    try:
        KINDS[token.kind].check(token)
    except BadInput as refusal:
        _check_refusal(str(refusal), token.key.decode())
        return False
    return True


def _check_refusal(refusal: str, key: str) -> None:
    assert refusal.partition(":")[0] in {"key", "digits", "period", "counter", "algorithm"}
    assert not key or key not in refusal


def test_of_equal_values_the_first_is_meant_and_all_are_computed() -> None:
    """So the time of a comparison does not tell where the match was."""
    computed = []

    def value(n: int) -> str:
        computed.append(n)
        return "123456" if n in (3, 5) else "000000"

    assert first_equal("123456", range(8), value) == 3
    assert computed == list(range(8))


def test_every_kind_is_registered_under_its_own_name() -> None:
    assert {name: kind.name for name, kind in KINDS.items()} == {
        name: name for name in ("totp", "hotp", "yubico_otp", "recovery_code", "webauthn")
    }


def test_a_stored_kind_that_is_not_known_is_damage() -> None:
    with pytest.raises(Damaged, match="token kind 'ocra' is not known"):
        kind_of("ocra")


@pytest.mark.parametrize(
    ("likely", "found", "asked"),
    [
        (4, 4, [4]),  # the right one first: no other is computed
        (5, 3, [5, 2, 3, 4, 5]),  # another one is right: the first of them, and all are computed
        (9, 3, [2, 3, 4, 5]),  # it is none of those that count now, so it is not tried
    ],
)
def test_the_likely_one_is_tried_first(likely: int, found: int, asked: list[int]) -> None:
    values, tried = {2: "000000", 3: "123456", 4: "123456", 5: "999999"}, []

    def value(moving_factor: int) -> str:
        tried.append(moving_factor)
        return values[moving_factor]

    assert likely_or_first("123456", likely, range(2, 6), value) == found
    assert tried == asked


def test_of_a_wrong_passcode_all_are_computed() -> None:
    tried: list[int] = []
    assert likely_or_first("123456", 3, range(2, 6), lambda n: tried.append(n) or "000000") is None  # type: ignore[func-returns-value]
    assert tried == [3, 2, 3, 4, 5]
