"""`twofold ticket`: one-time enrolment tickets, and redeeming one on this host.

Rules: a ticket and the user's password together show a key; the password is checked and throttled like a login, by
the same gate. The key becomes a token when its first PIN is right.
"""

import os
from dataclasses import replace

import click

from store.cli.shared import actor, administer, json_option, load_config, print_json, read_line, user_name
from store.config import Config
from validation.decisions import Accept, Challenge, Decision
from validation.errors import BadInput, Refused, StoreUnavailable
from validation.gate import Gate
from validation.messages import QR_LINE, without_controls
from validation.model import Mode, Purpose
from validation.requests import (
    NOT_CHECKED,
    Channel,
    FirstFactorResult,
    IssueTicket,
    LoginRequest,
    LookRequest,
    typed_alone,
)
from validation.tokens import qr


@click.group()
def ticket() -> None:
    """One-time enrolment tickets."""


@ticket.command()
@click.argument("name")
@json_option
@click.pass_context
def issue(ctx: click.Context, name: str, as_json: bool) -> None:
    """Make a ticket with which NAME can pair an app, together with the password. Good once, for ten minutes."""
    done = administer(ctx, IssueTicket(actor=actor(), name=user_name(ctx, name)))
    (text,) = done.shown_once
    if as_json:
        print_json({"user": name, "ticket": text})
        return
    click.echo(f"Ticket  {text}")
    click.echo(f"Good once, for 10 minutes, with {name}'s password: twofold ticket redeem")


@ticket.command()
@click.option("--socket", "path", metavar="PATH", help="Through the helper at this socket.")
@click.pass_context
def redeem(ctx: click.Context, path: str | None) -> None:
    """Pair an app with a ticket. Asks for ticket, password and first PIN; or reads them, a line each.

    Who may open the store redeems it there, everybody else through the helper of this host.
    """
    if path is not None or not _may_open_store(ctx):
        from store.cli.main import command_of

        ctx.invoke(command_of(_THROUGH_HELPER), path=path)
        return
    _redeem_here(load_config(ctx))


_THROUGH_HELPER = "pam_helper.profile:redeem"  # by name: the store imports no face


def _may_open_store(ctx: click.Context) -> bool:
    try:
        config = load_config(ctx)
    except BadInput:
        if ctx.find_root().obj is not None:  # he named the file himself, so he wants to know
            raise
        return False
    return os.access(config.key.file or config.owners_file, os.R_OK)


def _redeem_here(config: Config) -> None:
    from first_factor import checker
    from store.opening import open_gate

    gate = open_gate(config)
    text = read_line("Ticket", hidden=False)
    password = read_line("Password", hidden=True)
    (look,) = gate.look([LookRequest(user="", client="", mode=Mode.CHALLENGE, typed=password, ticket=text)])
    result = checker(config).check(look, password)
    asked = _request(text, result)
    decision = _ask(gate, asked)
    while isinstance(decision, Challenge):
        _show(decision)
        pin = read_line(without_controls(decision.texts[-1]).strip().rstrip(":"), hidden=False)
        decision = _ask(gate, _answer(asked, decision.state, pin))
    if not isinstance(decision, Accept):
        raise Refused(without_controls(decision.text))
    for line in decision.texts:
        click.echo(line)


def _request(text: str, result: FirstFactorResult) -> LoginRequest:
    """The ticket names the user."""
    return LoginRequest(
        user="",
        channel=Channel.console(),
        client="",
        client_version=0,
        first_factor=result,
        purpose=Purpose.REDEEM,
        ticket=text,
        actor=actor(),
    )


def _answer(asked: LoginRequest, state: str, pin: str) -> LoginRequest:
    return replace(asked, first_factor=NOT_CHECKED, state=state, passcode=typed_alone(pin))


def _ask(gate: Gate, request: LoginRequest) -> Decision:
    (outcome,) = gate.login([request])
    if isinstance(outcome, StoreUnavailable):
        raise outcome
    return outcome


def _show(challenge: Challenge) -> None:
    """Heading, QR code and key; the last text is the question."""
    for text in challenge.texts[:-1]:
        if text == QR_LINE and challenge.provisioning is not None:
            click.echo(qr.picture(challenge.provisioning.uri))
        else:
            click.echo(without_controls(text))
