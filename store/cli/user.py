"""`twofold user`: who may log in."""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from store.cli import user_list
from store.cli.shared import (
    actor,
    administer,
    iso_time,
    json_option,
    load_config,
    local_time,
    opened,
    print_json,
    print_line,
    print_table,
    read_replies,
    read_secret,
    reading,
    user_name,
)
from validation.decisions import Reason
from validation.errors import BadInput, Refused
from validation.model import FirstFactorKind
from validation.policy import check_name
from validation.requests import AddUser, ChangeUserState, GiveBypass, RemoveUser, SetPairing, SetUser, UserAct, Wanted
from validation.settings import Whom

if TYPE_CHECKING:
    from store.database import Database
    from validation.explaining import Outlook

_KINDS = [str(kind) for kind in FirstFactorKind]
_WHERE = "Where the password is checked; else as policy first_factor says."
_reply = click.option(
    "--reply",
    "replies",
    multiple=True,
    metavar="'ATTRIBUTE=VALUE'",
    help="A RADIUS attribute for the user's Access-Accepts; may be repeated. An empty VALUE takes it away.",
)
_group = click.option("--group", "groups", multiple=True, metavar="G", help="May be repeated.")
_password = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
_hash = click.option(
    "--password-hash-stdin",
    "hash_stdin",
    is_flag=True,
    help="Read a hash instead, as from another host's /etc/shadow: $6$, $5$, $y$ or $argon2id$.",
)


@click.group()
def user() -> None:
    """Users: who may log in."""


@user.command()
@click.argument("name")
@click.option("--first-factor", type=click.Choice(_KINDS), help=_WHERE)
@_group
@_reply
@_password
@_hash
@click.pass_context
def add(
    ctx: click.Context,
    name: str,
    first_factor: str | None,
    groups: tuple[str, ...],
    replies: tuple[str, ...],
    password_stdin: bool,
    hash_stdin: bool,
) -> None:
    """Add a user."""
    name = _new_name(ctx, name)
    command = AddUser(
        actor=actor(),
        name=name,
        first_factor=FirstFactorKind(first_factor) if first_factor else None,
        groups=groups,
        password_hash=_hash_to_store(name, password_stdin, hash_stdin),
        replies=read_replies(replies),
    )
    administer(ctx, command)
    click.echo(f"User {name} added.")
    if command.password_hash is None:
        click.echo(_where_checked(ctx, command))
    click.echo(f"Next: a first login pairs an app; or hand out a token: twofold token enroll {name}")


def _where_checked(ctx: click.Context, command: AddUser) -> str:
    kind = command.first_factor or _by_policy(ctx, command.groups)
    if kind == FirstFactorKind.LOCAL:
        return f"No password yet: twofold user set {command.name} --password-stdin"
    return _ELSEWHERE[kind].format(name=command.name)


_ELSEWHERE = {
    FirstFactorKind.SYSTEM: "The password is that of this host's account {name}, as getpwnam spells it.",
    FirstFactorKind.LDAP: "The password is that of {name} in the directory: [first_factor.ldap] of the configuration.",
    FirstFactorKind.RADIUS: "The password is checked by another RADIUS server: [first_factor.radius] of the "
    "configuration.",
}


def _by_policy(ctx: click.Context, groups: Iterable[str]) -> FirstFactorKind:
    with opened(ctx) as store:
        return FirstFactorKind(store.book().settings(Whom(frozenset(groups))).first_factor)


def _new_name(ctx: click.Context, name: str) -> str:
    """The canonical spelling. Raises BadInput that says what is wrong with a name that has none."""
    config = load_config(ctx)
    canonical = config.names.canonical(name)
    if config.names.is_alias(name):
        raise Refused(f"{name!r} is another name of {canonical!r}: names.aliases in {config.file}")
    if canonical is None:
        check_name("user", name)
        raise BadInput(user_list.NOT_ALLOWED)
    return canonical


@user.command("set")
@click.argument("name")
@click.option("--first-factor", type=click.Choice([*_KINDS, "policy"]), help=_WHERE)
@_group
@_reply
@_password
@_hash
@click.pass_context
def set_(
    ctx: click.Context,
    name: str,
    first_factor: str | None,
    groups: tuple[str, ...],
    replies: tuple[str, ...],
    password_stdin: bool,
    hash_stdin: bool,
) -> None:
    """Change a user. --group replaces all groups; one empty --group takes them away."""
    administer(
        ctx,
        SetUser(
            actor=actor(),
            name=user_name(ctx, name),
            first_factor=FirstFactorKind(first_factor) if first_factor in _KINDS else None,
            by_policy=first_factor == "policy",
            groups=tuple(group for group in groups if group) if groups else None,
            password_hash=_hash_to_store(name, password_stdin, hash_stdin),
            replies=read_replies(replies),
        ),
    )
    click.echo(f"User {name} changed.")


def _hash_to_store(name: str, password_stdin: bool, hash_stdin: bool) -> str | None:
    """What is read from standard input, as it is kept; None if nothing is."""
    if password_stdin and hash_stdin:
        raise click.UsageError("--password-stdin and --password-hash-stdin exclude each other")
    if not password_stdin and not hash_stdin:
        return None
    from first_factor.local import check_hash, hash_password

    if password_stdin:
        return hash_password(read_secret(f"Password for {name}"))
    text = read_secret(f"Password hash for {name}")
    try:
        check_hash(text)
    except BadInput as error:
        raise BadInput(f"password hash: {error}") from None
    return text


@user.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """All users."""
    from store import listings

    with reading(ctx) as connection:
        found = listings.user_rows(connection)
    if as_json:
        print_json([_document(row) for row in found])
        return
    columns = ("name", "state", "first factor", "groups", "active tokens")
    print_table(
        columns,
        (
            (
                row["name"],
                _state(row),
                row["first_factor"] or "policy",
                " ".join(row["groups"]),
                row["active_tokens"],
            )
            for row in found
        ),
    )


@user.command()
@click.argument("name")
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """One user: state, tokens, failures."""
    from store import listings

    name = user_name(ctx, name)
    with opened(ctx) as store, store.connections.reading() as connection:
        found = listings.user_rows(connection, name)
        if not found:
            raise Refused(f"there is no user {name!r}; twofold user list shows all")
        ahead = _outlook(store, name)
        row = found[0]
        throttles = listings.throttle_rows(connection, row["id"])
        tokens = listings.token_rows(connection, user=name)
        challenges = listings.open_challenges(connection, row["id"], time.time())
    if as_json:
        throttled = {"throttles": [_throttle(t) for t in throttles], "open_challenges": challenges}
        print_json(_document(row) | throttled | _outlook_document(ahead))
        return
    print_line(f"{row['name']}: {_state(row)}, added {local_time(row['created_at'])}")
    print_line(
        f"  password      {row['first_factor'] or 'as policy says'}{', none set' if _lacks_password(row) else ''}"
    )
    print_line(f"  groups        {' '.join(row['groups']) or '-'}")
    for attribute, values in row["replies"].items():
        for value in values:
            print_line(f"  reply         {attribute}={value}")
    for token in tokens:
        print_line(
            f"  token         {token['serial']} ({token['kind']}, {token['state']}), "
            f"last used {local_time(token['last_used_at'])}"
        )
    for throttle in throttles:
        if throttle["failures"]:
            print_line(f"  failures      {throttle['failures']} x {throttle['factor']}{_wait(throttle)}")
    print_line(f"  open logins   {challenges}")
    for line in _outlook_lines(ahead, row["name"]):
        print_line(line)
    if _lacks_password(row):
        print_line(f"No password yet, so every login is refused: twofold user set {row['name']} --password-stdin")


def _lacks_password(row: dict[str, Any]) -> bool:
    """None is set, and none is asked for elsewhere."""
    return row["first_factor"] in ("", FirstFactorKind.LOCAL) and not row["has_password"]


def _outlook(store: "Database", name: str) -> "Outlook | None":
    """None for a user whose rows are damaged: the listing shows what it can."""
    from validation.explaining import outlook

    (snapshot,) = store.look([Wanted(user=name)])
    if snapshot.user is None or snapshot.damage is not None:
        return None
    return outlook(snapshot, snapshot.user, time.time())


def _outlook_document(ahead: "Outlook | None") -> dict[str, Any]:
    if ahead is None:
        return {}
    return {
        "next_login": ahead.then.step.name.lower().replace("_", "-"),
        "reason": str(ahead.then.reason),
        "registrations": list(ahead.serials),
        "pairing_open_until": iso_time(ahead.pairing_until or None),
        "bypass_until": iso_time(ahead.bypass_until or None),
        "guesses_left": ahead.guesses_left,
    }


def _outlook_lines(ahead: "Outlook | None", name: str) -> Iterator[str]:
    if ahead is None:
        yield "A row of this user is damaged, so every login is refused: twofold audit list shows who changed what"
        return
    now = time.time()
    if ahead.bypass_until > now:
        yield f"  bypass        until {local_time(ahead.bypass_until)}"
    open_until = f"open until {local_time(ahead.pairing_until)}" if ahead.pairing_until > now else "closed"
    yield f"  pairing       {open_until}"
    if ahead.guesses_left < ahead.guess_budget:
        yield f"  guesses       {ahead.guesses_left} of {ahead.guess_budget} left in 30 days"
    if {one.kind for one in ahead.registrations} == {"webauthn"}:
        yield (
            "A security key is all there is: it is asked for at consoles. Over a network a recovery code alone lets in."
        )
        return
    yield _NEXT_LOGIN.get(ahead.then.reason, f"Every login is refused: {ahead.then.reason}").format(name=name)


_NEXT_LOGIN = {
    Reason.PASSWORD_RIGHT: "The next login asks for password and PIN.",
    Reason.ONBOARDING: "No registration yet: the next login begins one, where the way in allows it.",
    Reason.SKIPPED: "The next login needs no PIN: policy second_factor is skip.",
    Reason.BYPASS: "The next login needs no PIN: a bypass runs.",
    Reason.GRACE: "No registration yet: the next login is let in with a reminder, by grace.",
    Reason.HARDWARE_ONLY: "Hardware-only, none assigned: every login is refused with the notice. "
    "Hand out a token: twofold token enroll {name}",
    Reason.PAIRING_CLOSED: "No registration, and pairing is closed, so every login is refused: "
    "twofold user pairing {name} --open, or twofold token enroll {name}",
    Reason.NO_TOKEN: "No usable token, so every login is refused: twofold token enroll {name}",
    Reason.USER_DISABLED: "Disabled, so every login is refused: twofold user enable {name}",
    Reason.USER_LOCKED: "Locked, so every login is refused: twofold user unlock {name}",
    Reason.WAITING: "Nothing is checked now, after failures: twofold user unlock {name}",
}


def _state(row: dict[str, Any]) -> str:
    words = [word for word in ("disabled", "locked") if row[word]]
    return ", ".join(words) or "active"


def _wait(throttle: dict[str, Any]) -> str:
    until = throttle["blocked_until"]
    return f", nothing is checked until {local_time(until)}" if until > time.time() else ""


def _throttle(row: dict[str, Any]) -> dict[str, Any]:
    until = row["blocked_until"]
    return {
        "factor": row["factor"],
        "failures": row["failures"],
        "blocked_until": iso_time(until) if until else None,
    }


def _document(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": row["name"],
        "state": _state(row),
        "first_factor": row["first_factor"] or None,
        "has_password": row["has_password"],
        "groups": row["groups"],
        "replies": row["replies"],
        "active_tokens": row["active_tokens"],
        "created_at": iso_time(row["created_at"]),
    }


def _act(act: UserAct, text: str, done: str) -> None:
    @user.command(str(act), help=text)
    @click.argument("name")
    @click.pass_context
    def command(ctx: click.Context, name: str) -> None:
        administer(ctx, ChangeUserState(actor=actor(), name=user_name(ctx, name), act=act))
        click.echo(f"User {name} {done}.")


_act(UserAct.LOCK, "Refuse every login until unlocked; open logins end at once.", "locked")
_act(UserAct.UNLOCK, "Take a lock and all waits after failures away, and give back the guesses of 30 days.", "unlocked")
_act(UserAct.DISABLE, "Switch the account off; open logins end at once.", "disabled")
_act(UserAct.ENABLE, "Switch the account on again.", "enabled")


@user.command()
@click.argument("name")
@click.option("--open/--close", "to_open", required=True, help="Let NAME pair an app at a login, or stop that.")
@click.pass_context
def pairing(ctx: click.Context, name: str, to_open: bool) -> None:
    """Open or close pairing at login for a user who has no registration."""
    administer(ctx, SetPairing(actor=actor(), name=user_name(ctx, name), open=to_open))
    click.echo(f"Pairing is {'open' if to_open else 'closed'} for {name}.")


@user.command()
@click.argument("name")
@click.option("--hours", type=int, required=True, metavar="N", help="For how long; 0 ends it.")
@click.pass_context
def bypass(ctx: click.Context, name: str, hours: int) -> None:
    """For a forgotten phone: let NAME in on the password alone for some hours."""
    administer(ctx, GiveBypass(actor=actor(), name=user_name(ctx, name), hours=hours))
    click.echo(f"{name} needs no PIN for {hours} hours." if hours else f"{name} needs a PIN again.")


@user.command()
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Remove a user and revoke all tokens for good."""
    done = administer(ctx, RemoveUser(actor=actor(), name=user_name(ctx, name)))
    click.echo(f"User {name} removed. Tokens revoked: {', '.join(done.serials) or 'none'}.")


user.add_command(user_list.import_)
