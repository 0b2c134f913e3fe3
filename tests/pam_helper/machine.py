"""A file tree that looks like a host: stacks, sshd, the module, the helper's sockets. Everything is right at first."""

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pam_helper.checks import checks
from store.config import Config
from validation.findings import Finding, Severity

ELF = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8) + b"\x03\x00" + b"\x3e\x00"  # 64 bit, x86-64
ELF_ARM = ELF[:-2] + b"\xb7\x00"

COMMON_AUTH = (
    "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n"
)
ASKED = "@include common-auth\nauth required pam_twofold.so\n"
NOT_ASKED = "@include common-auth\n"
SSHD = "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\nPubkeyAuthentication no\n"
SECURITY = "usr/lib/x86_64-linux-gnu/security"


class Host:
    """Short paths: a socket's has at most 107 octets."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("etc/pam.d/common-auth", COMMON_AUTH)
        for service in ("sshd", "sudo", "su", "login"):
            self.write(f"etc/pam.d/{service}", ASKED)
        self.write("etc/pam.d/twofold-first-factor", "auth required pam_unix.so nodelay\n")
        self.write("etc/ssh/sshd_config", SSHD + "LoginGraceTime 600\n")
        self.write("etc/login.defs", "LOGIN_TIMEOUT 600\n")
        for module in ("pam_unix.so", "pam_twofold.so"):
            self.write(f"{SECURITY}/{module}", ELF)
        self._open: list[socket.socket] = []
        self.listen("run/twofold/priv/pam.sock", 0o600)
        self.listen("run/twofold/pam.sock", 0o666)

    def write(self, path: str, content: str | bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(0o644)

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    def listen(self, path: str, mode: int) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.parent.chmod(0o755)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(place))
        listener.listen()
        os.chmod(place, mode)
        self._open.append(listener)

    def stop(self) -> None:
        """The helper ends and leaves its sockets behind."""
        for listener in self._open:
            listener.close()

    def findings(self, config: Config | None = None) -> list[Finding]:
        return list(checks(config, self.root))

    def wrong(self, config: Config | None = None) -> list[tuple[str, str, str]]:
        """Severity, topic and text of what is not fine. Whatever is not fine must say what to do."""
        found = [finding for finding in self.findings(config) if finding.severity is not Severity.OK]
        assert all(finding.remedy for finding in found), found
        return [(str(finding.severity), finding.topic, finding.text) for finding in found]


@contextlib.contextmanager
def host() -> Iterator[Host]:
    folder = Path(tempfile.mkdtemp(prefix="h"))
    made = Host(folder)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)
