"""`twofold backup` and `twofold restore`: the store into one file, and back."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from store.cli.shared import actor, load_config, local_time, opened, owner_option, print_line, warn

if TYPE_CHECKING:
    from store.listings import Row
    from store.restoring import Restored

_UNDONE_SHOWN = 200


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_context
def backup(ctx: click.Context, file: Path) -> None:
    """Write the whole store into FILE, while servers go on. FILE must not exist.

    Keys and secrets in it are sealed. The master key is not in it, and without that it is of no use: keep a copy of
    the key, and keep it somewhere else.
    """
    from store import opening, saving
    from validation.requests import NoteBackup

    with opened(ctx) as store:
        saving.check_free(file.absolute())
        warn(opening.gate_on(store, load_config(ctx)).administer(NoteBackup(actor=actor())))
        saving.save(store, file.absolute())
    click.echo(f"backup   {file}, {file.stat().st_size:,} octets")
    click.echo("The master key is not in it. Keep a copy of the key somewhere else.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Put the store that is there aside; it is kept under a dated name.")
@click.option("--ahead", type=int, metavar="N", help="Counters move on by N logins, instead of a resynchronisation.")
@click.option("--keep-recovery", is_flag=True, help="Do not revoke recovery codes; those used meanwhile work again.")
@owner_option
@click.pass_context
def restore(
    ctx: click.Context, file: Path, replace: bool, ahead: int | None, keep_recovery: bool, owner_url: str
) -> None:
    """Make the backup FILE the store that the configuration names. Stop the servers first.

    No PIN works again that may have been used since the backup. Apps wait some minutes, counters need `twofold token
    resync`, and sheets of recovery codes are revoked. What an administrator did since then is undone, and listed if
    the old store is there.
    """
    from store import restoring
    from validation.decisions import Done

    config = load_config(ctx)
    wanted = restoring.Restore(config, file.absolute(), replace, ahead, keep_recovery, owner_url)
    done = restoring.restore(wanted, actor())
    click.echo(f"restored {config.store_name} as of {local_time(done.backup_at)}")
    if done.kept is not None:
        click.echo(f"kept     the old store is {done.kept}")
    warn(Done(warnings=done.warnings))
    _tell_undone(done)


def _tell_undone(done: "Restored") -> None:
    since = local_time(done.backup_at)
    if done.undone is None:
        click.echo(f"Revocations, locks, passwords and all other changes since {since} are undone, and no old store")
        click.echo("could be read that would tell them. Go through the log of the servers and make them again.")
        return
    if done.pruned:
        click.echo(
            f"{done.pruned:,} rows since {since} were pruned from the old store's trail: what they told is undone,"
        )
        click.echo("too, and not listed. An export of them, or the log of the servers, must tell.")
    elif not done.undone:
        click.echo("Nothing but logins had happened since then.")
    if not done.undone:
        return
    click.echo("Undone, to be made again where it must be:")
    for row in done.undone[:_UNDONE_SHOWN]:
        print_line(f"  {local_time(row['at'])}  {_what(row)} by {row['actor'] or '-'}")
    if len(done.undone) > _UNDONE_SHOWN:
        click.echo(f"  and {len(done.undone) - _UNDONE_SHOWN:,} more: twofold audit list on the old store")


def _what(row: "Row") -> str:
    """Enough to do it again: a policy is in the details alone."""
    whom = [str(row[name]) for name in ("user", "serial", "client") if row[name]]
    return " ".join([row["event"], *whom, *(f"{name}={value}" for name, value in row["detail"].items())])
