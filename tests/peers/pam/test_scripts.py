"""Programs that cannot type a PIN: scp, sftp, and a row of commands over ssh, under a reuse window and without one.

sshd and its clients run in a network namespace of their own: a reuse window wants to know where somebody comes from,
and loopback says nothing.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers import peers
from tests.peers.pam.house import PIN, House
from tests.peers.pam.programs import KEY_AND_KEYBOARD, PROOF, visit
from tests.peers.world import World
from tests.site import eventually

pytestmark = pytest.mark.peer("ssh", "sshd", "scp", "sftp", "ssh-keygen", "ip", "nsenter", "unshare", "cc")

ADDRESS, PORT = "10.77.0.1", "2222"
IN_NET = ("ip", "netns", "exec", "office")


def options(world: World) -> list[str]:
    given = {
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
        "NumberOfPasswordPrompts": "1",
        "ControlMaster": "no",
    }
    return ["-F", "/dev/null", "-i", f"{world.path}/client_key"] + [
        p for k, v in given.items() for p in ("-o", f"{k}={v}")
    ]


@pytest.fixture(scope="module")
def office(world: World, house: House) -> Iterator[World]:
    for program in ("ip", "scp", "sftp"):
        peers.require(program)
    world.run("ip", "netns", "add", "office")
    world.run("ip", "-n", "office", "link", "set", "lo", "up")
    world.run("ip", "-n", "office", "address", "add", f"{ADDRESS}/32", "dev", "lo")
    lines = [
        f"Port {PORT}",
        f"ListenAddress {ADDRESS}",
        f"HostKey {world.path}/host_key",
        "UsePAM yes",
        "KbdInteractiveAuthentication yes",
        "PasswordAuthentication no",
        f"AuthenticationMethods {KEY_AND_KEYBOARD}",
        "Subsystem sftp internal-sftp",
        f"PidFile {world.path}/office.pid",
    ]
    world.write(world.path / "office_config", "\n".join(lines) + "\n")
    server = world.start(*IN_NET, peers.require("sshd"), "-D", "-f", world.path / "office_config", log="office.log")
    probe = f"exec 3<>/dev/tcp/{ADDRESS}/{PORT} && head -c 4 <&3"
    eventually(lambda: world.run(*IN_NET, "bash", "-c", probe, check=False).stdout == "SSH-", what="sshd")
    yield world
    server.stop()
    world.run("ip", "netns", "delete", "office")


def by_hand(world: World, *answers: tuple[str, str]) -> str | None:
    command = (*IN_NET, peers.require("ssh"), "-p", PORT, *options(world), f"alice@{ADDRESS}", PROOF)
    return visit(world, command, answers).who


def by_script(world: World, folder: Path) -> list[int]:
    """How five programs end that have nobody to ask: three commands, as Ansible sends them, scp and sftp."""
    world.write(folder / "from", "a file\n")
    world.write(folder / "batch", f"put {folder}/from {folder}/by-sftp\n")
    ssh = ("ssh", "-p", PORT, *options(world), f"alice@{ADDRESS}")
    commands: list[tuple[str, ...]] = [
        (*ssh, "true"),
        (*ssh, "mkdir -p ~/.ansible"),
        (*ssh, "rmdir ~/.ansible"),
        ("scp", "-P", PORT, *options(world), f"{folder}/from", f"alice@{ADDRESS}:{folder}/by-scp"),
        ("sftp", "-P", PORT, "-o", "BatchMode=no", *options(world), "-b", f"{folder}/batch", f"alice@{ADDRESS}"),
    ]
    return [world.run(*IN_NET, "setsid", "--wait", *command, check=False).returncode for command in commands]


def test_one_pin_is_enough_for_a_row_of_programs_under_a_reuse_window(office: World, house: House) -> None:
    house.no_policies()
    house.usual_stacks(ssh_keys=True)
    house.policy("reuse_window", "8h")
    alice = house.somebody()
    folder = office.path / "scripts"
    office.run("install", "--directory", "--mode=777", folder)
    assert all(by_script(office, folder)), "before anybody has typed a PIN"
    assert by_hand(office, (PIN, alice.pin())) == "alice"
    assert by_script(office, folder) == [0, 0, 0, 0, 0], house.said()
    assert [office.read(folder / name) for name in ("by-scp", "by-sftp")] == ["a file\n"] * 2
    assert [reason for _, reason in house.site.logins()[-5:]] == ["reused"] * 5


def test_without_a_reuse_window_they_are_refused(office: World, house: House) -> None:
    house.no_policies()
    house.usual_stacks(ssh_keys=True)
    alice = house.somebody()
    assert by_hand(office, (PIN, alice.pin())) == "alice"
    assert all(by_script(office, office.path / "refused"))


def test_a_revocation_ends_the_window_at_once(office: World, house: House) -> None:
    house.no_policies()
    house.usual_stacks(ssh_keys=True)
    house.policy("reuse_window", "8h")
    alice = house.somebody()
    other = house.site.enroll("alice")
    assert by_hand(office, (PIN, alice.pin())) == "alice"
    house.revoke(alice)
    assert all(by_script(office, office.path / "revoked"))
    assert house.site.token_row(other.serial)["state"] == "active"
