"""The order of snapshot, decision, commit and answer, as a model that spin goes through in every order of events.

Rule: login.pml says what the model stands for; here each planted fault must violate what it should, so that the proof
of the model without one is not empty.
"""

import re
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).with_name("login.pml")
TWICE, UNRECORDED = "!(accepted_twice)", "!(accepted_unrecorded)"
REVOKED, LOST = "!(accepted_after_revocation)", "!(first_decision_lost)"

FAULTS = {
    "RACE": {TWICE, REVOKED, LOST},
    "REPLY_FIRST": {TWICE, UNRECORDED},
    "LATE_AUDIT": {UNRECORDED},
    "FAIL_OPEN": {TWICE, UNRECORDED},
    "FORGET": {LOST},
    "RECORD_OUTSIDE": {TWICE, UNRECORDED},
    "RECORD_KEPT": {REVOKED},
    "LAG": {TWICE, UNRECORDED, REVOKED, LOST},
}

pytestmark = pytest.mark.peer("spin", "cc")


def explored(folder: Path, *defines: str) -> tuple[int, set[str]]:
    """How many states there are, and the assertions that are violated in any of them."""
    for command in (
        ["spin", "-a", *(f"-D{name}" for name in defines), str(MODEL)],
        ["cc", "-w", "-DSAFETY", "-o", "pan", "pan.c"],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    done = subprocess.run(["./pan", "-c0"], cwd=folder, capture_output=True, text=True, timeout=100)
    said = done.stdout
    states = re.search(r"(\d+) states, stored", said)
    assert states is not None, said + done.stderr
    assert "invalid end state (" not in said
    assert "max search depth too small" not in said
    return int(states[1]), set(re.findall(r"assertion violated +(.*) \(at depth", said))


@pytest.mark.statement("C-002", "C-003", "C-004")
def test_no_order_of_events_accepts_twice_unrecorded_or_after_a_revocation(tmp_path: Path) -> None:
    states, violated = explored(tmp_path)
    assert violated == set()
    assert states > 100_000


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_violates_what_it_should(tmp_path: Path, fault: str) -> None:
    _, violated = explored(tmp_path, fault, "COPIES=2")
    assert violated == FAULTS[fault]


def test_the_model_accepts_and_repeats(tmp_path: Path) -> None:
    """Else nothing could go wrong in it."""
    _, violated = explored(tmp_path, "REACHED", "COPIES=2")
    assert violated == {"!((out&& !(again)))", "!((out&&again))"}


def test_every_fault_of_the_model_is_tried() -> None:
    defines = set(re.findall(r"^#ifn?def (\w+)", MODEL.read_text(), re.MULTILINE))
    assert defines == {*FAULTS, "REACHED", "COPIES"}
