"""`twofold init`: configuration, key file and store, where they are missing."""

import socket

import click

from store import config as configuration
from store.cli.files import why_not
from store.cli.shared import actor, owner_option, warn
from store.config import Config
from validation.decisions import Done
from validation.errors import BadInput, Refused


@click.command()
@owner_option
@click.pass_context
def init(ctx: click.Context, owner_url: str) -> None:
    """Create configuration, key file and store. Safe to repeat.

    Key and store are put beside the configuration file, unless it says otherwise. An older store is brought to this
    version. A store in a file gets a ballast, a file that is given up when the disk is full.
    """
    from store import opening

    path = configuration.config_path(ctx.find_root().obj)
    try:
        if not path.parent.is_dir():
            raise BadInput(f"the directory {path.parent} does not exist; create it, or choose another with --config")
        if opening.create_config(path, socket.gethostname()):
            click.echo(f"config   {path}")
        config = configuration.load(path)
        made = opening.create(config, actor(), owner_url).made
    except OSError as error:
        raise BadInput(f"{error.filename} cannot be written: {why_not(error)}") from None
    made += _ballast(config)
    for line in made:
        click.echo(line)
    click.echo("ready" if made else "nothing to do: everything is there already")


def _ballast(config: Config) -> tuple[str, ...]:
    """A store is of use without one."""
    from store import opening

    try:
        return tuple(opening.create_ballast(config))
    except Refused as error:
        warn(Done(warnings=(str(error),)))
        return ()
