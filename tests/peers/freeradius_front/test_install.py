"""contrib/freeradius/install.sh on an untouched FreeRADIUS: put in, looked at, taken out."""

from collections.abc import Callable, Iterator

import pytest

from tests.peers.freeradius_front import front as fronts
from tests.peers.freeradius_front.front import RADDB, SETTINGS, Front, settings
from tests.site import SECRET

pytestmark = pytest.mark.peer(*fronts.PROGRAMS)

PROGRAM = "/usr/local/sbin/twofold-freeradius"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with fronts.front(tmp_path_factory.mktemp("install"), "--preset", "freeradius") as made:
        yield made


def listing(front: Front) -> str:
    """Every file of FreeRADIUS with owner, rights, and what is in it."""
    script = (
        f"cd {RADDB} && find . -printf '%p %u:%g %m %l\\n' | sort && find . -type f -exec sha256sum {{}} + | sort -k2"
    )
    return front.world.run("sh", "-c", script).stdout


def test_undo_leaves_all_as_it_was(front: Front) -> None:
    before = listing(front)
    for site in ("eap", "pin", "pap"):
        front.install(site)
    said = front.world.run(front.contrib / "install.sh", "undo").stdout
    assert f"put back: {RADDB}/sites-enabled/default" in said
    assert f"{SETTINGS} holds secrets and is left" in said
    front.world.run("rm", SETTINGS)
    assert listing(front) == before
    assert front.world.run("test", "-e", PROGRAM, check=False).returncode == 1
    front.world.run(front.contrib / "install.sh", "undo")
    assert listing(front) == before, "and once more"


def test_again_changes_nothing_and_keeps_what_was_edited(front: Front) -> None:
    front.install("eap")
    front.write_settings(settings())
    front.world.run("sh", "-c", f"echo '# mine' >>{RADDB}/policy.d/twofold")
    before = listing(front)
    assert f"kept: {RADDB}/twofold-replaced/policy.d/twofold" in front.install("eap")
    assert "# mine" in front.world.read(f"{RADDB}/twofold-replaced/policy.d/twofold")
    assert front.world.read(SETTINGS) == settings()
    front.world.run("mv", f"{RADDB}/twofold-replaced/policy.d/twofold", f"{RADDB}/policy.d/twofold")
    front.world.run("rmdir", f"{RADDB}/twofold-replaced/policy.d")
    assert listing(front) == before


@pytest.mark.parametrize("site", ["pap", "eap", "pin"])
def test_a_host_that_is_set_up_has_nothing_wrong(front: Front, site: str) -> None:
    front.install(site)
    front.write_settings(settings())
    checked = front.check()
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, "all is well"), checked.stdout
    assert "/usr/sbin/freeradius -XC accepts the configuration" in checked.stdout
    assert "every Twofold server answers Status-Server" in checked.stdout


def shell(script: str) -> Callable[[Front], None]:
    def spoil(front: Front) -> None:
        front.world.run("sh", "-c", script)

    return spoil


def edited(**values: str) -> Callable[[Front], None]:
    return lambda front: front.write_settings(settings(**values))


WRONG: dict[str, tuple[Callable[[Front], None], str]] = {
    "settings that others can read": (shell(f"chmod 644 {SETTINGS}"), f"chmod 640 {SETTINGS}"),
    "settings of another": (shell(f"chown freerad {SETTINGS}"), f"chown root:freerad {SETTINGS}"),
    "a program that others can change": (shell(f"chmod 777 {PROGRAM}"), f"chmod 755 {PROGRAM}"),
    "a site that is not there": (shell(f"rm {RADDB}/sites-available/twofold-inner"), "twofold-inner is missing"),
    "the secret of the example": (
        edited(secret="put-the-secret-of-twofold-here"),
        "twofold_secret is still that of the example",
    ),
    "another secret": (edited(secret="another-secret-of-some-length"), "WRONG: 192.0.2.1:1812: no reply"),
    "a server that is not there": (edited(server_2="192.0.2.9"), "WRONG: 192.0.2.9:1812: "),
    "the secret of a gateway of the example": (
        shell(f"sed -i 's/{fronts.NAS_SECRET}/testing123/' {SETTINGS}"),
        "the secret of a gateway is still that of the example",
    ),
    "a gateway that need not sign": (
        shell(f"sed -i 's/require_message_authenticator = yes/require_message_authenticator = no/' {SETTINGS}"),
        "require_message_authenticator = no",
    ),
    "the certificate of Debian": (
        edited(certificate="/etc/ssl/certs/ssl-cert-snakeoil.pem"),
        "twofold_certificate is Debian's own",
    ),
    "a key that freerad cannot read": (
        shell(f"chown root:root {fronts.KEY} && chmod 600 {fronts.KEY}"),
        f"{fronts.KEY} cannot be read by freerad",
    ),
    "a key that all can read": (shell(f"chmod 644 {fronts.KEY}"), f"chmod o= {fronts.KEY}"),
    "the site of Debian": (
        shell(f"ln -s ../sites-available/default {RADDB}/sites-enabled/default"),
        "sites-enabled/default answers logins without Twofold",
    ),
    "the EAP of Debian": (
        shell(f"ln -s ../mods-available/eap {RADDB}/mods-enabled/eap"),
        "mods-enabled/eap still allows EAP-MD5",
    ),
    "two sites": (
        shell(f"ln -s ../sites-available/twofold-pap {RADDB}/sites-enabled/twofold-pap"),
        "more than one site",
    ),
    "no site": (shell(f"rm {RADDB}/sites-enabled/twofold-eap"), "no site of Twofold"),
    "a slip of the pen": (
        shell(f"sed -i 's/^twofold_servers = .*/twofold_servers = \"3\"/' {SETTINGS}"),
        "freeradius -XC does not accept the configuration",
    ),
    "settings that are not read": (shell(f"sed -i '/twofold/d' {RADDB}/proxy.conf"), "proxy.conf does not read"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_named(front: Front, wrong: str) -> None:
    spoil, complaint = WRONG[wrong]
    front.install("eap")
    front.write_settings(settings())
    try:
        spoil(front)
        checked = front.check()
    finally:
        front.world.run("sh", "-c", f"rm -f {RADDB}/sites-enabled/default {RADDB}/mods-enabled/eap")
        front.world.run("sh", "-c", f"chown root:freerad {SETTINGS} {fronts.KEY}; chmod 640 {SETTINGS} {fronts.KEY}")
    assert checked.returncode == 1, checked.stdout
    assert complaint in checked.stdout, checked.stdout
    assert SECRET.decode() not in checked.stdout + checked.stderr


def test_the_clients_of_debian_get_no_answer(front: Front) -> None:
    """Its clients.conf lets whoever is on the host ask, with a secret that everybody knows."""
    front.install("pap")
    front.write_settings(settings().replace("ipaddr = 127.0.0.1", "ipaddr = 192.0.2.20"))
    front.start()
    asked = ("radclient", "-x", "-r", "1", "-t", "1", "127.0.0.1:1812", "status", "testing123")
    assert "No reply from server" in front.world.run(*asked, stdin="Message-Authenticator = 0x00", check=False).stdout
    assert "unknown client 127.0.0.1" in front.log()
    front.stop()


def test_an_older_freeradius_is_named(front: Front) -> None:
    """Stood in for by a program of that name that tells an older version."""
    front.install("pap")
    front.write_settings(settings())
    front.world.write(
        "/run/world/old", "#!/bin/sh\necho 'freeradius: FreeRADIUS Version 3.0.26, for host x86_64'\n", 0o755
    )
    front.world.run("mount", "--bind", "/run/world/old", "/usr/sbin/freeradius")
    try:
        checked = front.check()
    finally:
        front.world.run("umount", "/usr/sbin/freeradius")
    assert checked.returncode == 1
    assert "FreeRADIUS 3.0.26: these files are for 3.2" in checked.stdout
    assert "require_message_authenticator" in checked.stdout


def test_other_words_are_explained(front: Front) -> None:
    for words in ((), ("everything",)):
        done = front.world.run(front.contrib / "install.sh", *words, check=False)
        assert (done.returncode, "usage: install.sh" in done.stderr) == (1, True)
    front.world.run("cp", front.contrib / "install.sh", "/run/world")  # where alice can read it
    done = front.world.run("/run/world/install.sh", "pap", user="alice", check=False)
    assert (done.returncode, "needs root" in done.stderr) == (1, True)
