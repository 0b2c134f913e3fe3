"""`twofold radius test`: log in at a running server as one of its clients would, and say what comes back.

Rules: everything that can be known beforehand is said beforehand, because the server is silent to what it does not
take: it knows a client by the address alone that a datagram comes from. What is typed comes from a prompt or from lines
on standard input, never from argv, and is not shown. Exit status 0 for an Access-Accept, 1 for a refusal, 3 for no
answer.
"""

import socket
import sys
from contextlib import closing
from ipaddress import ip_address

import click

from radius_client.client import CannotAsk, NoReply, RadiusClient, Reply
from radius_client.wire import Code
from radius_server.clients import ClientTable, source_address
from radius_server.telling import lines
from store.config import Config, Listen, parse_listen
from store.opening import open_store
from validation.errors import BadInput, Refused
from validation.messages import printable
from validation.model import Client, Encoding, Mode

WITHIN = 11.0  # seconds; after 10 the server has given up itself
_RETRIES = 1
_MOST_TYPED = 64 * 1024
_FIRST = {
    Mode.CHALLENGE: "Password",
    Mode.APPEND: "Password and PIN, one after the other",
    Mode.PREPEND: "PIN and password, one after the other",
    Mode.PASSCODE_ONLY: "PIN",
    Mode.OPENVPN: "Password, or SCRV1:… as OpenVPN sends it",
    Mode.AUTO: "Password, or password and PIN one after the other",
}
_ACCEPTED, _REFUSED, _NO_ANSWER = 0, 1, 3


def run(config: Config, name: str, user: str | None, server: str, source: str) -> int:
    """The exit status. Without `user` the server is only asked whether it is there."""
    with closing(open_store(config)) as store:
        table = {client.name: client for client in store.clients()}
    if name not in table:
        raise Refused(f"there is no client {name!r}; twofold client list shows all")
    client = table[name]
    at = parse_listen(server, "--server") if server else _configured(config, client)
    source = _source(client, ClientTable(table.values()), at, source)
    asking = RadiusClient((at.address, at.port), client.secret, "twofold-test", source, _RETRIES)
    what = f"Access-Request    {printable(user)}, " if user is not None else "Status-Server     "
    click.echo(f"{what}as client {name} from {source} to {at}")
    try:
        return _log_in(asking, client, user) if user is not None else _told(asking.status(WITHIN))
    except CannotAsk as error:
        raise BadInput(str(error)) from None
    except NoReply as error:
        _explain(at, name, error)
        return _NO_ANSWER


# --- the login --------------------------------------------------------------------------------------------------


def _log_in(asking: RadiusClient, client: Client, user: str) -> int:
    typed = _typed(_FIRST[client.mode], client.encoding)
    if typed is None:
        raise BadInput("there was no password on standard input; write it there, and each answer on a line of its own")
    reply = asking.login(user, typed, within=WITHIN)
    status = _told(reply)
    while reply.code is Code.ACCESS_CHALLENGE:
        answer = _typed("Answer", client.encoding)
        if answer is None:
            click.echo("The challenge was not answered: standard input has no more lines.", err=True)
            break
        reply = asking.login(user, answer, reply.state, WITHIN)
        status = _told(reply)
    return status


def _told(reply: Reply) -> int:
    for line in lines(reply):
        click.echo(line)
    return _ACCEPTED if reply.code is Code.ACCESS_ACCEPT else _REFUSED


def _typed(what: str, encoding: Encoding) -> bytes | None:
    """What somebody types at a prompt, unseen, or the next line of standard input; None where there is no more. In the
    octets that the client would send."""
    if sys.stdin.isatty():
        text: str = click.prompt(what, default="", show_default=False, hide_input=True, err=True)
    else:
        line = sys.stdin.buffer.readline(_MOST_TYPED)
        if not line:
            return None
        text = _read(line).removesuffix("\n").removesuffix("\r")
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        raise BadInput(f"what was typed cannot be written in {encoding}, in which this client sends it") from None


def _read(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise BadInput("a line of standard input is not UTF-8") from None


# --- from where to where ----------------------------------------------------------------------------------------


def _configured(config: Config, client: Client) -> Listen:
    """Where the server of this host listens for requests of this client's kind of address."""
    for listen in config.listen:
        address = ip_address(listen.address)
        if address.version == client.network.version:
            here = "::1" if address.version == 6 else "127.0.0.1"
            return Listen(here, listen.port) if address.is_unspecified else listen
    raise BadInput(
        f"client {client.name} is {client.network}, and [radius] listen names no IPv{client.network.version} address; "
        "say where the server is with --server"
    )


def _source(client: Client, table: ClientTable, server: Listen, given: str) -> str:
    """An address of this host from which the server takes a request as the client's."""
    if given:
        _check_given(client, table, given)
        if not _can_send(given, server):
            raise BadInput(f"--source: {given} is no address of this host, or there is no way from it to {server}")
        return given
    for candidate in (_way_to(server), str(client.network[0])):
        if candidate and table.find(source_address(candidate)) is client and _can_send(candidate, server):
            return candidate
    raise BadInput(
        f"the server knows its clients by their addresses, and this host has none of client {client.name} "
        f"({client.network}). If it has one that was not found, name it with --source. Else make a client for this "
        "host and test with that: twofold client add this-host 127.0.0.1 --generate-secret"
    )


def _check_given(client: Client, table: ClientTable, given: str) -> None:
    try:
        found = table.find(source_address(given))
    except ValueError:
        raise BadInput(f"--source: {given!r} is not an address") from None
    if found is not client:
        whose = f"those of client {found.name}" if found is not None else "those of nobody, and stay silent"
        raise BadInput(
            f"--source: the server would take requests from {given} for {whose}; "
            f"client {client.name} is {client.network}"
        )


def _way_to(server: Listen) -> str:
    """The address that the system would send from; "" where there is no way."""
    with socket.socket(_family(server.address), socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((server.address, server.port))  # sends nothing
        except OSError:
            return ""
        return str(sock.getsockname()[0])


def _can_send(source: str, server: Listen) -> bool:
    try:
        with socket.socket(_family(server.address), socket.SOCK_DGRAM) as sock:
            sock.bind((source, 0))
            sock.connect((server.address, server.port))
    except OSError:
        return False
    return True


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


# --- no answer --------------------------------------------------------------------------------------------------


def _explain(server: Listen, client: str, error: NoReply) -> None:
    click.echo(f"No answer from {server}: {error}.", err=True)
    if "nothing listens" in str(error):
        click.echo(
            "Is `twofold radius serve` running, and does it listen there? Else name its address: --server", err=True
        )
        return
    click.echo(
        "A server is silent to what it does not take, and its log says why in a line `drop` or `store-unavailable`:\n"
        f"  - it works on another store, in which client {client} has another address or secret;\n"
        "  - its store cannot be written now, or the place where the user's password is checked does not answer;\n"
        "  - the packets do not reach it. docs/radius/troubleshooting.md goes on from the log line.",
        err=True,
    )
