"""docs/architecture.md says who may import whom as the contracts say it, and where each file of the product belongs."""

import re
from itertools import takewhile
from pathlib import Path

from tests.architecture.source import PRODUCT, PYPROJECT, ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
LIST = PAGE.partition("## Concepts and files")[2].partition("\n## ")[0]
NAMED = re.compile(rf"`((?:{'|'.join(PRODUCT)})/[\w/]*(?:\.py|\.c|/))`")


def layers_of_page() -> tuple[list[str], list[str]]:
    """Of the house, and inside validation; without what is said behind them."""
    (block,) = re.findall(r"who may import whom.*?```\n(.*?)```", PAGE, re.DOTALL | re.IGNORECASE)
    lines = [re.split(r" {3,}", line)[0] for line in block.splitlines() if line]
    house = list(takewhile(lambda line: line != "inside validation:", lines))
    return house, lines[len(house) + 1 :]


def layers_of_contract(name: str) -> list[str]:
    (found,) = [c["layers"] for c in PYPROJECT["tool"]["importlinter"]["contracts"] if c["name"].startswith(name)]
    return list(found)


def says_the_same(shown: str, layer: str) -> bool:
    """`…` in the page stands for the rest of a layer."""
    begun, rest, _ = shown.partition("…")
    return layer.startswith(begun) if rest else layer == shown


def test_the_layers_are_those_of_the_contracts() -> None:
    house, inside = layers_of_page()
    contract = layers_of_contract("The house")
    assert len(house) == len(contract)
    assert [pair for pair in zip(house, contract, strict=True) if not says_the_same(*pair)] == []
    assert inside == layers_of_contract("Inside validation")


def test_every_package_is_introduced() -> None:
    assert [package for package in PRODUCT if f"| `{package}` |" not in PAGE] == []


def test_every_file_is_named_or_lies_in_a_folder_that_is() -> None:
    named = set(NAMED.findall(LIST))
    assert len(named) > 150
    assert [name for name in named if not (ROOT / name).exists()] == []
    files = [
        path for package in PRODUCT for path in sorted((ROOT / package).rglob("*.py")) if path.name != "__init__.py"
    ]
    assert [file for file in map(in_root, files) if not is_named(file, named)] == []


def in_root(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_named(file: str, named: set[str]) -> bool:
    return file in named or any(f"{parent.as_posix()}/" in named for parent in Path(file).parents)


def test_a_file_that_is_not_named_is_found() -> None:
    named = {"store/cli/", "store/config.py"}
    assert is_named("store/cli/main.py", named)
    assert is_named("store/config.py", named)
    assert not is_named("store/opening.py", named)
    assert says_the_same("a : b : …", "a : b : c")
    assert not says_the_same("a : b", "a : b : c")
