"""What `twofold user lock` and `unlock` do, over and over, until standard input ends; then the waits are printed.

Started as `python command_loop.py CONFIG USER`. Prints "ready", and at the end how often it wrote and how many seconds
the slowest took.
"""

import select
import sys
import time
from pathlib import Path

from store import config as configuration
from store import opening
from validation.requests import ChangeUserState, UserAct


def main(config_file: Path, user: str) -> None:
    gate = opening.open_gate(configuration.load(config_file))
    print("ready", flush=True)
    waits: list[float] = []
    while not select.select([sys.stdin], [], [], 0)[0]:
        act = UserAct.UNLOCK if len(waits) % 2 else UserAct.LOCK
        began = time.monotonic()
        gate.administer(ChangeUserState(actor="test", name=user, act=act))
        waits.append(time.monotonic() - began)
    print(len(waits), max(waits))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
