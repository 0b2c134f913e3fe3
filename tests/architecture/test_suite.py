"""What holds for the tests themselves: each can fail, its marks are true, a missing peer is named."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, last_name, trees
from tests.peers import peers

# --- Every test can fail


def idle_tests(tree: ast.Module) -> list[str]:
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not any(can_fail(inner) for inner in ast.walk(node))
    ]


def can_fail(node: ast.AST) -> bool:
    match node:
        case ast.Assert(test=claim):
            return not isinstance(claim, ast.Constant)
        case ast.Call(func=ast.Attribute(value=ast.Name(id="pytest"), attr="raises" | "warns")):
            return True
        case ast.Call(func=function):
            return last_name(function).startswith(("assert_", "check_"))
        case _:
            return False


def test_every_test_can_fail() -> None:
    idle = [f"{file}: {name}" for file, tree in trees(ROOT / "tests") for name in idle_tests(tree)]
    assert not idle, "\n".join(idle)


@pytest.mark.parametrize(
    ("body", "idle"),
    [
        ("login()", True),
        ("assert True", True),
        ("assert login()", False),
        ("with pytest.raises(ValueError):\n  login()", False),
        ("check_login(server)", False),
    ],
)
def test_a_test_that_cannot_fail_is_found(body: str, idle: bool) -> None:
    assert bool(idle_tests(ast.parse(f"def test_x():\n {body}"))) is idle


def test_every_folder_of_tests_is_a_package() -> None:
    """Without __init__.py, tests/validation would be found as the product's validation."""
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


# --- Marks and peers, in a pytest run of its own


def run_pytest(tmp_path: Path, *marks: str, **environment: str) -> tuple[int, str]:
    """Exit status and output for one test that always passes per mark."""
    tests = "".join(f"@pytest.mark.{mark}\ndef test_{n}():\n    assert pytest\n" for n, mark in enumerate(marks))
    (tmp_path / "test_planted.py").write_text(f"import pytest\n{tests}")
    # fmt: off
    command: list[str | Path] = [
        sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "--rootdir", tmp_path,
        "-p", "tests.conftest", "-p", "no:cacheprovider", tmp_path,
    ]
    # fmt: on
    inherited = {name: value for name, value in os.environ.items() if name != "TWOFOLD_REQUIRE_PEERS"}
    result = subprocess.run(command, cwd=ROOT, env=inherited | environment, capture_output=True, text=True)
    return result.returncode, result.stdout + result.stderr


def test_a_slip_in_a_mark_stops_the_run(tmp_path: Path) -> None:
    complaint_about = {
        'statement("R-1")': "test_0: no statement id: 'R-1'",
        'statement("R-001", "X-001")': "test_1: no statement id: 'X-001'",
        'statement("R-001 to R-014")': "test_2: no statement id: 'R-001 to R-014'",
        "statement": "test_3: mark statement without an argument",
        'peer("radclinet")': "test_4: peer not in tests/peers/peers.py: 'radclinet'",
        'statement("R-001")': "",
    }
    status, output = run_pytest(tmp_path, *complaint_about)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert not [complaint for complaint in complaint_about.values() if complaint not in output], output
    assert "test_5" not in output
    assert "passed" not in output


def test_an_unknown_mark_stops_the_run(tmp_path: Path) -> None:
    status, output = run_pytest(tmp_path, 'statment("R-001")')
    assert status == pytest.ExitCode.INTERRUPTED
    assert "'statment' not found in `markers`" in output


@pytest.fixture
def folder_on_path(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def test_a_peer_that_is_there_is_used(tmp_path: Path, folder_on_path: Path) -> None:
    (folder_on_path / "radclient").touch(mode=0o755)
    status, output = run_pytest(tmp_path, 'peer("radclient")', PATH=str(folder_on_path), TWOFOLD_REQUIRE_PEERS="1")
    assert (status, "1 passed" in output) == (pytest.ExitCode.OK, True), output


@pytest.mark.parametrize(
    ("required", "expected_status", "summary"),
    [("", pytest.ExitCode.OK, "1 skipped"), ("1", pytest.ExitCode.TESTS_FAILED, "1 error")],
)
def test_a_missing_peer_is_named(
    tmp_path: Path, folder_on_path: Path, required: str, expected_status: int, summary: str
) -> None:
    status, output = run_pytest(tmp_path, 'peer("radclient")', PATH=str(folder_on_path), TWOFOLD_REQUIRE_PEERS=required)
    assert status == expected_status, output
    assert summary in output
    assert "radclient is not on the PATH (Debian package freeradius-utils)" in output


def test_the_packages_are_listed_without_pytest() -> None:
    result = subprocess.run(
        [sys.executable, "-I", "-S", ROOT / "tests/peers/peers.py", "--packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == peers.packages()
