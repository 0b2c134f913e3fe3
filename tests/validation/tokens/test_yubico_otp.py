"""Yubico OTP against codes that real keys and other programs made: layout, identity, and that a code works once."""

import itertools
import random
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW
from tests.validation.engine import Engine
from tests.vectors import yubico
from validation.decisions import Accept, Reason, Reject
from validation.errors import BadInput, Refused
from validation.model import Token
from validation.requests import EnrollToken
from validation.tokens.kind import NOTHING, Comparison, Match, Window
from validation.tokens.yubico_otp import YubicoOtp, modhex

YUBICO = YubicoOtp()
WINDOW = Window(totp_window=1, drift_limit=10, look_ahead=10)
ONE = range(1)
CHAIN = yubico.CHAIN[1]


def token_of(key: yubico.Key, **fields: object) -> Token:
    made = Token(
        id=1,
        serial="UBYK1",
        user_id=1,
        kind="yubico_otp",
        key=bytes.fromhex(key.aes + key.private_id),
        public_id=key.public_id,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


TOKEN = token_of(yubico.CHAIN[0])


def compare(token: Token, typed: str) -> Comparison:
    return YUBICO.compare(token, typed, NOW, WINDOW)


def crc16(octets: bytes) -> int:
    """CRC-16/ISO 13239, bit by bit, from its polynomial; not the product's."""
    crc = 0xFFFF
    for octet in octets:
        for bit in range(8):
            low = (crc ^ (octet >> bit)) & 1
            crc = (crc >> 1) ^ (0x8408 * low)
    return crc


def otp(
    token: Token, counter: int, use: int, private_id: bytes | None = None, aes: bytes | None = None, spoil: int = 0
) -> str:
    """A code as a key makes it: uid 6, counter LE 2, timestamp 3, use 1, random 2, complement of the CRC LE 2."""
    uid = token.key[16:] if private_id is None else private_id
    clear = uid + counter.to_bytes(2, "little") + b"\x01\x02\x03" + bytes([use]) + b"\x0a\x0b"
    clear += (0xFFFF - crc16(clear) ^ spoil).to_bytes(2, "little")
    encryptor = Cipher(algorithms.AES(aes or token.key[:16]), modes.ECB()).encryptor()
    return token.public_id + modhex(encryptor.update(clear) + encryptor.finalize())


# --- the vectors


@pytest.mark.statement("O-080")
@pytest.mark.parametrize(("octets", "text"), yubico.MODHEX)
def test_modhex_both_ways(octets: str, text: str) -> None:
    assert modhex(bytes.fromhex(octets)) == text
    assert text.translate(str.maketrans("cbdefghijklnrtuv", "0123456789abcdef")) == octets


@pytest.mark.statement("O-080", "O-082")
@pytest.mark.parametrize(
    ("key", "code"), [(key, code) for key, codes in yubico.ALL for code in codes], ids=lambda value: value[0]
)
def test_every_code_of_the_vectors_is_accepted_with_its_counter_and_use(key: yubico.Key, code: yubico.Otp) -> None:
    token = token_of(key)
    YUBICO.check(token)
    assert compare(token, code.text) == Comparison(Match(code.counter * 256 + code.use + 1, 0), against=ONE)


@pytest.mark.statement("O-082")
def test_the_corrupt_code_is_not() -> None:
    assert compare(token_of(yubico.KSM[0]), yubico.CORRUPT) == NOTHING


def test_the_codes_made_here_are_like_those_of_the_vectors() -> None:
    """Else the tests below would prove nothing."""
    for counter, use in [(0, 0), (1, 0), (258, 255), (0x7FFF, 255)]:
        assert compare(TOKEN, otp(TOKEN, counter, use)).match == Match(counter * 256 + use + 1, 0)


# --- shape


@pytest.mark.statement("O-081")
@pytest.mark.parametrize("public", [0, 2, 12, 16, 32])
def test_the_last_32_characters_are_the_block_and_up_to_32_before_it_the_public_id(public: int) -> None:
    token = replace(TOKEN, public_id="c" * public)
    YUBICO.check(token)
    assert YUBICO.lengths(token) == (public + 32,)
    code = otp(token, 1, 0)
    assert len(code) == public + 32
    assert compare(token, code).match
    for other in (code[1:], code[:-1], "c" + code, code + "c", code[-32:] if public else "cc" + code):
        assert compare(token, other) == NOTHING


@pytest.mark.statement("O-081", "O-090")
@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 44, 47, 49, 64, 65, 1_000_000])
def test_another_length_is_no_code_of_this_key(length: int) -> None:
    assert compare(TOKEN, "c" * length) == NOTHING


@pytest.mark.parametrize("public_id", ["c", "x" * 12, "c" * 34, "CCCC", "cc cc", "cccc\n", "é" * 2, "00"], ids=ascii)
def test_a_public_id_that_no_key_can_have_is_refused(public_id: str) -> None:
    with pytest.raises(BadInput, match=r"^public id: "):
        YUBICO.check(replace(TOKEN, public_id=public_id))


@pytest.mark.statement("O-051")
@pytest.mark.parametrize("octets", [0, 16, 21, 23, 32])
def test_a_key_is_16_octets_of_aes_and_6_of_private_id(octets: int) -> None:
    with pytest.raises(BadInput, match=r"^key: "):
        YUBICO.check(replace(TOKEN, key=b"k" * octets))


CODE = CHAIN[1].text
SPELLINGS = {
    "as it is": (CODE, True),
    "caps lock": (CODE.upper(), True),
    "CR": (CODE + "\r", True),
    "LF": (CODE + "\n", True),
    "CR LF": (CODE + "\r\n", True),
    "caps lock and CR LF": (CODE.upper() + "\r\n", True),
    "LF before": ("\n" + CODE, False),
    "blank behind": (CODE + " ", False),
    "blank before": (" " + CODE, False),
    "tab behind": (CODE + "\t", False),
    "NUL behind": (CODE + "\0", False),
    "line end inside": (CODE[:20] + "\n" + CODE[20:], False),
    "Dvorak": (CODE.translate(str.maketrans("cbdefghijklnrtuv", "jxe.uidchtnbpygk")), False),
    "as hex": (CODE.translate(str.maketrans("cbdefghijklnrtuv", "0123456789abcdef")), False),
    "full width": (CODE.translate({n: n + 0xFEE0 for n in range(0x21, 0x7F)}), False),
    "Kelvin signs, whose lower case is k": (CODE.replace("k", "\u212a"), False),
    "quotes": ("'" + CODE[1:], False),
    "SQL": (CODE[:12] + "' OR '1'='1' --".ljust(36), False),
    "a lone surrogate": (CODE[:-1] + "\udc80", False),
}


@pytest.mark.statement("O-087", "O-090")
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_caps_lock_and_a_line_end_are_undone_and_nothing_else(spelling: str) -> None:
    typed, good = SPELLINGS[spelling]
    assert "k" in CODE
    other = replace(NOTHING, other_layout=spelling == "Dvorak")
    assert compare(TOKEN, typed) == (Comparison(Match(258, 0), against=ONE) if good else other)


# --- identity


@pytest.mark.statement("O-083")
def test_a_right_checksum_does_not_make_up_for_another_private_id() -> None:
    """One of 65,536 random blocks has one."""
    for position in range(6):
        other = bytearray(TOKEN.key[16:])
        other[position] ^= 1
        assert compare(TOKEN, otp(TOKEN, 5, 0, private_id=bytes(other))) == NOTHING
    assert compare(TOKEN, otp(TOKEN, 5, 0, aes=b"k" * 16)) == NOTHING


@pytest.mark.statement("O-082")
def test_a_wrong_checksum_is_refused_whichever_bit_is_wrong() -> None:
    for bit in range(16):
        assert compare(TOKEN, otp(TOKEN, 5, 0, spoil=1 << bit)) == NOTHING


@pytest.mark.statement("O-088")
def test_another_public_id_is_another_key() -> None:
    code = otp(TOKEN, 5, 0)
    assert compare(TOKEN, "ecebeeejedecebef" + code[-32:]) == NOTHING
    assert compare(replace(TOKEN, public_id="ecebeeejedecebef"), code) == NOTHING


# --- once


@pytest.mark.statement("O-084")
def test_a_chain_is_accepted_forward_and_nothing_of_it_again() -> None:
    token = TOKEN
    for n, code in enumerate(CHAIN):
        match = compare(token, code.text).match
        assert match is not None
        assert match.moving_factor > token.moving_factor
        token = replace(token, moving_factor=match.moving_factor)
        for used in CHAIN[: n + 1]:
            assert compare(token, used.text) == Comparison(used=True, against=ONE)
    assert len(CHAIN) == 13


@pytest.mark.statement("O-084")
@pytest.mark.parametrize("seed", range(20))
def test_in_any_order_a_code_is_accepted_exactly_if_it_is_later_than_all_before(seed: int) -> None:
    shuffled = [*CHAIN, *CHAIN]
    random.Random(seed).shuffle(shuffled)  # no secret
    token, latest = TOKEN, (-1, -1)
    for code in shuffled:
        match = compare(token, code.text).match
        assert (match is not None) is ((code.counter, code.use) > latest)
        if match is not None:
            token, latest = replace(token, moving_factor=match.moving_factor), (code.counter, code.use)


@pytest.mark.statement("O-084")
@given(st.tuples(*[st.integers(0, 0x7FFF), st.integers(0, 255)] * 2))
def test_the_counter_counts_before_the_use(pairs: tuple[int, int, int, int]) -> None:
    first, second = pairs[:2], pairs[2:]
    match = compare(TOKEN, otp(TOKEN, *first)).match
    assert match is not None
    after = replace(TOKEN, moving_factor=match.moving_factor)
    assert (compare(after, otp(TOKEN, *second)).match is not None) is (second > first)


@pytest.mark.statement("O-086")
def test_at_the_end_of_the_counter_nothing_is_accepted_any_more() -> None:
    match = compare(TOKEN, otp(TOKEN, 0x7FFF, 0xFF)).match
    assert match == Match(0x800000, 0)
    spent = replace(TOKEN, moving_factor=match.moving_factor)
    for counter, use in itertools.product([0, 1, 0x7FFE, 0x7FFF, 0x8000, 0xFFFF], [0, 1, 0xFE, 0xFF]):
        assert compare(spent, otp(TOKEN, counter, use)).match is None, (counter, use)


def test_a_code_cannot_be_scanned() -> None:
    with pytest.raises(BadInput):
        YUBICO.uri(TOKEN, "alice", "Twofold")


@pytest.mark.statement("C-016")
def test_two_codes_in_their_order_say_where_a_key_stands() -> None:
    early, late = CHAIN[3], CHAIN[4]
    assert YUBICO.resync(TOKEN, early.text, late.text, NOW, WINDOW) == compare(TOKEN, late.text).match
    stands = replace(TOKEN, moving_factor=early.counter * 256 + early.use + 1)
    other = yubico.ZERO_PRIVATE_ID[1][0].text
    for token, first, second in (
        (TOKEN, late.text, early.text),
        (TOKEN, late.text, late.text),
        (stands, early.text, late.text),  # the first one was used
        (TOKEN, early.text, other),
        (TOKEN, other, late.text),
        (TOKEN, "", late.text),
    ):
        assert YUBICO.resync(token, first, second, NOW, WINDOW) is None


# --- in logins


def enroll(engine: Engine, user: str, key: yubico.Key, **fields: object) -> str:
    command = EnrollToken(
        actor="test",
        user=user,
        kind="yubico_otp",
        key=bytes.fromhex(key.aes + key.private_id),
        public_id=key.public_id,
        **fields,  # type: ignore[arg-type]
    )
    return engine.gate.administer(command).serials[0]


@pytest.mark.statement("O-046", "O-084")
def test_a_code_logs_in_once(engine: Engine, alice: str) -> None:
    serial = enroll(engine, alice, yubico.CHAIN[0])
    assert engine.log_in(alice, CHAIN[3].text) == Accept(alice, Reason.PASSCODE_RIGHT, serial, "yubico_otp")
    for n in (3, 0, 2):
        outcome = engine.log_in(alice, CHAIN[n].text)
        assert isinstance(outcome, Reject)
        assert outcome.reason is Reason.PASSCODE_USED
    assert isinstance(engine.log_in(alice, CHAIN[4].text), Accept)


@pytest.mark.statement("O-088")
def test_alices_key_never_logs_bob_in_and_looks_like_any_wrong_code(engine: Engine, alice: str) -> None:
    """Not even while it has never been used; and an unknown public id gives the same answer as a bad code."""
    enroll(engine, alice, yubico.CHAIN[0])
    engine.add_user("bob")
    enroll(engine, "bob", yubico.ZERO_PRIVATE_ID[0])
    wrong = [CHAIN[0].text, yubico.YUBICO_C[1][0].text, yubico.CORRUPT, "c" * 48]
    answers = [engine.log_in("bob", typed) for typed in wrong]
    assert {(answer.reason, answer.text, answer.delay) for answer in answers if isinstance(answer, Reject)} == {
        (Reason.PASSCODE_WRONG, "The login was refused.", 1.0)
    }
    assert len(answers) == 4
    assert isinstance(engine.log_in(alice, CHAIN[0].text), Accept)


@pytest.mark.statement("O-030")
def test_a_key_is_taken_once_under_whatever_public_id(engine: Engine, alice: str) -> None:
    enroll(engine, alice, yubico.CHAIN[0])
    with pytest.raises(Refused, match="this key is already known"):
        enroll(engine, alice, yubico.CHAIN[0]._replace(public_id="cccc"), serial="OTHER")
