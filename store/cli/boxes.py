"""`twofold token import`, `assign`, `unassign`: tokens by the boxful.

Rules: a file is read whole, judged whole and taken whole, or not at all; with --skip-bad what can be taken is. No key
is ever printed. What a row is refused for is said with its place in the file.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from store.cli.files import key_in, read_file, read_list
from store.cli.progress import busy, counted
from store.cli.shared import (
    actor,
    administer,
    how_many,
    json_option,
    load_config,
    opened,
    print_json,
    print_line,
    user_name,
    warn,
)
from validation.decisions import Done, Fate, RowResult
from validation.errors import BadInput
from validation.messages import printable
from validation.model import Origin
from validation.requests import AssignList, AssignTokens, ImportTokens, Pair

if TYPE_CHECKING:
    from store.formats.reading import Contents
    from store.importing import Boxful

_MOST_LIST = 16 * 1024 * 1024  # octets
_SHOWN = 50  # refused rows that are listed; --json lists all


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--format", "wanted", metavar="F", help="Instead of looking at the content.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and change nothing.")
@click.option("--skip-bad", is_flag=True, help="Import what can be, and list the rest.")
@click.option("--key-file", type=click.Path(path_type=Path), help="Holds the key of an encrypted file.")
@click.option("--password-stdin", is_flag=True, help="Read the password of an encrypted file from standard input.")
@click.option("--user", "owner", metavar="NAME", default="", help="Whose they are, where the file does not say.")
@click.option("--no-users", is_flag=True, help="Leave out whose they are; assign them later.")
@click.option("--origin", type=click.Choice([str(o) for o in Origin]), help="self: their users may revoke them.")
@click.option("--period", type=int, metavar="SECONDS", help="Time step of tokens whose file does not say.")
@click.option("--allow-short-key", is_flag=True, help="Accept keys of 112 to 127 bits.")
@json_option
@click.pass_context
def import_(
    ctx: click.Context,
    file: Path,
    wanted: str | None,
    dry_run: bool,
    skip_bad: bool,
    key_file: Path | None,
    password_stdin: bool,
    owner: str,
    no_users: bool,
    origin: str | None,
    period: int | None,
    allow_short_key: bool,
    as_json: bool,
) -> int:
    """Import the tokens of FILE: PSKC, CSV of several makers, users.oath, .google_authenticator and others."""
    from store.importing import boxful

    if owner and no_users:
        raise click.UsageError("--user and --no-users exclude each other")
    contents = _read(file, wanted, key_file, password_stdin)
    names = load_config(ctx).names
    brought = Origin(origin) if origin is not None else None
    whose = user_name(ctx, owner) if owner else ""
    box = boxful(contents, file.stem.lstrip("."), names, whose, brought, no_users, period)
    refuse_all = bool(box.bad) and not skip_bad
    command = ImportTokens(
        actor=actor(),
        tokens=box.tokens,
        file=file.name,
        skip_bad=skip_bad,
        allow_short_key=allow_short_key,
    )
    done = _carried_out(ctx, command, dry_run or refuse_all)
    rows = list(box.results(done.rows))
    changed = not (dry_run or refuse_all or done.refused)
    summary = Summary(contents, box, rows, changed)
    if as_json:
        print_json(summary.document())
    else:
        for line in summary.lines():
            print_line(line)
    return summary.status()


def _read(file: Path, wanted: str | None, key_file: Path | None, password_stdin: bool) -> "Contents":
    """Raises BadInput that begins with the file's name."""
    from store.formats.choosing import choose
    from store.formats.reading import MOST_OF_ANY, Unlock

    octets = read_file(file, MOST_OF_ANY)
    # Asked once, and only by a file that needs it.
    unlock = Unlock(
        cache(lambda: key_in(key_file) if key_file is not None else None), cache(lambda: _password(password_stdin))
    )
    try:
        with busy(f"Reading {printable(file.name, 60)}", len(octets)):
            return choose(octets, file.name, wanted).read(octets, unlock)
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from None


def _password(from_stdin: bool) -> str | None:
    """Only for a file that turns out to need one; a terminal is asked without being told to."""
    from store.cli.shared import read_secret

    return read_secret("Password of the file") if from_stdin or sys.stdin.isatty() else None


def _carried_out(ctx: click.Context, command: ImportTokens, rehearse: bool) -> Done:
    from store import opening

    with opened(ctx) as store:
        gate = opening.gate_on(store, load_config(ctx))
        if rehearse:
            return gate.rehearse(command)
        store.watch_sealing = counted("Sealing", len(command.tokens))
        done = gate.administer(command)
    warn(done)
    return done


class Summary:
    """What is printed of an import, as lines or as a document."""

    def __init__(self, contents: "Contents", box: "Boxful", rows: list[RowResult], changed: bool) -> None:
        self._contents = contents
        self._box = box
        self._rows = rows
        self._counts = Counter(row.fate for row in rows)
        nothing_could_be = self._counts[Fate.REFUSED] and not self._counts[Fate.READY]
        self._changed = changed and not nothing_could_be

    def status(self) -> int:
        """0 if something was imported, or would be, or all of it is here already; 1 if rows stand in the way."""
        return 1 if self._counts[Fate.REFUSED] and not self._changed else 0

    def document(self) -> dict[str, Any]:
        return {
            "format": self._contents.format,
            "facts": list(self._contents.facts),
            "imported": self._changed,
            "ready": self._counts[Fate.READY],
            "unchanged": self._counts[Fate.UNCHANGED],
            "refused": self._counts[Fate.REFUSED],
            "skipped": [{"place": one.place, "what": one.what} for one in self._box.skipped],
            "rows": [
                {
                    "place": row.place,
                    "serial": row.serial,
                    "fate": str(row.fate),
                    "text": row.text,
                    "notes": list(self._box.notes.get(row.place, ())),
                }
                for row in self._rows
            ],
        }

    def lines(self) -> Iterator[str]:
        yield ", ".join([self._contents.format, how_many(len(self._rows), "token"), *self._contents.facts])
        yield f"  {'imported' if self._changed else 'ready':11} {self._counts[Fate.READY]}"
        if self._counts[Fate.UNCHANGED]:
            yield f"  {'unchanged':11} {self._counts[Fate.UNCHANGED]}   (same key and serial already here)"
        yield from listed("refused", [f"{row.place}: {row.text}" for row in self._rows if row.fate is Fate.REFUSED])
        yield from listed("skipped", [f"{one.place}: {one.what}" for one in self._box.skipped])
        yield from listed("noted", list(self._noted()))
        if not self._changed:
            yield self._what_was_not_done()

    def _noted(self) -> Iterator[str]:
        for row in self._rows:
            said = (*self._box.notes.get(row.place, ()), *([row.text] if row.text and row.fate is Fate.READY else []))
            if said:
                yield f"{row.place}: {'; '.join(said)}"

    def _what_was_not_done(self) -> str:
        if not self._counts[Fate.REFUSED]:
            return "Nothing was imported."
        if not self._counts[Fate.READY]:
            return "Nothing was imported, and nothing could be."
        return f"Nothing was imported. With --skip-bad the {self._counts[Fate.READY]} would be; without it none."


def listed(word: str, lines: list[str]) -> Iterator[str]:
    """The first of `lines`, with how many there are."""
    for number, line in enumerate(lines[:_SHOWN]):
        yield f"  {word if not number else '':11} {len(lines) if not number else '':<6} {line}"
    if len(lines) > _SHOWN:
        yield f"  {'':11} {'':<6} and {len(lines) - _SHOWN} more; --json lists all"


@click.command()
@click.argument("serials", nargs=-1, metavar="SERIAL... [NAME]")
@click.option("--user", "name", metavar="NAME", help="Who gets them.")
@click.option(
    "--from",
    "--file",
    "source",
    type=click.Path(path_type=Path, allow_dash=True),
    help="A list, - for standard input: SERIAL,NAME in each line, or with --user serials alone.",
)
@click.pass_context
def assign(ctx: click.Context, serials: tuple[str, ...], name: str | None, source: Path | None) -> int:
    """Give tokens that are nobody's to a user: SERIAL NAME, several with --user NAME, a list with --from FILE.

    They work at once. All of them are given, or none.
    """
    if source is not None:
        if serials:
            raise click.UsageError("--from and serials exclude each other")
        return _assign_list(ctx, source, name)
    if name is None:
        *serials_, name = serials or ("",)
        if len(serials_) != 1:
            raise click.UsageError("say who gets them: SERIAL NAME, SERIAL... --user NAME, or --from FILE")
        serials = tuple(serials_)
    if not serials:
        raise click.UsageError("name at least one serial, or --from FILE")
    administer(ctx, AssignTokens(actor=actor(), serials=serials, user=user_name(ctx, name)))
    print_line(f"{', '.join(serials)}: now {name}'s.")
    return 0


def _assign_list(ctx: click.Context, source: Path, name: str | None) -> int:
    pairs = tuple(_pairs(ctx, source, name))
    if not pairs:
        raise BadInput(f"{source}: names no token")
    done = administer(ctx, AssignList(actor=actor(), pairs=pairs))
    counts = Counter(row.fate for row in done.rows)
    print_line(f"  {'ready' if done.refused else 'assigned':11} {counts[Fate.READY]}")
    if counts[Fate.UNCHANGED]:
        print_line(f"  {'unchanged':11} {counts[Fate.UNCHANGED]}")
    for line in listed("refused", [f"{row.place}: {row.text}" for row in done.rows if row.fate is Fate.REFUSED]):
        print_line(line)
    if done.refused:
        print_line("Nothing was assigned.")
    return 1 if done.refused else 0


def _pairs(ctx: click.Context, source: Path, name: str | None) -> Iterator[Pair]:
    """SERIAL,NAME in each line; serials alone where --user says who. A header is passed over."""
    from store.formats.keys import looks_like_key
    from store.formats.lines import rows_of

    names = load_config(ctx).names
    columns = 2 if name is None else 1
    try:
        found = list(rows_of(read_list(source, _MOST_LIST)))
    except BadInput as error:
        raise BadInput(str(error) if str(error).startswith(str(source)) else f"{source}: {error}") from None
    for number, row in enumerate(found):
        if not number and row.fields[0].lower() == "serial":
            continue
        if len(row.fields) != columns or not all(row.fields):
            wanted = "SERIAL,NAME is expected" if name is None else "one serial is expected, since --user says whose"
            raise BadInput(f"{source}: line {row.line}: {wanted}")
        user = row.fields[1] if name is None else name
        if looks_like_key(user):  # a file of tokens in place of a list: it must not be repeated
            raise BadInput(f"{source}: line {row.line}: this looks like a key where a user's name is expected")
        yield Pair(f"line {row.line}", row.fields[0], names.canonical(user) or user)


@click.command()
@click.argument("serials", nargs=-1, required=True)
@click.pass_context
def unassign(ctx: click.Context, serials: tuple[str, ...]) -> None:
    """Take tokens back that an administrator brought. They stay good, for somebody else."""
    administer(ctx, AssignTokens(actor=actor(), serials=serials, user=None))
    print_line(f"{', '.join(serials)}: nobody's now.")
