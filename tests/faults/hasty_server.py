"""The real `twofold`, broken on purpose: an accept leaves before the commit that records it, which is done soon after.

Started with the arguments of `twofold`.
"""

import sys

from store.cli import main
from tests.chaos.planted import FAULTS

if __name__ == "__main__":
    FAULTS["answer-first"]()
    main.main(sys.argv[1:])
