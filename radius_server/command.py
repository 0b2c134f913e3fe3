"""`twofold radius serve`: run the server in the foreground, until SIGTERM or SIGINT."""

import asyncio
import logging
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING

import click

from radius_server.log import line
from store import config as configuration
from store.config import Config, Listen, parse_listen
from validation.settings import Whom

if TYPE_CHECKING:
    from validation.gate import Gate

_log = logging.getLogger("twofold.radius")


@click.group()
def radius() -> None:
    """The RADIUS server."""


@radius.command()
@click.option(
    "--listen", "listen", multiple=True, metavar="ADDRESS:PORT", help="Instead of the configured ones; may be repeated."
)
@click.option("--debug", is_flag=True, help="Say more; never a secret.")
@click.pass_context
def serve(ctx: click.Context, listen: tuple[str, ...], debug: bool) -> None:
    """Answer RADIUS requests until SIGTERM."""
    chosen = tuple(parse_listen(text, "--listen") for text in listen)
    config = configuration.load(configuration.config_path(ctx.find_root().obj))
    set_up_process(debug)
    asyncio.run(_serve(config, chosen or config.listen))


def set_up_process(debug: bool = False) -> None:
    """Log to standard error, and never leave a core file: it would hold secrets."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)


async def _serve(config: Config, listen: tuple[Listen, ...]) -> None:
    from first_factor import checker
    from radius_server.server import RadiusServer
    from store.opening import open_gate

    if os.geteuid() == 0:
        _log.warning("running as root; a user of its own that may read the store is enough")
    gate = open_gate(config)
    server = RadiusServer(gate, checker(config), listen, config.status_server, config.names)
    bound = server.bind()
    _warn_of_keys_in_clear(gate)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    for address in bound:
        _log.info(line("listening", on=address, store=config.database))
    await server.run(stop)
    _log.info(line("stopped", **{word.replace("-", "_"): count for word, count in server.drops.counters.items()}))


def _warn_of_keys_in_clear(gate: "Gate") -> None:
    """Reply-Message is not encrypted; only on loopback can nobody on the way read a new user's key."""
    book = gate.policies()
    for client in gate.clients():
        shows = book.settings(Whom(client=client.name)).onboarding_over_radius == "key"
        if shows and not client.network.is_loopback:
            _log.warning(
                line("key-in-clear", client=client.name, hint="twofold policy set onboarding_over_radius ticket")
            )
