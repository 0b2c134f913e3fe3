"""Logins at a real server whose power fails, and what is left of them.

`python -m tests.faults.power --rounds N --seed S` cuts N times, after another number of logins each time.
"""

import argparse
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults import weak_server
from tests.faults.disk import disk_holding
from tests.flows.crowd import ask_all, replies, send_all
from tests.site import SECRET, Site, pin
from tests.wire import ACCEPT, access_request
from validation.decisions import Accept
from validation.model import Mode, Token
from validation.requests import Channel, LoginRequest


@dataclass
class Outage:
    """What was answered before the power failed, and the site as it is when it is back."""

    site: Site
    tokens: dict[str, Token]
    answered: list[str]  # who was let in, a few of them perhaps in the moment of the failure

    def lost(self) -> list[str]:
        """Answered, and not in the audit trail."""
        recorded = {row["user"] for row in self.site.audit() if (row["event"], row["decision"]) == ("login", "accept")}
        return [user for user in self.answered if user not in recorded]

    def let_in_again(self) -> list[str]:
        """Whom the PIN of before lets in once more, of those who were answered."""
        (client,) = self.site.gate.clients()
        channel = Channel.for_mode(Mode.PASSCODE_ONLY)
        requests = [
            LoginRequest(user, channel, client.name, client.version, passcode=pin(self.tokens[user]))
            for user in self.answered
        ]
        outcomes = self.site.gate.login(requests)
        return [user for user, outcome in zip(self.answered, outcomes, strict=True) if isinstance(outcome, Accept)]

    def verify(self) -> str:
        """What `twofold audit verify` has to complain about; empty if nothing."""
        done = self.site.command("audit", "verify")
        return "" if done.returncode == 0 else done.stdout + done.stderr


def prepared(folder: Path, users: int) -> tuple[Site, dict[str, Token]]:
    site = Site(folder)
    site.add_client(mode=Mode.PASSCODE_ONLY)
    tokens = {}
    for number in range(users):
        site.add_user(f"user{number}", password=None)
        tokens[f"user{number}"] = site.enroll(f"user{number}", kind="hotp")
    site.database.close()
    return site, tokens


def outage(folder: Path, setting: str, logins: int, in_flight: int) -> Outage:
    """`logins` are answered one by one, `in_flight` have just been sent, and the power fails."""
    folder.mkdir()
    site, tokens = prepared(folder / "site", logins + in_flight)
    requests = [
        access_request(SECRET, user, pin(token), identifier=n % 256) for n, (user, token) in enumerate(tokens.items())
    ]
    with disk_holding(site.folder, folder) as disk:
        program = disk.namespace.inside(sys.executable, weak_server.__file__, setting)
        with site.server(program=program) as server, server.nas() as nas:
            codes = [ask_all(nas, [request])[0].code for request in requests[:logins]]
            assert codes == [ACCEPT] * logins, codes
            send_all(nas, requests[logins:])
            disk.cut()
            late = replies(nas, requests[logins:], 1.0)
            server.kill()
        disk.power_up()
        disk.namespace.run("cp", "-a", site.folder, folder / "after")
    names = list(tokens)
    answered = [*names[:logins], *(name for name, reply in zip(names[logins:], late, strict=True) if reply is not None)]
    return Outage(Site(folder / "after"), tokens, answered)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.power", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    dice = random.Random(given.seed)
    answered = bad = 0
    start = time.monotonic()
    for number in range(given.rounds):
        with tempfile.TemporaryDirectory(prefix="twofold-power-") as folder:
            found = outage(Path(folder) / "round", "FULL", logins=dice.randint(1, 60), in_flight=dice.randint(0, 40))
            answered += len(found.answered)
            wrong = [*found.lost(), *found.let_in_again(), *found.verify().splitlines()]
            found.site.database.close()
        if wrong:
            bad += 1
            print(f"round {number}: {wrong}")
    seconds = time.monotonic() - start
    print(
        f"seed {given.seed}: {given.rounds} power cuts in {seconds:.0f} s, {answered} answered logins, {bad} bad rounds"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
