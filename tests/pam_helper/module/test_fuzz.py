"""A small run of the fuzzer; `python -m tests.pam_helper.module.fuzz --seconds 600` is a longer one."""

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from tests.pam_helper.module.fuzz import BATCH, Case, cases, disagreements, expected
from tests.pam_helper.module.harness import AUTH_ERR, AUTHINFO_UNAVAIL, IGNORED, SUCCESS, Built
from tests.pam_helper.module.hostile import frame, verdict

SEED = 20261125


@pytest.mark.statement("P-020", "P-001", "P-002")
@pytest.mark.parametrize("seed", range(SEED, SEED + 4))
def test_spoiled_dialogues_get_the_code_that_the_protocol_says(sanitized: Built, tmp_path: Path, seed: int) -> None:
    assert disagreements(sanitized, tmp_path, list(islice(cases(seed), BATCH))) == []


def test_the_dialogues_reach_every_code_and_are_the_same_for_a_seed() -> None:
    some = list(islice(cases(SEED), 1000))
    assert some == list(islice(cases(SEED), 1000))
    counted = Counter(expected(case) for case in some)
    assert set(counted) == {SUCCESS, IGNORED, AUTH_ERR, AUTHINFO_UNAVAIL}
    assert min(counted.values()) >= 20


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (verdict("S", "alice"), SUCCESS),
        (frame("P", "PIN") + verdict("S", "alice"), SUCCESS),
        (frame("T", bytes(4)) + frame("I", "touch") + frame("t") + verdict("S", "alice"), SUCCESS),
        (frame("T", bytes(4)) + verdict("S", "alice"), AUTHINFO_UNAVAIL),
        (frame("T", bytes(4)) + frame("t") + frame("t") + verdict("S", "alice"), AUTHINFO_UNAVAIL),
        (frame("t") + verdict("S", "alice"), AUTHINFO_UNAVAIL),
        (verdict("I", "alice"), IGNORED),
        (verdict("S", "bob"), AUTH_ERR),
        (verdict("S", "alice") + b"x", AUTHINFO_UNAVAIL),
        (verdict("S", "alice")[:-1], AUTHINFO_UNAVAIL),
    ],
)
def test_what_is_expected_is_what_the_protocol_says(octets: bytes, code: int) -> None:
    assert expected(Case(octets, impatient=False)) == code
