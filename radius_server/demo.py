"""`twofold demo`: a throw-away store, a real server on loopback, and a real login against it, told step by step.

Rules: everything goes through the same doors as in earnest: the gate makes user, token and client, the server answers
on a UDP socket, a client of its own logs in. Exit status 0 only if every step went as it should.
"""

import asyncio
import logging
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import click

from radius_client.client import NoReply, RadiusClient, Reply
from radius_client.wire import Code
from store import config as configuration
from store.config import Config, Listen
from validation.messages import printable
from validation.model import Token
from validation.requests import AddClient, AddUser, EnrollToken, RevokeToken
from validation.tokens import hotp, qr, totp
from validation.tokens.uri import grouped

_ACTOR = "demo"
_USER = "alice"
_CLIENT = "demo-vpn"
_INDENT = " " * 16


class _NotAsItShould(Exception):
    """A step of the demo went otherwise than promised."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """What the demo plays with."""

    config: Config
    server: tuple[str, int]
    token: Token
    password: str = field(repr=False)
    secret: bytes = field(repr=False)
    revoke: Callable[[], None]

    def pin(self, steps_ahead: int = 0) -> str:
        step = totp.step_at(time.time(), self.token.period)
        return hotp.shown_at(self.token, step + steps_ahead)

    def ask(self, typed: str, state: bytes | None = None) -> tuple[Reply, float]:
        """One request; its reply and how many milliseconds it took."""
        reply = RadiusClient(self.server, self.secret, _CLIENT).login(_USER, typed.encode(), state)
        return reply, reply.seconds * 1000


@click.command()
@click.option("--serve", is_flag=True, help="Keep the server running, to try it with your own phone.")
def demo(serve: bool) -> int:
    """A throw-away server on this machine, and a real login against it."""
    logging.basicConfig(level=logging.INFO if serve else logging.ERROR, format="%(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the store is removed then too
    click.echo("Twofold demo: a RADIUS login with a second factor, on this machine only.\n")
    with tempfile.TemporaryDirectory(prefix="twofold-demo-") as folder:
        try:
            with _stage(Path(folder)) as stage:
                if serve:
                    _serve(stage)
                    return 0
                _login(stage)
                _refusals(stage)
            _audit_trail(stage.config)
        except (_NotAsItShould, NoReply) as error:
            click.echo(f"\nThis did not go as it should: {error}", err=True)
            return 1
    click.echo("\nEverything went as it should. Try it with your own phone:  make demo-serve")
    return 0


# --- 1 to 4: the stage ------------------------------------------------------------------------------------------


@contextmanager
def _stage(folder: Path) -> Iterator[_Stage]:
    from first_factor.local import hash_password
    from store import opening

    file = folder / "twofold.toml"
    opening.create_config(file, _ACTOR)
    config = configuration.load(file)
    opening.create(config, _ACTOR)
    click.echo(f" 1  store     {config.store_name} (SQLite), key sealed, audit trail started")
    gate = opening.open_gate(config)
    password, secret = secrets.token_urlsafe(9), secrets.token_urlsafe(24).encode()
    gate.administer(AddUser(actor=_ACTOR, name=_USER, password_hash=hash_password(password)))
    click.echo(f" 2  user      {_USER}, password checked here (argon2id)")
    done = gate.administer(EnrollToken(actor=_ACTOR, user=_USER))
    token = Token(id=0, serial=done.serials[0], user_id=0, kind="totp", key=done.key or b"")
    _show_token(token, totp.Totp().uri(token, _USER, config.issuer))
    gate.administer(AddClient(actor=_ACTOR, name=_CLIENT, network=ip_network("127.0.0.1"), secret=secret))

    def revoke() -> None:
        gate.administer(RevokeToken(actor=_ACTOR, serial=token.serial))

    with _running_server(config) as address:
        click.echo(f' 4  server    {address}, client "{_CLIENT}", Message-Authenticator required\n')
        yield _Stage(
            config=config,
            server=(address.address, address.port),
            token=token,
            password=password,
            secret=secret,
            revoke=revoke,
        )


def _show_token(token: Token, uri: str) -> None:
    about = f"TOTP {token.digits} digits / {token.period} s, serial {token.serial}"
    click.echo(f" 3  token     {about}, paired by scanning:\n")
    for row in qr.picture(uri).splitlines():
        click.echo(f"              {row}")
    click.echo(f"              (or type  {grouped(token.key)})\n")


@contextmanager
def _running_server(config: Config) -> Iterator[Listen]:
    """The real server on a free loopback port, in a thread of its own."""
    from first_factor import checker
    from radius_server.server import RadiusServer, Settings
    from store.opening import open_gate

    server = RadiusServer(open_gate(config), checker(config), Settings((Listen("127.0.0.1", 0),)))
    (address,) = server.bind()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.run(stop)), name="demo-server")
    thread.start()
    try:
        yield address
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


# --- 5: the login -----------------------------------------------------------------------------------------------


def _login(stage: _Stage) -> None:
    click.echo(f" 5  → Access-Request    {_USER}, password ********")
    asked, milliseconds = stage.ask(stage.password)
    click.echo(f'    ← {_words(asked):<18}"{asked.text}"'.ljust(70) + f"{milliseconds:6.1f} ms")
    _expect(asked, Code.ACCESS_CHALLENGE, "the right password is answered with a question for the PIN")
    _wait_for_a_calm_moment(stage.token)
    pin = stage.pin()
    click.echo(f"    → Access-Request    State, PIN {pin[:3]} {pin[3:]}")
    accepted, milliseconds = stage.ask(pin, asked.state)
    click.echo(f"    ← {_words(accepted)}".ljust(70) + f"{milliseconds:6.1f} ms   logged in")
    _expect(accepted, Code.ACCESS_ACCEPT, "the right PIN logs in")


def _wait_for_a_calm_moment(token: Token) -> None:
    """Not in the last second of a time step, so that the PIN shown is still the same when it is sent again."""
    while token.period - time.time() % token.period < 3:
        time.sleep(0.1)


# --- 6: what must be refused ------------------------------------------------------------------------------------


def _refusals(stage: _Stage) -> None:
    asked, _ = stage.ask(stage.password)
    used, _ = stage.ask(stage.pin(), asked.state)
    click.echo(f' 6  the same PIN again          ← {_words(used)} "{used.text}"')
    _expect(used, Code.ACCESS_CHALLENGE, "a used PIN is not accepted again")
    wrong, _ = stage.ask(_wrong_pin(stage), used.state)
    click.echo(f'    a wrong PIN                 ← {_words(wrong)} "{wrong.text}"')
    _expect(wrong, Code.ACCESS_CHALLENGE, "a wrong PIN is not accepted")
    stage.revoke()
    revoked, _ = stage.ask(stage.pin(steps_ahead=1), wrong.state)
    click.echo(f"    token revoked, right PIN    ← {_words(revoked)}\n")
    _expect(revoked, Code.ACCESS_REJECT, "a revoked token ends even a login that has begun")


def _wrong_pin(stage: _Stage) -> str:
    """One that the token does not show now or near now: of eight candidates, seven steps can hit seven at most."""
    near = {stage.pin(steps) for steps in range(-3, 4)}
    return next(iter({f"{number:06}" for number in range(8)} - near))


def _audit_trail(config: Config) -> None:
    from store.opening import read_trail

    trail = read_trail(config)
    click.echo(f"    {'time':10}{'user':8}{'client':10}{'decision':11}reason")
    for row in trail.rows:
        at = datetime.fromtimestamp(row["at"], UTC).astimezone().strftime("%H:%M:%S")
        what = " ".join(filter(None, [row["reason"] or row["event"], row["serial"]]))
        client = row["client"] or "-"
        click.echo(f"    {at:10}{printable(row['user']) or '-':8}{client:10}{row['decision']:11}{what}")
    for problem in trail.problems:
        click.echo(f"    {problem}")
    if trail.problems:
        raise _NotAsItShould("the audit trail does not verify")
    decisions = [row["decision"] for row in trail.rows if row["event"] == "login"]
    if decisions != ["challenge", "accept", "challenge", "again", "again", "reject"]:
        raise _NotAsItShould(f"the audit trail tells another story: {', '.join(decisions)}")
    click.echo(f"    audit trail: {len(trail.rows)} rows, chain verified")


def _expect(reply: Reply, code: Code, promise: str) -> None:
    if reply.code is not code:
        raise _NotAsItShould(f"{promise}, but {_words(reply)} came")


def _words(reply: Reply) -> str:
    return "-".join(part.capitalize() for part in reply.code.name.split("_"))


# --- --serve ----------------------------------------------------------------------------------------------------


def _serve(stage: _Stage) -> None:
    """Keep running until Ctrl-C, and say what to type."""
    host, port = stage.server
    line = f"User-Name={_USER},User-Password={stage.password},Message-Authenticator=0x00"
    click.echo("Scan the code above with an authenticator app, then, in another terminal (package freeradius-utils):\n")
    click.echo(f"  echo '{line}' | radclient -x {host}:{port} auth {stage.secret.decode()}\n")
    click.echo("The answer is an Access-Challenge with a State. Send the PIN of your phone with it:\n")
    line = f"User-Name={_USER},User-Password=PIN,State=0x...,Message-Authenticator=0x00"
    click.echo(f"  echo '{line}' | radclient -x {host}:{port} auth {stage.secret.decode()}\n")
    click.echo("Ctrl-C ends the server and removes its store.")
    stop = threading.Event()
    try:
        while not stop.wait(3600):
            pass
    except KeyboardInterrupt:
        click.echo("\nStopped.")
