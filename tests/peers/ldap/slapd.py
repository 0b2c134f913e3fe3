"""A private OpenLDAP `slapd` on loopback, with a folder, an authority and people of its own. It reads schemas in /etc.

Data is loaded while it runs: `slapadd` would leave out memberOf and the times of passwords. The policies are such that
what a test needs can be made by one change of an operational attribute (`-e relax`).
"""

import base64
import os
import socket
import subprocess
from pathlib import Path

from tests.peers import peers
from tests.peers.authority import Authority
from tests.site import eventually

SUFFIX = "dc=example,dc=org"
PEOPLE = f"ou=people,{SUFFIX}"
GROUPS = f"ou=groups,{SUFFIX}"
READER, READERS = f"cn=twofold,{SUFFIX}", "pw-of-the-reader"
_ADMIN, _ADMINS = f"cn=admin,{SUFFIX}", "pw-of-the-admin"

_CONFIG = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
TLSVerifyClient never
localSSF 256
{security}
database mdb
maxsize 67108864
suffix "{suffix}"
rootdn "{admin}"
rootpw {admins}
directory {folder}/db
index objectClass,uid,member,memberUid eq
overlay memberof
overlay ppolicy
ppolicy_default "cn=default,ou=policies,{suffix}"
ppolicy_use_lockout
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{reader}" read by * none
"""

_TREE = """\
dn: {suffix}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=people,{suffix}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{suffix}
objectClass: organizationalUnit
ou: groups

dn: ou=policies,{suffix}
objectClass: organizationalUnit
ou: policies

dn: cn=default,ou=policies,{suffix}
objectClass: device
objectClass: pwdPolicy
cn: default
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: 3
pwdMustChange: TRUE

dn: cn=short,ou=policies,{suffix}
objectClass: device
objectClass: pwdPolicy
cn: short
pwdAttribute: userPassword
pwdMaxAge: 86400
pwdGraceAuthNLimit: 0

dn: cn=grace,ou=policies,{suffix}
objectClass: device
objectClass: pwdPolicy
cn: grace
pwdAttribute: userPassword
pwdMaxAge: 86400
pwdGraceAuthNLimit: 2

dn: {reader}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: twofold
userPassword: {readers}
"""

_PERSON = """\
dn: {dn}
objectClass: inetOrgPerson
uid: {uid}
cn: {uid}
sn: x
"""


class Slapd:
    """`Slapd(folder)` makes a directory with a reader and no people; `start` runs it."""

    def __init__(
        self,
        folder: Path,
        authority: Authority | None = None,
        hosts: tuple[str, ...] = ("localhost", "127.0.0.1"),
        encrypted: bool = True,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.authority = authority or Authority(folder, "ca")
        self.port, self.tls_port = free_port(), free_port()
        self.socket = folder / "ldapi"
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "db").mkdir()
        certificate, key = self.authority.sign("slapd", *hosts)
        (folder / "slapd.conf").write_text(
            _CONFIG.format(
                folder=folder,
                certificate=certificate,
                key=key,
                suffix=SUFFIX,
                admin=_ADMIN,
                admins=_ADMINS,
                reader=READER,
                security="security simple_bind=128" if encrypted else "",
            )
        )
        self.start()
        self.add(_TREE.format(suffix=SUFFIX, reader=READER, readers=READERS))

    def __enter__(self) -> "Slapd":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"ldap://localhost:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"ldaps://localhost:{self.tls_port}"

    @property
    def socket_url(self) -> str:
        return f"ldapi://{str(self.socket).replace('/', '%2F')}"

    def start(self) -> None:
        """It listens on 127.0.0.2 as well, a name that its certificate does not have."""
        plain = f"ldap://127.0.0.1:{self.port} ldap://127.0.0.2:{self.port}"
        over_tls = f"ldaps://127.0.0.1:{self.tls_port} ldaps://127.0.0.2:{self.tls_port}"
        self._process = subprocess.Popen(
            [
                peers.require("slapd"),
                "-d",
                "0",
                "-f",
                self.folder / "slapd.conf",
                "-h",
                f"{plain} {over_tls} {self.socket_url}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        eventually(self._answers, what="a slapd that answers")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            assert self._process.stderr is not None
            raise AssertionError(self._process.stderr.read().decode())
        for port in (self.port, self.tls_port):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                return False
        return True

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        self._process.wait(60)
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._process = None

    def add(self, ldif: str) -> None:
        self._client("ldapadd", ldif)

    def change(self, dn: str, attribute: str, value: str) -> None:
        """Set an attribute, also one that only the server sets otherwise."""
        self._client(
            "ldapmodify", f"dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n", "-e", "relax"
        )

    def add_person(self, uid: str, password: str | None, below: str = PEOPLE, policy: str = "") -> str:
        """His DN."""
        dn = f"uid={uid},{below}"
        ldif = _PERSON.format(dn=dn, uid=uid)
        ldif += f"userPassword:: {base64.b64encode(password.encode()).decode()}\n" if password else ""
        ldif += f"pwdPolicySubentry: cn={policy},ou=policies,{SUFFIX}\n" if policy else ""
        self.add(ldif)
        return dn

    def values(self, dn: str, attribute: str) -> list[str]:
        done = self._client("ldapsearch", "", "-LLL", "-o", "ldif-wrap=no", "-b", dn, "-s", "base", attribute)
        return [line.partition(": ")[2] for line in done.splitlines() if line.startswith(f"{attribute}: ")]

    def section(self, *urls: str, more: str = "", ca_file: Path | None = None) -> str:
        """`[first_factor.ldap]` for this server, or for those at `urls`."""
        secret = self.folder / "reader.password"
        secret.touch(0o600)
        secret.write_text(READERS + "\n")
        servers = ", ".join(f'"{url}"' for url in urls or [self.url])
        return (
            f'[first_factor.ldap]\nservers = [{servers}]\nbase = "{PEOPLE}"\n'
            f'ca_file = "{ca_file or self.authority.file}"\nbind_dn = "{READER}"\n'
            f'bind_password_file = "{secret}"\n{more}\n'
        )

    def failures(self, dn: str) -> int:
        """How many wrong passwords it remembers."""
        return len(self.values(dn, "pwdFailureTime"))

    def _client(self, program: str, ldif: str, *options: str) -> str:
        command = [peers.require(program), "-x", "-H", self.socket_url, "-D", _ADMIN, "-w", _ADMINS, *options]
        done = subprocess.run(
            command, input=ldif, capture_output=True, text=True, timeout=30, env=os.environ | {"LDAPNOINIT": "1"}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
