"""People who log in, each a thread: alone, at several doors at once, by copies, with an old PIN, with a wrong one.

Rules: everything sent and heard goes into the round's history, late replies, too. Who plays what is drawn from the
round's dice. A person knows which PINs his token shows; what became of those that nobody answered he does not know.
"""

import itertools
import random
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.chaos.history import NO_PIN, Heard, Outcome, Pin, Request, Sent
from tests.chaos.world import ASKING_CLIENT, PASSWORD, PIN_CLIENT, SERVICE, SOURCES, Host, World
from tests.pam_helper.host import Peer, hello
from tests.site import SECRET, pin
from tests.wire import ACCEPT, CALLING_STATION_ID, CHALLENGE, REJECT, Reply, access_request
from tests.wire import Request as Packet
from validation.model import Token

PATIENCE = 0.9  # seconds for an answer, copies included
_COPIES = (0.2, 0.5)  # seconds after which the same octets are sent again, about
_TALK = 1.5  # seconds that a conversation with the helper may take
_OUTCOMES = {ACCEPT: Outcome.ACCEPT, REJECT: Outcome.REJECT, CHALLENGE: Outcome.CHALLENGE}
_VERDICTS = {b"S": Outcome.ACCEPT, b"I": Outcome.ACCEPT, b"D": Outcome.REJECT}
_NEAR = 10  # positions that are surely within reach of a counter


@dataclass
class Wallet:
    """A token as its owner knows it."""

    token: Token
    texts: tuple[str, ...] = ()  # of a sheet of recovery codes
    next: int = 0
    accepted: int = -1
    old: list[Pin] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.next = self.token.moving_factor
        self.near = [self.at(position).text for position in self._reach()]

    def _reach(self) -> range:
        """Positions that may come up in a round, clocks that are off included."""
        if self.texts:
            return range(len(self.texts))
        middle = int(time.time() // self.token.period) if self.token.kind == "totp" else 0
        return range(middle - 20 if middle else 0, middle + 60)

    def is_clear(self) -> bool:
        """No PIN stands for two positions."""
        return len(set(self.near)) == len(self.near)

    def fresh(self) -> Pin | None:
        """The next PIN that may be good; None: there is none now."""
        if self.texts:
            return self.at(self.next) if self.next < len(self.texts) else None
        if self.token.kind == "hotp":
            if self.next > self.accepted + _NEAR:
                self.next = self.accepted + 1
            return self.at(self.next)
        step = int(time.time() // self.token.period)
        self.next = max(self.next, step - 1)
        return self.at(self.next) if self.next <= step + 1 else None

    def at(self, position: int) -> Pin:
        if self.texts:
            return Pin(self.texts[position], self.token.serial, position)
        now = position * self.token.period if self.token.kind == "totp" else None
        ahead = 0 if now is not None else position - self.token.moving_factor
        return Pin(pin(self.token, ahead, now), self.token.serial, position)

    def told(self, used: Pin, outcomes: set[Outcome], dice: random.Random) -> None:
        assert used.position is not None
        self.old.append(used)
        if Outcome.ACCEPT in outcomes:
            self.accepted = max(self.accepted, used.position)
            self.next = max(self.next, used.position + 1)
        elif self.next == used.position and dice.random() < 0.6:
            self.next += 1


@dataclass
class _Ask:
    """A request on its way, and when its copies go where."""

    request: Request
    packet: Packet
    plan: list[tuple[float, Host]]


class Gateway:
    """The socket of a RADIUS client that one person logs in through."""

    def __init__(self, world: World, client: str) -> None:
        self._hosts = world.servers
        self.client = client
        self._socks: list[socket.socket] = []
        self._open: dict[tuple[int, int], _Ask] = {}
        self._numbers: Iterator[int] = iter(())

    def close(self) -> None:
        for sock in self._socks:
            sock.close()

    def place(self) -> int:
        """An Identifier that was not used yet; the newest socket is its."""
        number = next(self._numbers, None)
        if number is None:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((SOURCES[self.client], 0))
            self._socks.append(sock)
            self._numbers = iter(range(256))
            return self.place()
        return number

    def enter(self, ask: _Ask) -> None:
        self._open[len(self._socks) - 1, ask.packet.data[1]] = ask

    def send(self, ask: _Ask, host: Host) -> None:
        where = next(at for (at, _), one in self._open.items() if one is ask)
        ask.request.sent.append(Sent(time.monotonic(), host.chain))
        self._socks[where].sendto(ask.packet.data, ("127.0.0.1", host.port))

    def hear(self, seconds: float) -> None:
        """What has come within so long at most, until something has."""
        ready, _, _ = select.select(self._socks, [], [], max(0.0, seconds))
        for sock in ready:
            data, (_, port) = sock.recvfrom(65_535)
            ask = self._open.get((self._socks.index(sock), data[1]))
            host = next((host for host in self._hosts if port in host.runs), None)
            assert ask is not None, f"a reply from port {port} to nothing that was asked"
            assert host is not None, f"a reply from port {port}, where no server was"
            self._note(ask, host, host.runs[port], Reply(data).check(ask.packet))

    def _note(self, ask: _Ask, host: Host, run: int, reply: Reply) -> None:
        now, outcome = time.monotonic(), _OUTCOMES[reply.code]
        state = reply.state.decode() if outcome is Outcome.CHALLENGE else ""
        ask.request.heard.append(Heard(now, host.name, run, outcome, reply.data, state))
        if not ask.request.ret:
            ask.request.ret, ask.request.outcome = now, outcome


class Person:
    """`play` until told to stop, then `drain` what comes late, then `close`."""

    def __init__(
        self, name: str, wallets: Sequence[Wallet], world: World, numbers: Iterator[int], dice: random.Random
    ) -> None:
        self.name = name
        self.wallets = wallets
        self.requests: list[Request] = []
        self._world = world
        self._numbers = numbers
        self._dice = dice
        self._gateways = {client: Gateway(world, client) for client in SOURCES}
        self._plays = (
            (self._alone, 40),
            (self._race, 25),
            (self._one_state_twice, 12),
            (self._old, 8),
            (self._wrong, 6),
            (self._at_the_desk, 14),
        )

    def play(self, stop: threading.Event) -> None:
        plays, weights = zip(*self._plays, strict=True)
        while not stop.is_set():
            self._dice.choices(plays, weights)[0]()
            stop.wait(self._dice.uniform(0, 0.03))

    def drain(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for gateway in self._gateways.values():
                gateway.hear(min(left, 0.05))

    def close(self) -> None:
        for gateway in self._gateways.values():
            gateway.close()

    def probe(self, host: Host) -> bool:
        """Whether he gets in through this door now."""
        wallet = self.wallets[0]
        fresh = wallet.fresh()
        assert fresh is not None
        if host.helper:
            request = self._talk_request(fresh)
            self._talk(request, host)
        else:
            ask = self._packet(PIN_CLIENT, fresh, [(0.0, host)])
            self._submit([ask], PATIENCE)
            request = ask.request
        wallet.told(fresh, {request.outcome}, self._dice)
        return request.outcome is Outcome.ACCEPT

    # --- plays --------------------------------------------------------------------------------------------------

    def _alone(self) -> None:
        """One PIN, in one step or two."""
        wallet, fresh = self._fresh()
        if fresh is None:
            self._old()
            return
        last = self._one_step([fresh]) if self._dice.random() < 0.5 else self._two_steps([fresh])
        wallet.told(fresh, {one.outcome for one in last}, self._dice)

    def _race(self) -> None:
        """One PIN at several doors at once."""
        wallet, fresh = self._fresh()
        if fresh is None:
            return
        asks = [self._packet(PIN_CLIENT, fresh, self._plan(host)) for host in self._world.servers]
        asks += [self._packet(PIN_CLIENT, fresh, self._plan()) for _ in range(self._dice.randrange(2))]
        talk = self._talk_request(fresh) if self._dice.random() < 0.3 else None
        desk = threading.Thread(target=self._talk, args=(talk, self._world.helper)) if talk is not None else None
        if desk is not None:
            desk.start()
        self._submit(asks)
        if desk is not None:
            desk.join()
        everyone = [ask.request for ask in asks] + ([talk] if talk is not None else [])
        wallet.told(fresh, {request.outcome for request in everyone}, self._dice)

    def _one_state_twice(self) -> None:
        """Two PINs that both would do, with one State; or one PIN in two packets."""
        wallet, fresh = self._fresh()
        if fresh is None or wallet.texts:
            return
        second = fresh
        if wallet.token.kind == "hotp" and self._dice.random() < 0.6:
            second = wallet.at(wallet.next + 1)
        both = self._two_steps([fresh, second])
        wallet.told(fresh, {one.outcome for one in both if one.pin is fresh}, self._dice)
        if second is not fresh:
            wallet.told(second, {one.outcome for one in both if one.pin is second}, self._dice)

    def _old(self) -> None:
        """A PIN that was sent before."""
        old = [one for wallet in self.wallets for one in wallet.old]
        if old:
            self._one_step([self._dice.choice(old)])

    def _wrong(self) -> None:
        text = f"{self._dice.randrange(10**6):06}"
        if not any(text in wallet.near for wallet in self.wallets):
            self._one_step([Pin(text)])

    def _at_the_desk(self) -> None:
        wallet, fresh = self._fresh()
        if fresh is not None:
            request = self._talk_request(fresh)
            self._talk(request, self._world.helper)
            wallet.told(fresh, {request.outcome}, self._dice)

    def _fresh(self) -> tuple[Wallet, Pin | None]:
        wallet = self._dice.choice(self.wallets)
        return wallet, wallet.fresh()

    # --- steps --------------------------------------------------------------------------------------------------

    def _one_step(self, pins: Sequence[Pin]) -> list[Request]:
        return self._submit([self._packet(PIN_CLIENT, one, self._plan()) for one in pins])

    def _two_steps(self, pins: Sequence[Pin]) -> list[Request]:
        (first,) = self._submit([self._packet(ASKING_CLIENT, NO_PIN, self._plan())])
        if first.outcome is not Outcome.CHALLENGE:
            return [first]
        state = first.heard[0].state
        return self._submit([self._packet(ASKING_CLIENT, one, self._plan(), state) for one in pins])

    def _plan(self, host: Host | None = None) -> list[tuple[float, Host]]:
        """When a packet is sent where: at once, and again while there is no answer."""
        first = host or self._dice.choice(self._world.servers)
        again = [(at * self._dice.uniform(0.7, 1.3), self._dice.choice(self._world.servers)) for at in _COPIES]
        stray = [(0.0, self._dice.choice(self._world.servers))] if self._dice.random() < 0.15 else []
        return [(0.0, first), *stray, *again]

    def _packet(self, client: str, wanted: Pin, plan: list[tuple[float, Host]], state: str = "") -> _Ask:
        request = self._new(client, wanted, state)
        gateway = self._gateways[client]
        packet = access_request(
            SECRET,
            self.name,
            wanted.text or PASSWORD,
            state=state.encode() or None,
            identifier=gateway.place(),
            extra=[(CALLING_STATION_ID, source(request.number).encode())],
        )
        ask = _Ask(request, packet, plan)
        gateway.enter(ask)
        return ask

    def _new(self, client: str, wanted: Pin, state: str = "") -> Request:
        request = Request(next(self._numbers), self.name, client, wanted, state)
        self.requests.append(request)
        return request

    def _submit(self, asks: Sequence[_Ask], patience: float = PATIENCE) -> list[Request]:
        """Send all, and copies of what is not answered, until all are or nobody waits any more."""
        begin = time.monotonic()
        for ask in asks:
            ask.request.inv = begin
        gateway = self._gateways[asks[0].request.client]
        while (now := time.monotonic() - begin) < patience and any(not ask.request.heard for ask in asks):
            for ask in asks:
                while ask.plan and ask.plan[0][0] <= now and (not ask.request.heard or ask.plan[0][0] == 0):
                    gateway.send(ask, ask.plan.pop(0)[1])
            due = [ask.plan[0][0] - now for ask in asks if ask.plan and not ask.request.heard]
            gateway.hear(min([*due, patience - now]))
        for ask in asks:
            ask.request.ret = ask.request.ret or time.monotonic()
        return [ask.request for ask in asks]

    # --- at the helper ------------------------------------------------------------------------------------------

    def _talk_request(self, wanted: Pin) -> Request:
        request = self._new(f"{SERVICE}@{self._world.helper.chain}", wanted)
        request.inv = time.monotonic()
        return request

    def _talk(self, request: Request, host: Host) -> None:
        """One conversation: the PIN, and what comes then."""
        run = host.run
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(_TALK)
                sock.connect(str(host.socket))
                self._converse(Peer(sock), request, host, run)
        except (OSError, AssertionError):  # it is not there, or was killed in the middle
            pass
        request.ret = request.ret or time.monotonic()

    def _converse(self, peer: Peer, request: Request, host: Host, run: int) -> None:
        request.sent.append(Sent(time.monotonic(), host.chain))
        peer.send(hello(service=SERVICE, user=self.name, rhost=source(request.number)))
        frames = peer.until_asked()
        if frames and frames[-1][0] == "P":
            request.sent.append(Sent(time.monotonic(), host.chain))
            frames = peer.reply(request.pin.text)
        if frames and frames[-1][0] == "p":  # a notice, which waits to be read; nobody is asked for a PIN
            frames = peer.reply("")
        if not frames:
            return
        kind, payload = frames[-1]
        # Asked once more he was refused: whoever is nobody here is asked as often, and no row says that.
        outcome = _VERDICTS.get(payload[:1]) if kind == "F" else Outcome.REJECT
        if outcome is not None:
            request.ret, request.outcome = time.monotonic(), outcome
            request.heard.append(Heard(request.ret, host.name, run, outcome, payload))


def source(number: int) -> str:
    """The address that a request says it comes from."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def number_of(address: str) -> int | None:
    parts = address.split(".")
    if len(parts) != 4 or parts[0] != "10":
        return None
    return int(parts[1]) << 16 | int(parts[2]) << 8 | int(parts[3])


def numbers() -> Iterator[int]:
    return itertools.count(1)
