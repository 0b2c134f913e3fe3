"""RADIUS clients."""

from dataclasses import replace

from validation.administer.rows import Outcome, audit_row, known_client
from validation.changes import AddSignedSource, DeleteClient, InsertClient, ReplaceClient
from validation.decisions import Done
from validation.errors import BadInput, Refused
from validation.model import Client, Moment, Snapshot
from validation.policy import check_name, check_secret
from validation.requests import AddClient, RememberSigner, RemoveClient, SetClient


def add_client(snapshot: Snapshot, command: AddClient, moment: Moment) -> Outcome:
    if snapshot.client is not None:
        raise Refused(f"client {command.name!r} exists already; change it with: twofold client set {command.name}")
    check_name("client", command.name)
    client = Client(
        name=command.name,
        network=command.network,
        secret=command.secret,
        mode=command.mode,
        message_authenticator=command.message_authenticator,
        status_server=command.status_server,
    )
    warnings = (*check_secret(client.secret), *_check_client(snapshot, client))
    audit = audit_row(command, moment, "client-add", client=client.name, network=str(client.network))
    return Done(warnings=warnings), (InsertClient(client), audit)


def set_client(snapshot: Snapshot, command: SetClient, moment: Moment) -> Outcome:
    client = known_client(snapshot, command.name)
    if snapshot.damage is not None and command.secret is None:
        raise snapshot.damage  # only a new secret repairs it
    given = {
        "network": command.network,
        "secret": command.secret,
        "mode": command.mode,
        "message_authenticator": command.message_authenticator,
        "status_server": command.status_server,
    }
    new = {field: value for field, value in given.items() if value is not None}
    if not new:
        raise BadInput("nothing to change: name at least one option")
    client = replace(client, **new)  # type: ignore[arg-type]  # fields checked above
    warnings = check_secret(client.secret) if command.secret is not None else ()
    warnings = (*warnings, *_check_client(snapshot, client))
    changed = " ".join(field.replace("_", "-") for field in new)
    return Done(warnings=warnings), (
        ReplaceClient(client),
        audit_row(command, moment, "client-set", client=client.name, changed=changed),
    )


def _check_client(snapshot: Snapshot, client: Client) -> tuple[str, ...]:
    """Two clients with the same prefix could not be told apart (R-022); `off` is worth a word."""
    for other in snapshot.clients:
        if other.name != client.name and other.network == client.network:
            raise Refused(f"{client.network} belongs to client {other.name!r} already; an address names one client")
    if client.message_authenticator == "off":
        return (
            "requests of this client need no Message-Authenticator, so whoever can send packets from "
            f"{client.network} can try passwords and, on the path, forge answers (CVE-2024-3596)",
        )
    return ()


def remove_client(snapshot: Snapshot, command: RemoveClient, moment: Moment) -> Outcome:
    client = known_client(snapshot, command.name)
    return Done(), (DeleteClient(client.name), audit_row(command, moment, "client-remove", client=client.name))


def remember_signer(snapshot: Snapshot, command: RememberSigner, moment: Moment) -> Outcome:
    client = known_client(snapshot, command.name)
    if command.address in client.signed_sources:
        return Done(), ()
    audit = audit_row(command, moment, "client-signed", client=client.name, source=command.address)
    return Done(), (AddSignedSource(client.name, command.address), audit)
