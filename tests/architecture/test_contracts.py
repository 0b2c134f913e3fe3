"""What may import what, and what may stand in one place alone.

Each rule is tried twice: on the product, which must keep it, and on a planted violation, which must be found.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import PRODUCT, PYPROJECT, ROOT, Place, last_name, nodes_with_function, product_files

CONTRACTS = PYPROJECT["tool"]["importlinter"]["contracts"]
HOUSE, INSIDE_VALIDATION, INSIDE_STORE, PURE, GATEWAYS, FACES = (contract["name"] for contract in CONTRACTS)

# --- Who may import whom


def lint_imports(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )


def broken_contracts(report: str) -> set[str]:
    return {name for line in report.splitlines() if line.endswith(" BROKEN") for name in [line.removesuffix(" BROKEN")]}


def test_the_product_keeps_its_contracts() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("validation/policy.py", "import socket", PURE),
        ("validation/tokens/totp.py", "import time", PURE),
        ("validation/errors.py", "import store.schema", PURE),
        ("validation/errors.py", "import store.schema", HOUSE),
        ("store/opening.py", "import first_factor", HOUSE),
        ("store/opening.py", "import radius_server", HOUSE),
        ("store/cli/main.py", "import radius_server", HOUSE),
        ("validation/decide.py", "import validation.administer", INSIDE_VALIDATION),
        ("validation/model.py", "import validation.policy", INSIDE_VALIDATION),
        ("validation/stray.py", "", INSIDE_VALIDATION),
        ("store/schema.py", "import store.database", INSIDE_STORE),
        ("store/stray.py", "", INSIDE_STORE),
        ("radius_server/__init__.py", "import store.database", FACES),
        ("pam_helper/__init__.py", "import store.database", FACES),
        ("pam_helper/__init__.py", "import radius_server", HOUSE),
        ("radius_server/__init__.py", "import pam_helper", HOUSE),
        ("radius_client/wire.py", "import pyrad", GATEWAYS),
        ("gateways/__init__.py", "import validation.names", GATEWAYS),
    ],
)
def test_a_planted_import_is_found(tmp_path: Path, file: str, line: str, contract: str) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PRODUCT:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / file).open("a") as planted:
        planted.write(f"\n{line}\n")

    result = lint_imports(tmp_path)

    assert result.returncode == 1
    assert contract in broken_contracts(result.stdout), result.stdout + result.stderr


def modules_in_the_house() -> set[str]:
    return {module.strip() for layer in CONTRACTS[0]["layers"] for module in re.split("[|:]", layer)}


def test_every_top_level_package_stands_in_the_first_contract() -> None:
    on_disk = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert on_disk == {module.partition(".")[0] for module in modules_in_the_house()}


def test_every_part_of_the_store_has_its_place_in_the_house() -> None:
    parts = {f"store.{path.stem}" for path in (ROOT / "store").iterdir() if path.suffix == ".py" or path.is_dir()}
    parts -= {"store.__init__", "store.__pycache__"}
    assert parts == {module for module in modules_in_the_house() if module.startswith("store.")}
    assert parts - {"store.opening", "store.config", "store.serving"} == set(CONTRACTS[-1]["forbidden_modules"])


def test_every_tool_looks_at_every_package() -> None:
    tool = PYPROJECT["tool"]
    assert set(tool["importlinter"]["root_packages"]) == set(PRODUCT)
    assert set(tool["mypy"]["files"]) == {*PRODUCT, "tests"}


# --- Accept is built in one function


def names_accept(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Name | ast.Attribute) and last_name(node) == "Accept"


def accepts_built(file: str, tree: ast.Module) -> Iterator[Place]:
    """Calls of Accept, and the ways around one: another name for it, a helper that is handed it, a subclass."""
    for node, function in nodes_with_function(tree):
        match node:
            case ast.Call(func=called, args=arguments, keywords=keywords):
                handed_over = any(map(names_accept, [*arguments, *(keyword.value for keyword in keywords)]))
                built = names_accept(called) or (handed_over and last_name(called) not in {"isinstance", "issubclass"})
            case ast.ImportFrom(names=names):
                built = any(name.name == "Accept" and name.asname not in {None, "Accept"} for name in names)
            case ast.Assign(value=value) | ast.AnnAssign(value=value) | ast.NamedExpr(value=value):
                built = names_accept(value)
            case ast.ClassDef(bases=bases):
                built = any(map(names_accept, bases))
            case _:
                built = False
        if built:
            yield Place(file, function, ast.unparse(node))


DECIDE = "validation/decide.py"


def test_accept_is_built_in_one_function() -> None:
    """And said again, where it was recorded, in one other."""
    built = [place for file, tree in product_files() for place in accepts_built(file, tree)]
    places = [(place.file, place.function) for place in built]
    assert places == [(DECIDE, "_accept"), (DECIDE, "_accept_again")], "\n".join(map(str, built))


def mentions(name: str, file: str, tree: ast.Module) -> Iterator[Place]:
    """Calls, and whatever else may lead to one."""
    for node, function in nodes_with_function(tree):
        if isinstance(node, ast.Name | ast.Attribute) and last_name(node) == name:
            yield Place(file, function, ast.unparse(node))


SAID_AGAIN = {
    "_accept_again": [(DECIDE, "_repeated")],
    "may_be_let_in": [(DECIDE, "_accept_again")],
    "unpacked": [(DECIDE, "_repeated")],
}


@pytest.mark.parametrize("name", SAID_AGAIN)
def test_an_accept_is_said_again_in_one_place_after_a_look_at_who_it_is_for(name: str) -> None:
    found = [place for file, tree in product_files() for place in mentions(name, file, tree)]
    assert [(place.file, place.function) for place in found] == SAID_AGAIN[name], "\n".join(map(str, found))


@pytest.mark.parametrize("code", ["_accept_again(case)", "decide._accept_again(case)", "say = decide._accept_again"])
def test_each_mention_is_found(code: str) -> None:
    assert len(list(mentions("_accept_again", "planted.py", ast.parse(code)))) == 1


@pytest.mark.parametrize(
    "code",
    [
        "answer = Accept(user)",
        "return_value = Verdict(Accept(user))",
        "answer = decisions.Accept(user)",
        "from validation.decisions import Accept as Yes",
        "Yes = Accept",
        "build = partial(Accept, user)",
        "answer: Decision = field(default_factory=Accept)",
        "class Welcome(decisions.Accept): pass",
    ],
)
def test_each_way_to_build_an_accept_is_found(code: str) -> None:
    assert len(list(accepts_built("planted.py", ast.parse(code)))) == 1


@pytest.mark.parametrize(
    "code",
    ["isinstance(answer, Accept)", "def f(answer: Accept | None) -> Accept: ...", "match answer:\n  case Accept(): 1"],
)
def test_looking_at_an_accept_is_not_building_one(code: str) -> None:
    assert not list(accepts_built("innocent.py", ast.parse(code)))


# --- BEGIN and COMMIT stand in one file

TRANSACTION_CALLS = {"begin", "begin_nested", "begin_twophase", "commit", "executescript"}
TRANSACTION_SQL = re.compile(
    r"\s*(BEGIN|BEGIN\s+(DEFERRED|IMMEDIATE|EXCLUSIVE|TRANSACTION)|COMMIT)\s*(;|$)", re.IGNORECASE
)


def transactions(file: str, tree: ast.Module) -> Iterator[Place]:
    for node, function in nodes_with_function(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name)) if name in TRANSACTION_CALLS:
                yield Place(file, function, f".{name}(...)")
            case ast.Constant(value=str(text)) if TRANSACTION_SQL.match(text):
                yield Place(file, function, repr(text))


def test_begin_and_commit_stand_in_one_file() -> None:
    found = [place for file, tree in product_files() for place in transactions(file, tree)]
    assert {place.file for place in found} == {"store/connections.py"}, "\n".join(map(str, found))


@pytest.mark.parametrize(
    "code",
    [
        "connection.commit()",
        "with engine.begin() as connection: ...",
        "connection.execute(text('begin immediate'))",
        "cursor.execute('COMMIT;')",
        "cursor.executescript('')",
    ],
)
def test_each_way_to_begin_or_commit_is_found(code: str) -> None:
    assert len(list(transactions("planted.py", ast.parse(code)))) == 1


# --- Secrets: no weak dice, no comparison that tells by its time how much was right

SECRET_NAMES = re.compile(
    r"(.*_)?(secret|passwords?|passcodes?|pin|mac|hmac|digest|signature|message_authenticator)", re.I
)
CONSTANT_NAMES = re.compile(r"[A-Z][A-Z0-9_]*")


def is_fixed(node: ast.AST) -> bool:
    """A literal, an enum member or a CONSTANT: comparing with one tells nobody a secret."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return all(is_fixed(element) for element in node.elts)
    return isinstance(node, ast.Constant) or CONSTANT_NAMES.fullmatch(last_name(node)) is not None


def secret_comparisons(file: str, tree: ast.Module) -> Iterator[Place]:
    for node, function in nodes_with_function(tree):
        if not isinstance(node, ast.Compare):
            continue
        operands = [node.left, *node.comparators]
        for operator, left, right in zip(node.ops, operands, operands[1:], strict=False):
            if not isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn) or is_fixed(left) or is_fixed(right):
                continue
            if any(SECRET_NAMES.fullmatch(last_name(side)) for side in (left, right)):
                yield Place(file, function, ast.unparse(node))


@pytest.mark.statement("R-047")
def test_secrets_are_compared_in_constant_time() -> None:
    found = [place for file, tree in product_files() for place in secret_comparisons(file, tree)]
    assert not found, "use hmac.compare_digest:\n" + "\n".join(map(str, found))


@pytest.mark.parametrize(
    "code",
    [
        "passcode == expected",
        "expected != request.passcode",
        "row['mac'] == computed",
        "hotp.passcode(counter) == typed",
        "client_secret == other",
        "passcode in window",
        "request.message_authenticator == computed",
    ],
)
def test_each_comparison_of_a_secret_is_found(code: str) -> None:
    assert len(list(secret_comparisons("planted.py", ast.parse(code)))) == 1


@pytest.mark.parametrize(
    "code",
    ["password == ''", "len(passcode) == digits", "passcode is None", "client.message_authenticator == Rule.REQUIRED"],
)
def test_a_comparison_that_tells_no_secret_is_let_be(code: str) -> None:
    assert not list(secret_comparisons("innocent.py", ast.parse(code)))


# A name does not always tell that a secret is compared, so these places are written down.
CONSTANT_TIME = {
    ("first_factor/crypt.py", "matches"),
    ("gateways/web_login.py", "_is_ours"),
    ("radius_client/client.py", "answer"),
    ("radius_client/wire.py", "signed"),
    ("radius_server/accounting.py", "_check_message_authenticator"),
    ("radius_server/accounting.py", "_secret"),
    ("store/audit.py", "_same"),
    ("store/formats/pskc/opening.py", "_checked"),
    ("validation/decide.py", "_passcode_failed"),
    ("validation/onboarding.py", "ticket_refusal"),
    ("validation/reusing.py", "opened_by"),
    ("validation/tokens/kind.py", "consecutive"),
    ("validation/tokens/kind.py", "first_equal"),
    ("validation/tokens/kind.py", "likely_or_first"),
    ("validation/tokens/recovery_code.py", "_compare"),
    ("validation/tokens/webauthn.py", "check_assertion"),
    ("validation/tokens/yubico_otp.py", "_position"),
}


def constant_time(file: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node, function in nodes_with_function(tree):
        if isinstance(node, ast.Call) and last_name(node) == "compare_digest":
            yield file, function


@pytest.mark.statement("R-047")
def test_what_is_compared_in_constant_time_still_is() -> None:
    found = {place for file, tree in product_files() for place in constant_time(file, tree)}
    assert found >= CONSTANT_TIME


def imports_of_random(file: str, tree: ast.Module) -> Iterator[Place]:
    for node, function in nodes_with_function(tree):
        if isinstance(node, ast.Import):
            modules = [name.name for name in node.names]
        else:
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if "random" in modules:
            yield Place(file, function, ast.unparse(node))


@pytest.mark.statement("O-050", "V-002")
def test_no_weak_dice() -> None:
    found = [place for file, tree in product_files() for place in imports_of_random(file, tree)]
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("code", ["import random", "import os, random as r", "from random import Random"])
def test_weak_dice_are_found(code: str) -> None:
    assert len(list(imports_of_random("planted.py", ast.parse(code)))) == 1
