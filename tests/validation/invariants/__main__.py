"""Many steps of the machine, from a seed: `python -m tests.validation.invariants --steps 10000 [--seed N]`.

Rules: it prints the seed before anything can fail, and goes on with seed + 1, seed + 2, … until the steps are done. A
round that fails is repeated by its own seed. Exit status 0: every invariant held; 1: one did not.
"""

import argparse
import secrets
import sys
import traceback

from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.validation.invariants.deciding import Deciding
from tests.validation.invariants.machine import Machine

ROUND = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    database=None,
    print_blob=False,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
)


def run_round(number: int) -> bool:
    """Whether every invariant held. What broke one is made as short as possible and printed."""
    try:
        run_state_machine_as_test(seed(number)(Machine), settings=ROUND)
    except Exception:
        traceback.print_exc()
        return False
    return True


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.validation.invariants", description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    Deciding.steps = 0
    Deciding.met.clear()
    round_ = options.seed
    while Deciding.steps < options.steps:
        if not run_round(round_):
            print(f"FAILED; to repeat it: python -m tests.validation.invariants --steps 1 --seed {round_}")
            return 1
        round_ += 1
    for what, times in sorted(Deciding.met.items()):
        print(f"{times:7} {what}")
    print(f"seed {options.seed}: {Deciding.steps} steps in {round_ - options.seed} rounds, every invariant held")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
