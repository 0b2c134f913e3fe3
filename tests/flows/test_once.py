"""C-001: one passcode lets in one login, however many ask at once, over processes, servers and ways in."""

import contextlib
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from store import opening
from store.notices import NoNotices
from tests.builders import NOW
from tests.flows.crowd import answered, numbered
from tests.flows.worker import FixedMoments, Order, Told, work
from tests.site import SECRET, Site, pin
from tests.wire import ACCEPT, REJECT
from validation.decisions import Challenge
from validation.gate import Gate
from validation.model import Mode, Token
from validation.requests import Channel, FirstFactor, FirstFactorResult, LoginRequest

PROCESSES = 4
SHARE = 50  # submissions of one PIN by one process in one round: 200 in all
ROUNDS = 50


class Workers:
    """Processes with a gate of their own, which stay alive over the rounds."""

    def __init__(self, site: Site) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._start = spawn.Barrier(PROCESSES)  # kept, because the processes open it by name
        pipes = [spawn.Pipe() for _ in range(PROCESSES)]
        self._orders = [ours for ours, _ in pipes]
        self._processes = [
            spawn.Process(target=work, args=(site.config_file, self._start, theirs), daemon=True) for _, theirs in pipes
        ]
        for process in self._processes:
            process.start()
        for _, theirs in pipes:
            theirs.close()

    def submit(self, orders: Sequence[Order]) -> Told:
        """Have every process carry out its order, all at once; what all of them were told."""
        for pipe, order in zip(self._orders, orders, strict=True):
            pipe.send(order)
        return {request_id: what for pipe in self._orders for request_id, what in pipe.recv().items()}

    def end(self) -> None:
        for pipe in self._orders:
            with contextlib.suppress(BrokenPipeError):
                pipe.send(None)
            pipe.close()
        for process in self._processes:
            process.join(30)


@pytest.fixture
def workers(site: Site) -> Iterator[Workers]:
    started = Workers(site)
    yield started
    started.end()


@dataclass
class Round:
    """One PIN of every user, submitted by all processes, alone and in batches that mix the users.

    In the odd rounds the PINs answer a challenge, so that 200 answers bring back one State.
    """

    site: Site
    number: int
    tokens: dict[str, Token]

    @property
    def now(self) -> float:
        return NOW + 30 * self.number

    @property
    def challenges(self) -> bool:
        return self.number % 2 == 1

    def pin(self, user: str) -> str:
        token = self.tokens[user]
        return pin(token, now=self.now) if token.kind == "totp" else pin(token, ahead=self.number)

    def orders(self) -> list[Order]:
        (client,) = self.site.gate.clients()
        states = {user: self._state(user, client.version) if self.challenges else None for user in self.tokens}
        mode = Mode.CHALLENGE if self.challenges else Mode.PASSCODE_ONLY

        def submissions(share: str, count: int) -> list[LoginRequest]:
            return [
                LoginRequest(
                    user=user,
                    channel=Channel.for_mode(mode),
                    client="vpn",
                    client_version=client.version,
                    passcode=self.pin(user),
                    state=states[user],
                    request_id=f"{user}-{self.number}-{share}-{n}",
                )
                for n in range(count)
                for user in self.tokens
            ]

        orders = []
        for process in range(PROCESSES):
            singles = [[request] for request in submissions(f"{process}-single", 2)]
            batches = [submissions(f"{process}-batch-{n}", 16) for n in range(3)]
            calls = [*singles, *batches] if process % 2 else [*batches, *singles]
            assert sum(map(len, calls)) == SHARE * len(self.tokens)
            orders.append(Order(self.now, calls))
        return orders

    def _state(self, user: str, client_version: int) -> str:
        gate = Gate(self.site.database, FixedMoments(self.now), opening.LoggedFaults(), NoNotices())
        first = LoginRequest(
            user=user,
            channel=Channel.for_mode(Mode.CHALLENGE),
            client="vpn",
            client_version=client_version,
            first_factor=FirstFactorResult(FirstFactor.PROVED, 0),
        )
        (challenge,) = gate.login([first])
        assert isinstance(challenge, Challenge)
        return challenge.state


@pytest.mark.statement("C-001")
@pytest.mark.timeout(300)
def test_200_submissions_of_one_pin_from_4_processes_give_one_accept_50_times(site: Site, workers: Workers) -> None:
    """TOTP and HOTP. About 40 s: 20,000 submissions, each a transaction that the others wait for."""
    site.add_client(mode=Mode.PASSCODE_ONLY)
    tokens = {}
    for user, kind in (("alice", "totp"), ("bob", "hotp")):
        site.add_user(user, password=None)
        tokens[user] = site.enroll(user, kind=kind)
    told: Told = {}
    for number in range(ROUNDS):
        this = Round(site, number, tokens)
        outcomes = workers.submit(this.orders())
        for user, token in tokens.items():
            rest = PROCESSES * SHARE - 1
            used_up = {("reject", "passcode-used"): 1, ("reject", "passcode-repeated"): rest - 1}
            others = {("reject", "state-unknown"): rest} if this.challenges else used_up
            counts = Counter(what for request_id, what in outcomes.items() if request_id.startswith(user))
            assert counts == {("accept", "passcode-right"): 1, **others}
            used = int(this.now // 30) if token.kind == "totp" else number
            assert site.token_row(token.serial)["moving_factor"] == used + 1
            assert site.failures(user) == {"passcode": 0 if this.challenges else 1}
        told |= outcomes
    check_trail(site, told)


def check_trail(site: Site, told: Told) -> None:
    """The audit trail has one row for each request, with what that request was told, and its chain holds."""
    rows = [row for row in site.audit() if row["request_id"]]
    assert len(rows) == len(told) == ROUNDS * PROCESSES * SHARE * 2
    assert {row["request_id"]: (row["decision"], row["reason"]) for row in rows} == told
    verified = site.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.statement("C-001")
def test_200_datagrams_with_one_pin_to_2_servers_give_one_accept(site: Site) -> None:
    site.add_client(mode=Mode.PASSCODE_ONLY)
    logins = []
    for user, kind in (("alice", "totp"), ("bob", "hotp")):
        site.add_user(user, password=None)
        logins.append((user, pin(site.enroll(user, kind=kind))))
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(site.server()) for _ in range(2)]
        gateways = [stack.enter_context(server.nas()) for server in servers for _ in range(2)]
        requests = [numbered(SECRET, logins * 50) for _ in gateways]
        for group in zip(*requests, strict=True):  # in turn, so that both servers begin at once
            for nas, request in zip(gateways, group, strict=True):
                nas.send(request.data)
        codes = [[reply.code for reply in answered(nas, sent)] for nas, sent in zip(gateways, requests, strict=True)]
    for number, (user, _) in enumerate(logins):
        assert Counter(code for of_nas in codes for code in of_nas[number::2]) == {ACCEPT: 1, REJECT: 199}
        reasons = Counter(row["reason"] for row in site.audit() if row["user"] == user and row["event"] == "login")
        assert reasons["passcode-right"] == 1
        assert reasons["passcode-used"] + reasons["passcode-repeated"] == 199
        # Counted once for each set of codes it was held against: a time step may pass meanwhile.
        assert site.failures(user) == {"passcode": reasons["passcode-used"]}
        assert 1 <= reasons["passcode-used"] <= 3
