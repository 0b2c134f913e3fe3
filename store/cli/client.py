"""`twofold client`: the RADIUS clients (NAS) that may ask, and how they speak."""

import secrets
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, TypeVar

import click

from store.cli.presets import PRESETS, Preset
from store.cli.shared import (
    actor,
    administer,
    json_option,
    local_time,
    print_json,
    print_line,
    print_table,
    read_replies,
    read_secret,
    reading,
)
from validation.errors import BadInput, Refused
from validation.model import Encoding, MessageAuthenticatorRule, Mode
from validation.requests import AddClient, RemoveClient, SetClient, SetText
from validation.settings import Network, Scope, read_duration

_GENERATED_OCTETS = 20  # 40 hex characters, which no shell or configuration file takes for something else

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--mode",
        type=click.Choice([str(mode) for mode in Mode]),
        help="challenge: password, then a question for the PIN. append, prepend: one field, the PIN last or first. "
        "passcode-only: the client checks the password itself. openvpn: static challenge, else as challenge. "
        "auto: as challenge, unless the field ends in a PIN that matches.  [default: challenge]",
    ),
    click.option(
        "--message-authenticator",
        "rule",
        type=click.Choice([str(rule) for rule in MessageAuthenticatorRule]),
        help="Whether requests must be signed. auto: once an address has signed, it must.  [default: required]",
    ),
    click.option("--status-server/--no-status-server", default=None, help="Answer health checks.  [default: yes]"),
    click.option(
        "--always-challenge/--no-always-challenge",
        default=None,
        help="Ask everybody for a PIN before anything is told, so that no password can be tried out alone.",
    ),
    click.option(
        "--encoding",
        type=click.Choice([str(encoding) for encoding in Encoding]),
        help="latin-1: what is no UTF-8 is taken for ISO 8859-1.  [default: utf-8]",
    ),
    click.option(
        "--cut-at-nul/--no-cut-at-nul",
        default=None,
        help="Take what stands behind a NUL octet in a password for rubbish of the client's.",
    ),
    click.option(
        "--reply",
        "replies",
        multiple=True,
        metavar="'ATTRIBUTE=VALUE'",
        help="A RADIUS attribute for every Access-Accept; may be repeated. An empty VALUE takes it away.",
    ),
    click.option("--secret-stdin", is_flag=True, help="Read the shared secret from standard input."),
    click.option("--generate-secret", is_flag=True, help="Make a shared secret and print it once."),
)


def _options(function: F) -> F:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.group()
def client() -> None:
    """RADIUS clients: gateways and hosts that may ask."""


@client.command()
@click.argument("name")
@click.argument("network", metavar="ADDRESS[/PREFIX]")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="What this kind of gateway needs; options go before.")
@_options
@click.pass_context
def add(ctx: click.Context, /, name: str, network: str, preset: str | None, **given: Any) -> None:
    """Add a client. One of --secret-stdin and --generate-secret gives its secret."""
    secret = _secret(name, given["secret_stdin"], given["generate_secret"])
    if secret is None:
        raise click.UsageError("give the shared secret with --secret-stdin, or have one made with --generate-secret")
    usual = PRESETS[preset] if preset else Preset(Mode.CHALLENGE, MessageAuthenticatorRule.REQUIRED)
    named = {field: value for field, value in _fields(given).items() if value is not None}
    values = {"mode": usual.mode, "message_authenticator": usual.rule} | named
    administer(ctx, AddClient(actor=actor(), name=name, network=_network(network), secret=secret, **values))
    try:
        for language, key, text in usual.texts:
            scope = Scope(client=name)
            administer(ctx, SetText(actor=actor(), key=str(key), language=language, text=text, scope=scope))
        click.echo(f"Client {name} added; servers know it within a second.")
        if usual.note:
            click.echo(f"{preset}: {usual.note}")
    finally:  # the client is there, whatever became of its texts
        if given["generate_secret"]:
            click.echo(f"Secret  {secret.decode()}")


@client.command("set")
@click.argument("name")
@click.option("--address", "network", metavar="ADDRESS[/PREFIX]")
@click.option("--overlap", metavar="TIME", help="Keep the old secret right for 90s, 15m, 8h or 7d beside the new one.")
@_options
@click.pass_context
def set_(ctx: click.Context, /, name: str, network: str | None, overlap: str | None, **given: Any) -> None:
    """Change a client; what is not named stays. Without --overlap the old secret stops working at once."""
    secret = _secret(name, given["secret_stdin"], given["generate_secret"])
    command = SetClient(
        actor=actor(),
        name=name,
        network=_network(network) if network is not None else None,
        secret=secret,
        overlap=read_duration("--overlap", overlap) if overlap is not None else 0.0,
        **_fields(given),
    )
    administer(ctx, command)
    click.echo(f"Client {name} changed; servers follow within a second.")
    if given["generate_secret"] and secret is not None:
        click.echo(f"Secret  {secret.decode()}")


def _fields(given: dict[str, Any]) -> dict[str, Any]:
    """The options as the engine calls them; what is not named is None."""
    encoding = given["encoding"]
    return {
        "mode": Mode(given["mode"]) if given["mode"] else None,
        "message_authenticator": MessageAuthenticatorRule(given["rule"]) if given["rule"] else None,
        "status_server": given["status_server"],
        "always_challenge": given["always_challenge"],
        "encoding": Encoding(encoding) if encoding else None,
        "cut_at_nul": given["cut_at_nul"],
        "replies": read_replies(given["replies"]),
    }


def _secret(name: str, from_stdin: bool, generate: bool) -> bytes | None:
    if from_stdin and generate:
        raise click.UsageError("--secret-stdin and --generate-secret exclude each other")
    if generate:
        return secrets.token_hex(_GENERATED_OCTETS).encode()
    return read_secret(f"Shared secret of {name}").encode() if from_stdin else None


def _network(text: str) -> Network:
    if "%" in text:
        raise BadInput(f"address: {text!r} names an interface; leave %… out, an address is a client on all of them")
    try:
        network = ip_network(text)
        if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
            # The server takes an IPv4 address mapped into IPv6 for what it is, so its client must be one too.
            return IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - 96))
        return network
    except ValueError as error:
        raise BadInput(f"address: {error}; write 192.0.2.10, 192.0.2.0/24 or 2001:db8::/48") from None


@client.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """All clients. Secrets are not shown."""
    found, replies = _found(ctx)
    if as_json:
        print_json([_document(row, replies) for row in found])
        return
    columns = ("name", "address", "mode", "message-authenticator", "status-server")
    print_table(columns, ([row[key] for key in _LISTED] for row in found))


@client.command()
@click.argument("name")
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """One client. Its secret is not shown."""
    rows, replies = _found(ctx)
    found = [row for row in rows if row["name"] == name]
    if not found:
        raise Refused(f"there is no client {name!r}; twofold client list shows all")
    document = _document(found[0], replies)
    if as_json:
        print_json(document)
        return
    for key, value in document.items():
        for shown in _shown(key, value):
            print_line(f"{key.replace('_', ' '):22} {shown}")


_LISTED = ("name", "network", "mode", "message_authenticator", "status_server")


def _shown(key: str, value: Any) -> Iterable[object]:
    match value:
        case bool():
            return ["yes" if value else "no"]
        case dict():
            return [f"{name}={one}" for name, values in value.items() for one in values] or ["-"]
        case None:
            return ["-"]
        case _:
            return [f"until {local_time(value)}" if key == "old_secret_until" else value]


def _found(ctx: click.Context) -> tuple[list[dict[str, Any]], dict[str, dict[str, list[str]]]]:
    """All clients, and the reply attributes that are bound to one of them alone."""
    from store import listings

    with reading(ctx) as connection:
        return listings.client_rows(connection), listings.replies_of_clients(connection)


def _document(row: dict[str, Any], replies: dict[str, dict[str, list[str]]]) -> dict[str, Any]:
    return {
        "name": row["name"],
        "address": row["network"],
        "mode": row["mode"],
        "message_authenticator": row["message_authenticator"],
        "status_server": row["status_server"],
        "always_challenge": row["always_challenge"],
        "encoding": row["encoding"],
        "cut_at_nul": row["cut_at_nul"],
        "old_secret_until": row["old_secret_until"] or None,
        "replies": replies.get(row["name"], {}),
    }


@client.command()
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Remove a client; its requests get silence within a second."""
    administer(ctx, RemoveClient(actor=actor(), name=name))
    click.echo(f"Client {name} removed.")
