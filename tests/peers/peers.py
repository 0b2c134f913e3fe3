"""The programs of other projects that tests drive or build with, each with the Debian package that brings it.

A missing program skips its tests by name; with TWOFOLD_REQUIRE_PEERS=1 it fails them. `python3 peers.py --packages`
prints the packages for apt, and needs the standard library alone.
"""

import os
import shutil
import sys

HEADERS = "/usr/include/security"

PACKAGE_OF = {
    "awk": "mawk",
    "bash": "bash",
    "cc": "gcc",
    "chpasswd": "passwd",
    "fido2-assert": "fido2-tools",
    "fido2-cred": "fido2-tools",
    "fido2-token": "fido2-tools",
    "gcc": "gcc",
    "google-authenticator": "libpam-google-authenticator",
    "ip": "iproute2",
    "login": "login",
    "make": "make",
    "mount": "mount",
    "nsenter": "util-linux",
    "oathtool": "oathtool",
    "pam_modules.h": "libpam0g-dev",
    "pamtester": "pamtester",
    "radclient": "freeradius-utils",
    "scp": "openssh-client",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "sftp": "openssh-client",
    "sqlite3": "sqlite3",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "su": "util-linux",
    "sudo": "sudo",
    "systemd-analyze": "systemd",
    "unshare": "util-linux",
    "useradd": "passwd",
    "zbarimg": "zbar-tools",
}


def packages() -> list[str]:
    return sorted(set(PACKAGE_OF.values()))


def require(program: str) -> str:
    """The path of a program or header in the table. Without it the running test is skipped, or fails if required."""
    import pytest

    package = PACKAGE_OF[program]
    path = shutil.which(program) or shutil.which(program, os.F_OK, HEADERS)
    if path is not None:
        return path
    reason = f"{program} is not on the PATH (Debian package {package})"
    if os.environ.get("TWOFOLD_REQUIRE_PEERS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def main(arguments: list[str]) -> int:
    if arguments != ["--packages"]:
        print("usage: peers.py --packages", file=sys.stderr)
        return 2
    print("\n".join(packages()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
