"""C-001 on PostgreSQL: one passcode lets in one login, over processes, servers and ways in, with row locks alone."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.crowd import answered, numbered
from tests.flows.test_once import SHARE, Round, codes_at_once, touched
from tests.flows.worker import PROCESSES, Told, Workers
from tests.postgres import Stores
from tests.site import SECRET, Site, pin
from tests.vectors import yubico
from tests.wire import ACCEPT, REJECT
from validation.model import Mode

ROUNDS = 10

pytestmark = pytest.mark.peer("postgres", "psql")


@pytest.fixture
def site(stores: Stores, tmp_path: Path) -> Iterator[Site]:
    site = stores.site(tmp_path / "site")
    yield site
    site.database.close()


@pytest.mark.statement("C-001", "C-004")
@pytest.mark.timeout(300)
def test_200_submissions_of_one_pin_from_4_processes_give_one_accept(site: Site, workers: Workers) -> None:
    """READ COMMITTED: what keeps the second out is the lock on the user's row, and the conditional update."""
    site.add_client(mode=Mode.PASSCODE_ONLY)
    tokens = {}
    for user, kind in (("alice", "totp"), ("bob", "hotp")):
        site.add_user(user, password=None)
        tokens[user] = site.enroll(user, kind=kind)
    told: Told = {}
    for number in range(ROUNDS):
        this = Round(site, number, tokens)
        outcomes = workers.submit(this.orders())
        for user in tokens:
            rest = PROCESSES * SHARE - 1
            used_up = {("reject", "passcode-used"): 1, ("reject", "passcode-repeated"): rest - 1}
            others = {("reject", "state-unknown"): rest} if this.challenges else used_up
            counts = Counter(what for request_id, what in outcomes.items() if request_id.startswith(user))
            assert counts == {("accept", "passcode-right"): 1, **others}
            assert site.failures(user) == {"passcode": 0 if this.challenges else 1}
        told |= outcomes
    rows = [row for row in site.audit() if row["request_id"]]
    assert {row["request_id"]: (row["decision"], row["reason"]) for row in rows} == told
    verified = site.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.statement("O-085", "C-001")
def test_200_submissions_of_each_yubico_code_give_one_accept(site: Site, workers: Workers) -> None:
    serial = touched(site)
    for code in yubico.CHAIN[1][:2]:
        outcomes = workers.submit(codes_at_once(site, [code], SHARE))
        assert Counter(outcomes.values()) == {
            ("accept", "passcode-right"): 1,
            ("reject", "passcode-used"): 1,
            ("reject", "passcode-repeated"): PROCESSES * SHARE - 2,
        }
        assert site.token_row(serial)["moving_factor"] == code.counter * 256 + code.use + 1


@pytest.mark.statement("C-001")
def test_200_datagrams_with_one_pin_to_2_servers_on_2_hosts_give_one_accept(
    stores: Stores, site: Site, tmp_path: Path
) -> None:
    site.add_client(mode=Mode.PASSCODE_ONLY)
    site.add_user("alice", password=None)
    logins = [("alice", pin(site.enroll("alice", kind="hotp")))]
    other = stores.beside(site, tmp_path / "other", "other")
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(host.server()) for host in (site, other)]
        gateways = [stack.enter_context(server.nas()) for server in servers for _ in range(2)]
        requests = [numbered(SECRET, logins * 50) for _ in gateways]
        for group in zip(*requests, strict=True):
            for nas, request in zip(gateways, group, strict=True):
                nas.send(request.data)
        codes = [[reply.code for reply in answered(nas, sent)] for nas, sent in zip(gateways, requests, strict=True)]
    assert Counter(code for of_nas in codes for code in of_nas) == {ACCEPT: 1, REJECT: 199}
    reasons = Counter(row["reason"] for row in site.audit() if row["event"] == "login")
    assert reasons == {"passcode-right": 1, "passcode-used": 1, "passcode-repeated": 198}
    assert {row["chain"] for row in site.audit() if row["event"] == "login"} == {"test", "other"}
    assert site.command("audit", "verify").returncode == 0
