"""Documents and the command line agree: what a document tells to type exists, and what exists stands in a document.

Rules: commands are found in code alone, between backticks or in blocks. Only nouns, verbs and options are looked at;
what a command says and does is for the tests that type the pages. Decisions and the changelog tell of the past.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from store.cli.main import NOUNS, command_of, twofold
from tests.architecture.source import ROOT

# Words that end a command, or stand for one of several.
ENDS = re.compile(r"^(?:[|&;<>#)]|2>|\d*>|&&|\|\|)")
CODE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
BLOCK = re.compile(r"^ *```[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}[^\n]*\n)+", re.MULTILINE)
CALL = re.compile(r"(?:^|(?<=[|&(;$\"'] )|(?<=[$(\"']))twofold ([^\n]*)")
PROMPT = re.compile(r"^(?:[\w@:~-]*[#$] |> )+")


def documents() -> list[Path]:
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "contrib").rglob("*.md")]
    past = (ROOT / "docs" / "decisions", ROOT / "CHANGELOG.md")
    return sorted(path for path in found if not any(path.is_relative_to(each) for each in past))


def code(text: str) -> Iterator[str]:
    """Pieces of code, a line of a block each; a backslash at its end goes on."""
    rest = text
    for block in BLOCK.findall(text):
        rest = rest.replace(block, "")
        yield from (PROMPT.sub("", line.strip()) for line in block.replace("\\\n", " ").splitlines())
    for block in INDENTED.findall(rest):
        yield from (line.strip() for line in block.splitlines())
    yield from (" ".join(span.split()) for span in CODE.findall(rest))


def calls(text: str) -> Iterator[list[str]]:
    """The words behind `twofold`, as far as they belong to it."""
    for piece in code(text):
        for rest in CALL.findall(piece):
            words: list[str] = []
            for word in rest.split():
                if ENDS.match(word):
                    break
                words.append(word.strip("[]()'\",;"))
            if words and re.fullmatch(r"-{0,2}[a-z]+", words[0]):
                yield words


def resolved(words: list[str]) -> tuple[tuple[str, ...], click.Command, list[str]]:
    """The path of the command, the command, and what is behind it. Raises LookupError for what there is not."""
    if words[0] == "--config":
        words = words[2:]
    path: tuple[str, ...] = ()
    command: click.Command = twofold
    rest = words
    while isinstance(command, click.Group) and rest and re.fullmatch(r"[a-z]+", rest[0]):
        inner = command.get_command(click.Context(command), rest[0])
        if inner is None:
            if path and command.invoke_without_command:
                break
            raise LookupError(f"twofold {' '.join((*path, rest[0]))}")
        path, command, rest = (*path, rest[0]), inner, rest[1:]
    return path, command, rest


def options_of(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def wrong(text: str) -> list[str]:
    found = []
    for words in calls(text):
        try:
            path, command, rest = resolved(words)
        except LookupError as error:
            found.append(str(error))
            continue
        known = options_of(command) | {"--help", "-h"}
        for word in rest:
            name = re.match(r"--[a-z][a-z-]*", word)
            if name and name[0] not in known:
                found.append(f"twofold {' '.join(path)} {name[0]}")
    return found


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_types_exists(document: Path) -> None:
    assert wrong(document.read_text()) == []


@cache
def everything_typed() -> list[tuple[tuple[str, ...], list[str]]]:
    found = []
    for document in documents():
        for words in calls(document.read_text()):
            path, _, rest = resolved(words)
            found.append((path, rest))
    return found


def every_command() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    def below(path: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield path, command
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                yield from below((*path, name), inner)

    for noun, (place, _) in NOUNS.items():
        yield from below((noun,), command_of(place))


def test_every_command_stands_in_a_document() -> None:
    typed = {path for path, _ in everything_typed()}
    assert [path for path, _ in every_command() if path not in typed] == []


def test_every_option_stands_in_a_document() -> None:
    """By its first name, anywhere in code."""
    said = " ".join(piece for document in documents() for piece in code(document.read_text()))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", said))
    options = {
        (path, option.opts[0])
        for path, command in every_command()
        for option in command.params
        if option.opts[0][0] == "-"
    }
    assert len(options) > 100
    assert sorted((path, name) for path, name in options if name not in named) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`twofold client set x --password-encoding latin-1`", ["twofold client set --password-encoding"]),
        ("```\n# printf x | twofold user make alice\n```", ["twofold user make"]),
        ("```console\n# twofold nonsense\n```", ["twofold nonsense"]),
        ("    twofold policy set tries 5 --for alice\n", ["twofold policy set --for"]),
        ("`twofold --config FILE user list --json`, `twofold profile`, `twofold profile show SERIAL --key`", []),
        ("```\ntwofold user add alice | grep --colour alice\n```", []),
        ("the user twofold makes no difference, and `chown twofold FILE` is another program", []),
    ],
)
def test_what_there_is_not_is_found(text: str, found: list[str]) -> None:
    assert wrong(text) == found
