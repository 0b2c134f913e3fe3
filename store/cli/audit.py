"""`twofold audit`: what happened, whether the record of it is whole, and how its oldest part goes."""

import os
import re
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from store.cli.files import why_not
from store.cli.shared import (
    actor,
    iso_time,
    json_option,
    load_config,
    local_time,
    opened,
    print_json,
    print_line,
    print_table,
    reading,
    user_name,
)
from validation.errors import BadInput
from validation.settings import read_duration

if TYPE_CHECKING:
    from store.audit import Head
    from store.listings import Walk
    from store.pruning import Part


_MOST = 1_000_000_000  # rows; a number that no database takes for one would be a traceback


@click.group()
def audit() -> None:
    """The audit trail: every decision and every command."""


@audit.command("list")
@click.option("--user", metavar="U", help="Only rows about this user.")
@click.option("--since", metavar="T", help="Only rows from this local time on, for example 2026-03-01T12:00.")
@click.option("--limit", type=click.IntRange(1, _MOST), metavar="N", help="Only the newest N rows.")
@json_option
@click.pass_context
def list_(ctx: click.Context, user: str | None, since: str | None, limit: int | None, as_json: bool) -> None:
    """The rows, from old to new."""
    after = _time("--since", since) if since is not None else None
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


def _time(option: str, text: str) -> float:
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise BadInput(f"{option}: {text!r} is no time; write 2026-03-01 or 2026-03-01T12:00") from None


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
    machine or medium. Where old rows were pruned the rest is verified from there on.
    """
    anchors = _read_anchor(anchor) if anchor is not None else {}
    from store import audit as trail
    from store import listings

    with (
        opened(ctx) as store,
        store.connections.reading() as connection,
        store.connections.text_as_it_is(connection),
    ):
        walk = listings.verify(connection, store.keys.audit, store.chain, anchors)
    if anchor is not None and not walk.findings:
        _write_anchor(anchor, walk.heads)
    notes = [_passed(walk, head, anchor) for head in walk.passed]
    problems = list(trail.lines(walk.findings))
    if as_json:
        print_json({"verified": not problems, "chains": _chains(walk), "findings": problems, "notes": notes})
    else:
        _report(walk, anchor, problems, notes)
    return 1 if problems else 0


def _passed(walk: "Walk", head: "Head", anchor: Path | None) -> str:
    last = walk.pruned[head.chain].start.seq if head.chain in walk.pruned else head.seq
    return (
        f"chain {head.chain}: row {head.seq}, which {anchor} names, was pruned with those up to {last}; "
        "there is nothing to compare it with"
    )


def _chains(walk: "Walk") -> list[dict[str, Any]]:
    return [
        {"chain": head.chain, "rows": walk.rows(head), "pruned": head.seq - walk.rows(head), "mac": head.mac.hex()}
        for head in walk.heads
    ]


def _report(walk: "Walk", anchor: Path | None, problems: list[str], notes: list[str]) -> None:
    for problem in problems:
        click.echo(problem)
    if problems:
        click.echo("NOT verified. Keep a copy of the store as it is, and look for who could write to it.")
        return
    click.echo(f"audit trail: {sum(map(walk.rows, walk.heads))} rows, chain verified")
    for chain, told in sorted(walk.pruned.items()):
        seq = told.start.seq
        print_line(f"pruned  {chain} 1 to {seq}, by {told.actor} on {local_time(told.at)}; verified from {seq + 1} on")
    for head in walk.heads:
        click.echo(f"head  {head.chain} {head.seq} {head.mac.hex()}")
    for note in notes:
        print_line(f"note: {note}")
    if anchor is not None:
        click.echo(f"anchored in {anchor}")


@audit.command()
@click.option("--older-than", "age", metavar="AGE", help="What is older than this, for example 400d; 90d at least.")
@click.option("--before", metavar="T", help="What is from before this local time, for example 2026-03-01.")
@click.option("--yes", is_flag=True, help="Remove it. Without, it is only shown what would go.")
@click.option(
    "--export", type=click.Path(path_type=Path), metavar="FILE", help="Write what goes into FILE first, as JSON lines."
)
@click.option(
    "--as",
    "owner_url",
    metavar="URL",
    default="",
    help="PostgreSQL: as the role of this address, which owns the tables.",
)
@json_option
@click.pass_context
def prune(
    ctx: click.Context,
    age: str | None,
    before: str | None,
    yes: bool,
    export: Path | None,
    owner_url: str,
    as_json: bool,
) -> None:
    """Remove the oldest rows, while servers go on. Without --yes nothing is changed.

    The rest stays verifiable. Of each host the newest row stays, whatever its age. Run it again if it was interrupted.
    """
    from store import opening, pruning

    with opened(ctx, owner_url) as store:
        until = _cut(age, before, store.connections.now())
        found = pruning.parts(store, until)
        facts = {"before": str(iso_time(until))}
        if yes and found:
            if export is not None:
                facts["export"] = "sha256:" + pruning.export(store, found, export.absolute())
            gate = opening.gate_on(store, load_config(ctx))
            _watched(pruning.prune(store, gate, found, until, actor(), facts), sum(part.rows for part in found))
    if as_json:
        shown = [_part(part) | {"from": iso_time(part.oldest), "to": iso_time(part.newest)} for part in found]
        print_json({"before": iso_time(until), "removed": yes, "chains": shown, "export": facts.get("export")})
        return
    _tell(found, until, yes, export, facts)


def _cut(age: str | None, before: str | None, now: float) -> float:
    if age is not None and before is None:
        return now - read_duration("--older-than", age)
    if before is not None and age is None:
        return _time("--before", before)
    raise BadInput("say what is to go with one of --older-than 400d and --before 2026-03-01")


def _watched(pieces: Iterator[int], rows: int) -> None:
    from store.cli.progress import counted

    for _ in counted("pruning", rows)(row for piece in pieces for row in range(piece)):
        pass


def _part(part: "Part") -> dict[str, Any]:
    return {"chain": part.chain, "rows": part.rows, "first": part.after + 1, "last": part.through, "stay": part.stays}


def _tell(found: "list[Part]", until: float, yes: bool, export: Path | None, facts: dict[str, str]) -> None:
    if not found:
        click.echo(f"nothing to do: no row is from before {local_time(until)}")
        return
    lines = (
        (part.chain, f"{part.rows:,}", local_time(part.oldest), local_time(part.newest), f"{part.stays:,}")
        for part in found
    )
    print_table(("host", "rows", "from", "to", "stay"), lines)
    count = sum(part.rows for part in found)
    rows = f"{count:,} row{'' if count == 1 else 's'}"
    if not yes:
        first = f"written to {export} and " if export is not None else ""
        click.echo(f"{rows} would go. Nothing was changed; with --yes they are {first}removed.")
        return
    if export is not None:
        click.echo(f"exported {export}, {facts['export']}")
    click.echo(f"pruned   {rows} from before {local_time(until)}")


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
    """Replace the file at once or not at all; where a link leads to it, there: that may be another medium."""
    path = path.resolve()
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
        raise BadInput(f"--anchor: {path} cannot be written: {why_not(error)}") from None
