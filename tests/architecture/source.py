"""Reads source as syntax trees, for tests that say where something may stand."""

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PRODUCT: list[str] = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


@dataclass(frozen=True)
class Place:
    """A finding: the file, the innermost function around it (or "<module>"), and what was found."""

    file: str
    function: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}, {self.function}: {self.what}"


def product_files() -> Iterator[tuple[str, ast.Module]]:
    for package in PRODUCT:
        yield from trees(ROOT / package)


def trees(folder: Path) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(folder.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(), filename=str(path))


def nodes_with_function(tree: ast.AST, function: str = "<module>") -> Iterator[tuple[ast.AST, str]]:
    for child in ast.iter_child_nodes(tree):
        yield child, function
        inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        yield from nodes_with_function(child, inside)


def last_name(node: ast.AST) -> str:
    """The name an expression goes by: x of `x`, `a.x`, `a.x(...)` and `a["x"]`; else nothing."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=function):
            return last_name(function)
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
        case _:
            return ""
