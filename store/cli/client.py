"""`twofold client`: the RADIUS clients (NAS) that may ask, and how they speak."""

import secrets
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import click

from store.cli.shared import (
    actor,
    administer,
    json_option,
    print_json,
    print_line,
    print_table,
    read_secret,
    reading,
)
from validation.errors import BadInput, Refused
from validation.model import MessageAuthenticatorRule, Mode
from validation.requests import AddClient, RemoveClient, SetClient
from validation.settings import Network

_GENERATED_OCTETS = 20  # 40 hex characters, which no shell or configuration file takes for something else

_mode = click.option(
    "--mode",
    type=click.Choice([str(mode) for mode in Mode]),
    help="challenge: password, then a question for the PIN. append: password and PIN in one field. "
    "passcode-only: the client checks the password itself.  [default: challenge]",
)
_rule = click.option(
    "--message-authenticator",
    "rule",
    type=click.Choice([str(rule) for rule in MessageAuthenticatorRule]),
    help="Whether requests must be signed. auto: once an address has signed, it must.  [default: required]",
)
_status = click.option("--status-server/--no-status-server", default=None, help="Answer health checks.  [default: yes]")
_stdin = click.option("--secret-stdin", is_flag=True, help="Read the shared secret from standard input.")
_generate = click.option("--generate-secret", is_flag=True, help="Make a shared secret and print it once.")


@click.group()
def client() -> None:
    """RADIUS clients: gateways and hosts that may ask."""


@client.command()
@click.argument("name")
@click.argument("network", metavar="ADDRESS[/PREFIX]")
@_mode
@_rule
@_status
@_stdin
@_generate
@click.pass_context
def add(
    ctx: click.Context,
    name: str,
    network: str,
    mode: str | None,
    rule: str | None,
    status_server: bool | None,
    secret_stdin: bool,
    generate_secret: bool,
) -> None:
    """Add a client. One of --secret-stdin and --generate-secret gives its secret."""
    secret = _secret(name, secret_stdin, generate_secret)
    if secret is None:
        raise click.UsageError("give the shared secret with --secret-stdin, or have one made with --generate-secret")
    command = AddClient(
        actor=actor(),
        name=name,
        network=_network(network),
        secret=secret,
        mode=Mode(mode or Mode.CHALLENGE),
        message_authenticator=MessageAuthenticatorRule(rule or MessageAuthenticatorRule.REQUIRED),
        status_server=status_server is not False,
    )
    administer(ctx, command)
    click.echo(f"Client {name} added; servers know it within a second.")
    if generate_secret:
        click.echo(f"Secret  {secret.decode()}")


@client.command("set")
@click.argument("name")
@click.option("--address", "network", metavar="ADDRESS[/PREFIX]")
@_mode
@_rule
@_status
@_stdin
@_generate
@click.pass_context
def set_(
    ctx: click.Context,
    name: str,
    network: str | None,
    mode: str | None,
    rule: str | None,
    status_server: bool | None,
    secret_stdin: bool,
    generate_secret: bool,
) -> None:
    """Change a client; what is not named stays. The old secret stops working at once."""
    secret = _secret(name, secret_stdin, generate_secret)
    command = SetClient(
        actor=actor(),
        name=name,
        network=_network(network) if network is not None else None,
        secret=secret,
        mode=Mode(mode) if mode else None,
        message_authenticator=MessageAuthenticatorRule(rule) if rule else None,
        status_server=status_server,
    )
    administer(ctx, command)
    click.echo(f"Client {name} changed; servers follow within a second.")
    if generate_secret and secret is not None:
        click.echo(f"Secret  {secret.decode()}")


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
    found = _found(ctx)
    if as_json:
        print_json([_document(row) for row in found])
        return
    columns = ("name", "address", "mode", "message-authenticator", "status-server")
    print_table(columns, ([_document(row)[key] for key in _KEYS] for row in found))


@client.command()
@click.argument("name")
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """One client. Its secret is not shown."""
    found = [row for row in _found(ctx) if row["name"] == name]
    if not found:
        raise Refused(f"there is no client {name!r}; twofold client list shows all")
    document = _document(found[0])
    if as_json:
        print_json(document)
        return
    for key, value in document.items():
        shown = ("yes" if value else "no") if isinstance(value, bool) else value
        print_line(f"{key.replace('_', ' '):22} {shown}")


_KEYS = ("name", "address", "mode", "message_authenticator", "status_server")


def _found(ctx: click.Context) -> list[dict[str, Any]]:
    from store import listings

    with reading(ctx) as connection:
        return listings.client_rows(connection)


def _document(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row["network" if key == "address" else key] for key in _KEYS}


@client.command()
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Remove a client; its requests get silence within a second."""
    administer(ctx, RemoveClient(actor=actor(), name=name))
    click.echo(f"Client {name} removed.")
