"""A real FreeRADIUS on loopback, from a configuration of its own in a temporary folder: nothing in /etc is read.

Rule: every port is free when it is chosen; a server is ready when it says so, and is ended by its own process id.
"""

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers import peers
from tests.site import eventually

SIGN_ALL = """
    post-auth {
        update reply { Message-Authenticator := 0x00 }
        Post-Auth-Type REJECT { update reply { Message-Authenticator := 0x00 } }
        Post-Auth-Type Challenge { update reply { Message-Authenticator := 0x00 } }
    }
"""
_TOP = """
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {folder}
logdir = {folder}
run_dir = {folder}
pidfile = {folder}/pid
max_request_time = 30
cleanup_delay = 5
hostname_lookups = no
log {{
    destination = stdout
    auth = yes
}}
security {{
    reject_delay = 0
    status_server = yes
}}
thread pool {{
    start_servers = 4
    max_servers = 8
    min_spare_servers = 2
    max_spare_servers = 6
    max_requests_per_server = 0
}}
"""


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class FreeRadius:
    """A server, its port, and what it has logged so far."""

    port: int
    process: "subprocess.Popen[str]"
    lines: list[str] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def laid_out(configuration: str) -> str:
    """With a line for each item: FreeRADIUS takes `section { item }` on one line in part only."""
    return re.sub(r"[ \t]*([{}])[ \t]*", lambda found: " {\n" if found[1] == "{" else "\n}\n", configuration)


@contextmanager
def running(folder: Path, port: int, configuration: str, files: dict[str, str] | None = None) -> Iterator[FreeRadius]:
    """`freeradius -d FOLDER` with this configuration below the usual top, ready to answer."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (files or {}).items():
        (folder / name).write_text(content)
    (folder / "radiusd.conf").write_text(_TOP.format(folder=folder) + laid_out(configuration))
    command = [peers.require("freeradius"), "-d", str(folder), "-f", "-xx", "-l", "stdout"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    server = FreeRadius(port, process)
    reader = threading.Thread(target=server.read, daemon=True)
    reader.start()
    try:
        eventually(lambda: "Ready to process requests" in server.log or process.poll() is not None, what="FreeRADIUS")
        assert process.poll() is None, server.log[-3000:]
        yield server
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()
        reader.join(60)
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def knowing(folder: Path, secret: str, users: str, signed: str = SIGN_ALL, port: int = 0) -> Iterator[FreeRadius]:
    """One that knows passwords (`users` in the form of users(5)) and may be asked from loopback, signed alone."""
    port = port or free_port()
    configuration = f"""
client here {{
    ipaddr = 127.0.0.1
    secret = {secret}
    require_message_authenticator = yes
}}
modules {{
    files {{ filename = {folder}/users }}
    pap {{ normalise = no }}
    always ok {{ rcode = ok }}
}}
server passwords {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {port}
    }}
    authorize {{
        files
        pap
        Autz-Type Status-Server {{
            {"update reply { Message-Authenticator := 0x00 }" if signed else ""}
            ok
        }}
    }}
    authenticate {{
        Auth-Type PAP {{ pap }}
    }}
    {signed}
}}
"""
    with running(folder, port, configuration, {"users": users}) as server:
        yield server


def proxy(port: int, home: tuple[str, int], secret: str, home_secret: str, window: int = 8) -> str:
    """The configuration of one that passes every request on to `home`, and asks whether it is alive when it has not
    answered for `window` seconds."""
    return f"""
proxy_requests = yes
client nas {{
    ipaddr = 127.0.0.0/8
    secret = {secret}
}}
home_server twofold {{
    type = auth
    ipaddr = {home[0]}
    port = {home[1]}
    secret = {home_secret}
    response_window = {window}
    zombie_period = 1
    status_check = status-server
    check_interval = 6
    check_timeout = 1
    num_answers_to_alive = 3
}}
home_server_pool twofold {{
    type = fail-over
    home_server = twofold
}}
realm twofold {{
    auth_pool = twofold
    nostrip
}}
server front {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {port}
    }}
    authorize {{
        update control {{ Proxy-To-Realm := "twofold" }}
    }}
}}
"""
