"""`twofold message`: the texts that people read."""

from typing import Any

import click

from store.cli.shared import actor, administer, json_option, opened, print_json, print_table, scope
from validation.messages import DEFAULTS, MessageKey, default_text
from validation.requests import SetText
from validation.settings import Text, Whom


@click.group()
def message() -> None:
    """Texts that people read during a login."""


@message.command("set")
@click.argument("name", metavar="NAME")
@click.argument("text")
@click.option("--group", metavar="G", help="Only for this group.")
@click.option("--client", metavar="C", help="Only through this RADIUS client.")
@click.option("--service", metavar="S", help="Only for this PAM service.")
@click.option("--lang", "language", default="", metavar="L", help="Only in this language; else in all.")
@click.pass_context
def set_(
    ctx: click.Context, name: str, text: str, group: str | None, client: str | None, service: str | None, language: str
) -> None:
    """Set a text. `\\n` makes a line break; an empty text brings the default back. twofold message show lists names."""
    whom = scope(group, client, service, None)
    shown = text.replace("\\n", "\n")
    administer(ctx, SetText(actor=actor(), key=name, language=language, text=shown, scope=whom))
    click.echo(f"{name} is set for {whom}." if text else f"{name} is the default again for {whom}.")


@message.command()
@click.option("--group", metavar="G", help="As a user of this group would read it.")
@click.option("--client", metavar="C", help="As it is shown through this client.")
@click.option("--service", metavar="S")
@click.option("--lang", "language", default="en", type=click.Choice(list(DEFAULTS)), show_default=True)
@json_option
@click.pass_context
def show(
    ctx: click.Context, group: str | None, client: str | None, service: str | None, language: str, as_json: bool
) -> None:
    """Every text as it would be read."""
    with opened(ctx) as store:
        book = store.book()
    whom = Whom(frozenset({group} if group else set()), client, service)
    texts = {key: book.text(key, language, whom) or default_text(key, language) for key in MessageKey}
    if as_json:
        print_json({"texts": texts, "set": [_document(text) for text in book.texts]})
        return
    print_table(("name", "text"), texts.items())


def _document(text: Text) -> dict[str, Any]:
    where = text.scope
    return {
        "name": text.key,
        "language": text.language or None,
        "text": text.text,
        "group": where.group,
        "client": where.client,
        "service": where.service,
    }
