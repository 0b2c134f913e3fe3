"""A page of commands, followed to the letter in a folder of its own: what it says is typed, what it shows is compared.

In a block ```console a line that begins with `# ` is typed by root, `> ` goes on with it, and what follows is shown.
Other prompts are other hosts, where nothing is typed. A block whose first line says `refused` holds commands that fail.
A block ```text NAME, ```csv NAME and so on is a file, written where one is by then. In what is shown, `…` stands for
any lines; times and made serials differ from run to run.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.architecture.source import ROOT
from tests.site import Site, warm_twofold

DOCS = ROOT / "docs"
_BLOCK = re.compile(r"^```(\w*) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARIES = ((re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"), "TIME"), (re.compile(r"TF-[A-Z2-9]{6}"), "SERIAL"))


_PATH = re.compile(r"(?<![\w/.])/(run|home|etc|var)/")


@dataclass(frozen=True)
class File:
    name: str
    content: str


@dataclass(frozen=True)
class Step:
    """One command, what the page shows of it, and whether it fails."""

    command: str
    shown: tuple[str, ...]
    fails: bool


def text_of(page: str, heading: str = "") -> str:
    """A page, or what stands below one of its headings."""
    text = (DOCS / page).read_text()
    if not heading:
        return text
    (found,) = re.findall(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(found)


def blocks(text: str) -> Iterator[File | list[Step]]:
    """The files and the commands of a page, in its order."""
    for kind, said, block in _BLOCK.findall(text):
        if kind == "console":
            parts = re.split(r"^(?=# )", block, flags=re.MULTILINE)
            yield [_step(part.splitlines(), said == "refused") for part in parts if part.startswith("# ")]
        elif said:
            yield File(said, block)


def _step(lines: list[str], fails: bool) -> Step:
    typed = [lines[0][2:]]
    rest = lines[1:]
    while rest and rest[0].startswith("> "):
        typed.append(rest.pop(0)[2:])
    return Step("\n".join(typed), tuple(rest), fails)


def screens(page: str, heading: str) -> list[list[str]]:
    """The blocks ```text of a part that begin with a command, without it: what a program then shows."""
    shown = re.findall(r"^```text\n\$ [^\n]*\n(.*?)^```$", text_of(page, heading), re.MULTILINE | re.DOTALL)
    return [screen.splitlines() for screen in shown]


def steps(text: str) -> list[Step]:
    return [step for block in blocks(text) if isinstance(block, list) for step in block]


def files(text: str) -> dict[str, str]:
    return {block.name: block.content for block in blocks(text) if isinstance(block, File)}


class Host(Site):
    """A host of a page: a store made by `twofold init`, and a folder that its paths lead into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config_file = folder / "twofold.toml"
        self.here = folder / "here"
        self._bin = folder / "bin"
        for each in (self.here, self._bin, *(folder / name for name in ("run", "home", "etc", "var"))):
            each.mkdir(parents=True)
        self.stand_in("twofold", f'exec {shlex.join(warm_twofold())} "$@"')
        self.stand_in("chown", ":")  # there is no user twofold
        self.type("twofold init")

    def stand_in(self, program: str, script: str) -> None:
        path = self._bin / program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def inside(self, path: str) -> Path:
        """Where a path of the page leads."""
        return self.folder / path.lstrip("/")

    def type(self, command: str, fails: bool = False) -> str:
        command = _PATH.sub(f"{self.folder}/\\1/", command)
        if command.startswith("cd "):
            self.here = Path(command[3:])
        environment = os.environ | {
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TWOFOLD_CONFIG": str(self.config_file),
        }
        done = subprocess.run(
            ["/bin/sh", "-c", f"set -e\n{command}\n"],
            cwd=self.here,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert (done.returncode != 0) is fails, (command, done.returncode, done.stdout[:2000])
        return done.stdout

    def follow(self, text: str, now: Callable[[str], str] = lambda command: command) -> list[str]:
        """Type what stands there, and compare. `now` puts in what changes with time, such as PINs."""
        assert steps(text)
        said: list[str] = []
        for block in blocks(text):
            if isinstance(block, File):
                (self.here / block.name).write_text(block.content)
            else:
                said += [self._do(step, now(step.command)) for step in block]
        return said

    def _do(self, step: Step, command: str) -> str:
        said = self.type(command, step.fails)
        if step.shown:
            assert same(step.shown, said.splitlines()), (command, step.shown, said[:2000])
        return said


def same(shown: tuple[str, ...], said: list[str]) -> bool:
    """Line for line but for the width of columns; `…` alone is any number of lines, in a line anything."""
    wanted = "".join("(?:.*\n)*" if line.strip() == "…" else _pattern(_plain(line)) for line in shown if line.strip())
    return re.fullmatch(wanted, "".join(f"{_plain(line)}\n" for line in said if line.strip())) is not None


def _pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("…")) + "\n"


def _plain(line: str) -> str:
    for pattern, word in _VARIES:
        line = pattern.sub(word, line)
    return " ".join(line.split())
