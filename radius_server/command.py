"""`twofold radius serve`: run the server in the foreground, until SIGTERM or SIGINT; SIGHUP reads the configuration.
`twofold radius test`: try it.

Rules: a reload takes effect whole or not at all: what cannot be read or bound is a line in the log, and the old goes
on. Options of the command line stay above the file. A second SIGTERM does not wait for what is in work.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import click

from radius_server.log import JsonFormatter, TextFormatter, line
from store import config as configuration
from store import serving
from store.config import Config, Listen, parse_listen
from validation.errors import TwofoldError
from validation.model import MessageAuthenticatorRule
from validation.settings import Whom

if TYPE_CHECKING:
    from radius_server.gate_process import GateProcess
    from radius_server.server import RadiusServer, Settings
    from validation.gate import Gate

_log = logging.getLogger("twofold.radius")

# Seconds after which a thread that looks or checks lets the event loop go on. With Python's usual 5 ms datagrams come
# in faster than they are read while there is much to do, and the kernel drops any of them, second steps, too
# (measured).
SWITCH = 0.0001

# What is read at the start alone.
_FIXED = ("database", "url", "chain", "issuer", "notify", "security_key")


@click.group()
def radius() -> None:
    """The RADIUS server."""


@dataclass(frozen=True, slots=True)
class _Options:
    """The command line."""

    file: str | None
    listen: tuple[Listen, ...]
    log: str | None

    def config(self) -> Config:
        """The configuration as it is now. Raises BadInput."""
        return configuration.load(configuration.config_path(self.file))

    def log_format(self, config: Config) -> str:
        return self.log or config.log

    def formatter(self, config: Config) -> logging.Formatter:
        return JsonFormatter() if self.log_format(config) == "json" else TextFormatter()

    def settings(self, config: Config) -> "Settings":
        from radius_server.server import Settings

        return Settings(
            self.listen or config.listen,
            config.status_server,
            config.names,
            config.accounting,
            config.accounting_listen,
            config.metrics,
        )


@radius.command()
@click.option(
    "--listen", "listen", multiple=True, metavar="ADDRESS:PORT", help="Instead of the configured ones; may be repeated."
)
@click.option("--log", type=click.Choice(["text", "json"]), help="How the log is written, instead of as configured.")
@click.option("--debug", is_flag=True, help="Say more; never a secret.")
@click.pass_context
def serve(ctx: click.Context, listen: tuple[str, ...], log: str | None, debug: bool) -> None:
    """Answer RADIUS requests until SIGTERM; SIGHUP reads the configuration again."""
    options = _Options(ctx.find_root().obj, tuple(parse_listen(text, "--listen") for text in listen), log)
    config = options.config()
    serving.set_up_process(debug, options.formatter(config))
    sys.setswitchinterval(SWITCH)
    with _gate_process(config) as decides:
        if not asyncio.run(_serve(config, options, decides)):
            ctx.exit(1)


@contextmanager
def _gate_process(config: Config) -> Iterator["GateProcess"]:
    """Made while this process has nothing but its configuration, and started later. On the way out it ends."""
    from radius_server import gate_keeper, gate_service
    from radius_server.gate_process import GateProcess

    decides = GateProcess(gate_keeper.fork(partial(gate_service.serve, config=config)))
    try:
        yield decides
    finally:
        decides.close()


@radius.command()
@click.argument("client")
@click.argument("user", required=False)
@click.option("--server", metavar="ADDRESS:PORT", default="", help="Where it is, if not where this host's listens.")
@click.option("--source", metavar="ADDRESS", default="", help="Send from this address of the client.")
@click.option("--status", is_flag=True, help="Only ask whether the server is there (Status-Server).")
@click.pass_context
def test(ctx: click.Context, client: str, user: str | None, server: str, source: str, status: bool) -> int:
    """Log in at a running server as CLIENT would.

    Password and PIN are asked for, or read from standard input, a line for each answer. Exit status 0 for an
    Access-Accept, 1 for a refusal, 3 for no answer.
    """
    from radius_server.trial import run

    if status is (user is not None):
        raise click.UsageError("name a USER to log in, or --status, and not both")
    return run(configuration.load(configuration.config_path(ctx.find_root().obj)), client, user, server, source)


async def _serve(config: Config, options: _Options, decides: "GateProcess") -> bool:
    """False if it ended by itself."""
    from first_factor import checker
    from radius_server.server import HURRY, RadiusServer
    from store.opening import open_gate

    if os.geteuid() == 0:
        _log.warning("running as root; a user of its own that may read the store is enough")
    gate = open_gate(config)
    stop, hurry, again = asyncio.Event(), asyncio.Event(), asyncio.Event()
    server = RadiusServer(gate, checker(config), options.settings(config), decides)
    _on_signals(stop, hurry, again)
    server.bind()
    decides.start(gone=stop.set)
    _warn_of_keys_in_clear(gate)
    _warn_of_unsigned_clients(gate)
    _say_where(server, config)
    serving.tell_systemd(serving.READY)
    tasks = (_reloads(server, decides, config, options, again, stop), _watchdog(server), _upkeep(config))
    beside = [asyncio.create_task(task) for task in tasks]
    try:
        await server.run(stop, hurry)
    finally:
        for task in beside:
            task.cancel()
        if hurry.is_set():
            decides.close(HURRY)
    _log.info(line("stopped", **{word.replace("-", "_"): count for word, count in server.dropped.items()}))
    return not decides.is_gone


def _on_signals(stop: asyncio.Event, hurry: asyncio.Event, again: asyncio.Event) -> None:
    def end() -> None:
        if stop.is_set():
            hurry.set()
        serving.tell_systemd(serving.STOPPING)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, again.set)


def _say_where(server: "RadiusServer", config: Config, before: frozenset[Listen] = frozenset()) -> None:
    for address in server.bound:
        if address not in before:
            _log.info(line("listening", on=address, store=config.store_name))
    if server.metrics_at is not None and server.metrics_at not in before:
        _log.info(line("metrics", on=server.metrics_at))


# --- reload -----------------------------------------------------------------------------------------------------


async def _reloads(
    server: "RadiusServer",
    decides: "GateProcess",
    started: Config,
    options: _Options,
    again: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Each time `again` is set, one after the other, until `stop` is. `started`: what was read at the start."""
    while True:
        await again.wait()
        if stop.is_set():
            return
        again.clear()
        serving.tell_systemd(serving.reloading())
        try:
            decides.log_as(options.log_format(await _reload(server, started, options)))
        except TwofoldError as error:
            _log.error(line("reload-refused", error=error, effect="the old configuration goes on"))
        except Exception as error:
            _log.error(line("reload-refused", error=type(error).__name__, effect="the old configuration goes on"))
            _log.debug("reload refused, where it happened", exc_info=error)
        serving.tell_systemd(serving.READY)


async def _reload(server: "RadiusServer", started: Config, options: _Options) -> Config:
    """What holds from now on. Raises BadInput, and then that is the old."""
    from first_factor import checker

    new = options.config()
    before = frozenset([*server.bound, *([server.metrics_at] if server.metrics_at is not None else [])])
    checking = await asyncio.get_running_loop().run_in_executor(None, checker, new)
    await server.reload(checking, options.settings(new))
    serving.set_log_format(options.formatter(new))
    _say_where(server, new, before)
    waiting = [name for name in _FIXED if getattr(new, name) != getattr(started, name)]
    _log.info(line("reloaded", needs_restart=",".join(waiting)))
    return new


# --- watchdog, upkeep -------------------------------------------------------------------------------------------


async def _watchdog(server: "RadiusServer") -> None:
    """Tell systemd that we live, as long as the event loop, which runs this, and the thread of the gate do."""
    seconds = serving.watchdog_seconds()
    while seconds is not None:
        if server.busy_for() < seconds / 2:
            serving.tell_systemd(serving.ALIVE)
        await asyncio.sleep(seconds / 4)


async def _upkeep(config: Config) -> None:
    upkeep = serving.upkeep(config)
    while True:
        await asyncio.sleep(serving.UPKEEP_EVERY)
        await asyncio.get_running_loop().run_in_executor(None, upkeep)


def _warn_of_keys_in_clear(gate: "Gate") -> None:
    """Reply-Message is not encrypted; only on loopback can nobody on the way read a new user's key."""
    book = gate.policies()
    for client in gate.clients():
        shows = book.settings(Whom(client=client.name)).onboarding_over_radius == "key"
        if shows and not client.network.is_loopback:
            _log.warning(
                line("key-in-clear", client=client.name, hint="twofold policy set onboarding_over_radius ticket")
            )


def _warn_of_unsigned_clients(gate: "Gate") -> None:
    """Nothing tells their requests from made-up ones (R-048)."""
    for client in gate.clients():
        if client.message_authenticator is MessageAuthenticatorRule.OFF:
            risk = "whoever can send with its address can have failures counted, and forge replies on the path"
            hint = f"twofold client set {client.name} --message-authenticator required"
            _log.warning(line("client-need-not-sign", client=client.name, risk=risk, hint=hint))
