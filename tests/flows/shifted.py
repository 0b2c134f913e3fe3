"""The real `twofold` on a host whose clock is wrong: `python shifted.py SECONDS ARGUMENT...`.

The wall clock alone is shifted, as it is on such a host; time-outs go by another clock.
"""

import sys
import time

_real = time.time


def shift(seconds: float) -> None:
    time.time = lambda: _real() + seconds


if __name__ == "__main__":
    shift(float(sys.argv[1]))
    from store.cli import main  # after the clock, for whoever keeps time.time under a name of his own

    main.main(sys.argv[2:])
