"""What every noun needs: configuration, the gate, the actor, secrets from standard input, tables and JSON.

Rules: a secret comes from standard input (a terminal asks without echo) or a file, never from argv or the
environment; no command asks back. Tables fit a pipe and a terminal; colour carries no meaning. Nothing here imports
the database until a command really opens the store.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, TypeVar

import click

from store import config as configuration
from store.cli.files import account_name
from validation.decisions import Done
from validation.errors import BadInput
from validation.messages import printable
from validation.requests import Command, Replies
from validation.settings import NAS_ATTRIBUTES, Network, Scope

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from store.database import Database

F = TypeVar("F", bound=Callable[..., Any])

MAX_SECRET_OCTETS = 64 * 1024


def load_config(ctx: click.Context) -> configuration.Config:
    return configuration.load(configuration.config_path(ctx.find_root().obj))


def user_name(ctx: click.Context, name: str) -> str:
    """The spelling under which the user is stored."""
    return load_config(ctx).names.canonical(name) or name


@contextmanager
def opened(ctx: click.Context, owner_url: str = "") -> Iterator["Database"]:
    """The store, closed when the block ends; `owner_url` as for `opening.connect`."""
    from store import opening

    store = opening.open_store(load_config(ctx), owner_url)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def reading(ctx: click.Context) -> Iterator["Connection"]:
    """A consistent view of the store, for `store.listings`."""
    with opened(ctx) as store, store.connections.reading() as connection:
        yield connection


def administer(ctx: click.Context, command: Command) -> Done:
    """Carry out `command` and print its warnings on standard error."""
    from store import opening

    with opened(ctx) as store:
        done = opening.gate_on(store, load_config(ctx)).administer(command)
    warn(done)
    return done


def warn(done: Done) -> None:
    for warning in done.warnings:
        click.echo(f"note: {warning}", err=True)


def actor() -> str:
    """Who is at the keyboard: the login user, and whom sudo made him."""
    name = account_name(os.getuid())
    login = _login_uid()
    # The login uid first: the environment is whatever the caller says.
    behind = account_name(login) if login is not None else os.environ.get("SUDO_USER", "")
    told = f"{behind} as {name}" if behind and behind != name else name
    return os.fsencode(told).decode("utf-8", "replace")  # the trail takes no octets that are no text


def _login_uid() -> int | None:
    """The uid that logged in, which su and sudo do not change; 2^32-1 where nobody did."""
    try:
        with open("/proc/self/loginuid") as file:
            uid = int(file.read())
    except (OSError, ValueError):
        return None
    return uid if uid != 0xFFFFFFFF else None


def read_secret(what: str) -> str:
    """One secret from standard input, without its final line break; a terminal is asked without echo."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, prompt_suffix=": ", err=True))
    octets = sys.stdin.buffer.read(MAX_SECRET_OCTETS + 1)
    if len(octets) > MAX_SECRET_OCTETS:
        raise BadInput(f"{what}: more than {MAX_SECRET_OCTETS} octets on standard input")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"{what}: standard input is not UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")


def read_line(what: str, hidden: bool) -> str:
    """One line: asked for on a terminal, else the next line of standard input. Raises BadInput where there is none."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=hidden, prompt_suffix=": ", err=True))
    octets = sys.stdin.buffer.readline(MAX_SECRET_OCTETS)
    if not octets:
        raise BadInput(f"{what}: standard input ended")
    try:
        return octets.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise BadInput(f"{what}: standard input is not UTF-8") from None


def scope_options(function: F) -> F:
    """--group, --client, --service, --nas and --from: whom a rule is for."""
    for option in (
        click.option("--nas", metavar="ID", help="Only of a client that says this NAS-Identifier, or 'NAME=VALUE'."),
        click.option("--from", "network", metavar="NET", help="Only from these addresses."),
        click.option("--service", metavar="S", help="Only for this PAM service."),
        click.option("--client", metavar="C", help="Only through this RADIUS client."),
        click.option("--group", metavar="G", help="Only for this group."),
    ):
        function = option(function)
    return function


def scope(
    group: str | None, client: str | None, service: str | None, network: str | None, nas: str | None = None
) -> Scope:
    where = read_network("--from", network) if network is not None else None
    return Scope(group, client, service, where, read_nas(nas) if nas is not None else None)


def read_nas(text: str) -> str:
    """What a RADIUS client says of itself: a NAS-Identifier alone, or `NAME=VALUE`; `NAME=` where it says nothing."""
    name, sign, value = text.partition("=")
    for known in NAS_ATTRIBUTES:
        if sign and name.lower() == known.lower():
            return f"{known}={value}"
    if sign or not text:
        raise BadInput(f"--nas: {text!r}: write a NAS-Identifier, or one of {', '.join(NAS_ATTRIBUTES)} with =VALUE")
    return f"NAS-Identifier={text}"


def nas_says(said: str) -> frozenset[str]:
    """A client that says this of itself, and nothing else."""
    name = said.partition("=")[0]
    return frozenset({said, *(f"{other}=" for other in NAS_ATTRIBUTES if other != name)})


def read_replies(pairs: Iterable[str]) -> Replies:
    """`ATTRIBUTE=VALUE` of the command line, several values of one attribute together; an empty one takes it away."""
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise BadInput(f"{pair!r}: write ATTRIBUTE=VALUE, for example Filter-Id=staff")
        values = found.setdefault(name.strip(), [])
        if value:
            values.append(value)
    return {name: tuple(values) for name, values in found.items()}


def read_network(what: str, text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise BadInput(f"{what}: {error}; write 192.0.2.10, 192.0.2.0/24 or 2001:db8::/48") from None


def read_address(what: str, text: str | None) -> str | None:
    """An address as faces write it. Raises BadInput."""
    try:
        return str(ip_address(text)) if text is not None else None
    except ValueError:
        raise BadInput(f"{what}: {text!r} is no address; write 192.0.2.10 or 2001:db8::10") from None


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(function)


def print_json(document: object) -> None:
    """In ASCII, so that no name can steer the terminal or break a line (C-032)."""
    click.echo(json.dumps(document, indent=2, default=str))


def print_line(text: str) -> None:
    """One line of a view, with control characters escaped: a store that was tampered with may hold any."""
    click.echo(printable(text, 8192))


def how_many(count: int, what: str) -> str:
    """ "1 token", "2,000 tokens"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def print_table(columns: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """A plain table, no wider than it must be; control characters in values are escaped."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for values in lines:
        table.add_row(*(_cell(value) for value in values))
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    with console.capture() as capture:
        console.print(table)
    for shown in capture.get().splitlines():
        click.echo(shown.rstrip())


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value), 512)


def local_time(at: float | None) -> str:
    """Local time with its zone."""
    if at is None:
        return "never"
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def iso_time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()


owner_option = click.option(
    "--as",
    "owner_url",
    metavar="URL",
    default="",
    help="PostgreSQL: make the tables as the role of this address, and give that of store.url what it needs.",
)
