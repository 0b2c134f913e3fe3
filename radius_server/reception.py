"""The way in: from a datagram to a job in a queue, or to silence. In the event loop.

    1  client by longest prefix                  unknown: silence
    2  raw checks (`packet.parse`)               malformed: silence
    3  Message-Authenticator and the client's rule for it; of Accounting-Request the Request Authenticator
    4  duplicate cache                           the same reply again, or silence while it is worked on
    -  is there room for one more?               no: silence, and the client sends it again; of a new login that is
                                                 seen after 2, since dropping must cost little

Rule: nothing is remembered of a packet before 3 has found it right, but who the last senders were (`ClientTable`).
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from radius_server import accounting, conversation
from radius_server.attributes import Attribute, Code
from radius_server.client_rows import ClientRows
from radius_server.clients import Signature, check_signature_rule, signature_of
from radius_server.conversation import Entry
from radius_server.duplicates import Seen
from radius_server.jobs import Job, what_a_reply_needs
from radius_server.limits import Allowance
from radius_server.listening import Door, Role, Way
from radius_server.log import AddressLimit, line, log
from radius_server.packet import Malformed, Packet, names_its_nas, parse
from radius_server.replying import Replies
from radius_server.work import Lane, Load
from validation.model import Client, Mode
from validation.names import Spelling
from validation.requests import Channel

DRAIN_MOST = 4  # times 64 datagrams are read before others get their turn
NAMELESS_EVERY = 86_400.0  # seconds between warnings about a NAS that does not say which one it is
IDS_AT_ONCE = 256
# Status-Server, for each client. RFC 5997 4.2: too many are dropped silently.
PROBES_A_SECOND = 100.0
PROBES_AT_ONCE = 500.0

# Modes in which an answer to a challenge is told by its State attribute.
STATE_IN_ATTRIBUTE = frozenset(Mode) - {Mode.OPENVPN}
CHECKED_HERE = frozenset(mode for mode in Mode if Channel.for_mode(mode).proves_password)

SERVED = {
    Role.AUTHENTICATION: frozenset({Code.ACCESS_REQUEST, Code.STATUS_SERVER}),
    Role.ACCOUNTING: frozenset({Code.ACCOUNTING_REQUEST, Code.STATUS_SERVER}),
}


@dataclass(frozen=True, slots=True)
class House:
    """What the configuration says about requests."""

    status_server: bool
    names: Spelling
    accounting: bool


class Reception:
    def __init__(
        self,
        clients: ClientRows,
        replies: Replies,
        house: House,
        submit: Callable[[Job], None],
        gathering: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.house = house
        self._clients = clients
        self._replies = replies
        self._submit = submit
        self._gathering = gathering
        self._probes = Allowance(PROBES_A_SECOND, PROBES_AT_ONCE)
        self._nameless = AddressLimit(every=NAMELESS_EVERY)
        self._request_ids = request_ids()

    def drain(self, door: Door) -> bool:
        """Read until the socket is empty, so that what came together is decided together; whether there may be more."""
        with self._gathering():
            for _ in range(DRAIN_MOST):
                if not self._take(door):
                    return False
        return True

    def _take(self, door: Door) -> bool:
        """What is there now. False if nothing was."""
        try:
            received = door.receive()
        except OSError as error:
            log.error(line("receive-failed", error=error.strerror))
            return False
        for data, way in received:
            try:
                self._receive(data, way)
            except Exception as error:  # one packet must never keep others from being read
                self._replies.failed("receive", error)
        return bool(received)

    def _receive(self, data: bytes, way: Way) -> None:
        now = time.monotonic()
        source, client = self._clients.sender(str(way.peer[0]))  # 1
        if client is None:
            self._drop(now, "unknown-client", source, hint="twofold client add NAME ADDRESS")
            return
        try:
            packet = parse(data)  # 2
            if packet.code not in SERVED[way.door.role]:
                raise Malformed("code-not-served")
            if refusal := self._no_room(packet, client):
                self._shed(packet, client, way, source, refusal, now)
                return
            signature = self._check_signature(packet, client, source)  # 3
        except Malformed as error:
            self._drop(now, error.reason, source, client.name, _hint(error.reason, client))
            return
        self._replies.counts.request(client.name, packet.code)
        self._known(packet, client, signature, way, source, now)

    def _check_signature(self, packet: Packet, client: Client, address: str) -> Signature:
        if packet.code == Code.ACCOUNTING_REQUEST:
            return accounting.signature_of(packet, client, time.time())
        signature = signature_of(packet, client, time.time())
        check_signature_rule(packet, client, signature.signed, self._clients.must_sign(client, address))
        if signature.signed:
            self._clients.remember_signer(client, address)
        return signature

    def _known(self, packet: Packet, client: Client, signature: Signature, way: Way, source: str, now: float) -> None:
        if unwanted := self._not_now(packet, client, now):
            self._drop(now, unwanted, source, client.name)
            return
        flow = (*way.flow, packet.identifier)
        fingerprint = _fingerprint(packet)
        seen = self._replies.duplicates.take(flow, fingerprint, now)  # 4
        if isinstance(seen, bytes):
            self._replies.send(seen, way)
        elif seen is not Seen.NEW:
            self._drop(now, f"duplicate-{seen.name.lower().replace('_', '-')}", source, client.name)
        else:
            entry, lane = self._read(packet, client, signature, now)
            self._warn_if_nameless(packet, client, source, now)
            request_id = next(self._request_ids)
            asked = packet if lane is Lane.ACCOUNTING else what_a_reply_needs(packet)
            self._enter(Job(asked, client, way, source, now, lane, entry, flow, fingerprint, request_id))

    def _not_now(self, packet: Packet, client: Client, now: float) -> str:
        """Why a right packet is dropped all the same; empty: it is not."""
        if packet.code == Code.STATUS_SERVER:
            if not (self.house.status_server and client.status_server):
                return "status-server-off"
            return "" if self._probes.takes(client.name, now) else "status-server-too-many"
        if packet.code == Code.ACCOUNTING_REQUEST and not self.house.accounting:
            return "accounting-off"
        return ""

    def _no_room(self, packet: Packet, client: Client) -> str | None:
        """Where a new login has no room none is looked at: dropping must cost less than what it makes room for."""
        if (
            packet.code != Code.ACCESS_REQUEST
            or client.mode not in STATE_IN_ATTRIBUTE
            or packet.values(Attribute.STATE)
        ):
            return None
        return self._replies.work.refusal(Load(_lane(client, needs_password_check=True), client.name))

    def _shed(self, packet: Packet, client: Client, way: Way, source: str, refusal: str, now: float) -> None:
        """A copy of what was answered gets its reply again: these octets were found right before."""
        reply = self._replies.duplicates.kept((*way.flow, packet.identifier), _fingerprint(packet), now)
        if reply is not None:
            self._replies.send(reply, way)
        else:
            self._drop(now, refusal, source, client.name)

    def _read(self, packet: Packet, client: Client, signature: Signature, now: float) -> tuple[Entry, Lane]:
        if packet.code == Code.STATUS_SERVER:
            return Entry("", secret=signature.secret), Lane.PROBE
        if packet.code == Code.ACCOUNTING_REQUEST:
            return Entry("", secret=signature.secret), Lane.ACCOUNTING
        entry = conversation.read(packet, client, signature, self.house.names)
        if entry.state is not None and self._replies.states.knows(client.name, entry.state, now):
            return entry, Lane.ANSWER
        return entry, _lane(client, entry.needs_password_check)

    def _warn_if_nameless(self, packet: Packet, client: Client, source: str, now: float) -> None:
        """Its own duty (RFC 2865 4.1), and no reason not to answer."""
        if packet.code != Code.ACCESS_REQUEST or names_its_nas(packet):
            return
        if self._nameless.allows(client.name, source, "", now) is not None:
            hint = "have it send NAS-Identifier or NAS-IP-Address"
            log.warning(line("nas-not-named", client=client.name, **{"from": source}, hint=hint))

    def _enter(self, job: Job) -> None:
        if refusal := self._replies.work.refusal(job.load):
            self._drop(job.arrival, refusal, job.source, job.client.name)
            self._replies.duplicates.finish(job.flow, job.fingerprint, None, job.arrival)
            return
        self._replies.work.enter(job.load)
        self._submit(job)

    def _drop(self, now: float, reason: str, source: str, client: str = "", hint: str = "") -> None:
        self._replies.drops.drop(now, reason, source, client, hint)


def request_ids() -> Iterator[str]:
    """64 random bits each; the system is asked for those of many."""
    while True:
        many = secrets.token_hex(8 * IDS_AT_ONCE)
        for at in range(0, len(many), 16):
            yield many[at : at + 16]


def _fingerprint(packet: Packet) -> bytes:
    return hashlib.sha256(packet.data).digest()


def _lane(client: Client, needs_password_check: bool) -> Lane:
    return Lane.PASSWORD if needs_password_check and client.mode in CHECKED_HERE else Lane.LOGIN


def _hint(reason: str, client: Client) -> str:
    if reason == "message-authenticator-missing":
        return f"twofold client set {client.name} --message-authenticator auto"
    if reason in ("message-authenticator-wrong", "request-authenticator-wrong"):
        return "the shared secrets differ"
    return ""
