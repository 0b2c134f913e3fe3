"""`twofold pam serve`: run the helper in the foreground, until SIGTERM or SIGINT."""

import contextlib
import logging
import os
import select
import signal
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from store import config as configuration
from store import serving
from store.config import Config
from validation.errors import StoreUnavailable

if TYPE_CHECKING:
    from pam_helper.service import Helper

_log = logging.getLogger("twofold.pam")
_STOP_WITHIN = 1.5  # seconds that open conversations may still take


@click.group()
def pam() -> None:
    """Logins on this host: the helper behind the PAM module."""


@pam.command()
@click.option(
    "--socket", "chosen", multiple=True, metavar="PATH", help="Instead of the configured ones; may be repeated."
)
@click.option("--debug", is_flag=True, help="Say more; never a secret.")
@click.pass_context
def serve(ctx: click.Context, chosen: tuple[str, ...], debug: bool) -> None:
    """Answer the PAM module and `twofold profile` until SIGTERM."""
    config = configuration.load(configuration.config_path(ctx.find_root().obj))
    serving.set_up_process(debug)
    _serve(config, chosen)


def _serve(config: Config, chosen: tuple[str, ...]) -> None:
    from first_factor import checker, system
    from pam_helper import sockets, terminal
    from pam_helper.dialogue import Desk
    from pam_helper.owner import AsRoot, rights_of_owner
    from pam_helper.passwords import Passwords
    from pam_helper.seats import Logind
    from pam_helper.security_key import keys_here
    from pam_helper.service import Helper, hold
    from store.opening import open_gate

    if os.geteuid() != 0:
        _log.warning("not running as root: system passwords cannot be checked, and only root's PAM module trusts root")
    with rights_of_owner(config.owners_file):
        gate = open_gate(config)
    desk = Desk(
        gate,
        AsRoot(checker(config, for_helper=True)),
        config.names,
        config.chain,
        config.issuer,
        terminal.columns,
        hold,
        keys_here(config.security_key.wait),
    )
    listeners = sockets.listening(config.pam, chosen)
    passwords = Passwords(system.for_asking_server(config.system_passwords), config.owners_file)
    helper = Helper(desk, config.pam, config.security_key, config.owners_file, listeners, Logind(), passwords)
    told = _signals(signal.SIGTERM, signal.SIGINT)
    helper.start()
    for listener in listeners:
        _log.info("listening on=%s store=%s", listener.getsockname(), config.store_name)
    serving.tell_systemd(serving.READY)
    stopping = threading.Event()
    threading.Thread(target=_watchdog, args=(helper, stopping), name="twofold-watchdog", daemon=True).start()
    upkeep = serving.upkeep(config)
    while not select.select([told], [], [], serving.UPKEEP_EVERY)[0]:
        _with_rights_of_owner(config, upkeep)
    stopping.set()
    serving.tell_systemd(serving.STOPPING)
    helper.stop(_STOP_WITHIN)
    _log.info("stopped")


def _watchdog(helper: "Helper", stopping: threading.Event) -> None:
    """Tell systemd that we live, as long as callers are let in. In a thread of its own: what upkeep does on a slow disk
    is no reason to cut off those who are being asked something."""
    seconds = serving.watchdog_seconds()
    while seconds is not None and not stopping.wait(seconds / 4):
        if helper.lives(seconds / 8):
            serving.tell_systemd(serving.ALIVE)


def _with_rights_of_owner(config: Config, upkeep: Callable[[], None]) -> None:
    """Where the store is gone there is nothing to do, and logins say so."""
    from pam_helper.owner import rights_of_owner

    with contextlib.suppress(StoreUnavailable), rights_of_owner(config.owners_file):
        upkeep()


def _signals(*numbers: signal.Signals) -> socket.socket:
    """From here on these can be read from it, and do nothing else.

    Written by the handler in C: one in Python waits for the main thread, and a signal that comes just before that
    thread begins to wait would be lost.
    """
    told, tell = socket.socketpair()
    tell.setblocking(False)
    for number in numbers:
        signal.signal(number, lambda number, frame: None)
    signal.set_wakeup_fd(tell.detach())
    return told
