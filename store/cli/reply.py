"""`twofold reply`: RADIUS attributes that Access-Accepts carry."""

from typing import Any

import click

from store.cli.shared import (
    actor,
    administer,
    json_option,
    opened,
    print_json,
    print_table,
    read_replies,
    user_name,
)
from validation.errors import BadInput
from validation.requests import Replies, SetReplies, SetUser
from validation.settings import Reply, Scope

_WHOSE = (
    click.option("--client", metavar="C", help="Only through this RADIUS client."),
    click.option("--group", metavar="G", help="Only for this group."),
    click.option("--user", "name", metavar="U", help="Only for this user."),
)


def _whose(function: Any) -> Any:
    for option in _WHOSE:
        function = option(function)
    return function


@click.group()
def reply() -> None:
    """RADIUS attributes for Access-Accepts: of everybody, a group, a client or a user."""


@reply.command("set")
@click.argument("pairs", nargs=-1, required=True, metavar="'ATTRIBUTE=VALUE'...")
@_whose
@click.pass_context
def set_(ctx: click.Context, pairs: tuple[str, ...], name: str | None, group: str | None, client: str | None) -> None:
    """Set attributes; an attribute that is named several times gets all these values. The old ones go."""
    whose = _apply(ctx, read_replies(pairs), name, group, client)
    click.echo(f"{', '.join(read_replies(pairs))} set for {whose}.")


@reply.command()
@click.argument("attributes", nargs=-1, required=True, metavar="ATTRIBUTE...")
@_whose
@click.pass_context
def unset(
    ctx: click.Context, attributes: tuple[str, ...], name: str | None, group: str | None, client: str | None
) -> None:
    """Take attributes away; name the same options they were set with."""
    whose = _apply(ctx, dict.fromkeys(attributes, ()), name, group, client)
    click.echo(f"{', '.join(attributes)} not set any more for {whose}.")


def _apply(ctx: click.Context, replies: Replies, name: str | None, group: str | None, client: str | None) -> str:
    if name is not None and (group is not None or client is not None):
        raise click.UsageError("--user excludes --group and --client")
    if name is not None:
        administer(ctx, SetUser(actor=actor(), name=user_name(ctx, name), replies=replies))
        return f"user {name}"
    scope = Scope(group, client)
    administer(ctx, SetReplies(actor=actor(), scope=scope, replies=replies))
    return str(scope)


@reply.command()
@json_option
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    """What is set for everybody, groups and clients; a user's own stands in: twofold user show."""
    with opened(ctx) as store:
        found = sorted(store.book().replies, key=lambda reply: (str(reply.scope), reply.attribute))
    if as_json:
        print_json([_document(one) for one in found])
        return
    if not found:
        click.echo("No attribute is set.")
        return
    print_table(("attribute", "value", "for"), ((r.attribute, value, r.scope) for r in found for value in r.values))


def _document(one: Reply) -> dict[str, Any]:
    return {
        "attribute": one.attribute,
        "values": list(one.values),
        "group": one.scope.group,
        "client": one.scope.client,
    }


@reply.command()
@click.argument("text", metavar="[TEXT]", required=False, default="")
def attributes(text: str) -> None:
    """The attributes that can be set, with the kind of their values; those whose name holds TEXT."""
    from validation.attributes.table import TABLE

    found = [one for one in TABLE if text.lower() in one.name.lower()]
    if not found:
        raise BadInput(f"no reply attribute's name holds {text!r}")
    print_table(("attribute", "value", "several"), ((one.name, one.type_name, one.many) for one in found))
