"""`twofold audit`: what happened, and whether the record of it is whole."""

import os
import re
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from store.cli.shared import iso_time, json_option, local_time, opened, print_json, print_table, reading, user_name
from validation.errors import BadInput

if TYPE_CHECKING:
    from store.audit import Finding, Head


@click.group()
def audit() -> None:
    """The audit trail: every decision and every command."""


@audit.command("list")
@click.option("--user", metavar="U", help="Only rows about this user.")
@click.option("--since", metavar="T", help="Only rows from this local time on, for example 2026-03-01T12:00.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the newest N rows.")
@json_option
@click.pass_context
def list_(ctx: click.Context, user: str | None, since: str | None, limit: int | None, as_json: bool) -> None:
    """The rows, from old to new."""
    after = _time(since) if since is not None else None
    from store import listings

    # Under its canonical spelling, and as it is: names that nobody has stand in the trail as they were typed.
    names = None if user is None else {user, user_name(ctx, user)}
    with reading(ctx) as connection:
        found = list(listings.audit_rows(connection, names, after, limit))
    if as_json:
        print_json([row | {"at": iso_time(row["at"])} for row in found])
        return
    columns = ("time", "event", "user", "client", "decision", "reason", "details")
    print_table(
        columns, ((local_time(row["at"]), *(row[name] for name in columns[1:6]), _details(row)) for row in found)
    )


def _details(row: dict[str, Any]) -> str:
    named = {name: row[name] for name in ("serial", "source", "actor") if row[name]}
    return " ".join(f"{name}={value}" for name, value in (named | row["detail"]).items())


def _time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        raise BadInput(f"--since: {text!r} is no time; write 2026-03-01 or 2026-03-01T12:00") from None


@audit.command()
@click.option(
    "--anchor",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Compare with the heads kept in FILE, and keep the new ones there if all is well. Made if missing.",
)
@json_option
@click.pass_context
def verify(ctx: click.Context, anchor: Path | None, as_json: bool) -> int:
    """Prove that no row was changed, moved or removed. Exit status 1 if one was.

    Rows cut off at the newest end, together with the head, can only be noticed with an anchor kept on another
    machine or medium.
    """
    anchors = _read_anchor(anchor) if anchor is not None else {}
    from store import audit as trail
    from store import listings

    with (
        opened(ctx) as store,
        store.connections.reading() as connection,
        store.connections.text_as_it_is(connection),
    ):
        findings, heads = listings.verify(connection, store.keys.audit, store.chain, anchors)
    if anchor is not None and not findings:
        _write_anchor(anchor, heads)
    _report(findings, heads, anchor, as_json, list(trail.lines(findings)))
    return 1 if findings else 0


def _report(
    findings: "list[Finding]", heads: "list[Head]", anchor: Path | None, as_json: bool, problems: list[str]
) -> None:
    rows = sum(head.seq for head in heads)
    if as_json:
        shown = [{"chain": head.chain, "rows": head.seq, "mac": head.mac.hex()} for head in heads]
        print_json({"verified": not findings, "chains": shown, "findings": problems})
        return
    for problem in problems:
        click.echo(problem)
    if findings:
        click.echo("NOT verified. Keep a copy of the store as it is, and look for who could write to it.")
        return
    click.echo(f"audit trail: {rows} rows, chain verified")
    for head in heads:
        click.echo(f"head  {head.chain} {head.seq} {head.mac.hex()}")
    if anchor is not None:
        click.echo(f"anchored in {anchor}")


# --- the anchor file: a first line that names the format, then `SEQ MAC CHAIN` for every chain ------------------

_FORMAT = "twofold-audit-anchor 1"
_LINE = re.compile(r"(?P<seq>[1-9][0-9]{0,18}) (?P<mac>[0-9a-f]{64}) (?P<chain>.+)")


def _read_anchor(path: Path) -> "dict[str, Head]":
    from store.audit import Head

    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--anchor: {path} cannot be read: {error}") from None
    if not lines or lines[0] != _FORMAT:
        raise BadInput(f"--anchor: {path}, line 1: not an anchor file; it should begin with {_FORMAT!r}")
    anchors: dict[str, Head] = {}
    for number, line in enumerate(lines[1:], 2):
        match = _LINE.fullmatch(line)
        if match is None or match["chain"] in anchors:
            raise BadInput(f"--anchor: {path}, line {number}: expected SEQ MAC CHAIN, one line for each chain")
        anchors[match["chain"]] = Head(match["chain"], int(match["seq"]), bytes.fromhex(match["mac"]))
    if not anchors:
        raise BadInput(f"--anchor: {path} ends after its first line; it should name at least one chain")
    return anchors


def _write_anchor(path: Path, heads: "list[Head]") -> None:
    """Replace the file at once or not at all."""
    text = "\n".join([_FORMAT, *(f"{head.seq} {head.mac.hex()} {head.chain}" for head in heads)]) + "\n"
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise BadInput(f"--anchor: {path} cannot be written: {error.strerror}") from None
