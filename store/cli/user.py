"""`twofold user`: who may log in."""

import time
from typing import Any

import click

from store.cli.shared import (
    actor,
    administer,
    iso_time,
    json_option,
    load_config,
    local_time,
    print_json,
    print_line,
    print_table,
    read_secret,
    reading,
    user_name,
)
from validation.errors import BadInput, Refused
from validation.model import FirstFactorKind
from validation.policy import check_name
from validation.requests import AddUser, ChangeUserState, GiveBypass, RemoveUser, SetPairing, SetUser, UserAct

_first_factor = click.option(
    "--first-factor", type=click.Choice([str(kind) for kind in FirstFactorKind]), help="Where the password is checked."
)
_group = click.option("--group", "groups", multiple=True, metavar="G", help="May be repeated.")
_password = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


@click.group()
def user() -> None:
    """Users: who may log in."""


@user.command()
@click.argument("name")
@_first_factor
@_group
@_password
@click.pass_context
def add(ctx: click.Context, name: str, first_factor: str | None, groups: tuple[str, ...], password_stdin: bool) -> None:
    """Add a user."""
    name = _new_name(ctx, name)
    kind = FirstFactorKind(first_factor or FirstFactorKind.LOCAL)
    password_hash = _hashed_password(name) if password_stdin else None
    administer(ctx, AddUser(actor=actor(), name=name, first_factor=kind, groups=groups, password_hash=password_hash))
    click.echo(f"User {name} added.")
    if password_hash is None:
        click.echo(f"No password yet: twofold user set {name} --password-stdin")
    click.echo(f"Next: twofold token enroll {name}")


def _new_name(ctx: click.Context, name: str) -> str:
    """The canonical spelling. Raises BadInput that says what is wrong with a name that has none."""
    canonical = load_config(ctx).names.canonical(name)
    if canonical is None:
        check_name("user", name)
        raise BadInput("user name: RFC 8265 does not allow it (symbols that look like others, mixed directions)")
    return canonical


@user.command("set")
@click.argument("name")
@_first_factor
@_group
@_password
@click.pass_context
def set_(
    ctx: click.Context, name: str, first_factor: str | None, groups: tuple[str, ...], password_stdin: bool
) -> None:
    """Change a user. --group replaces all groups; one empty --group takes them away."""
    administer(
        ctx,
        SetUser(
            actor=actor(),
            name=user_name(ctx, name),
            first_factor=FirstFactorKind(first_factor) if first_factor else None,
            groups=tuple(group for group in groups if group) if groups else None,
            password_hash=_hashed_password(name) if password_stdin else None,
        ),
    )
    click.echo(f"User {name} changed.")


def _hashed_password(name: str) -> str:
    from first_factor.local import hash_password

    return hash_password(read_secret(f"Password for {name}"))


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
            (row["name"], _state(row), row["first_factor"], " ".join(row["groups"]), row["active_tokens"])
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
    with reading(ctx) as connection:
        found = listings.user_rows(connection, name)
        if not found:
            raise Refused(f"there is no user {name!r}; twofold user list shows all")
        row = found[0]
        throttles = listings.throttle_rows(connection, row["id"])
        tokens = listings.token_rows(connection, user=name)
        challenges = listings.open_challenges(connection, row["id"], time.time())
    if as_json:
        print_json(_document(row) | {"throttles": [_throttle(t) for t in throttles], "open_challenges": challenges})
        return
    print_line(f"{row['name']}: {_state(row)}, added {local_time(row['created_at'])}")
    print_line(f"  password      {row['first_factor']}{'' if row['has_password'] else ', none set'}")
    print_line(f"  groups        {' '.join(row['groups']) or '-'}")
    for token in tokens:
        print_line(
            f"  token         {token['serial']} ({token['kind']}, {token['state']}), "
            f"last used {local_time(token['last_used_at'])}"
        )
    for throttle in throttles:
        if throttle["failures"]:
            print_line(f"  failures      {throttle['failures']} x {throttle['factor']}{_wait(throttle)}")
    print_line(f"  open logins   {challenges}")
    if not row["active_tokens"]:
        print_line(f"No usable token, so every login is refused: twofold token enroll {row['name']}")


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
        "first_factor": row["first_factor"],
        "has_password": row["has_password"],
        "groups": row["groups"],
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
_act(UserAct.UNLOCK, "Take a lock and all waits after failures away.", "unlocked")
_act(UserAct.DISABLE, "Switch the account off; open logins end at once.", "disabled")
_act(UserAct.ENABLE, "Switch the account on again.", "enabled")


@user.command()
@click.argument("name")
@click.option("--open/--close", "opened", required=True, help="Let NAME pair an app at a login, or stop that.")
@click.pass_context
def pairing(ctx: click.Context, name: str, opened: bool) -> None:
    """Open or close pairing at login for a user who has no registration."""
    administer(ctx, SetPairing(actor=actor(), name=user_name(ctx, name), open=opened))
    click.echo(f"Pairing is {'open' if opened else 'closed'} for {name}.")


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
