"""Retransmissions get the same reply (RFC 5080 2.2.2). Pure: time is handed in.

Rules: a flow is where a request came from, where it arrived, and its Identifier. The same Request Authenticator
again is a duplicate: silence while the first is being worked on, then the identical reply. Another authenticator is
a new request; what is still being worked on for the old one is then answered to nobody. Entries live for `lifetime`
after the reply.
"""

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

Flow: TypeAlias = tuple[object, ...]

LIFETIME = 30.0  # seconds after the reply; RFC 5080 2.2.2: 5 to 30
MOST = 65_536  # entries
MOST_OCTETS = 32 * 1024 * 1024  # of kept replies


class Seen(Enum):
    NEW = "new"
    IN_WORK = "in work"
    FULL = "full"  # too much is in work; the request is shed


@dataclass(slots=True)
class _Entry:
    fingerprint: bytes  # of the whole packet, the Request Authenticator included
    reply: bytes | None = None
    expires_at: float = 0.0


class Duplicates:
    def __init__(self, lifetime: float = LIFETIME, most: int = MOST) -> None:
        self._lifetime = lifetime
        self._most = most
        self._in_work: dict[Flow, _Entry] = {}
        self._replied: OrderedDict[Flow, _Entry] = OrderedDict()  # oldest reply first
        self._octets = 0

    def take(self, flow: Flow, fingerprint: bytes, now: float) -> Seen | bytes:
        """What to do with a request: work on it (and call `finish`), be silent, or send these reply octets again."""
        self._sweep(now)
        if (replied := self._replied.get(flow)) is not None:  # then nothing of the flow is in work
            if replied.fingerprint == fingerprint and replied.reply is not None:
                return replied.reply
        elif (working := self._in_work.get(flow)) is not None and working.fingerprint == fingerprint:
            return Seen.IN_WORK
        if len(self._in_work) >= self._most and flow not in self._in_work:
            return Seen.FULL
        if replied is not None:
            self._forget(flow)
        self._in_work[flow] = _Entry(fingerprint)
        return Seen.NEW

    def kept(self, flow: Flow, fingerprint: bytes, now: float) -> bytes | None:
        """The reply to a copy of what was answered; nothing is remembered of this one."""
        entry = self._replied.get(flow)
        right = entry is not None and entry.fingerprint == fingerprint and entry.expires_at > now
        return entry.reply if right and entry is not None else None

    def finish(self, flow: Flow, fingerprint: bytes, reply: bytes | None, now: float) -> bool:
        """Keep `reply` for duplicates; None forgets the request, so that a retransmission is worked on again.

        False if a newer request has taken the flow: then the reply must not be sent.
        """
        entry = self._in_work.get(flow)
        if entry is None or entry.fingerprint != fingerprint:
            return False
        del self._in_work[flow]
        if reply is not None:
            entry.reply, entry.expires_at = reply, now + self._lifetime
            self._replied[flow] = entry
            self._octets += len(reply)
            while len(self._replied) > self._most or self._octets > MOST_OCTETS:
                self._forget(next(iter(self._replied)))
        return True

    def _forget(self, flow: Flow) -> None:
        entry = self._replied.pop(flow, None)
        if entry is not None:
            self._octets -= len(entry.reply or b"")

    def _sweep(self, now: float) -> None:
        while self._replied:
            flow = next(iter(self._replied))
            if self._replied[flow].expires_at > now:
                return
            self._forget(flow)

    @property
    def in_work(self) -> int:
        return len(self._in_work)
