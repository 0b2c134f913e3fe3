"""RADIUS clients."""

from collections.abc import Iterator
from dataclasses import replace

from validation.administer.replies import replies_set
from validation.administer.rows import Outcome, audit_row, known_client
from validation.changes import AddSignedSource, DeleteClient, InsertClient, ReplaceClient
from validation.decisions import Done
from validation.errors import BadInput, Refused
from validation.model import Client, Encoding, MessageAuthenticatorRule, Mode, Moment, Snapshot
from validation.policy import check_name, check_secret
from validation.requests import AddClient, RememberSigner, RemoveClient, SetClient
from validation.settings import DAY, Scope, duration_text


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
        always_challenge=command.always_challenge,
        encoding=command.encoding,
        cut_at_nul=command.cut_at_nul,
    )
    replies = replies_set(command.replies, Scope(client=client.name))
    warnings = (*check_secret(client.secret), *_check_client(snapshot, client))
    audit = audit_row(command, moment, "client-add", client=client.name, network=str(client.network))
    return Done(warnings=warnings), (InsertClient(client), *replies, audit)


def set_client(snapshot: Snapshot, command: SetClient, moment: Moment) -> Outcome:
    client = known_client(snapshot, command.name)
    if snapshot.damage is not None and command.secret is None:
        raise snapshot.damage  # only a new secret repairs it
    new = {field: value for field in _SETTABLE if (value := getattr(command, field)) is not None}
    replies = replies_set(command.replies, Scope(client=client.name))
    if not new and not replies:
        raise BadInput("nothing to change: name at least one option")
    client = replace(_with_old_secret(client, command, moment), **new)
    warnings = check_secret(client.secret) if command.secret is not None else ()
    warnings = (*warnings, *_check_client(snapshot, client))
    changed = " ".join([*(field.replace("_", "-") for field in new), *command.replies])
    return Done(warnings=warnings), (
        ReplaceClient(client),
        *replies,
        audit_row(command, moment, "client-set", client=client.name, changed=changed),
    )


_SETTABLE = (
    "network",
    "secret",
    "mode",
    "message_authenticator",
    "status_server",
    "always_challenge",
    "encoding",
    "cut_at_nul",
)
MAX_OVERLAP = 30 * DAY


def _with_old_secret(client: Client, command: SetClient, moment: Moment) -> Client:
    """With a new secret the one before ends at once, or after the time that was named for both ends to be changed."""
    if command.overlap and command.secret is None:
        raise BadInput("--overlap: for how long the old secret stays right; there is no new one")
    if not 0 <= command.overlap <= MAX_OVERLAP:
        raise BadInput(f"--overlap: at most {duration_text(MAX_OVERLAP)}")
    if command.secret is None:
        return client
    if not command.overlap or not client.secret:
        return replace(client, old_secret=b"", old_secret_until=0.0)
    return replace(client, old_secret=client.secret, old_secret_until=moment.now + command.overlap)


def _check_client(snapshot: Snapshot, client: Client) -> tuple[str, ...]:
    """Two clients with the same prefix could not be told apart (R-022); `off` is worth a word."""
    for other in snapshot.clients:
        if other.name != client.name and other.network == client.network:
            raise Refused(f"{client.network} belongs to client {other.name!r} already; an address names one client")
    if client.always_challenge and client.mode in (Mode.APPEND, Mode.PREPEND):
        raise BadInput(f"--always-challenge: a client in mode {client.mode} can show no question")
    return tuple(_risks(client)) if client.message_authenticator is MessageAuthenticatorRule.OFF else ()


def _risks(client: Client) -> Iterator[str]:
    yield (
        "requests of this client need no Message-Authenticator, so whoever can send packets from "
        f"{client.network} can try passwords and, on the path, forge answers (CVE-2024-3596)"
    )
    if client.encoding is Encoding.LATIN_1:
        yield (
            "nearly all octets are letters in latin-1, so made-up packets pass for wrong passwords: some hundred of "
            "them make a user wait"
        )


def remove_client(snapshot: Snapshot, command: RemoveClient, moment: Moment) -> Outcome:
    client = known_client(snapshot, command.name)
    return Done(), (DeleteClient(client.name), audit_row(command, moment, "client-remove", client=client.name))


def remember_signer(snapshot: Snapshot, command: RememberSigner, moment: Moment) -> Outcome:
    client = known_client(snapshot, command.name)
    if command.address in client.signed_sources:
        return Done(), ()
    audit = audit_row(command, moment, "client-signed", client=client.name, source=command.address)
    return Done(), (AddSignedSource(client.name, command.address), audit)
