"""A server that is killed at the worst moment: either the passcode is used and recorded, or nothing happened at all.

What was recorded is what the packet gets when it comes again, from the server that is back or from another one.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows import failpoint_server
from tests.postgres import on_both
from tests.site import PASSWORD, SECRET, Site, pin
from tests.wire import ACCEPT, CHALLENGE, REJECT, Nas, Reply, Request, access_request
from validation.model import Mode, Token


@dataclass
class Crash:
    """A login whose server died at the last COMMIT, and everything needed to look at what is left."""

    site: Site
    token: Token
    passcode: str
    nas: Nas
    request: Request  # the one that was being decided
    used_before: object  # the token's moving factor

    def send_again(self) -> Reply:
        """The retransmission of the gateway: the same octets from the same port."""
        return self.nas.ask(self.request)

    @property
    def used(self) -> bool:
        return self.site.token_row(self.token.serial)["moving_factor"] != self.used_before

    @property
    def accepts(self) -> int:
        return [decision for decision, _ in self.site.logins()].count("accept")


@contextmanager
def crashed(site: Site, mode: Mode, kind: str, when: str) -> Iterator[Crash]:
    with dying(site, mode, kind, when) as (crash, died), crash.nas:
        crash.nas.send(crash.request.data)
        died()
        address, port = crash.nas.server
        with site.server("--listen", f"{address}:{port}"):
            yield crash


@contextmanager
def dying(site: Site, mode: Mode, kind: str, when: str) -> Iterator[tuple[Crash, Callable[[], None]]]:
    """A server that dies at its next COMMIT, and what makes sure that it has, without an answer."""
    site.add_user("alice")
    token = site.enroll("alice", kind=kind)
    site.add_client(mode=mode)
    armed = site.folder / "armed"
    program = [sys.executable, str(Path(failpoint_server.__file__)), when, str(armed)]
    with site.server(program=program) as server, server.nas() as nas:
        passcode = pin(token)
        request = last_request(nas, mode, passcode)
        crash = Crash(site, token, passcode, nas, request, site.token_row(token.serial)["moving_factor"])
        armed.touch()

        def died() -> None:
            assert server.process.wait(60) == -signal.SIGKILL
            assert nas.receive(0.1) is None, "an answer left before the server died"
            armed.unlink()

        yield crash, died


def last_request(nas: Nas, mode: Mode, passcode: str) -> Request:
    """The request that would let alice in; what comes before it in `mode` is done."""
    if mode is Mode.APPEND:
        return access_request(SECRET, "alice", PASSWORD + passcode)
    challenge = nas.login("alice", PASSWORD)
    assert challenge.code == CHALLENGE
    return access_request(SECRET, "alice", passcode, state=challenge.state)


both_ways = pytest.mark.parametrize(("mode", "kind"), [(Mode.CHALLENGE, "totp"), (Mode.APPEND, "hotp")])


@pytest.mark.statement("C-003")
@both_ways
@on_both
def test_killed_before_commit_nothing_has_happened(site: Site, mode: Mode, kind: str) -> None:
    with crashed(site, mode, kind, "before") as crash:
        assert not crash.used
        assert crash.accepts == 0
        assert crash.send_again().code == ACCEPT
        assert (crash.used, crash.accepts) == (True, 1)
    check_trail(site)


@pytest.mark.statement("C-002", "R-116")
@both_ways
@on_both
def test_killed_between_commit_and_answer_the_pin_is_used_for_good(site: Site, mode: Mode, kind: str) -> None:
    """The login that used it is answered; whoever sends the PIN in a packet of his own is refused."""
    with crashed(site, mode, kind, "after") as crash:
        assert crash.used
        assert crash.accepts == 1
        assert crash.send_again().code == ACCEPT
        again = crash.nas.ask(last_request(crash.nas, mode, crash.passcode))
        assert again.code != ACCEPT
        assert crash.accepts == 1
    reasons = [reason for _, reason in site.logins()]
    assert reasons[-1] in ("passcode-used", "passcode-repeated")
    check_trail(site)


# --- the packet goes to another server


ENDS = {
    "token revoked": ("token", "revoke", "--user", "alice"),
    "user locked": ("user", "lock", "alice"),
}


@pytest.mark.statement("R-115", "C-002")
@both_ways
@on_both
def test_the_next_server_says_what_the_dead_one_has_decided(site: Site, mode: Mode, kind: str) -> None:
    with dying(site, mode, kind, "after") as (crash, died), site.server() as other, other.nas() as nas:
        crash.nas.send(crash.request.data)
        died()
        assert (crash.used, crash.accepts) == (True, 1)
        used = crash.site.token_row(crash.token.serial)
        assert nas.ask(crash.request).code == ACCEPT
        assert site.token_row(crash.token.serial) == used
        assert crash.accepts == 1
        changed = last_request(nas, mode, crash.passcode)
        assert changed.authenticator != crash.request.authenticator
        assert nas.ask(changed).code != ACCEPT, "the same PIN in a packet of its own, as some clients send it again"
    (row,) = [row for row in site.audit() if row["event"] == "retransmission"]
    assert (row["user"], row["reason"], row["serial"]) == ("alice", "passcode-right", crash.token.serial)
    check_trail(site)


@pytest.mark.parametrize("what", ENDS)
def test_the_next_server_says_no_once_the_login_was_ended(site: Site, what: str) -> None:
    with dying(site, Mode.APPEND, "hotp", "after") as (crash, died), site.server() as other, other.nas() as nas:
        crash.nas.send(crash.request.data)
        died()
        assert crash.accepts == 1
        assert site.command(*ENDS[what]).returncode == 0
        assert nas.ask(crash.request).code == REJECT
        assert crash.accepts == 1
    assert not [row for row in site.audit() if row["event"] == "retransmission"]


def check_trail(site: Site) -> None:
    verified = site.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
