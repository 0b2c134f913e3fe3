"""The server: drains its sockets into batches, hands them to the gate, sends what comes back.

The road of a datagram, in this order:

    1  client by longest prefix                  unknown: silence
    2  raw checks (`packet.parse`)               malformed: silence
    3  Message-Authenticator and the client's rule for it
    4  duplicate cache                           the same reply again, or silence while it is worked on
    5  read-only look, then one password check in a bounded pool, off the packet loop
    6  gate: decided, committed
    7  reply with Message-Authenticator first; refusals leave at arrival plus delay, holding nobody up

Rules: everything up to 4 and all sending happens in the event loop; looks and logins each have a thread of their
own, so no socket waits for a database or a hash. A store that does not answer means silence, so that the NAS asks
elsewhere; so does a wait that was too long, so that no PIN is used up for a login that nobody waits for any more.
"""

import asyncio
import contextlib
import hashlib
import secrets
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from first_factor import Checker
from radius_server import conversation
from radius_server.attributes import Code
from radius_server.batches import Batches
from radius_server.clients import ClientTable, check_signature_rule, source_address
from radius_server.conversation import Entry
from radius_server.duplicates import Duplicates, Flow, Seen
from radius_server.log import Drops, RateLimit, line, log
from radius_server.packet import Malformed, Packet, ReplyTooLong, encode_reply, parse, signed
from radius_server.work import Work
from store.config import Listen
from validation.decisions import Accept, Challenge, Decision, Look, Reason, Reject
from validation.errors import BadInput, StoreUnavailable, TwofoldError
from validation.gate import Gate
from validation.model import Client, MessageAuthenticatorRule
from validation.names import EXACT, Spelling
from validation.requests import (
    NOT_CHECKED,
    Channel,
    FirstFactor,
    FirstFactorResult,
    LoginRequest,
    RememberSigner,
)

MAX_DATAGRAM = 65_535
DRAIN_MOST = 256  # datagrams read before others get their turn
RECEIVE_BUFFER = 4 * 1024 * 1024
# Threads. Each kind of first factor has a smaller bound of its own (local: the cores; system: 32 at most), so that one
# that hangs leaves room for the others.
PASSWORDS_AT_ONCE = 40
PASSWORDS_MOST = 512  # waiting for their hash: more would be answered too late anyway
DECIDE_WITHIN = 10.0  # seconds after arrival; by then most clients have given up, and a PIN would be used for nobody
POLL_CLIENTS = 0.5  # seconds
DRAIN_ON_STOP = 8.0  # seconds for requests in work when the server is told to stop
JITTER = 0.25  # of the reject delay (draft-ietf-radext-deprecating-radius, "Delaying Access-Rejects")


@dataclass(slots=True)
class _Job:
    """One request on its way through the server."""

    packet: Packet
    client: Client
    sock: socket.socket = field(repr=False)
    peer: tuple[object, ...]
    source: str
    arrival: float  # monotonic
    flow: Flow
    entry: Entry
    fingerprint: bytes
    request_id: str
    look: Look | None = None
    result: FirstFactorResult = NOT_CHECKED

    @property
    def whose(self) -> tuple[int, str]:
        """Health checks name nobody, and must not stand behind a flood of logins that name nobody either."""
        return self.packet.code, self.entry.user

    def request(self) -> LoginRequest:
        return conversation.login_request(self.entry, self.client, self.request_id, self.look, self.result)


class RadiusServer:
    """`bind`, then `await run(stop)`. One object serves all its sockets."""

    def __init__(
        self,
        gate: Gate,
        checker: Checker,
        listen: Iterable[Listen],
        status_server: bool = True,
        names: Spelling = EXACT,
        threads: int = 0,
    ) -> None:
        self._gate = gate
        self._checker = checker
        self._listen = tuple(listen)
        self._status_server = status_server
        self._names = names
        self._threads = threads or PASSWORDS_AT_ONCE
        self._table = ClientTable()
        self._signed: set[tuple[str, int, str]] = set()
        self._duplicates = Duplicates()
        self._work = Work()
        self._sockets: list[socket.socket] = []
        self._passwords_waiting = 0
        self._store_silent = False
        self._nothing_in_work: asyncio.Event | None = None  # only while stopping
        self._line_limit = RateLimit(every=1.0)
        self._jitter = secrets.SystemRandom()
        self.drops = Drops()

    def bind(self) -> list[Listen]:
        """Bind every address and read the clients. Raises BadInput for an address, StoreUnavailable for the store."""
        self._take_clients(self._read_clients())
        for listen in self._listen:
            self._sockets.append(_bound(listen))
        return [Listen(*s.getsockname()[:2]) for s in self._sockets]

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then finish what is in work and close."""
        self._loop = asyncio.get_running_loop()
        self._looks: Batches[_Job] = Batches("twofold-look", self._look_at)
        self._logins: Batches[_Job] = Batches("twofold-gate", self._decide)
        self._passwords = ThreadPoolExecutor(self._threads, "twofold-password")
        for sock in self._sockets:
            self._loop.add_reader(sock, self._drain, sock)
        polling = asyncio.create_task(self._poll_clients())
        try:
            await stop.wait()
        finally:
            polling.cancel()
            for sock in self._sockets:
                self._loop.remove_reader(sock)
            await self._finish()

    async def _finish(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle(), DRAIN_ON_STOP)
        await self._loop.run_in_executor(None, self._close_workers)
        for sock in self._sockets:
            sock.close()

    async def _idle(self) -> None:
        """Wait until nothing is in work. Every job ends in `_leave_work`, in this loop."""
        self._nothing_in_work = asyncio.Event()
        if self._work.count:
            await self._nothing_in_work.wait()

    def _leave_work(self, job: _Job, reply: bytes | None) -> bool:
        """The request is done with; False if a newer one has taken its place. None: no reply, nothing is kept."""
        self._work.leave(job.whose)
        valid = self._duplicates.finish(job.flow, job.fingerprint, reply, time.monotonic())
        if self._nothing_in_work is not None and not self._work.count:
            self._nothing_in_work.set()
        return valid

    def _close_workers(self) -> None:
        self._looks.close()
        self._passwords.shutdown(wait=True, cancel_futures=True)
        self._logins.close()

    # --- 1 to 4: in the event loop --------------------------------------------------------------------------

    def _drain(self, sock: socket.socket) -> None:
        """Read until the socket is empty, so that what came together is decided together."""
        for _ in range(DRAIN_MOST):
            try:
                data, peer = sock.recvfrom(MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                log.error(line("receive-failed", error=error.strerror))
                return
            try:
                self._receive(data, peer, sock)
            except Exception as error:  # one packet must never keep others from being read
                self._failed("receive", error)

    def _receive(self, data: bytes, peer: tuple[object, ...], sock: socket.socket) -> None:
        now = time.monotonic()
        address = source_address(str(peer[0]))
        client = self._table.find(address)  # 1
        if client is None:
            self.drops.drop(now, "unknown-client", str(address), hint="twofold client add NAME ADDRESS")
            return
        try:
            packet = parse(data)  # 2
            if packet.code not in (Code.ACCESS_REQUEST, Code.STATUS_SERVER):
                raise Malformed("code-not-served")
            is_signed = signed(packet, client.secret)  # 3
            check_signature_rule(packet, client, is_signed, self._must_sign(client, str(address)))
        except Malformed as error:
            self.drops.drop(now, error.reason, str(address), client.name, _hint(error.reason, client))
            return
        if is_signed:
            self._remember_signer(client, str(address))
        self._accept_work(packet, client, is_signed, (peer, str(address)), sock, now)

    def _accept_work(
        self,
        packet: Packet,
        client: Client,
        is_signed: bool,
        origin: tuple[tuple[object, ...], str],
        sock: socket.socket,
        now: float,
    ) -> None:
        peer, source = origin
        flow = (sock.fileno(), peer[:2], packet.identifier)
        if packet.code == Code.STATUS_SERVER and not (self._status_server and client.status_server):
            self.drops.drop(now, "status-server-off", source, client.name)
            return
        fingerprint = hashlib.sha256(packet.data).digest()
        seen = self._duplicates.take(flow, fingerprint, now)  # 4
        if isinstance(seen, bytes):
            self._send(sock, seen, peer)
        elif seen is Seen.NEW:
            entry = conversation.read(packet, client, is_signed, self._names)
            self._start(_Job(packet, client, sock, peer, source, now, flow, entry, fingerprint, secrets.token_hex(8)))
        else:
            self.drops.drop(now, f"duplicate-{seen.name.lower().replace('_', '-')}", source, client.name)

    def _start(self, job: _Job) -> None:
        if refusal := self._work.refusal(job.whose):
            self.drops.drop(job.arrival, refusal, job.source, job.client.name)
            self._duplicates.finish(job.flow, job.fingerprint, None, job.arrival)
            return
        self._work.enter(job.whose)
        if job.packet.code == Code.ACCESS_REQUEST and self._needs_look(job):
            self._looks.submit(job)
        else:
            self._logins.submit(job)

    @staticmethod
    def _needs_look(job: _Job) -> bool:
        return job.entry.needs_password_check and Channel.for_mode(job.client.mode).proves_password

    def _failed(self, where: str, error: Exception) -> None:
        """A defect of ours: it is seen, and the request gets no answer."""
        self.drops.counters["internal-error"] += 1
        log.error(line("internal-error", where=where, error=type(error).__name__))
        log.debug("internal error, where it happened", exc_info=error)

    # --- auto clients ---------------------------------------------------------------------------------------

    def _must_sign(self, client: Client, address: str) -> bool:
        if client.message_authenticator is not MessageAuthenticatorRule.AUTO:
            return False
        return address in client.signed_sources or (client.name, client.version, address) in self._signed

    def _remember_signer(self, client: Client, address: str) -> None:
        """Once signed, always required from there, also after a restart (R-041)."""
        if client.message_authenticator is not MessageAuthenticatorRule.AUTO or self._must_sign(client, address):
            return
        key = (client.name, client.version, address)
        self._signed.add(key)
        command = RememberSigner(name=client.name, address=address, actor="radius")
        self._loop.run_in_executor(None, self._save_signer, command, key)

    def _save_signer(self, command: RememberSigner, key: tuple[str, int, str]) -> None:
        try:
            self._gate.administer(command)
        except TwofoldError as error:
            log.error(line("remember-failed", client=command.name, error=error))
            self._on_loop(self._signed.discard, key)  # the next signed request tries again

    # --- 5: look and password -------------------------------------------------------------------------------

    def _look_at(self, jobs: list[_Job]) -> None:
        """In the look thread: one read for the batch, then each password into the pool."""
        try:
            looks = self._gate.look([conversation.look_request(job.entry, job.client) for job in jobs])
        except Exception as error:
            self._on_loop(self._no_answer, jobs, error)
            return
        for job, look in zip(jobs, looks, strict=True):
            job.look = look
        self._on_loop(self._check_passwords, jobs)

    def _check_passwords(self, jobs: list[_Job]) -> None:
        for job in jobs:
            if self._passwords_waiting >= PASSWORDS_MOST:
                self.drops.drop(time.monotonic(), "overload", job.source, job.client.name)
                self._forget(job)
                continue
            self._passwords_waiting += 1
            self._passwords.submit(self._check_password, job)

    def _check_password(self, job: _Job) -> None:
        """In the pool: exactly one check per request."""
        try:
            if job.look is not None:
                password = conversation.password_of(job.entry, job.client, job.look)
                job.result = self._checker.check(job.look, password)
        except Exception as error:
            log.error(line("password-check-failed", client=job.client.name, error=type(error).__name__))
            log.debug("password check failed, where it happened", exc_info=error)
            job.result = FirstFactorResult(FirstFactor.UNAVAILABLE)
        self._on_loop(self._password_checked, job)

    def _password_checked(self, job: _Job) -> None:
        self._passwords_waiting -= 1
        self._logins.submit(job)

    # --- 6: the gate ----------------------------------------------------------------------------------------

    def _decide(self, jobs: list[_Job]) -> None:
        """In the gate thread: one transaction for the batch; Status-Server is answered if the store can be written."""
        jobs = self._in_time(jobs)
        logins = [job for job in jobs if job.packet.code == Code.ACCESS_REQUEST]
        probes = [job for job in jobs if job.packet.code == Code.STATUS_SERVER]
        if probes:
            trouble = self._store_trouble()
            self._on_loop(self._status_answered, probes, trouble)
            if isinstance(trouble, StoreUnavailable):  # waiting for it once is enough
                self._on_loop(self._no_answer, logins, trouble)
                return
        if not logins:
            return
        try:
            outcomes = self._gate.login([job.request() for job in logins])
        except Exception as error:
            self._on_loop(self._no_answer, logins, error)
            return
        self._on_loop(self._decided, list(zip(logins, outcomes, strict=True)))

    def _in_time(self, jobs: list[_Job]) -> list[_Job]:
        """Without those that have waited too long, after a store was locked: a retransmission is worked on afresh."""
        oldest = time.monotonic() - DECIDE_WITHIN
        late = [job for job in jobs if job.arrival < oldest]
        if late:
            self._on_loop(self._too_late, late)
        return [job for job in jobs if job.arrival >= oldest]

    def _store_trouble(self) -> Exception | None:
        try:
            self._gate.check()
        except Exception as error:
            return error
        return None

    # --- 7: in the event loop again -------------------------------------------------------------------------

    def _decided(self, outcomes: list[tuple[_Job, Decision | StoreUnavailable]]) -> None:
        for job, outcome in outcomes:
            if isinstance(outcome, StoreUnavailable):
                self._no_answer([job], outcome)
                continue
            self._store_answers()
            self._log_decision(job, outcome)
            if isinstance(outcome, Reject) and outcome.reason is Reason.FIRST_FACTOR_UNAVAILABLE:
                self._forget(job)  # neither right nor wrong: silence
            else:
                self._answer(job, outcome)

    def _answer(self, job: _Job, decision: Decision) -> None:
        try:
            code, attributes = conversation.reply_to(decision, job.entry)
            reply = encode_reply(job.packet, job.client.secret, code, attributes)
        except ReplyTooLong as error:
            self.drops.drop(time.monotonic(), "reply-too-long", job.source, job.client.name, str(error))
            self._forget(job)
            return
        except Exception as error:
            self._failed("reply", error)
            self._forget(job)
            return
        if isinstance(decision, Reject):
            delay = decision.delay * (1 + self._jitter.uniform(0, JITTER))
            self._loop.call_later(max(0.0, job.arrival + delay - time.monotonic()), self._reply, job, reply)
        else:
            self._reply(job, reply)

    def _reply(self, job: _Job, reply: bytes) -> None:
        if self._leave_work(job, reply):
            self._send(job.sock, reply, job.peer)

    def _status_answered(self, jobs: list[_Job], trouble: Exception | None) -> None:
        if trouble is not None:
            self._no_answer(jobs, trouble)
            return
        self._store_answers()
        for job in jobs:  # RFC 5997 3: Access-Accept at the authentication port
            self._reply(job, encode_reply(job.packet, job.client.secret, Code.ACCESS_ACCEPT, []))

    def _no_answer(self, jobs: list[_Job], error: Exception) -> None:
        """Silence, so that the NAS asks its next server. The first of a row is logged, and the recovery."""
        if not self._store_silent:
            what = str(error) if isinstance(error, TwofoldError) else type(error).__name__
            log.error(line("store-unavailable", error=what, effect="no answers until it is back"))
            log.debug("store unavailable, where it happened", exc_info=error)
        self._store_silent = True
        for job in jobs:
            self.drops.counters["store-unavailable"] += 1
            self._forget(job)

    def _too_late(self, jobs: list[_Job]) -> None:
        for job in jobs:
            self.drops.drop(time.monotonic(), "too-late", job.source, job.client.name)
            self._forget(job)

    def _store_answers(self) -> None:
        if self._store_silent:
            log.warning("store-back")
        self._store_silent = False

    def _forget(self, job: _Job) -> None:
        """No reply: a retransmission is worked on afresh."""
        self._leave_work(job, None)

    def _send(self, sock: socket.socket, reply: bytes, peer: tuple[object, ...]) -> None:
        try:
            sock.sendto(reply, peer)
        except OSError as error:
            self.drops.drop(time.monotonic(), "send-failed", str(peer[0]), hint=str(error.strerror))

    def _log_decision(self, job: _Job, decision: Decision) -> None:
        more = self._line_limit.allows((job.client.name, job.entry.user, decision.reason), time.monotonic())
        if more is None:
            return
        shown = line(
            _word(decision),
            user=job.entry.user,
            client=job.client.name,
            **{"from": job.source},
            reason=decision.reason,
            token=decision.serial if isinstance(decision, Accept) else None,
            failures=decision.failures or None if isinstance(decision, Reject) else None,
            tries_left=decision.tries_left if isinstance(decision, Challenge) else None,
            why=job.entry.unsupported,
            request=job.request_id,
            ms=f"{(time.monotonic() - job.arrival) * 1000:.1f}",
            suppressed=more or None,
        )
        log.info(shown)

    # --- clients --------------------------------------------------------------------------------------------

    async def _poll_clients(self) -> None:
        while True:
            await asyncio.sleep(POLL_CLIENTS)
            try:
                table = await self._loop.run_in_executor(None, self._newer_clients)
            except Exception as error:
                self._no_answer([], error)
                continue
            if table is not None:
                self._take_clients(table)

    def _newer_clients(self) -> ClientTable | None:
        return self._read_clients() if self._gate.clients_generation() != self._table.generation else None

    def _read_clients(self) -> ClientTable:
        generation = self._gate.clients_generation()  # before the rows: a change in between is read next time
        return ClientTable(self._gate.clients(), generation)

    def _take_clients(self, table: ClientTable) -> None:
        self._table = table

    def _on_loop(self, function: Callable[..., None], *args: object) -> None:
        self._loop.call_soon_threadsafe(function, *args)


def _word(decision: Decision) -> str:
    match decision:
        case Accept():
            return "accept"
        case Challenge():
            return "challenge" if decision.reason in (Reason.PASSWORD_RIGHT, Reason.ONBOARDING) else "again"
        case Reject():
            return "reject"


def _hint(reason: str, client: Client) -> str:
    if reason == "message-authenticator-missing":
        return f"twofold client set {client.name} --message-authenticator auto"
    if reason == "message-authenticator-wrong":
        return "the shared secrets differ"
    return ""


def _bound(listen: Listen) -> socket.socket:
    """A bound UDP socket. Without SO_REUSEADDR: with it, any local user could take our datagrams (measured)."""
    family = socket.AF_INET6 if ":" in listen.address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.bind((listen.address, listen.port))
    except OSError as error:
        sock.close()
        raise BadInput(f"cannot listen on {listen}: {error.strerror}; choose another with --listen") from None
    return sock
