"""`twofold`: the table of nouns, and how errors become one sentence and an exit status.

Rules: a noun is loaded only when it is named, so `--help` stays quick and no face is imported by the store. Exit
status: 0 done, 1 refused or not found, 2 usage or configuration, 3 store unavailable.
"""

import importlib
import io
import os
import resource
import sys
import traceback
from collections.abc import Sequence

import click

from store.cli.files import why_not
from validation.errors import BadInput, StoreUnavailable, TwofoldError
from validation.messages import without_controls

# noun -> (module:command, help line), in the order people meet them
NOUNS: dict[str, tuple[str, str]] = {
    "init": ("store.cli.init:init", "Create configuration, key file and store. Safe to repeat."),
    "demo": ("radius_server.demo:demo", "A throw-away server and a real login against it."),
    "user": ("store.cli.user:user", "Users: add, set, list, show, lock, unlock, pairing, bypass, …"),
    "token": ("store.cli.token:token", "Tokens: enroll, import, assign, list, show, test, revoke, …"),
    "client": ("store.cli.client:client", "RADIUS clients: add, list, show, set, remove."),
    "policy": ("store.cli.policy:policy", "Who needs what: show, set, unset, lint, explain."),
    "reply": ("store.cli.reply:reply", "RADIUS attributes of Access-Accepts: set, unset, show, attributes."),
    "message": ("store.cli.message:message", "Texts that people read: set, show."),
    "recovery": ("store.cli.recovery:recovery", "Recovery codes for a lost phone: issue."),
    "ticket": ("store.cli.ticket:ticket", "One-time enrolment tickets: issue, redeem."),
    "audit": ("store.cli.audit:audit", "The audit trail: list, verify, prune."),
    "db": ("store.cli.db:db", "The database: status, check, upgrade, copy, guard."),
    "key": ("store.cli.key:key", "The master key: new, status, rotate."),
    "backup": ("store.cli.backup:backup", "The whole store into one file, while servers run."),
    "restore": ("store.cli.backup:restore", "A backup becomes the store; no PIN used since then works again."),
    "pam": ("pam_helper.command:pam", "Logins on this host through PAM: serve."),
    "doctor": ("store.cli.doctor:doctor", "What lets somebody in without a second factor, and what is broken."),
    "profile": ("pam_helper.profile:profile", "Your own registrations: show, add, reset, revoke, device."),
    "radius": ("radius_server.command:radius", "The RADIUS server: serve, test."),
}

_EXIT_REFUSED, _EXIT_USAGE, _EXIT_STORE = 1, 2, 3


def command_of(place: str) -> click.Command:
    """The command at `module:name`."""
    module, _, attribute = place.partition(":")
    command: click.Command = getattr(importlib.import_module(module), attribute)
    return command


class _Nouns(click.Group):
    """A group whose commands are imported when they are called, and listed without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return command_of(NOUNS[cmd_name][0]) if cmd_name in NOUNS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in NOUNS.items()])


@click.command(cls=_Nouns, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--config", metavar="FILE", help="Configuration file [$TWOFOLD_CONFIG, /etc/twofold/twofold.toml].")
@click.version_option(package_name="twofold", message="%(package)s %(version)s")
@click.pass_context
def twofold(ctx: click.Context, config: str | None) -> None:
    """Twofold: a second factor for system logins."""
    ctx.obj = config


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold passwords and keys
    _open_what_is_closed()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot draw a QR code must still show the key beside it.
        sys.stdout.reconfigure(errors="replace")
    try:
        status = run(arguments)
    except OSError as error:
        status = _unprinted(error)
    sys.exit(status)


def _open_what_is_closed() -> None:
    """A standard stream that was closed is None to Python, and the next file that is opened stands in its place."""
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def _unprinted(error: OSError) -> int:
    """All is printed by `click.echo`, and what it is printed to may be full. Raises any other error again."""
    if traceback.extract_tb(error.__traceback__)[-1].name != click.echo.__name__:
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would try once more at its end
    said = f"standard output cannot be written to: {error.strerror}; what was changed stays changed"
    click.echo(f"twofold: {said}, and what is shown once must be made anew", err=True)
    return _EXIT_REFUSED


def run(arguments: Sequence[str] | None = None) -> int:
    try:
        status = twofold.main(args=_checked(sys.argv[1:] if arguments is None else arguments), standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return _EXIT_USAGE
    except click.ClickException as error:
        error.show()
        return _EXIT_USAGE
    except click.Abort:
        return _EXIT_REFUSED
    except TwofoldError as error:
        click.echo(f"twofold: {without_controls(str(error))}", err=True)
        return _status(error)
    except OSError as error:
        if error.filename is None:
            raise
        click.echo(f"twofold: {without_controls(f'{error.filename}: {why_not(error)}')}", err=True)
        return _EXIT_USAGE
    return status if isinstance(status, int) else 0


def _checked(arguments: Sequence[str]) -> list[str]:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise BadInput(f"the argument {argument!a} is not UTF-8") from None
    return list(arguments)


def _status(error: TwofoldError) -> int:
    if isinstance(error, StoreUnavailable):
        return _EXIT_STORE
    return _EXIT_USAGE if isinstance(error, BadInput) else _EXIT_REFUSED
