"""FreeRADIUS with the modules that people would take instead.

Rules: each gets a form that suits it. rlm_totp looks keys up in a hash. pam_oath writes its whole file anew at each
login, so its people are few, and have counters, since few people have few time steps; they are in one file, as its
manual says, and in another server in a file each. pam_google_authenticator has a file for each of its people. Nothing
is logged. What PAM reads lies in a mount namespace that ends with the server.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.people import Crowd, Person
from benchmarks.subjects import Subject
from tests.peers.freeradius import SIGN_ALL, free_port, laid_out
from tests.peers.peers import find
from tests.site import SECRET, eventually

# The pool is that of Debian's package. A slot of the load generator is used again before cleanup_delay is over.
_SERVER = """
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = @folder@
logdir = @folder@
run_dir = @folder@
pidfile = @folder@/pid
max_request_time = 30
cleanup_delay = 5
max_requests = 65536
hostname_lookups = no
log {
    destination = files
    file = @folder@/log
    auth = no
}
security {
    reject_delay = 0
    status_server = yes
}
thread pool {
    start_servers = 5
    max_servers = 32
    min_spare_servers = 3
    max_spare_servers = 10
    max_requests_per_server = 0
}
client bench {
    ipaddr = 127.0.0.0/8
    secret = @secret@
    require_message_authenticator = yes
}
modules {
    @modules@
}
server bench {
    listen {
        type = auth
        ipaddr = 127.0.0.1
        port = @port@
    }
    authorize {
        @authorize@
    }
    authenticate {
        Auth-Type chosen { @authenticate@ }
    }
    @signed@
}
"""
_READY_WITHIN = 60


@dataclass(frozen=True)
class Peer:
    """How FreeRADIUS is told to check a PIN, and what its people are."""

    name: str
    guarantee: str
    needs: tuple[str, ...]  # programs and files of tests/peers/peers.py
    modules: str
    authorize: str
    authenticate: str
    kind: str = "totp"
    most: int = 1_000_000
    remembers: bool = True
    stack: str = ""  # what PAM is told, with @folder@

    @property
    def uses_pam(self) -> bool:
        return bool(self.stack)

    def missing(self) -> list[str]:
        lacking = [what for what in ("freeradius", *self.needs) if find(what) is None]
        return lacking + (["root"] if self.uses_pam and os.geteuid() != 0 else [])


_CHOSEN = "update control { Auth-Type := chosen }"
_PAM = "pam { pam_auth = bench }"
TOTP = Peer(
    name="FreeRADIUS, rlm_totp",
    guarantee="remembers nothing",
    remembers=False,
    needs=(),
    modules="files { filename = @folder@/users }\ntotp { }",
    authorize=f"files\n{_CHOSEN}\n" + "update request { TOTP-Password := &User-Password }",
    authenticate="totp",
)
OATH = Peer(
    name="FreeRADIUS, pam_oath",
    guarantee="writes its file anew and syncs it before the answer; no trail",
    needs=("pam_oath.so",),
    kind="hotp",
    most=256,
    modules=_PAM,
    authorize=_CHOSEN,
    authenticate="pam",
    stack="auth required pam_oath.so usersfile=@folder@/users.oath window=10 digits=6",
)
OATH_EACH = Peer(
    name="FreeRADIUS, pam_oath-each",
    guarantee="writes the user's file anew and syncs it before the answer; no trail",
    needs=("pam_oath.so",),
    kind="hotp",
    most=256,
    modules=_PAM,
    authorize=_CHOSEN,
    authenticate="pam",
    stack="auth required pam_oath.so usersfile=@folder@/of/${USER} window=10 digits=6",
)
GOOGLE = Peer(
    name="FreeRADIUS, pam_google",
    guarantee="writes the user's file anew and syncs it before the answer; no trail",
    needs=("pam_google_authenticator.so",),
    most=4_000,
    modules=_PAM,
    authorize=_CHOSEN,
    authenticate="pam",
    stack="auth required pam_google_authenticator.so secret=@folder@/of/${USER} user=root",
)
PEERS = (TOTP, OATH, OATH_EACH, GOOGLE)


@contextmanager
def running(peer: Peer, folder: Path, people: int) -> Iterator[Subject]:
    crowd = Crowd(min(people, peer.most), peer.kind, peer.remembers)
    port = free_port()
    (folder / "of").mkdir(parents=True)
    _write_people(peer, folder, crowd.people)
    (folder / "radiusd.conf").write_text(_configuration(peer, folder, port))
    command = [*_namespace(peer, folder), str(find("freeradius")), "-d", str(folder), "-f"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    log = folder / "log"
    try:
        eventually(lambda: process.poll() is not None or _is_ready(log), _READY_WITHIN, peer.name)
        assert process.poll() is None, log.read_text()[-3000:] if log.exists() else peer.name
        yield Subject(peer.name, peer.guarantee, ("127.0.0.1", port), crowd, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_READY_WITHIN)


def _is_ready(log: Path) -> bool:
    return log.exists() and "Ready to process requests" in log.read_text()


def _configuration(peer: Peer, folder: Path, port: int) -> str:
    values = {
        "modules": peer.modules,
        "authorize": peer.authorize,
        "authenticate": peer.authenticate,
        "signed": SIGN_ALL,
        "secret": SECRET.decode(),
        "port": str(port),
        "folder": str(folder),
    }
    text = _SERVER
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return laid_out(text)


def _write_people(peer: Peer, folder: Path, people: list[Person]) -> None:
    if not peer.uses_pam:
        (folder / "users").write_text("".join(f'{p.name} TOTP-Secret := "{p.base32}"\n' for p in people))
        return
    if peer is OATH:
        (folder / "users.oath").write_text("".join(f"HOTP {p.name} - {p.key.hex()}\n" for p in people))
        (folder / "users.oath").chmod(0o600)
        return
    for person in people:
        path = folder / "of" / person.name
        if peer is OATH_EACH:
            path.write_text(f"HOTP {person.name} - {person.key.hex()}\n")
        else:
            path.write_text(f'{person.base32}\n" DISALLOW_REUSE\n" TOTP_AUTH\n')
        path.chmod(0o600)


def _namespace(peer: Peer, folder: Path) -> list[str]:
    """With a file each pam_oath wants its people to have accounts: those of root, so that no thread changes rights."""
    if not peer.uses_pam:
        return []
    (folder / "pam.d").mkdir()
    stack = peer.stack.replace("@folder@", str(folder))
    (folder / "pam.d" / "bench").write_text(f"{stack}\naccount required pam_permit.so\n")
    mounts = f"mount --bind {folder}/pam.d /etc/pam.d"
    if peer is OATH_EACH:
        shutil.copy("/etc/passwd", folder / "passwd")
        with (folder / "passwd").open("a") as file:
            file.writelines(f"{path.name}:x:0:0::/:/bin/false\n" for path in sorted((folder / "of").iterdir()))
        mounts += f" && mount --bind {folder}/passwd /etc/passwd"
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", f'{mounts} && exec "$@"', "sh"]
