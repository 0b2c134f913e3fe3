"""`twofold token test`, `report`, `export`: a helpdesk's and an inventory's questions, and moving out.

Rules: a test uses nothing up. A report for spreadsheets holds no cell that a spreadsheet would run. Keys leave in an
encrypted file of mode 0600 alone, and only after that was written down.
"""

import csv
import io
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from store.cli.files import key_in, why_not
from store.cli.progress import counted
from store.cli.shared import (
    actor,
    administer,
    how_many,
    iso_time,
    json_option,
    local_time,
    print_json,
    print_line,
    print_table,
    read_line,
    read_secret,
    reading,
)
from store.formats.reading import Seed
from validation.decisions import Done
from validation.errors import BadInput, Refused
from validation.model import Token, TokenState
from validation.requests import ExportTokens, TryPasscode, typed_alone

_SOON = 30 * 86_400.0  # seconds
_DRIFTING = 3  # steps
_FACTS = ("serial", "user", "kind", "state", "origin", "label", "drift", "failures")
_TIMES = ("created_at", "last_used_at", "starts_at", "expires_at")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # full-width ones, too


@click.command("test")
@click.argument("serial")
@click.argument("code", required=False)
@click.pass_context
def try_(ctx: click.Context, serial: str, code: str | None) -> int:
    """Whether CODE is a PIN of the token now. It is not used up: its owner can still log in with it.

    Without CODE it is read from standard input. A wrong one counts like a wrong PIN of its owner.
    """
    passcode = typed_alone(code if code is not None else read_line("PIN", hidden=False))
    done = administer(ctx, TryPasscode(actor=actor(), serial=serial, passcode=passcode))
    if done.refused:
        print_line(f"{serial}: {done.refused}.")
        return 1
    print_line(f"{serial}: right. It was not used up.")
    return 0


# --- report -----------------------------------------------------------------------------------------------------


@click.command()
@click.option("--csv", "as_csv", is_flag=True, help="For a spreadsheet.")
@json_option
@click.pass_context
def report(ctx: click.Context, as_csv: bool, as_json: bool) -> None:
    """Tokens that need somebody's attention: unassigned, never used, drifting, expiring, expired, disabled."""
    from store import listings

    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    with reading(ctx) as connection:
        found = [(row, words) for row in listings.token_rows(connection) if (words := _attention(row, time.time()))]
    if as_json:
        print_json([_facts(row) | {"attention": words} for row, words in found])
    elif as_csv:
        click.echo(_table(found), nl=False)
    else:
        columns = ("serial", "user", "kind", "attention", "last used", "expires", "label")
        lines = ((*_named(row), ", ".join(words), *_times(row), row["label"]) for row, words in found)
        print_table(columns, lines)


def _attention(row: dict[str, Any], now: float) -> list[str]:
    if row["state"] == "revoked":
        return []
    expires, starts = row["expires_at"], row["starts_at"]
    found = {
        "unassigned": row["user"] is None,
        "never used": row["user"] is not None and row["last_used_at"] is None,
        "drifting": abs(row["drift"]) >= _DRIFTING,
        "expired": expires is not None and expires <= now,
        "expiring": expires is not None and now < expires <= now + _SOON,
        "not yet": starts is not None and starts > now,
        "disabled": row["state"] == "disabled",
        "needs resync": row["needs_resync"],
    }
    return [word for word, true in found.items() if true]


def _named(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["serial"], row["user"] or "-", row["kind"]


def _times(row: dict[str, Any]) -> tuple[str, str]:
    return local_time(row["last_used_at"]), local_time(row["expires_at"]) if row["expires_at"] is not None else "-"


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _FACTS} | {name: iso_time(row[name]) for name in _TIMES}


def _table(found: list[tuple[dict[str, Any], list[str]]]) -> str:
    """RFC 4180, with CRLF. What a spreadsheet would run is made a text by a quote in front (C-035)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*_FACTS, *_TIMES, "attention"])
    for row, words in found:
        facts = _facts(row) | {"attention": ", ".join(words)}
        writer.writerow([_harmless(value) for value in facts.values()])
    return out.getvalue()


def _harmless(value: object) -> str:
    text = "" if value is None else str(value)
    begins = text.lstrip(" ").startswith(_FORMULA)  # some look behind blanks
    return f"'{text}" if begins and not _is_number(text) else text


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()


# --- export -----------------------------------------------------------------------------------------------------


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("serials", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All tokens whose keys can leave.")
@click.option("--password-stdin", is_flag=True, help="Encrypt with the password on standard input.")
@click.option("--key-file", type=click.Path(path_type=Path), help="Encrypt with the key in this file.")
@click.pass_context
def export(
    ctx: click.Context,
    file: Path,
    serials: tuple[str, ...],
    every: bool,
    password_stdin: bool,
    key_file: Path | None,
) -> None:
    """Write tokens into FILE, as PSKC (RFC 6030), encrypted with a password or a key. Counters and drift go along."""
    if bool(serials) == every:
        raise click.UsageError("name serials, or give --all")
    if (password_stdin and key_file is not None) or not (password_stdin or key_file is not None or sys.stdin.isatty()):
        raise click.UsageError("say how to encrypt: --password-stdin or --key-file FILE")
    key = key_in(key_file) if key_file is not None else None
    password = read_secret("Password for the file") if key is None else ""
    chosen = tuple(_all_serials(ctx)) if every else serials
    if not chosen:
        raise Refused("there is no token whose key could leave")
    with _new_file(file) as descriptor:
        done = administer(ctx, ExportTokens(actor=actor(), serials=chosen))
        _write(descriptor, _encrypted(done, key, password))
    many = how_many(len(done.serials), "token")
    print_line(f"{many} in {file} (mode 0600). Keep it until it was read, then delete it.")


def _all_serials(ctx: click.Context) -> Iterator[str]:
    from store import listings

    with reading(ctx) as connection:
        for row in listings.token_rows(connection):
            if row["state"] != "revoked" and row["kind"] in ("totp", "hotp", "yubico_otp"):
                yield row["serial"]


@contextmanager
def _new_file(path: Path) -> Iterator[int]:
    """Made before anything leaves the store; gone again if the block fails."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise BadInput(f"{path} exists already; choose another name") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {why_not(error)}") from None
    try:
        yield descriptor
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _write(descriptor: int, pieces: Iterable[bytes]) -> None:
    try:
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    except OSError as error:
        raise BadInput(f"the file cannot be written: {error.strerror}") from None


def _encrypted(done: Done, key: bytes | None, password: str) -> Iterator[bytes]:
    from store.formats import pskc_writer

    seeds = [_seed(token, owner) for token, owner in zip(done.tokens, done.owners, strict=True)]
    lock = pskc_writer.key_lock(key) if key is not None else pskc_writer.password_lock(password)
    return pskc_writer.pieces(lock, seeds, counted("Writing", len(seeds)))


def _seed(token: Token, owner: str) -> Seed:
    return Seed(
        place="",
        kind=token.kind,
        key=token.key,
        serial=token.serial,
        digits=token.digits,
        period=token.period,
        algorithm=token.algorithm,
        moving_factor=token.moving_factor,
        drift=token.drift,
        look_ahead=token.look_ahead,
        public_id=token.public_id,
        user=owner,
        label=token.label,
        starts_at=token.starts_at,
        expires_at=token.expires_at,
        disabled=token.state is TokenState.DISABLED,
        origin=str(token.origin),
    )
