"""`twofold token`: what makes the PINs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import click
from click.core import ParameterSource

from store.cli import boxes, token_care
from store.cli.files import why_not
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
    read_secret,
    reading,
    user_name,
)
from validation.errors import BadInput, Refused
from validation.messages import MessageKey, default_text
from validation.model import RevokeReason, Token
from validation.requests import (
    EnrollToken,
    ResyncToken,
    RevokeToken,
    RevokeUserTokens,
    SetTokenUse,
    Wanted,
    typed_alone,
)
from validation.settings import Whom
from validation.tokens import qr
from validation.tokens.kind import ALGORITHMS, DIGITS, LOOK_AHEAD_MOST
from validation.tokens.registry import KINDS
from validation.tokens.uri import base32, grouped, key_from_text


@click.group()
def token() -> None:
    """Tokens: apps and devices that make the PINs."""


@token.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(["totp", "hotp"]), default="totp", show_default=True)
@click.option("--digits", type=click.Choice([str(d) for d in DIGITS]), default="6", show_default=True)
@click.option("--period", type=int, default=30, show_default=True, metavar="SECONDS", help="TOTP only.")
@click.option("--algorithm", type=click.Choice(ALGORITHMS), default="sha1", show_default=True)
@click.option(
    "--look-ahead",
    type=click.IntRange(0, LOOK_AHEAD_MOST),
    metavar="N",
    help="HOTP only: presses without a login that this token is forgiven, in place of the policy's.",
)
@click.option("--label", default="", metavar="T", help="A note for yourself, such as the model.")
@click.option("--serial", metavar="S", help="Else one is made.")
@click.option("--key-stdin", is_flag=True, help="Read the key in Base32 from standard input; else one is made.")
@click.option("--allow-short-key", is_flag=True, help="Accept a key of 112 to 127 bits.")
@click.option(
    "--qr", "qr_target", default="terminal", metavar="terminal|FILE.png|FILE.svg", help="Where the QR code goes."
)
@click.option("--sheet", "sheet_target", metavar="FILE.html|FILE.svg", help="A page to print and hand over.")
@json_option
@click.pass_context
def enroll(
    ctx: click.Context,
    name: str,
    kind: str,
    digits: str,
    period: int,
    algorithm: str,
    look_ahead: int | None,
    label: str,
    serial: str | None,
    key_stdin: bool,
    allow_short_key: bool,
    qr_target: str,
    sheet_target: str | None,
    as_json: bool,
) -> None:
    """Give user NAME a token. It works at once; its key is shown once."""
    path = _qr_path(qr_target)
    sheet = _sheet_path(sheet_target) if sheet_target is not None else None
    if kind != "totp" and ctx.get_parameter_source("period") is not ParameterSource.DEFAULT:
        raise click.UsageError("--period goes with --kind totp: a counter token knows no time")
    if kind != "hotp" and look_ahead is not None:
        raise click.UsageError("--look-ahead goes with --kind hotp: an app that goes by time cannot run ahead")
    issuer, name = load_config(ctx).issuer, user_name(ctx, name)
    command = EnrollToken(
        actor=actor(),
        user=name,
        kind=kind,
        digits=int(digits),
        period=period,
        algorithm=algorithm,
        look_ahead=look_ahead,
        label=label,
        serial=serial,
        key=key_from_text(read_secret(f"Key for {name} in Base32")) if key_stdin else None,
        allow_short_key=allow_short_key,
    )
    words = _words(ctx, name) if sheet is not None else None  # before the token: nothing may fail behind it
    with _secret_file(path, "--qr") as file, _secret_file(sheet, "--sheet") as page:
        done = administer(ctx, command)
        made = Token(
            id=0,
            serial=done.serials[0],
            user_id=0,
            kind=kind,
            key=done.key or b"",
            digits=command.digits,
            period=period,
            algorithm=algorithm,
            moving_factor=command.moving_factor,
        )
        uri = KINDS[kind].uri(made, name, issuer)
        if file is not None and path is not None:
            _save_picture(uri, file, path, made.serial)
        if page is not None and sheet is not None and words is not None:
            _save_sheet(made, words, uri, page, sheet)
    if as_json:
        print_json(_enrolled(made, name, label, uri))
    else:
        _show_enrolled(made, name, uri, path)
        if sheet is not None:
            click.echo(f"Sheet {sheet} (mode 0600; it holds the key: delete it when it has been printed)")


def _enrolled(made: Token, name: str, label: str, uri: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "serial": made.serial,
        "user": name,
        "kind": made.kind,
        "digits": made.digits,
        "algorithm": made.algorithm,
        "label": label,
        "key": base32(made.key),
        "uri": uri,
    }
    return document | ({"period": made.period} if made.kind == "totp" else {"counter": made.moving_factor})


def _show_enrolled(made: Token, name: str, uri: str, picture: Path | None) -> None:
    every = f", every {made.period} s" if made.kind == "totp" else ""
    click.echo(f"Token {made.serial} for {name} ({made.kind.upper()}, {made.digits} digits{every}). It works at once.")
    if picture is None:
        click.echo(qr.picture(uri))
    else:
        click.echo(f"QR    {picture} (mode 0600; it holds the key: delete it when it has been scanned)")
    click.echo(f"Key   {grouped(made.key)}")
    click.echo(f"Link  {uri}")
    click.echo("Shown once. Hand it over in person.")


def _qr_path(text: str) -> Path | None:
    if text == "terminal":
        return None
    path = Path(text)
    if path.suffix not in (".png", ".svg"):
        raise BadInput(f"--qr: {text!r} must be `terminal` or end in .png or .svg")
    return path


def _sheet_path(text: str) -> Path:
    from store.cli.sheet import SUFFIXES

    if Path(text).suffix not in SUFFIXES:
        raise BadInput(f"--sheet: {text!r} must end in {' or '.join(SUFFIXES)}")
    return Path(text)


@contextmanager
def _secret_file(path: Path | None, option: str) -> Iterator[BinaryIO | None]:
    """The file for a key, made before the token: a token whose key cannot be shown is of no use.

    It goes again if the block fails.
    """
    if path is None:
        yield None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise BadInput(f"{option}: {path} exists already; choose another name") from None
    except OSError as error:
        raise BadInput(f"{option}: {path} cannot be written: {why_not(error)}") from None
    file = os.fdopen(descriptor, "wb")
    try:
        yield file
        file.close()
    except BaseException:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # what could not be written is tried once more
            file.close()
        raise


def _save_picture(uri: str, file: BinaryIO, path: Path, serial: str) -> None:
    import segno

    code: segno.QRCode = segno.make(uri, error="m", micro=False)
    with _or_say_what_is_left("QR code", path, serial):
        code.save(file, kind=path.suffix[1:], scale=6)
        file.flush()


@dataclass(frozen=True, slots=True)
class _Words:
    """What stands on a sheet beside the key."""

    title: str
    instructions: str
    warning: str
    language: str


def _words(ctx: click.Context, name: str) -> _Words:
    with opened(ctx) as store:
        book = store.book()
        (seen,) = store.look([Wanted(user=name)])
    whom = Whom(frozenset(seen.user.groups) if seen.user is not None else frozenset())
    language = book.settings(whom).language

    def text(key: MessageKey) -> str:
        return book.text(key, language, whom) or default_text(key, language)

    title = f"{load_config(ctx).issuer}: {name}"
    return _Words(title, text(MessageKey.SHEET), text(MessageKey.SHEET_WARNING), language)


def _save_sheet(made: Token, words: _Words, uri: str, file: BinaryIO, path: Path) -> None:
    from store.cli.sheet import Sheet

    page = Sheet(words.title, uri, grouped(made.key), words.instructions, words.warning, words.language)
    with _or_say_what_is_left("sheet", path, made.serial):
        file.write(page.render(path.suffix))
        file.flush()


@contextmanager
def _or_say_what_is_left(what: str, path: Path, serial: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Refused(
            f"the {what} could not be written to {path}: {error.strerror}. The token exists all the same; "
            f"take it back with: twofold token revoke {serial}"
        ) from None


@token.command("list")
@click.option("--user", "name", metavar="NAME", help="Only this user's.")
@click.option("--unassigned", is_flag=True, help="Only those that are nobody's.")
@json_option
@click.pass_context
def list_(ctx: click.Context, name: str | None, unassigned: bool, as_json: bool) -> None:
    """Tokens, revoked ones included."""
    from store import listings

    if name is not None and unassigned:
        raise click.UsageError("--user and --unassigned exclude each other")
    name = user_name(ctx, name) if name is not None else None
    with reading(ctx) as connection:
        if name is not None and not listings.user_rows(connection, name):
            raise Refused(f"there is no user {name!r}; twofold user list shows all")
        found = listings.token_rows(connection, user=name, unassigned=unassigned)
    if as_json:
        print_json([_document(row) for row in found])
        return
    columns = {
        **{name: [row[name] for row in found] for name in ("serial", "user", "kind", "state", "origin")},
        "last used": [local_time(row["last_used_at"]) for row in found],
        **_where_set(found),
        "label": [row["label"] for row in found],
    }
    print_table(tuple(columns), zip(*columns.values(), strict=True))


def _where_set(found: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Columns that only some have a value for: drift, beginning and end of use."""
    columns = {
        "drift": [f"{row['drift']:+}" if row["drift"] else "-" for row in found],
        "starts": [local_time(at) if (at := row["starts_at"]) is not None else "-" for row in found],
        "expires": [local_time(at) if (at := row["expires_at"]) is not None else "-" for row in found],
    }
    return {name: values for name, values in columns.items() if set(values) - {"-"}}


@token.command()
@click.argument("serial")
@json_option
@click.pass_context
def show(ctx: click.Context, serial: str, as_json: bool) -> None:
    """One token. Its key is never shown again."""
    from store import listings

    with reading(ctx) as connection:
        found = listings.token_rows(connection, serial=serial)
    if not found:
        raise Refused(f"there is no token {serial!r}; twofold token list shows all")
    document = _document(found[0])
    if as_json:
        print_json(document)
        return
    for field, value in document.items():
        if value is not None:
            print_line(f"{field.replace('_', ' '):14} {value}")


def _document(row: dict[str, Any]) -> dict[str, Any]:
    document = {name: row[name] for name in ("serial", "user", "kind", "state", "origin", "label")}
    document |= {"digits": row["digits"] if row["kind"] != "webauthn" else None, "algorithm": row["algorithm"]}
    document |= {"period": row["period"] if row["kind"] == "totp" else None}
    if row["kind"] == "webauthn":
        document |= {"sign_count": row["moving_factor"]}
    elif row["kind"] == "totp":
        document |= {"next_step": row["moving_factor"], "drift": row["drift"]}
    else:
        document |= {"counter": row["moving_factor"], "look_ahead": row["look_ahead"]}
    document |= {"starts_at": iso_time(row["starts_at"]), "expires_at": iso_time(row["expires_at"])}
    return document | {
        "failures": row["failures"],
        "created_at": iso_time(row["created_at"]),
        "last_used_at": iso_time(row["last_used_at"]),
        "revoked_at": iso_time(row["revoked_at"]),
        "revoke_reason": row["revoke_reason"],
    }


@token.command()
@click.argument("serial")
@click.pass_context
def disable(ctx: click.Context, serial: str) -> None:
    """Take a token out of use for a while; open logins end at once."""
    administer(ctx, SetTokenUse(actor=actor(), serial=serial, enabled=False))
    click.echo(f"Token {serial} disabled.")


@token.command()
@click.argument("serial")
@click.pass_context
def enable(ctx: click.Context, serial: str) -> None:
    """Bring a disabled token back into use."""
    administer(ctx, SetTokenUse(actor=actor(), serial=serial, enabled=True))
    click.echo(f"Token {serial} enabled.")


@token.command()
@click.argument("serial")
@click.argument("code1")
@click.argument("code2")
@click.pass_context
def resync(ctx: click.Context, serial: str, code1: str, code2: str) -> None:
    """Find a token again that has run away: two values that it showed one after the other. Both are used up."""
    command = ResyncToken(actor=actor(), serial=serial, first=typed_alone(code1), second=typed_alone(code2))
    done = administer(ctx, command)
    if done.refused:
        raise Refused(f"{serial}: {done.refused}")
    click.echo(f"Token {serial} is in step again. The next value it shows works.")


@token.command()
@click.argument("serial", required=False)
@click.option("--user", "name", metavar="NAME", help="Instead of a serial: this user's token.")
@click.option("--all", "every", is_flag=True, help="With --user: all of them.")
@click.option("--reason", type=click.Choice([str(r) for r in RevokeReason]), default="other", show_default=True)
@click.pass_context
def revoke(ctx: click.Context, serial: str | None, name: str | None, every: bool, reason: str) -> None:
    """Revoke a token for good, at once, for open logins too."""
    if (serial is None) == (name is None):
        raise click.UsageError("name either one SERIAL or --user NAME")
    if every and name is None:
        raise click.UsageError("--all goes with --user NAME")
    why = RevokeReason(reason)
    command = (
        RevokeToken(actor=actor(), serial=serial, reason=why)
        if serial is not None
        else RevokeUserTokens(actor=actor(), user=user_name(ctx, name or ""), every=every, reason=why)
    )
    done = administer(ctx, command)
    click.echo(f"Revoked: {', '.join(done.serials)}.")


for _command in (
    boxes.import_,
    boxes.assign,
    boxes.unassign,
    token_care.try_,
    token_care.report,
    token_care.export,
):
    token.add_command(_command)
