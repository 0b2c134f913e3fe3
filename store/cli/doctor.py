"""`twofold doctor`: what on this host lets somebody in without a second factor, or keeps logins from working.

Rules: each part of the product brings its own checks, named in one table, so that the store imports no face. A check
changes nothing and asks nothing. Started by root, what touches the store runs with the rights of the store's owner:
files that SQLite makes there must be his.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import click

from store import config as configuration
from store.cli.shared import json_option, print_json, print_line
from store.config import Config
from validation.errors import TwofoldError
from validation.findings import Finding, Severity, advice, serious

Checks: TypeAlias = Callable[[Config | None, Path], Iterator[Finding]]

# module:function, and whether it needs root's own rights
CHECKS: tuple[tuple[str, bool], ...] = (
    ("store.cli.checks:checks", False),
    ("first_factor.ldap_checks:checks", False),
    ("first_factor.radius_checks:checks", False),
    ("radius_server.checks:checks", False),
    ("first_factor.checks:checks", False),
    ("pam_helper.checks:checks", True),
)
_TOPIC_WIDTH = 13


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> int:
    """Look for what lets somebody in without a second factor, and for what is broken. Exit 1 if there is any."""
    found = list(findings(ctx.find_root().obj))
    if as_json:
        print_json([_document(finding) for finding in found])
    else:
        _tell(found)
    return 1 if any(finding.severity is Severity.SERIOUS for finding in found) else 0


def findings(option: str | None, root: Path = Path("/")) -> Iterator[Finding]:
    """Everything there is to say about the host below `root`, whose configuration `option` names."""
    if os.geteuid() != 0:
        yield advice("doctor", "not run as root: sockets, sshd and stores of others stay unseen.", "Run it as root")
    config: Config | None = None
    try:
        config = configuration.load(configuration.config_path(option))
    except TwofoldError as error:
        yield serious("config", f"{error}.", "Without it no login is answered")
    for place, as_root in CHECKS:
        yield from _found(place, as_root, config, root)


def _found(place: str, as_root: bool, config: Config | None, root: Path) -> list[Finding]:
    """One check that fails must not hide the others."""
    module, _, name = place.partition(":")
    checks: Checks = getattr(importlib.import_module(module), name)
    try:
        with _rights(None if as_root else config):
            return list(checks(config, root))
    except (TwofoldError, OSError) as error:
        return [serious(module.partition(".")[0], f"cannot be checked: {error}.", "Mend this first")]


@contextmanager
def _rights(config: Config | None) -> Iterator[None]:
    """The rights of the owner of the store, for this block."""
    try:
        status = os.stat(config.owners_file) if config is not None and os.geteuid() == 0 else None
    except OSError:
        status = None
    if status is None or status.st_uid == 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(status.st_gid)
    os.seteuid(status.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _document(finding: Finding) -> dict[str, str]:
    return {
        "severity": str(finding.severity),
        "topic": finding.topic,
        "text": finding.text,
        "remedy": finding.remedy,
    }


def _tell(found: list[Finding]) -> None:
    width = max([_TOPIC_WIDTH, *(len(finding.topic) for finding in found)])
    for finding in found:
        print_line(f"{finding.severity:4} {finding.topic:{width}} {finding.text}")
        if finding.remedy:
            print_line(f"{'':4} {'':{width}} {finding.remedy}")
    count = sum(finding.severity is Severity.SERIOUS for finding in found)
    if count:
        many, let, keep = ("finding", "lets", "keeps") if count == 1 else ("findings", "let", "keep")
        click.echo(f"{count} {many} {let} somebody in without a second factor, or {keep} logins from working.")
    else:
        click.echo("Nothing lets anybody in without a second factor, and nothing is broken.")
