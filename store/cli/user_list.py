"""`twofold user import`: users by the list, from a CSV file with a header.

Rules: only `name` is mandatory; `first_factor`, `groups` (semicolons, commas or blanks between them) and
`password_hash` may stand beside it. All users of the file are added, or none. A hash is an argon2id one, or one of
crypt(3), that does not cost more than a login may; passwords themselves are not read from such files, and a hash is
never printed.
"""

from collections.abc import Iterator
from pathlib import Path

import click

from store.cli.files import read_file
from store.cli.shared import actor, administer, json_option, load_config, print_json, print_line
from validation.decisions import Fate
from validation.errors import BadInput
from validation.model import FirstFactorKind
from validation.names import Spelling
from validation.policy import check_name
from validation.requests import ImportUsers, NewUser

_COLUMNS = ("name", "first_factor", "groups", "password_hash")
_MOST_OCTETS = 16 * 1024 * 1024
NOT_ALLOWED = "user name: RFC 8265 does not allow it (symbols that look like others, mixed directions)"


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would happen, and change nothing.")
@json_option
@click.pass_context
def import_(ctx: click.Context, file: Path, dry_run: bool, as_json: bool) -> int:
    """Add the users of FILE: CSV with a header; only the column `name` must be there."""
    users = tuple(_users(file, load_config(ctx).names))
    command = ImportUsers(actor=actor(), users=users, file=file.name)
    if dry_run:
        from store import opening
        from store.cli.shared import opened

        with opened(ctx) as store:
            done = opening.gate_on(store, load_config(ctx)).rehearse(command)
    else:
        done = administer(ctx, command)
    if as_json:
        rows = [{"place": r.place, "name": r.serial, "fate": str(r.fate), "text": r.text} for r in done.rows]
        print_json({"added": not dry_run and not done.refused, "rows": rows})
        return 1 if done.refused else 0
    counts = {fate: sum(row.fate is fate for row in done.rows) for fate in Fate}
    print_line(f"  {'ready' if dry_run or done.refused else 'added':11} {counts[Fate.READY]}")
    if counts[Fate.UNCHANGED]:
        print_line(f"  {'unchanged':11} {counts[Fate.UNCHANGED]}")
    for row in done.rows:
        if row.fate is Fate.REFUSED:
            print_line(f"  {'refused':11} {row.place}: {row.text}")
    if dry_run or done.refused:
        print_line("Nobody was added.")
    return 1 if done.refused else 0


def _users(file: Path, names: Spelling) -> Iterator[NewUser]:
    """Raises BadInput that begins with the file's name."""
    from store.formats.lines import rows_of

    octets = read_file(file, _MOST_OCTETS)
    try:
        rows = iter(list(rows_of(octets)))
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from None
    header = next(rows, None)
    columns = [name.strip().lower() for name in header.fields] if header is not None else []
    if "name" not in columns or len(set(columns)) != len(columns):
        raise BadInput(f"{file}: line 1 must be a header with the column name; {', '.join(_COLUMNS[1:])} may follow")
    if unknown := sorted(set(columns) - set(_COLUMNS)):
        raise BadInput(f"{file}: line 1: column {unknown[0]!r} is not known; known are {', '.join(_COLUMNS)}")
    for row in rows:
        if len(row.fields) > len(columns):
            raise BadInput(f"{file}: line {row.line}: more fields than the header has; put groups into quotes")
        yield _user(dict(zip(columns, row.fields, strict=False)), f"line {row.line}", names, file)


def _user(fields: dict[str, str], place: str, names: Spelling, file: Path) -> NewUser:
    from first_factor.local import check_hash

    kind = fields.get("first_factor") or None
    if kind is not None and kind not in list(FirstFactorKind):
        raise BadInput(f"{file}: {place}: first_factor: choose one of {', '.join(FirstFactorKind)}")
    name = _name(fields.get("name", ""), place, names, file)
    groups = tuple(dict.fromkeys(fields.get("groups", "").replace(",", " ").replace(";", " ").split()))
    password_hash = fields.get("password_hash") or None
    if password_hash is not None:
        try:
            check_hash(password_hash)
        except BadInput as error:
            raise BadInput(f"{file}: {place}: password_hash: {error}") from None
    return NewUser(place, name, FirstFactorKind(kind) if kind else None, groups, password_hash)


def _name(text: str, place: str, names: Spelling, file: Path) -> str:
    """As `user add` takes it. Raises BadInput for one under which nobody could be found again."""
    canonical = names.canonical(text)
    if names.is_alias(text):
        raise BadInput(f"{file}: {place}: {text!r} is another name of {canonical!r}: names.aliases")
    if canonical is not None:
        return canonical
    try:
        check_name("user", text)
    except BadInput:
        return text  # it is refused together with all other rows
    raise BadInput(f"{file}: {place}: {NOT_ALLOWED}")
