"""`twofold db`: the database behind the store, its schema, and whether all of it is whole."""

from typing import TYPE_CHECKING

import click

from store.cli.shared import (
    actor,
    administer,
    how_many,
    iso_time,
    json_option,
    load_config,
    local_time,
    opened,
    owner_option,
    print_json,
    print_line,
)

if TYPE_CHECKING:
    from store.config import Config


@click.group()
def db() -> None:
    """The database behind the store."""


@db.command()
@owner_option
@click.pass_context
def upgrade(ctx: click.Context, owner_url: str) -> None:
    """Bring the schema to this version. Safe to repeat; done or not done, never half.

    Back it up first, and stop the servers of older versions: they refuse a newer schema.
    """
    from store import migrations, opening

    made = opening.upgrade(load_config(ctx), actor(), owner_url).made
    for line in made or [f"nothing to do: the schema is {migrations.HEAD} already"]:
        click.echo(line)


@db.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Where the store is, its schema, what is in it, and which hosts have written to it."""
    from store import listings

    with opened(ctx) as store, store.connections.reading() as connection:
        found = listings.status(connection)
        skew = store.connections.skew()
    name = load_config(ctx).store_name
    if as_json:
        chains = [row | {"at": iso_time(row["at"])} for row in found.chains]
        document = {"store": name, "database": found.database, "schema": found.schema}
        print_json(document | {"rows": found.counts, "clock_ahead": round(skew, 1), "hosts": chains})
        return
    print_line(f"store     {name} ({found.database})")
    print_line(f"schema    {found.schema}")
    counted = [how_many(count, what.removesuffix("s")) for what, count in found.counts.items()]
    print_line("rows      " + ", ".join(counted))
    if abs(skew) >= 1:
        print_line(f"clock     {skew:+.0f} s from this host's")
    for row in found.chains:
        kept = how_many(row["rows"], "audit row")
        print_line(f"host      {row['chain']}: {kept}, the newest of {local_time(row['at'])}")


@db.command()
@json_option
@click.pass_context
def check(ctx: click.Context, as_json: bool) -> int:
    """Read every row, open every seal and walk the audit trail. Exit status 1 if anything is wrong."""
    from store import checking

    with opened(ctx) as store:
        found = list(checking.problems(store))
    if as_json:
        print_json({"whole": not found, "problems": found})
        return 1 if found else 0
    for line in found:
        print_line(line)
    if found:
        click.echo(f"{how_many(len(found), 'thing')} {'is' if len(found) == 1 else 'are'} wrong")
        return 1
    click.echo("whole: every row can be read, and the audit trail is verified")
    return 0


@db.command()
@click.option("--ahead", type=int, metavar="N", help="Counters move on by N logins, instead of a resynchronisation.")
@click.option("--keep-recovery", is_flag=True, help="Do not revoke recovery codes; those used meanwhile work again.")
@click.pass_context
def guard(ctx: click.Context, ahead: int | None, keep_recovery: bool) -> None:
    """After the database lost what it had committed: let no PIN work again that was used in that time.

    For a standby that was behind when it took over. `twofold restore` does the same by itself.
    """
    from validation.requests import RaiseGuards

    administer(ctx, RaiseGuards(actor=actor(), event="guard", ahead=ahead, keep_recovery=keep_recovery))
    click.echo("no PIN works that may have been used before now")


@db.command()
@click.argument("from_", metavar="FROM")
@click.argument("to", metavar="TO")
@click.option("--abandon", is_flag=True, help="Give up an unfinished copy: FROM is used again.")
@owner_option
@click.pass_context
def copy(ctx: click.Context, from_: str, to: str, abandon: bool, owner_url: str) -> None:
    """Move the store to another database. FROM and TO are paths or postgresql:// addresses.

    From the first moment FROM is not used any more: servers keep silent until the configuration names TO. Run it
    again if it was interrupted.
    """
    from store import moving

    wanted = moving.Move(load_config(ctx), from_, to, owner_url)
    if abandon:
        moving.abandon(wanted)
        click.echo(f"{wanted.source.store_name} is used again")
        return
    done = moving.move(wanted, actor(), lambda table, rows: click.echo(f"{table:16} {rows:>9,} rows"))
    click.echo("compared: the same on both sides" if done else "nothing to do: it was copied before")
    click.echo(f"Now name it in the configuration of every host: [store] {_line(wanted.target)}")


def _line(target: "Config") -> str:
    return f'url = "{target.url}"' if target.url else f'path = "{target.database}"'
