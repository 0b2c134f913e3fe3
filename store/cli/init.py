"""`twofold init`: configuration, key file and store, where they are missing."""

import socket

import click

from store import config as configuration
from store.cli.shared import actor, owner_option
from validation.errors import BadInput


@click.command()
@owner_option
@click.pass_context
def init(ctx: click.Context, owner_url: str) -> None:
    """Create configuration, key file and store. Safe to repeat.

    Key and store are put beside the configuration file, unless it says otherwise. An older store is brought to this
    version.
    """
    from store import opening

    path = configuration.config_path(ctx.find_root().obj)
    if not path.parent.is_dir():
        raise BadInput(f"the directory {path.parent} does not exist; create it, or choose another with --config")
    try:
        if opening.create_config(path, socket.gethostname()):
            click.echo(f"config   {path}")
        created = opening.create(configuration.load(path), actor(), owner_url)
    except OSError as error:
        raise BadInput(f"{error.filename} cannot be written: {error.strerror}") from None
    for made in created.made:
        click.echo(made)
    click.echo("ready" if created.made else "nothing to do: everything is there already")
