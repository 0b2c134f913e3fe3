"""One packet handed to several servers at the same moment: one login, and each of them gives the same answer."""

from collections import Counter
from dataclasses import replace

import pytest

from tests.builders import NOW
from tests.flows.worker import PROCESSES, Order, Workers
from tests.postgres import on_both
from tests.site import Site, pin
from validation.model import Client, Mode
from validation.requests import Channel, LoginRequest, packet_mark

ROUNDS = 10


def orders(number: int, client: Client, passcodes: dict[str, str]) -> list[Order]:
    """The same packets for each process, which hands them on in another order; twice over."""
    channel = Channel.for_mode(Mode.PASSCODE_ONLY)
    found = []
    for process in range(PROCESSES):
        requests = [
            LoginRequest(
                user,
                channel,
                client.name,
                client.version,
                passcode=typed,
                packet=packet_mark(client, f"{user} {number}".encode()),
                request_id=f"{user} {process}",
            )
            for user, typed in passcodes.items()
        ]
        again = [replace(request, request_id=f"{request.request_id} again") for request in requests]
        found.append(Order(NOW + number, [requests if process % 2 else requests[::-1], again]))
    return found


@pytest.mark.statement("R-115")
@on_both
def test_it_is_one_login_everywhere(site: Site, workers: Workers) -> None:
    """Somebody with a right PIN, somebody with a wrong one, and two whom nobody knows."""
    site.add_client(mode=Mode.PASSCODE_ONLY)
    for user in ("alice", "bob"):
        site.add_user(user, None)
    token, other = site.enroll("alice", kind="hotp"), site.enroll("bob", kind="hotp")
    (client,) = site.gate.clients()
    for number in range(ROUNDS):
        wrong = pin(other, 1000 + number)
        typed = {"alice": pin(token, number), "bob": wrong, "nobody": "000000", "nemo": "000000"}
        told = workers.submit(orders(number, client, typed))
        said = {user: {what for request, what in told.items() if request.split()[0] == user} for user in typed}
        assert said["alice"] == {("accept", "passcode-right")}
        assert len(said["bob"]) == 1, said
        assert said["nobody"] == said["nemo"] == {("reject", "user-unknown")}
        assert len(told) == 2 * PROCESSES * len(typed)
    rows = Counter((row["user"], row["decision"]) for row in site.audit() if row["event"] == "login")
    assert (rows["alice", "accept"], rows["bob", "reject"]) == (ROUNDS, ROUNDS)
    assert site.token_row(token.serial)["moving_factor"] == ROUNDS
    assert site.failures("bob") == {"passcode": 5}, "then he waits, and nothing is compared any more"
