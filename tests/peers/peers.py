"""The programs of other projects that tests drive or build with, each with the Debian package that brings it.

A missing program skips its tests by name; with TWOFOLD_REQUIRE_PEERS=1 it fails them. `python3 peers.py --packages`
prints the packages for apt, and needs the standard library alone.
"""

import os
import shutil
import sys
from glob import glob

HEADERS = "/usr/include/security"
DICTIONARIES = "/usr/share/freeradius"
MODULES = (
    "/lib/*/security",
    "/usr/lib/openvpn",
    "/usr/lib/apache2/modules",
    "/usr/lib/freeradius",
    "/usr/lib/ipsec/plugins",
    "/usr/lib/postgresql/*/bin",
)
DAEMONS = ("/usr/sbin", "/usr/lib/ipsec")  # not on everybody's PATH

PACKAGE_OF = {
    "apache2": "apache2",
    "awk": "mawk",
    "bash": "bash",
    "cc": "gcc",
    "charon": "strongswan-charon",
    "charon-cmd": "charon-cmd",
    "chpasswd": "passwd",
    "curl": "curl",
    "dictionary.rfc2865": "freeradius-common",
    "eapol_test": "eapoltest",
    "fido2-assert": "fido2-tools",
    "fido2-cred": "fido2-tools",
    "fido2-token": "fido2-tools",
    "freeradius": "freeradius",
    "gcc": "gcc",
    "google-authenticator": "libpam-google-authenticator",
    "hostapd": "hostapd",
    "ip": "iproute2",
    "ldapadd": "ldap-utils",
    "ldapmodify": "ldap-utils",
    "ldapsearch": "ldap-utils",
    "libstrongswan-eap-radius.so": "libcharon-extra-plugins",
    "libstrongswan-openssl.so": "libstrongswan-standard-plugins",
    "libstrongswan-xauth-generic.so": "libcharon-extauth-plugins",
    "login": "login",
    "make": "make",
    "mkfs.ext4": "e2fsprogs",
    "mkpasswd": "whois",
    "mod_authnz_pam.so": "libapache2-mod-authnz-pam",
    "mount": "mount",
    "nginx": "nginx-light",
    "nsenter": "util-linux",
    "oathtool": "oathtool",
    "ocserv": "ocserv",
    "openconnect": "openconnect",
    "openssl": "openssl",
    "openvpn": "openvpn",
    "pam_google_authenticator.so": "libpam-google-authenticator",
    "pam_modules.h": "libpam0g-dev",
    "pam_oath.so": "libpam-oath",
    "pam_radius_auth.so": "libpam-radius-auth",
    "pamtester": "pamtester",
    "ping": "iputils-ping",
    "postgres": "postgresql",
    "psql": "postgresql-client",
    "radclient": "freeradius-utils",
    "radiusplugin.so": "openvpn-auth-radius",
    "radsecproxy": "radsecproxy",
    "rlm_ldap.so": "freeradius-ldap",
    "scp": "openssh-client",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "sftp": "openssh-client",
    "slapadd": "slapd",
    "slapd": "slapd",
    "sqlite3": "sqlite3",
    "spin": "spin",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "su": "util-linux",
    "sudo": "sudo",
    "swanctl": "strongswan-swanctl",
    "systemd-analyze": "systemd",
    "systemd-socket-activate": "systemd",
    "unshare": "util-linux",
    "useradd": "passwd",
    "wpa_supplicant": "wpasupplicant",
    "zbarimg": "zbar-tools",
}


def packages() -> list[str]:
    return sorted(set(PACKAGE_OF.values()))


def find(program: str) -> str | None:
    """The path of a program or file."""
    folders = os.pathsep.join((*DAEMONS, HEADERS, DICTIONARIES, *(path for one in MODULES for path in glob(one))))
    return shutil.which(program) or shutil.which(program, os.F_OK, folders)


def require(program: str) -> str:
    """The path of a program or file in the table. Without it the running test is skipped, or fails if required."""
    import pytest

    package = PACKAGE_OF[program]
    path = find(program)
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
