"""One request on its way through the server."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from radius_server.attributes import Attribute
from radius_server.conversation import Entry
from radius_server.listening import Way
from radius_server.packet import Packet
from radius_server.queues import Place
from radius_server.work import Lane, Load
from validation.decisions import Look
from validation.model import Client
from validation.requests import NOT_CHECKED, FirstFactorResult

DECIDE_WITHIN = 10.0  # seconds after arrival; by then most clients have given up, and a PIN would be used for nobody
OCTETS_OF_AN_ATTRIBUTE = 160  # what Python takes for one beside its value


Post: TypeAlias = Callable[..., object]  # post(function, *arguments) from any thread: the event loop calls it

_PROXY_STATE_TYPE = int(Attribute.PROXY_STATE)  # compared with the type of each attribute
_RANKS = {Lane.ANSWER: 0, Lane.PROBE: 0, Lane.PASSWORD: 1}


@dataclass(slots=True)
class Job:
    packet: Packet
    client: Client
    way: Way
    source: str
    arrival: float  # monotonic
    lane: Lane
    entry: Entry
    flow: tuple[object, ...] = ()
    fingerprint: bytes = field(default=b"", repr=False)
    request_id: str = ""
    look: Look | None = None
    result: FirstFactorResult = NOT_CHECKED
    decided: bool = False
    load: Load = field(init=False)  # what it takes up from when it enters until it leaves

    def __post_init__(self) -> None:
        octets = len(self.packet.data) + OCTETS_OF_AN_ATTRIBUTE * len(self.packet.attributes)
        of_a_user = self.lane in (Lane.PASSWORD, Lane.LOGIN, Lane.ANSWER)
        self.load = Load(self.lane, self.client.name, self.entry.user if of_a_user else None, octets)

    @property
    def place(self) -> Place:
        """Who answers a challenge of ours goes first, and health checks, which are few; then those that have cost a
        password check; each client in turn."""
        return Place(_RANKS.get(self.lane, 2), self.client.name)

    def is_late(self, now: float) -> bool:
        """Nobody waits for it any more."""
        return self.arrival < now - DECIDE_WITHIN


def what_a_reply_needs(packet: Packet) -> Packet:
    """`packet` without what has been read already: a request in work may be kept for seconds."""
    proxy_states = tuple([one for one in packet.attributes if one[0] == _PROXY_STATE_TYPE])
    return Packet(packet.code, packet.identifier, packet.authenticator, b"", proxy_states)
