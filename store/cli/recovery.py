"""`twofold recovery`: one-time codes for the day the phone is gone."""

import click

from store.cli.shared import actor, administer, json_option, print_json, user_name
from validation.requests import IssueRecovery


@click.group()
def recovery() -> None:
    """Recovery codes for a lost phone."""


@recovery.command()
@click.argument("name")
@json_option
@click.pass_context
def issue(ctx: click.Context, name: str, as_json: bool) -> None:
    """Make ten recovery codes for NAME, shown once. Older ones stop working; tokens stay as they are."""
    done = administer(ctx, IssueRecovery(actor=actor(), name=user_name(ctx, name)))
    if as_json:
        print_json({"user": name, "serial": done.serials[0], "codes": list(done.shown_once)})
        return
    click.echo(f"Recovery codes for {name}, each good once in place of a PIN:\n")
    for code in done.shown_once:
        click.echo(f"  {code}")
    click.echo("\nShown once. Hand them over in person; older ones no longer work.")
