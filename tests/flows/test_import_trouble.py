"""An import that is killed, two at once, one during logins, one of many rows: all of a file or nothing, in bounds."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from store.connections import DEADLINE
from tests.flows import failpoint_server
from tests.site import PASSWORD, TWOFOLD, Site, eventually, pin
from tests.wire import ACCEPT
from validation.model import Mode


def box(folder: Path, name: str, rows: int, start: int = 0) -> Path:
    """A file of tokens with keys of their own."""
    path = folder / name
    path.write_text("".join(f"B{n},{os.urandom(20).hex()},totp,6,30\n" for n in range(start, start + rows)))
    return path


def serials(site: Site) -> int:
    from store import listings

    with site.database.connections.reading() as connection:
        return len(listings.token_rows(connection))


def events(site: Site) -> list[object]:
    return [row["event"] for row in site.audit()]


@pytest.mark.statement("O-103")
@pytest.mark.parametrize(("when", "imported"), [("before", 0), ("after", 2500)])
def test_killed_it_leaves_all_or_nothing(site: Site, tmp_path: Path, when: str, imported: int) -> None:
    """SIGKILL before COMMIT, when all rows were written, and after it."""
    file, armed = box(tmp_path, "box.csv", 2500), tmp_path / "armed"
    armed.touch()
    program = [sys.executable, str(Path(failpoint_server.__file__)), when, str(armed)]
    arguments = ["--config", str(site.config_file), "token", "import", str(file)]
    done = subprocess.run([*program, *arguments], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done
    assert serials(site) == imported
    assert events(site).count("token-import") == bool(imported)
    again = site.command("token", "import", str(file))
    assert again.returncode == 0
    assert (f"unchanged   {imported}" if imported else "imported    2500") in again.stdout
    assert serials(site) == 2500
    verified = site.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout


def test_two_at_once_import_each_token_once(site: Site, tmp_path: Path) -> None:
    """The same file twice at the same time, and one that shares a part of it."""
    file = box(tmp_path, "box.csv", 1500)
    command = [*TWOFOLD, "--config", str(site.config_file), "token", "import", str(file)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert serials(site) == 1500
    assert events(site).count("token-import") == 1
    assert sum("imported    1500" in out for out, _ in said) == 1
    assert sum("unchanged   1500" in out for out, _ in said) == 1
    assert site.command("audit", "verify").returncode == 0


def test_logins_go_on_during_an_import(site: Site, tmp_path: Path) -> None:
    """Keys are sealed before the transaction, so that nobody waits for that; no login is left without an answer."""
    site.add_user("alice")
    token = site.enroll("alice", kind="hotp")
    site.add_client(mode=Mode.APPEND)
    file = box(tmp_path, "box.csv", 12_000)
    ended = threading.Event()
    done: list[subprocess.CompletedProcess[str]] = []

    def load() -> None:
        done.append(site.command("token", "import", str(file)))
        ended.set()

    with site.server() as server, server.nas() as nas:
        assert nas.login("alice", PASSWORD + pin(token)).code == ACCEPT
        thread = threading.Thread(target=load)
        thread.start()
        logins = 1
        while not ended.is_set():
            assert nas.login("alice", PASSWORD + pin(token, logins)).code == ACCEPT, f"within {DEADLINE} s"
            logins += 1
        thread.join()
    assert logins > 1
    assert (done[0].returncode, serials(site)) == (0, 12_001), done
    eventually(lambda: site.token_row(token.serial)["moving_factor"] == logins, what="each login used its counter")


def test_many_rows_fit_into_one_transaction_and_into_memory(site: Site, tmp_path: Path) -> None:
    """20,000 here; benchmarks/import_tokens.py does 100,000, of every format that we write."""
    file = box(tmp_path, "box.csv", 20_000)
    measured = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [*TWOFOLD, "--config", str(site.config_file), "token", "import", str(file)]
    done = subprocess.run([sys.executable, "-c", measured, *command], stdout=subprocess.PIPE, check=True)
    assert int(done.stdout) / 1024 < 150, "MiB"
    assert (serials(site), events(site).count("token-import")) == (20_000, 1)
