"""C-011: the nth write, fsync, truncation, link or creation under a gate fails, once or from then on.

Every seventh n here; `python -m tests.faults.failing` goes through them all.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from store import config as configuration
from store import opening
from tests.faults.failing import SOURCE

pytestmark = pytest.mark.peer("cc")


def run(*arguments: str) -> tuple[list[str], dict[str, int]]:
    """What was complained of, and how many rounds there were."""
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    program = [sys.executable, "-m", "tests.faults.failing", *arguments]
    root = Path(__file__).parents[2]
    done = subprocess.run(program, cwd=root, env=environment, capture_output=True, text=True, timeout=110)
    *complaints, counted = done.stdout.splitlines() or [""]
    assert done.returncode in (0, 1), done.stderr
    assert (done.returncode == 1) == bool(complaints), done.stdout
    return complaints, json.loads(counted)["rounds"]


@pytest.mark.statement("C-011")
def test_a_write_that_fails_makes_no_accept_without_a_record_and_no_half_file() -> None:
    complaints, rounds = run("--every", "7", "--init-every", "97")
    assert complaints == []
    assert rounds["logins"] > 4 * 4, "each of four sorts of failure met several changes"
    assert rounds["init"] > 4 * 2


def test_a_gate_that_answers_without_its_commit_is_found_out() -> None:
    """The rounds can fail: both what must not happen is seen to happen."""
    complaints, _ = run("--every", "12", "--hasty")
    assert [text for text in complaints if text.endswith("one PIN was accepted 2 times")] != []
    assert [text for text in complaints if text.endswith("2 accepted, 0 recorded")] != []


KILLED = """
import os, signal, sys
from pathlib import Path
from store import config, opening
file, sync = Path(sys.argv[1]), os.fsync
left = int(sys.argv[2])
def die(descriptor):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(descriptor)
os.fsync = die
opening.create_config(file, "test")
opening.create(config.load(file), "test")
"""


@pytest.mark.statement("C-011")
@pytest.mark.parametrize(("done", "there"), [(0, []), (1, ["t.toml"]), (2, ["t.toml"]), (3, ["master.key", "t.toml"])])
def test_an_init_killed_while_it_writes_a_file_leaves_no_half_and_the_next_one_finishes(
    tmp_path: Path, done: int, there: list[str]
) -> None:
    """SIGKILL before configuration, its name, the key, or its name is on the disk."""
    file = tmp_path / "t.toml"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(file), str(done)], cwd=Path(__file__).parents[2])
    assert killed.returncode == -signal.SIGKILL
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == there
    assert opening.create_config(file, "test") is (there == [])
    opening.create(configuration.load(file), "test")
    assert opening.read_trail(configuration.load(file)).problems == ()


RECORDS = """
import errno, sys
from pathlib import Path
from radius_server.record_file import RecordFile
from tests.faults.failing import Fault, Switch
path, switch = Path(sys.argv[1]), Switch()
file = RecordFile(path)
file.append(b"first\\n")
with switch.armed(path.parent, Fault(1000, errno.EIO, False)) as seen:
    file.append(b"second\\n")
for nth in range(1, seen.changes + 1):
    with switch.armed(path.parent, Fault(nth, errno.EIO, False)):
        try:
            file.append(b"lost\\n")
        except OSError:
            continue
    print("answered though change", nth, "failed")
print(seen.changes, "changes")
"""


@pytest.mark.statement("R-141")
def test_a_record_counts_when_it_is_on_the_disk_and_leaves_nothing_when_it_is_not(tmp_path: Path) -> None:
    """Written, and synced; with either failing there is no answer and no half line."""
    library, file = tmp_path / "failing_io.so", tmp_path / "books" / "books.jsonl"
    file.parent.mkdir()
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], check=True)
    done = subprocess.run(
        [sys.executable, "-c", RECORDS, str(file)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("2 changes\n", "")
    assert file.read_bytes() == b"first\nsecond\n"
