"""What a hash took goes back to the system: each takes 19 MiB, seldom.

The C library would keep such blocks, one or more for each thread, and how many depends on what else was allocated
meanwhile. A server's memory would grow by 19 MiB every now and then, to no known end. Blocks that are mapped for one
hash and unmapped after it cost a tenth of its time.
"""

import ctypes

_M_MMAP_THRESHOLD = -3  # mallopt(3): blocks of that size and above are mapped; set once, it does not move any more
_LARGE = 4 * 1024 * 1024  # octets


def give_back_large_blocks() -> None:
    """From now on, in the whole process. Nothing where the C library has no such setting (musl, which always does)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
