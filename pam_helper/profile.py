"""`twofold profile`: what a logged-in user does with his own registrations, through the helper.

Rules: no rights are needed and none are had: the helper learns from the kernel who asks.
"""

from pathlib import Path

import click

from pam_helper.client import converse
from pam_helper.hello import Hello
from pam_helper.rights import REDEEM
from store import config as configuration
from store.config import PamSection
from validation.errors import BadInput
from validation.model import RevokeReason

_socket = click.option("--socket", "path", metavar="PATH", help="The helper's socket, if it is not the usual one.")


def _ask(
    ctx: click.Context, path: str | None, request: str, serial: str = "", reason: str = "", name: str = ""
) -> None:
    hello = Hello(user="", request=request, serial=serial, reason=reason, name=name)
    converse(Path(path or _configured(ctx)), hello)


def _configured(ctx: click.Context) -> str:
    """A user need not be able to read the configuration."""
    try:
        return configuration.load(configuration.config_path(ctx.find_root().obj)).pam.socket
    except BadInput:
        if ctx.find_root().obj is not None:
            raise
        return PamSection().socket


@click.group(invoke_without_command=True)
@click.pass_context
def profile(ctx: click.Context) -> None:
    """Your own registrations: what makes the PINs of your logins.

    Without a command: the list. To move to a new phone, `add` it with a PIN of the old one, then `revoke` the old one.
    """
    if ctx.invoked_subcommand is None:
        _ask(ctx, None, "profile-show")


@profile.command()
@click.argument("serial", required=False, default="")
@click.option("--key", "key", is_flag=True, help="Show the key once more, where policy allows it; asks for a PIN.")
@_socket
@click.pass_context
def show(ctx: click.Context, serial: str, key: bool, path: str | None) -> None:
    """What you have, and what your next login asks for."""
    _ask(ctx, path, "profile-key" if key else "profile-show", serial)


@profile.command()
@_socket
@click.pass_context
def add(ctx: click.Context, path: str | None) -> None:
    """Register another authenticator, with a key of its own. Asks for a PIN of a present one; the first of all for the
    password."""
    _ask(ctx, path, "profile-add")


@profile.command()
@click.argument("serial", required=False, default="")
@_socket
@click.pass_context
def reset(ctx: click.Context, serial: str, path: str | None) -> None:
    """Make a new key for an app of yours. The old one works until the first PIN of the new one is right."""
    _ask(ctx, path, "profile-reset", serial)


@profile.command()
@click.argument("serial", required=False, default="")
@click.option("--reason", type=click.Choice([str(r) for r in RevokeReason]), default="other", show_default=True)
@_socket
@click.pass_context
def revoke(ctx: click.Context, serial: str, reason: str, path: str | None) -> None:
    """Revoke a registration of yours for good. Asks for a PIN, and says what your next login does."""
    _ask(ctx, path, "profile-revoke", serial, reason)


@profile.group()
def device() -> None:
    """Your security keys (FIDO2). They are registered and touched at the machine itself, never over a network."""


@device.command("add")
@click.option("--name", default="", help="What the key is called; asked for if not given.")
@_socket
@click.pass_context
def device_add(ctx: click.Context, name: str, path: str | None) -> None:
    """Register the security key that you touch. Asks for a PIN first; the first registration of all for the
    password."""
    _ask(ctx, path, "profile-device-add", name=name)


@device.command("test")
@_socket
@click.pass_context
def device_test(ctx: click.Context, path: str | None) -> None:
    """Touch a security key as at a login, and hear whether it works."""
    _ask(ctx, path, "profile-device-test")


@device.command("revoke")
@click.argument("name")
@click.option("--reason", type=click.Choice([str(r) for r in RevokeReason]), default="other", show_default=True)
@_socket
@click.pass_context
def device_revoke(ctx: click.Context, name: str, reason: str, path: str | None) -> None:
    """Revoke the security key called NAME for good. Asks for a PIN or a touch first."""
    _ask(ctx, path, "profile-revoke", name, reason)


@click.command()
@_socket
@click.pass_context
def redeem(ctx: click.Context, path: str | None) -> None:
    """Pair an app with a ticket. Asks for ticket, password and first PIN; or reads them, a line each."""
    _ask(ctx, path, REDEEM)
