"""`twofold key`: the master key, and how it is replaced.

Rule: a key is printed only into a pipe, never on a terminal.
"""

import sys
from pathlib import Path

import click

from store.cli.files import why_not
from store.cli.shared import actor, json_option, load_config, print_json, print_line
from validation.errors import Refused


@click.group()
def key() -> None:
    """The master key, which seals the keys of tokens and the secrets of clients."""


@key.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
def new(file: Path) -> None:
    """Write a fresh master key into FILE, which must not exist; `-` is standard output, for a pipe.

    Nothing uses it before it is named in [key] of the configuration and `twofold key rotate` has been run.
    """
    from store import sealing

    if str(file) == "-":
        if sys.stdout.isatty():
            raise Refused("a key is not shown on a terminal; name a file, or pipe it into what keeps it")
        made = sealing.MasterKey.fresh()
        click.echo(sealing.text_of(made), nl=False)
        click.echo(f"key {made.id.hex()}", err=True)
        return
    try:
        made = sealing.create_key_file(file.absolute())
    except FileExistsError:
        raise Refused(f"{file} exists, and is left as it is; name another file") from None
    except OSError as error:
        raise Refused(f"{file} cannot be written: {why_not(error)}") from None
    click.echo(f"{file}: key {made.id.hex()}")


@key.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> int:
    """Which keys the store is sealed with, and which this host holds. Exit status 1 if one is missing here."""
    from store import rotating

    found = rotating.standing(load_config(ctx))
    if as_json:
        held = [{"key": one.key.id.hex(), "source": str(one.source)} for one in found.held]
        document = {"key": found.key_id, "old_key": found.old_key_id or None, "values": found.counts}
        print_json(document | {"held": held, "missing": found.missing})
        return 1 if found.missing else 0
    print_line(f"store     sealed with key {found.key_id}")
    if found.old_key_id:
        left = found.counts.get(found.old_key_id, 0)
        print_line(f"rotation  unfinished: {left:,} values are under key {found.old_key_id}. Run: twofold key rotate")
    for id_, count in sorted(found.counts.items(), key=lambda entry: entry[0] != found.key_id):
        print_line(f"values    {count:,} under key {id_ or '- (none at all)'}")
    for one in found.held:
        print_line(f"held      key {one.key.id.hex()}: {one.source}")
    if found.trouble and found.missing:
        print_line(f"not held  {found.trouble}")
    elif found.trouble:
        print_line("old key   not here any more, and not needed: take it out of [key] of the configuration")
    for id_ in found.missing:
        print_line(f"missing   key {id_}: nobody is let in by this host. Name it in [key] of the configuration")
    return 1 if found.missing else 0


@key.command()
@click.option("--on-every-host", "everywhere", is_flag=True, help="The other hosts of this store hold both keys, too.")
@click.pass_context
def rotate(ctx: click.Context, everywhere: bool) -> None:
    """Seal everything with the key that [key] of the configuration names, while servers go on.

    Name the key in use until now beside it: old_file, old_credential or old_command. Run it again if it was
    interrupted. When it is done, only backups made before need the old key.
    """
    from store import rotating
    from store.cli.progress import counted

    done = rotating.rotate(load_config(ctx), actor(), everywhere, lambda rows: counted("sealing", rows))
    if done is None:
        click.echo("nothing to do: everything is sealed with the key that [key] names")
        return
    click.echo(f"sealed {done.values:,} values with key {done.new}; none is under key {done.old} any more")
    click.echo("Keep the old key as long as you keep a backup from before now; no server needs it.")
