"""`make install` puts everything in its place and changes nobody's login; `make uninstall` leaves nothing behind.

Rule: it is installed from nothing only twice, once below DESTDIR and once into the system, because that takes 25 s of
a processor. Tests that change an installation get a copy of one.
"""

import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.docs.pages import steps, text_of
from tests.peers.installing import (
    Kept,
    PrivateSystem,
    difference,
    helper,
    make,
    module,
    pam_directory,
    private_system,
    tree,
)

pytestmark = [pytest.mark.peer("make"), pytest.mark.timeout(400)]
needs_system = pytest.mark.peer("unshare", "mount", "useradd", "setpriv")

PYTHON = "/usr/bin/python3"
TWOFOLD = "/usr/local/bin/twofold"
KEPT = (
    "/etc/twofold",
    "/etc/twofold/twofold.toml",
    "/var/lib/twofold",
    "/var/lib/twofold/master.key",
    "/var/lib/twofold/twofold.db.ballast",
    "/var/lib/twofold/twofold.db",
)
NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--")


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


# --- below DESTDIR


@dataclass(frozen=True)
class Destination:
    """A folder into which everything was installed, and what was in it before."""

    folder: Path
    before: dict[str, str]


@pytest.fixture(scope="module")
def made_below(tmp_path_factory: pytest.TempPathFactory) -> Destination:
    """With PREFIX=/srv/two below a DESTDIR that has a stack in it, a blank in its name, and by somebody whose files are
    his alone. An earlier run was cut short: it left an environment of ours that cannot install anything."""
    folder = tmp_path_factory.mktemp("destination") / "a place"
    (folder / "etc/pam.d").mkdir(parents=True)
    (folder / "etc/pam.d/sshd").write_text("@include common-auth\n")
    before = tree(folder)
    prefix = folder / "srv/two"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", prefix], check=True, timeout=120)
    for path in (prefix / ".twofold", prefix / "half"):
        path.touch()
    make("install", f"DESTDIR={folder}", "PREFIX=/srv/two", umask=0o077)
    return Destination(folder, before)


@pytest.fixture(scope="module")
def destination(made_below: Destination) -> Path:
    return made_below.folder


def twofold_in(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    program = folder / "srv/two/bin"
    command = [str(program / "python"), "-I", str(program / "twofold"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)


def test_what_is_installed_runs(destination: Path, tmp_path: Path) -> None:
    assert twofold_in(destination, "--version").stdout.startswith("twofold ")
    made = twofold_in(destination, "--config", str(tmp_path / "twofold.toml"), "init")
    assert (made.returncode, made.stdout.splitlines()[-1]) == (0, "ready")
    shown = twofold_in(destination, "demo")
    assert (shown.returncode, "Everything went as it should" in shown.stdout) == (0, True), shown.stderr


def test_an_installation_that_was_cut_short_is_made_anew(destination: Path) -> None:
    python = destination / "srv/two/bin/python"
    done = subprocess.run([python, "-I", "-m", "pip", "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("pip ")
    assert not (destination / "srv/two/half").exists()


def test_everything_has_its_place_and_its_mode(destination: Path) -> None:
    built = destination / str(pam_directory()).lstrip("/") / "pam_twofold.so"
    assert built.read_bytes() == module().read_bytes()
    assert mode(built) == "0644"
    assert mode(destination / "etc/twofold") == "0750"
    assert mode(destination / "var/lib/twofold") == "0700"
    assert mode(destination / "usr/local/bin/twofold") == "0755"
    assert (destination / "srv/two/share/twofold/pam/debian/sshd").is_file()
    assert (destination / "etc/pam.d/sshd").read_text() == "@include common-auth\n"
    assert (destination / "srv/two/share/twofold/udev/71-twofold-security-keys.rules").is_file()
    assert not (destination / "etc/udev").exists()  # who may use security keys is not changed by installing
    assert list((destination / "etc/twofold").iterdir()) == []
    folder = destination / "srv/two"
    for path in [folder, *folder.rglob("*")]:
        wanted = 0o555 if path.is_dir() else 0o444
        assert path.is_symlink() or path.stat().st_mode & wanted == wanted, f"{path} is not for everybody"


def test_the_prefix_stands_wherever_a_program_is_named(destination: Path) -> None:
    for unit in ("twofold-pam.service", "twofold-radius.service"):
        text = (destination / "etc/systemd/system" / unit).read_text()
        assert "ExecStart=/srv/two/bin/python -I /srv/two/bin/twofold " in text
        assert "/opt/twofold" not in text
    scripts = [path for path in (destination / "srv/two/bin").iterdir() if not path.is_symlink()]
    assert [path.name for path in scripts if str(destination).encode() in path.read_bytes()] == []
    begins = (destination / "srv/two/bin/twofold").read_text().partition("import")[0]
    assert "/srv/two/bin/python" in begins


def test_uninstalling_leaves_what_was_there_before(made_below: Destination, tmp_path: Path) -> None:
    folder = tmp_path / "a place"
    subprocess.run(["cp", "-a", made_below.folder, folder], check=True, timeout=60)
    assert len(tree(folder)) > 1000
    make("uninstall", f"DESTDIR={folder}", "PREFIX=/srv/two", "PURGE=1")
    before = made_below.before
    after = {name: look for name, look in tree(folder).items() if (folder / name).is_file() or name in before}
    assert difference(before, after) == {}


def test_a_service_that_was_changed_is_kept_like_the_configuration(made_below: Destination, tmp_path: Path) -> None:
    folder = tmp_path / "a place"
    subprocess.run(["cp", "-a", made_below.folder, folder], check=True, timeout=60)
    service = folder / "etc/pam.d/twofold-first-factor"
    changed = service.read_text() + "account  required  pam_sss.so\n"
    service.write_text(changed)
    out = make("uninstall", f"DESTDIR={folder}", "PREFIX=/srv/two")
    assert "Kept: /etc/pam.d/twofold-first-factor" in out.stdout
    assert service.read_text() == changed
    assert not (folder / "srv/two").exists()


@pytest.mark.parametrize(
    "prefix", ["/", "//", "opt/twofold", "/opt/../etc", "/opt/$(reboot)", "/etc/pam.d", "/opt/two fold"]
)
@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_a_prefix_that_is_not_ours_alone_is_refused(tmp_path: Path, prefix: str, target: str) -> None:
    kept = tmp_path / "etc/pam.d/sshd"
    kept.parent.mkdir(parents=True)
    kept.write_text("@include common-auth\n")
    before = tree(tmp_path)
    command = ["sh", str(ROOT / "contrib/install.sh"), target]
    settings = os.environ | {"PREFIX": prefix, "DESTDIR": str(tmp_path), "PAM_MODULE": str(module())}
    done = subprocess.run(command, capture_output=True, text=True, env=settings, timeout=60)
    assert done.returncode == 1
    assert "PREFIX" in done.stderr
    assert difference(before, tree(tmp_path)) == {}


def refused(folder: Path, target: str, **settings: str) -> str:
    """What install.sh says, which must leave everything as it is."""
    before = tree(folder)
    command = ["sh", str(ROOT / "contrib/install.sh"), target]
    given = os.environ | {"DESTDIR": str(folder), "PAM_MODULE": str(module())} | settings
    done = subprocess.run(command, capture_output=True, text=True, env=given, timeout=60)
    assert (done.returncode, difference(before, tree(folder))) == (1, {})
    return done.stderr


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_an_environment_of_somebody_else_is_not_taken_over_and_not_removed(tmp_path: Path, target: str) -> None:
    (tmp_path / "srv/app/bin").mkdir(parents=True)
    (tmp_path / "srv/app/pyvenv.cfg").write_text("home = /usr/bin\n")
    (tmp_path / "srv/app/bin/app").write_text("#!/bin/sh\n")
    assert "PREFIX=/srv/app holds something else" in refused(tmp_path, target, PREFIX="/srv/app")


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_a_prefix_that_is_a_link_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "srv/real").mkdir(parents=True)
    (tmp_path / "srv/two").symlink_to("real")
    assert "PREFIX=/srv/two is a link" in refused(tmp_path, target, PREFIX="/srv/two")


@pytest.mark.parametrize("place", ["etc/pam.d/su", "usr/lib/pam.d/su", "usr/etc/pam.d/su", "etc/pam.conf"])
def test_while_a_stack_names_the_module_it_stays_wherever_the_stack_is(tmp_path: Path, place: str) -> None:
    stack = tmp_path / place
    stack.parent.mkdir(parents=True, exist_ok=True)
    stack.write_text("auth required \\\n  pam_twofold.so\n")
    assert "still name pam_twofold.so" in refused(tmp_path, "uninstall")


def test_without_the_module_nothing_is_touched(tmp_path: Path) -> None:
    settings = os.environ | {"DESTDIR": str(tmp_path), "PAM_MODULE": str(tmp_path / "none.so")}
    command = ["sh", str(ROOT / "contrib/install.sh"), "install"]
    done = subprocess.run(command, capture_output=True, text=True, env=settings, timeout=60)
    assert done.returncode == 1
    assert "make module" in done.stderr
    assert list(tmp_path.iterdir()) == []


# --- into the system


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """What an installation from nothing has put into a system. No test has touched it."""
    with private_system(tmp_path_factory.mktemp("installed")) as made:
        assert "No login has changed yet" in made.make("install").stdout
        yield made.keep()


@pytest.fixture(scope="module")
def system(installed: Kept, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateSystem]:
    """For tests that leave the installation as it is."""
    with private_system(tmp_path_factory.mktemp("system"), installed) as made:
        yield made


@needs_system
def test_store_and_key_belong_to_a_user_of_their_own(system: PrivateSystem) -> None:
    shown = system.run("stat", "-c", "%a %U:%G %n", "/etc/twofold", "/etc/twofold/twofold.toml", "/var/lib/twofold")
    assert shown.splitlines() == [
        "750 root:twofold /etc/twofold",
        "640 root:twofold /etc/twofold/twofold.toml",
        "700 twofold:twofold /var/lib/twofold",
    ]
    shown = system.run("stat", "-c", "%a %U %n", "/var/lib/twofold/master.key", "/var/lib/twofold/twofold.db")
    assert [line.split()[:2] for line in shown.splitlines()] == [["600", "twofold"]] * 2
    owners = system.run(
        "find", "/opt/twofold", "(", "!", "-user", "root", "-o", "-perm", "/022", "!", "-type", "l", ")"
    )
    assert owners == ""


@needs_system
def test_no_stack_names_the_module_and_no_unit_is_enabled(system: PrivateSystem) -> None:
    """The one new file there is the service under which the helper checks passwords; no login uses it."""
    changed = {name for name in system.changes() if name.startswith("/etc/pam.d")}
    assert changed == {"/etc/pam.d/twofold-first-factor"}
    assert system.try_("sh", "-c", "find /etc/systemd/system -type l -name '*twofold*'").stdout == ""


@needs_system
def test_what_root_does_leaves_no_file_of_root_in_the_store(system: PrivateSystem) -> None:
    system.run(TWOFOLD, "user", "add", "carol", "--password-stdin", stdin="geheim")
    system.run(TWOFOLD, "--config", "/etc/twofold/twofold.toml", "user", "list")
    doctor = system.try_(TWOFOLD, "doctor")
    assert "SQLite, schema" in doctor.stdout
    assert system.run("find", "/var/lib/twofold", "!", "-user", "twofold") == ""
    stranger = system.try_(*NOBODY, TWOFOLD, "user", "list")
    assert stranger.returncode != 0


@needs_system
def test_a_file_that_root_alone_may_read_is_refused_with_the_name_of_who_may_not(system: PrivateSystem) -> None:
    system.run("sh", "-c", "umask 077 && mkdir -p /run/roots && echo 123456 > /run/roots/tokens.csv")
    done = system.try_(TWOFOLD, "--config", "/etc/twofold/twofold.toml", "token", "import", "/run/roots/tokens.csv")
    said = "/run/roots/tokens.csv: cannot be read: Permission denied for the account twofold\n"
    assert (done.returncode, done.stderr) == (2, f"twofold: {said}")


@needs_system
def test_what_operations_md_types_is_allowed_to_the_services_user(tmp_path: Path, installed: Kept) -> None:
    """The command runs as that user, who may not write and read everywhere, as root may who types."""
    with private_system(tmp_path, installed) as system:
        system.run("mount", "-t", "tmpfs", "tmpfs", "/var/backups")
        system.run("ln", "-s", "/bin/true", "/usr/local/bin/systemctl")
        said: list[str] = []
        for heading in ("Backup", "The audit trail", "Old rows of the trail", "Rotate the master key", "Restore"):
            for step in steps(text_of("operations.md", heading)):
                if not step.command.startswith(("sqlite3", "twofold token", "twofold key rotate")):
                    said.append(system.run("sh", "-c", step.command))
        assert any(line.startswith("restored ") for line in said)
        assert (
            system.run("find", "/var/backups/twofold", "-mindepth", "1", "-printf", "%f %u %m")
            == "store.db twofold 600"
        )


@needs_system
def test_the_helper_needs_no_more_powers_than_its_unit_leaves_it(system: PrivateSystem) -> None:
    system.run(TWOFOLD, "user", "add", "nobody", "--password-stdin", stdin="geheim")
    with helper(system):
        shown = system.run(*NOBODY, TWOFOLD, "profile")
        found = system.try_(TWOFOLD, "doctor").stdout
    assert shown.startswith("nobody, 0 registrations")
    assert "pam helper    answers at /run/twofold/priv/pam.sock and /run/twofold/pam.sock" in found
    assert system.run("find", "/var/lib/twofold", "!", "-user", "twofold") == ""


@needs_system
def test_from_upgrade_to_uninstall(tmp_path: Path, installed: Kept) -> None:
    """Again is an upgrade that keeps the store; out is out, but for what must not be lost, until that goes, too."""
    with private_system(tmp_path, installed) as system:
        programs = str(system.folder / "programs")
        system.run("cp", "-a", "/opt/twofold", programs)
        system.run(TWOFOLD, "user", "add", "carol", "--password-stdin", stdin="geheim")
        key = system.run("cat", "/var/lib/twofold/master.key")
        again = system.make("install")
        assert "nothing to do: everything is there already" in again.stdout
        assert "carol" in system.run(TWOFOLD, "user", "list")

        system.run("sh", "-c", "echo 'auth required pam_twofold.so' >> /etc/pam.d/su")
        assert "/etc/pam.d/su" in system.make("uninstall", status=2).stderr
        assert "carol" in system.run(TWOFOLD, "user", "list")
        system.run("sed", "-i", "/pam_twofold/d", "/etc/pam.d/su")

        system.make("uninstall")
        besides = {f"{KEPT[-1]}{end}" for end in ("-wal", "-shm", ".lock", ".queue")}
        assert system.changes() - besides == set(KEPT)
        assert system.run("find", "/etc/twofold", "/var/lib/twofold", "!", "-user", "root") == ""
        assert system.try_("getent", "passwd", "twofold").stdout == ""

        system.run("cp", "-a", programs, "/opt/twofold")  # to install them from nothing takes long
        system.make("install")
        assert "carol" in system.run(TWOFOLD, "user", "list")
        assert system.run("cat", "/var/lib/twofold/master.key") == key

        system.make("uninstall", "PURGE=1")
        assert system.changes() == set()


# --- odd hosts


@needs_system
def test_an_account_of_that_name_that_is_somebody_is_neither_used_nor_removed(tmp_path: Path) -> None:
    with private_system(tmp_path) as system:
        system.run("useradd", "--no-create-home", "--uid", "4321", "--shell", "/bin/sh", "twofold")
        before = system.changes()
        assert "account twofold" in system.make("install", status=2).stderr
        assert system.changes() == before
        assert "Kept: the account twofold" in system.make("uninstall").stdout
        assert system.run("id", "-u", "twofold") == "4321\n"


@needs_system
def test_a_configuration_with_its_store_beside_it_stays_roots(tmp_path: Path, installed: Kept) -> None:
    """Root's helper believes it, so the user of a server in the network must not be able to change it."""
    with private_system(tmp_path, installed) as system:
        system.run("rm", "-r", "/etc/twofold/twofold.toml", "/var/lib/twofold")
        by_hand = ("/opt/twofold/bin/python", "-I", "/opt/twofold/bin/twofold")
        system.run(*by_hand, "--config", "/etc/twofold/twofold.toml", "init")
        system.make("install")
        shown = system.run("stat", "-c", "%a %U:%G", "/etc/twofold", "/etc/twofold/twofold.toml")
        assert shown.splitlines() == ["1770 root:twofold", "640 root:twofold"]
        system.run(TWOFOLD, "user", "add", "carol", "--password-stdin", stdin="geheim")
        assert "carol" in system.run(TWOFOLD, "user", "list")
        server = ("setpriv", "--reuid=twofold", "--regid=twofold", "--init-groups", "--")
        for command in ("mv /etc/twofold/twofold.toml /etc/twofold/old", "echo >> /etc/twofold/twofold.toml"):
            assert system.try_(*server, "sh", "-c", command).returncode != 0, command
        assert "others can put files" not in system.try_(TWOFOLD, "doctor").stdout


@needs_system
def test_a_store_behind_a_link_and_an_upgrade_that_was_cut_short(tmp_path: Path, installed: Kept) -> None:
    with private_system(tmp_path, installed) as system:
        system.run("sh", "-c", "mkdir /opt/data && mv /var/lib/twofold /opt/data && ln -s /opt/data/twofold /var/lib/")
        system.run("sh", "-c", "rm -r /opt/twofold/lib/python*/site-packages/store /opt/twofold/bin/twofold")
        system.make("install")
        system.run(TWOFOLD, "user", "add", "carol", "--password-stdin", stdin="geheim")

        out = system.make("uninstall", "PURGE=1").stdout
        assert "/opt/data/twofold" in out
        assert "removes them for good" not in out
        assert system.run("find", "/opt/data/twofold", "-name", "master.key") != "", "nobody said so of what is there"
        assert system.run("find", "/opt/data/twofold", "!", "-user", "root") == ""
        assert system.try_("getent", "passwd", "twofold").stdout == ""
