"""Documents name tests and places in the code that are there, and every statement that was asked for is spoken of."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.architecture.source import ROOT, trees

DOCUMENTS = ["behaviours.md", "conformance.md", "invariants.md", "reliability.md", "threat-model.md"]
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
PACKAGES = "validation|first_factor|store|radius_server|radius_client|gateways|pam_helper"
PLACE = re.compile(rf"`((?:{PACKAGES})[\w/]*\.py)(?:: ([\w.]+))?`")
ROW = re.compile(r"^\| ([ROCPW]-\d{3}) \|", re.MULTILINE)

# The statements on RADIUS, one-time passwords, token files, guessing, names and security keys: letter, first, last.
ASKED = [
    ("R", 1, 18),
    ("R", 20, 28),
    ("R", 30, 48),
    ("R", 50, 66),
    ("R", 70, 79),
    ("R", 90, 100),
    ("R", 110, 117),
    ("R", 120, 122),
    ("R", 130, 137),
    ("R", 140, 145),
    ("O", 7, 10),
    ("O", 27, 30),
    ("O", 40, 59),
    ("O", 70, 73),
    ("O", 80, 90),
    ("O", 92, 92),
    ("O", 100, 106),
    ("C", 1, 6),
    ("C", 10, 13),
    ("C", 20, 24),
    ("C", 34, 35),
    ("C", 50, 56),
    ("W", 1, 24),
]


def text_of(document: str) -> str:
    return (ROOT / "docs" / document).read_text()


@cache
def names_in(file: str) -> frozenset[str]:
    """What a file defines: functions, classes, their methods as Class.method, and what is assigned at the top."""
    path = ROOT / file
    return frozenset(_defined(ast.parse(path.read_text()))) if path.is_file() else frozenset()


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name, body=body):
                yield name
                inside = [n for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
                yield from (f"{name}.{method.name}" for method in inside)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case _:
                pass


def missing_tests(text: str) -> list[str]:
    return [f"{file}::{name}" for file, name in TEST.findall(text) if name not in names_in(f"tests/{file}")]


def missing_places(text: str) -> list[str]:
    found = [(file, name.removesuffix(".")) for file, name in PLACE.findall(text)]
    return [f"{file}: {name}" for file, name in found if not _is_there(file, name)]


def _is_there(file: str, name: str) -> bool:
    return name in names_in(file) if name else (ROOT / file).is_file()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_names_only_tests_that_are_there(document: str) -> None:
    text = text_of(document)
    assert "::test_" in text
    assert missing_tests(text) == []


def test_the_invariants_name_only_places_that_are_there() -> None:
    text = text_of("invariants.md")
    assert len(PLACE.findall(text)) > 30
    assert missing_places(text) == []


def test_a_test_or_a_place_that_is_not_there_is_found() -> None:
    assert missing_tests("`architecture/test_documents.py::test_that_nobody_wrote`, `nowhere/test_x.py::test_x`") == [
        "architecture/test_documents.py::test_that_nobody_wrote",
        "nowhere/test_x.py::test_x",
    ]
    planted = (
        "`validation/decide.py: _nobody`, `validation/gate.py: Gate.nothing`, `store/nothing.py`, `store/audit.py`"
    )
    assert missing_places(planted) == [
        "validation/decide.py: _nobody",
        "validation/gate.py: Gate.nothing",
        "store/nothing.py: ",
    ]


# --- statements


def asked() -> set[str]:
    return {f"{letter}-{n:03}" for letter, first, last in ASKED for n in range(first, last + 1)}


def marked() -> set[str]:
    """Statements that a test is marked with. The marks of tests on marks prove nothing, so their file is left out."""
    found: set[str] = set()
    for file, tree in trees(ROOT / "tests"):
        if file.startswith("tests/architecture/test_suite"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "statement":
                found |= {str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)}
    return found


def test_every_statement_that_was_asked_for_is_proved_or_excused() -> None:
    assert len(asked()) == 208
    assert asked() - marked() - set(ROW.findall(text_of("conformance.md"))) == set()


def test_no_statement_is_excused_twice() -> None:
    excused = ROW.findall(text_of("conformance.md"))
    assert sorted(set(excused)) == sorted(excused)
