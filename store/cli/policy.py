"""`twofold policy`: who needs what, and why."""

import time
from typing import TYPE_CHECKING, Any

import click

from store.cli.shared import (
    actor,
    administer,
    json_option,
    local_time,
    nas_says,
    opened,
    print_json,
    print_table,
    read_address,
    read_nas,
    scope,
    scope_options,
    user_name,
)
from validation.errors import Refused
from validation.requests import Channel, LoginRequest, SetRule, UnsetRule, Wanted
from validation.settings import KEYS, Rule, Scope, Settings, duration_text

if TYPE_CHECKING:
    from validation.explaining import Explanation


@click.group()
def policy() -> None:
    """Who needs what: rules for everybody, a group, a client or a service."""


@policy.command("set")
@click.argument("name", metavar="KEY")
@click.argument("value")
@scope_options
@click.pass_context
def set_(
    ctx: click.Context,
    name: str,
    value: str,
    group: str | None,
    client: str | None,
    service: str | None,
    network: str | None,
    nas: str | None,
) -> None:
    """Set KEY to VALUE; without options for everybody. Servers follow at the next login."""
    whom = scope(group, client, service, network, nas)
    administer(ctx, SetRule(actor=actor(), key=name, value=value, scope=whom))
    click.echo(f"{name} is {value} {_for(whom)}.")


@policy.command()
@click.argument("name", metavar="KEY")
@scope_options
@click.pass_context
def unset(
    ctx: click.Context,
    name: str,
    group: str | None,
    client: str | None,
    service: str | None,
    network: str | None,
    nas: str | None,
) -> None:
    """Take a rule away; name the same options it was set with."""
    whom = scope(group, client, service, network, nas)
    administer(ctx, UnsetRule(actor=actor(), key=name, scope=whom))
    click.echo(f"{name} is no longer set {_for(whom)}.")


def _for(whom: Scope) -> str:
    shown = str(whom)
    return shown if shown.startswith("from ") else f"for {shown}"


@policy.command()
@click.option("--all", "every", is_flag=True, help="All keys with their defaults and what they mean.")
@json_option
@click.pass_context
def show(ctx: click.Context, every: bool, as_json: bool) -> None:
    """The rules that are set."""
    with opened(ctx) as store:
        rules = store.book().rules
    if as_json:
        print_json([_rule_document(rule) for rule in rules])
        return
    if every:
        defaults = Settings()
        print_table(
            ("key", "default", "meaning"), ((k, value_text(k, getattr(defaults, k)), KEYS[k].help) for k in KEYS)
        )
        return
    if not rules:
        click.echo("No rule is set; every key has its default: twofold policy show --all")
        return
    print_table(("policy", "key", "value", "for"), ((r.id, r.key, r.value, r.scope) for r in rules))


def value_text(key: str, value: object) -> str:
    """A value as one would type it."""
    return duration_text(value) if isinstance(value, float) else str(value)


def _rule_document(rule: Rule) -> dict[str, Any]:
    where = rule.scope
    network = str(where.network) if where.network is not None else None
    return {
        "id": rule.id,
        "key": rule.key,
        "value": rule.value,
        "group": where.group,
        "client": where.client,
        "service": where.service,
        "nas": where.nas,
        "from": network,
    }


@policy.command()
@click.pass_context
def lint(ctx: click.Context) -> int:
    """Name rules that can never apply, change nothing, or let everybody past the second factor. Exit 1 if any."""
    from store import listings
    from validation.explaining import lint as findings

    with opened(ctx) as store, store.connections.reading() as connection:
        groups = {group for row in listings.user_rows(connection) for group in row["groups"]}
        clients = {row["name"] for row in listings.client_rows(connection)}
        book = store.book()
    found = list(findings(book, frozenset(groups), frozenset(clients)))
    for line in found:
        click.echo(line)
    if not found:
        click.echo("nothing to mend")
    return 1 if found else 0


@policy.command()
@click.option("--user", "name", required=True, metavar="U")
@click.option("--client", metavar="C", help="Through this RADIUS client.")
@click.option("--service", metavar="S", help="Through this PAM service. Without both: a terminal of this host.")
@click.option("--nas", metavar="ID", help="Of a client that says this NAS-Identifier, or 'NAME=VALUE'.")
@click.option("--from", "source", metavar="ADDRESS", help="From this address.")
@click.option("--local", is_flag=True, help="At the machine itself, where a security key may be touched.")
@json_option
@click.pass_context
def explain(
    ctx: click.Context,
    name: str,
    client: str | None,
    service: str | None,
    nas: str | None,
    source: str | None,
    local: bool,
    as_json: bool,
) -> None:
    """What the next login of a user would do, and the rule behind each point."""
    if client is not None and service is not None:
        raise click.UsageError("--client and --service exclude each other: a login comes through one door")
    if local and (client is not None or source is not None):
        raise click.UsageError("--local excludes --client and --from: nobody sits there and comes over a network")
    says = nas_says(read_nas(nas)) if nas is not None else frozenset[str]()
    explanation = _explain(ctx, name, client, service, read_address("--from", source), local, says)
    if as_json:
        print_json(_document(name, client, service, explanation))
    else:
        _tell(name, client or service or "a terminal of this host", explanation)


def _explain(
    ctx: click.Context,
    name: str,
    client: str | None,
    service: str | None,
    source: str | None,
    local: bool,
    nas: frozenset[str],
) -> "Explanation":
    from store.opening import SystemMoments
    from validation.explaining import explain as explanation_of

    with opened(ctx) as store:
        (snapshot,) = store.look([Wanted(user=user_name(ctx, name), client=client, source=source)])
    if snapshot.user is None:
        raise Refused(f"there is no user {name!r}; twofold user list shows all")
    if client is not None and snapshot.client is None:
        raise Refused(f"there is no client {client!r}; twofold client list shows all")
    known = snapshot.client
    request = LoginRequest(
        user=snapshot.user.name,
        channel=Channel.of_client(known) if known is not None else Channel.console(local=local),
        client=known.name if known is not None else "",
        client_version=known.version if known is not None else 0,
        source=source,
        service=service,
        nas=nas,
    )
    return explanation_of(snapshot, request, SystemMoments().moment())


def _document(name: str, client: str | None, service: str | None, found: "Explanation") -> dict[str, Any]:
    return {
        "user": name,
        "client": client,
        "service": service,
        "next_step": found.next_step,
        "reason": str(found.decision.reason),
        "tokens": list(found.serials),
        "security_keys": list(found.security_keys),
        "settings": {
            key: {"value": value_text(key, value), "set_by": str(rule) if rule is not None else "default"}
            for key, (value, rule) in found.origins.items()
        },
        "pairing_open_until": found.pairing_until or None,
        "guesses_left": found.guesses_left,
    }


_STEPS = {
    "let-in": "a password. It is let in without a PIN",
    "ask": "a password, then a PIN",
    "touch": "a password, then a touch on a security key",
    "touch-or-ask": "a password, then a touch on a security key or a PIN",
    "register-key": "a password, then registers a security key",
    "onboard": "a password, then pairs an app",
    "ticket": "a password, then hands out an enrolment ticket",
    "refuse": "a password and is refused",
}

_SHOWN = ("second_factor", "enrolment", "onboarding_over_radius", "reuse_window", "grace", "tries", "lock_from")


def _tell(name: str, door: str, found: "Explanation") -> None:
    click.echo(f"The next login of {name} through {door} asks for {_STEPS[found.next_step]} ({found.decision.reason}).")
    click.echo(f"  accepted PINs            {', '.join(found.serials) or 'none'}")
    if found.security_keys:
        click.echo(f"  security keys            {', '.join(found.security_keys)}, at the machine itself (--local)")
    for key in _SHOWN:
        value, rule = found.origins[key]
        click.echo(
            f"  {key.replace('_', ' '):24} {value_text(key, value):14} {rule if rule is not None else 'default'}"
        )
    if found.pairing_until > time.time():
        click.echo(f"  pairing                  open until {local_time(found.pairing_until)}")
    else:
        click.echo("  pairing                  closed")
    click.echo(f"  guesses                  {found.guesses_left} of {found.settings.guess_budget} left in 30 days")
    if found.held:
        click.echo(f"Nothing is compared now, after failures: twofold user unlock {name}")
    elif found.next_step != "refuse":
        click.echo("Nothing stands in the way.")
