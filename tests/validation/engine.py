"""A gate on a fake store: users, tokens and clients in a line each, and logins as a face would hand them in."""

import base64
import itertools
from ipaddress import ip_network
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes import CollectedFaults, CollectedNotices, FakeMoments, FakeStore
from tests.vectors import reference
from validation.changes import Audit
from validation.decisions import Challenge
from validation.gate import Gate, Outcome
from validation.model import Factor, Mode, Snapshot, Throttle, Token
from validation.requests import (
    AddClient,
    AddUser,
    Channel,
    EnrollToken,
    FirstFactor,
    FirstFactorResult,
    LoginRequest,
    RevokeToken,
    SetRule,
    Wanted,
)
from validation.settings import Scope

VPN, SSH, PORTAL = "vpn", "ssh", "portal"  # clients in the modes challenge, append, passcode-only
CONSOLE = "console"  # no client: a terminal of this host
DESK, SUDO = "login@web-7", "sudo@web-7"  # where whoever types sits at the machine
LOCKER = "lock@web-7"  # there, too; the kernel says who it is, and somebody else has checked the password
GREETER = "greeter@web-7"  # there, too; a stack checks the password after us
CONSOLES = {
    CONSOLE: Channel.console(),
    DESK: Channel.console(local=True),
    SUDO: Channel.console(local=True),
    LOCKER: Channel.console(proves_password=False, pin_only=True, local=True, own=True),
    GREETER: Channel.console(proves_password=False, local=True),
}
MODES = {VPN: Mode.CHALLENGE, SSH: Mode.APPEND, PORTAL: Mode.PASSCODE_ONLY}
ACTOR = "test"
EVERYBODY = Scope()


def pin(token: Token, now: float, ahead: int = 0) -> str:
    """What `token` shows now, or `ahead` steps or counters later; computed without the product."""
    counter = int(now) // token.period if token.kind == "totp" else token.moving_factor
    return reference.hotp(token.key, max(0, counter + ahead), token.digits, token.algorithm)


def wrong_pin(token: Token, now: float, other: int = 0) -> str:
    """A passcode of the right shape that is not near anything `token` shows; another one for each `other`."""
    near = {pin(token, now, ahead) for ahead in range(-50, 50)}
    found = (text for n in range(10_000) if (text := str(n).zfill(token.digits)) not in near)
    return next(itertools.islice(found, other, None))


def _channel(client: str) -> Channel:
    return CONSOLES[client] if client in CONSOLES else Channel.for_mode(MODES[client])


class Engine:
    def __init__(self, **policies: str) -> None:
        """`policies` are set for everybody."""
        self.store = FakeStore()
        self.clock = FakeMoments()
        self.faults = CollectedFaults()
        self.notices = CollectedNotices()
        self._guessed = 0
        self.gate = Gate(self.store, self.clock, self.faults, self.notices)
        for key, value in policies.items():
            self.set_policy(key, value)
        for n, (name, mode) in enumerate(MODES.items()):
            network = ip_network(f"192.0.2.{n}/32")
            self.gate.administer(AddClient(actor=ACTOR, name=name, network=network, secret=b"s" * 24, mode=mode))

    # --- who there is

    def add_user(self, name: str) -> None:
        self.gate.administer(AddUser(actor=ACTOR, name=name, password_hash="hash"))

    def enroll(self, user: str, kind: str = "totp", key: bytes | None = None, digits: int = 6) -> str:
        """The serial of a new token of `user`."""
        done = self.gate.administer(EnrollToken(actor=ACTOR, user=user, kind=kind, key=key, digits=digits))
        return done.serials[0]

    def set_policy(self, key: str, value: str, scope: Scope = EVERYBODY) -> None:
        self.gate.administer(SetRule(actor=ACTOR, key=key, value=value, scope=scope))

    def revoke(self, serial: str) -> None:
        self.gate.administer(RevokeToken(actor=ACTOR, serial=serial))

    # --- what is known of it

    def see(self, user: str | None = None, client: str | None = None, serial: str | None = None) -> Snapshot:
        (snapshot,) = self.store.look([Wanted(user=user, client=client, serial=serial)])
        return snapshot

    def token(self, serial: str) -> Token:
        token = self.see(serial=serial).token
        assert token is not None
        return token

    def throttle(self, user: str, factor: Factor) -> Throttle:
        return self.see(user=user).throttle(factor)

    def pin(self, serial: str, ahead: int = 0) -> str:
        return pin(self.token(serial), self.clock.now, ahead)

    def wrong_pin(self, serial: str) -> str:
        """Another one at each call, since a repeated one is free."""
        self._guessed += 1
        return wrong_pin(self.token(serial), self.clock.now, self._guessed)

    @property
    def trail(self) -> list[Audit]:
        return self.store.trail

    # --- logins

    def request(
        self,
        user: str,
        client: str = SSH,
        passcode: str | None = None,
        state: str | None = None,
        password: FirstFactor = FirstFactor.PROVED,
        **more: Any,
    ) -> LoginRequest:
        """As a face makes it: a password is checked unless a State came back or the client has checked it. `more` are
        other fields of the request: source, purpose, ticket, …"""
        seen = self.see(user=user, client=client)
        checked = state is None and _channel(client).proves_password
        version = seen.user.password_version if seen.user is not None else -1
        return LoginRequest(
            user=user,
            channel=_channel(client),
            client=client,
            client_version=seen.client.version if seen.client is not None else -1,
            first_factor=FirstFactorResult(password if checked else FirstFactor.NOT_CHECKED, version),
            passcode=passcode,
            state=state,
            **more,
        )

    def log_in(
        self,
        user: str,
        passcode: str | None = None,
        client: str = SSH,
        state: str | None = None,
        password: FirstFactor = FirstFactor.PROVED,
        **more: Any,
    ) -> Outcome:
        (outcome,) = self.gate.login([self.request(user, client, passcode, state, password, **more)])
        return outcome

    def challenge(self, user: str, client: str = VPN, **more: Any) -> str:
        """The State of a login at the VPN gateway whose password was right."""
        outcome = self.log_in(user, client=client, **more)
        assert isinstance(outcome, Challenge), outcome
        return outcome.state

    def answer(self, user: str, state: str, passcode: str, client: str = VPN, **more: Any) -> Outcome:
        return self.log_in(user, passcode, client, state, **more)

    # --- onboarding

    def pair(self, user: str, client: str = CONSOLE, **more: Any) -> "Pairing":
        """Go on until the key is shown: over a welcome, or at once where a PIN was asked for before."""
        outcome = self.log_in(user, client=client, **more)
        assert isinstance(outcome, Challenge), outcome
        if outcome.provisioning is None:
            outcome = self.log_in(user, "s", client, outcome.state)
        return Pairing(self, user, client, outcome)

    def restarted(self) -> None:
        """Another gate on the same store, as after a restart or on another server."""
        self.gate = Gate(self.store, self.clock, self.faults, self.notices)


class Pairing:
    """A first PIN is asked for; the person has the key from the address that was shown, and from nowhere else."""

    def __init__(self, engine: Engine, user: str, client: str, shown: Outcome) -> None:
        assert isinstance(shown, Challenge), shown
        assert shown.provisioning is not None
        self.engine, self.user, self.client = engine, user, client
        self.shown = shown
        self.state = shown.state
        self.serial = shown.provisioning.serial
        self.key = key_of(shown.provisioning.uri)

    def pin(self, ahead: int = 0) -> str:
        return reference.hotp(self.key, int(self.engine.clock.now) // 30 + ahead)

    def confirm(self, passcode: str | None = None, **more: Any) -> Outcome:
        typed = self.pin() if passcode is None else passcode
        outcome = self.engine.log_in(self.user, typed, self.client, self.state, **more)
        self.state = outcome.state if isinstance(outcome, Challenge) else self.state
        return outcome


def key_of(uri: str) -> bytes:
    (secret,) = parse_qs(urlsplit(uri).query)["secret"]
    return base64.b32decode(secret + "=" * (-len(secret) % 8))
