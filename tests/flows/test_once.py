"""C-001: one passcode lets in one login, however many ask at once, over processes, servers and ways in."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from sqlalchemy import event

from store import opening
from store.notices import NoNotices
from tests.builders import NOW
from tests.flows.crowd import answered, numbered
from tests.flows.worker import PROCESSES, FixedMoments, Order, Told, Workers
from tests.site import SECRET, Site, pin
from tests.vectors import yubico
from tests.wire import ACCEPT, REJECT
from validation.changes import UseToken
from validation.decisions import Accept, Challenge
from validation.gate import Gate
from validation.model import Mode, Token
from validation.ports import Conflict
from validation.requests import Channel, FirstFactor, FirstFactorResult, LoginRequest, SetRule, Wanted
from validation.settings import Scope

SHARE = 50  # submissions of one PIN by one process in one round: 200 in all
ROUNDS = 50


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


# --- Yubico OTP: the counter of the key decides, in whatever order its codes come


def touched(site: Site) -> str:
    """The serial of alice's YubiKey. Every code that is refused is a failure, and there are to be no waits."""
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", password=None)
    site.gate.administer(SetRule(actor="test", key="lock_from", value="100", scope=Scope()))
    key, _ = yubico.CHAIN
    octets = bytes.fromhex(key.aes + key.private_id)
    site.enroll("alice", kind="yubico_otp", key=octets, public_id=key.public_id, serial="TOUCH")
    return "TOUCH"


def codes_at_once(site: Site, codes: Sequence[yubico.Otp], times: int) -> list[Order]:
    """Every process submits each of `codes` so often, each in an order of its own."""
    (client,) = site.gate.clients()
    channel = Channel.for_mode(Mode.PASSCODE_ONLY)
    orders = []
    for process in range(PROCESSES):
        turned = [*codes[process:], *codes[:process]] if process % 2 else [*codes[-process:], *codes[:-process]]
        requests = [
            LoginRequest("alice", channel, "vpn", client.version, passcode=code.text, request_id=f"{code.text}-{ident}")
            for code in turned
            for ident in (f"{process}-{n}" for n in range(times))
        ]
        orders.append(Order(NOW, [[request] for request in requests]))
    return orders


@pytest.mark.statement("O-085", "C-001")
def test_200_submissions_of_each_yubico_code_from_4_processes_give_one_accept(site: Site, workers: Workers) -> None:
    serial = touched(site)
    for code in yubico.CHAIN[1]:
        outcomes = workers.submit(codes_at_once(site, [code], SHARE))
        assert Counter(outcomes.values()) == {
            ("accept", "passcode-right"): 1,
            ("reject", "passcode-used"): 1,
            ("reject", "passcode-repeated"): PROCESSES * SHARE - 2,
        }
        assert site.token_row(serial)["moving_factor"] == code.counter * 256 + code.use + 1


@pytest.mark.statement("O-085", "O-084")
def test_of_yubico_codes_that_race_in_any_order_only_later_ones_are_accepted(site: Site, workers: Workers) -> None:
    """The trail has the order in which they were committed: those accepted grow, and each comes once."""
    serial, codes = touched(site), yubico.CHAIN[1]
    place = {code.text: n for n, code in enumerate(codes)}
    outcomes = workers.submit(codes_at_once(site, codes, times=1))
    assert len(outcomes) == PROCESSES * len(codes)
    rows = [row for row in site.audit() if row["decision"] == "accept"]
    accepted = [place[str(row["request_id"]).partition("-")[0]] for row in rows]
    assert accepted == sorted(set(accepted))
    assert accepted[-1] == len(codes) - 1
    assert Counter(what for what, _ in outcomes.values())["accept"] == len(accepted)
    assert site.token_row(serial)["moving_factor"] == codes[-1].counter * 256 + codes[-1].use + 1


@pytest.mark.statement("O-085")
def test_one_conditional_statement_moves_the_counter_and_its_row_count_decides(site: Site) -> None:
    """Were two writers to read the same counter, the second would find no row."""
    serial, (first, second, *_) = touched(site), yubico.CHAIN[1]
    (client,) = site.gate.clients()
    statements: list[str] = []
    event.listen(
        site.database.connections._engine, "before_cursor_execute", lambda *seen: statements.append(str(seen[2]))
    )
    login = LoginRequest("alice", Channel.for_mode(Mode.PASSCODE_ONLY), "vpn", client.version, passcode=second.text)
    (outcome,) = site.gate.login([login])
    assert isinstance(outcome, Accept)
    (update,) = [text for text in statements if text.startswith("UPDATE tokens")]
    assert "tokens.moving_factor = ? AND tokens.moving_factor < ?" in update.partition("WHERE")[2]
    (seen,) = site.database.look([Wanted(serial=serial)])
    assert seen.token is not None
    now_at, before = seen.token.moving_factor, first.counter * 256 + first.use + 1
    for from_, to in ((0, now_at + 1), (now_at, before), (now_at, now_at)):
        late = UseToken(seen.token.id, from_, to, drift=0, used_at=NOW)
        with pytest.raises(Conflict), site.database.transaction() as transaction:
            transaction.apply([late])
    assert now_at == second.counter * 256 + second.use + 1 == site.token_row(serial)["moving_factor"]
