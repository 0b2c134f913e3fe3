"""How long a request may wait in a queue: long in a rush, short under a load that does not end. Pure.

Rule: a queue that has not been empty for `RUSH` seconds gets longer, or stays as long, however much is done. Then it is
of no use to anybody that all wait: whoever has waited for `SHORT` seconds is dropped, those that are fresh are answered
at once, and when the load ends everything is as usual a second later.
"""

from radius_server.jobs import DECIDE_WITHIN

RUSH = 8.0  # seconds
SHORT = 1.0  # seconds


class Patience:
    def __init__(self) -> None:
        self._empty_at = float("-inf")

    def note(self, waiting: int, now: float) -> None:
        """So many wait; to be told before one more is put into the queue, and after one was taken out."""
        if not waiting:
            self._empty_at = now

    def is_tried(self, now: float) -> bool:
        """Whether the load does not end."""
        return now > self._empty_at + RUSH

    def is_over(self, arrival: float, now: float) -> bool:
        """Whether a request that came at `arrival` has waited too long."""
        longest = SHORT if self.is_tried(now) else DECIDE_WITHIN
        return arrival < now - longest
