"""Where secrets must not be: command lines, environments, core files, logs, outputs, errors, the trail, the disk."""

import base64
import contextlib
import dataclasses
import fcntl
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

import first_factor
import radius_server
import store
import validation
from store.database import Keys
from store.sealing import MasterKey, Sealer
from tests.builders import challenge, client, moment, snapshot, totp_token, user
from tests.site import TWOFOLD, ServerProcess, Site, eventually
from tests.store import raw
from tests.store.cli.command import Twofold
from tests.store.cli.otp import App
from tests.wire import ACCEPT, CHALLENGE, REJECT, access_request
from validation.decisions import Done, Look, Split
from validation.model import MOMENT_RANDOM_OCTETS
from validation.requests import AddClient, AddUser, Channel, EnrollToken, FirstFactorResult, LoginRequest, Wanted

PASSWORD = "correct-horse-battery"
WRONG_PASSWORD = "incorrect-horse-battery"
CLIENT_SECRET = "shared-secret-of-32-characters!!"
KEY = b"a-token-key-20-octet"
SPARE_KEY = b"another-token-key-20"


def spellings(key: bytes) -> list[str]:
    """How a key may be written down."""
    plain = base64.b32encode(key).decode().rstrip("=")
    grouped = " ".join(plain[at : at + 4] for at in range(0, len(plain), 4))
    return [key.decode("latin-1"), plain, plain.lower(), grouped, key.hex(), base64.b64encode(key).decode()]


SECRETS = [PASSWORD, WRONG_PASSWORD, CLIENT_SECRET, *spellings(KEY), *spellings(SPARE_KEY)]


def leaks(text: str | bytes, secrets: list[str]) -> list[str]:
    octets = text if isinstance(text, bytes) else text.encode()
    return [secret for secret in secrets if secret.encode() in octets]


# --- What any user of the machine can see of a process


def visible(pid: int) -> bytes:
    """Command line and environment of a process, as `ps` and its owner see them."""
    return b"\0".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ", "comm"))


def core_limit(pid: int) -> list[str]:
    (line,) = re.findall(r"^Max core file size +(\S+) +(\S+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
    return list(line)


def unread(descriptor: int) -> int:
    """Octets in a pipe that its reader has not taken yet."""
    return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4), sys.byteorder)


@contextlib.contextmanager
def holding(site: Site, secret: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A running command that has read its secret and waits for the end of its standard input."""
    command = [*TWOFOLD, "--config", str(site.config_file), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        try:
            process.stdin.write(secret.encode())
            process.stdin.flush()
            descriptor = process.stdin.fileno()
            eventually(lambda: unread(descriptor) == 0, what="a command that has read its secret")
            yield process
            process.stdin.close()
            assert process.wait(60) == 0
        finally:
            process.kill()


@pytest.mark.statement("C-031")
def test_the_scan_sees_what_is_on_a_command_line_and_in_an_environment() -> None:
    sleeper = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", PASSWORD]
    environment = os.environ | {"PLANTED": CLIENT_SECRET}
    with subprocess.Popen(sleeper, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert leaks(visible(process.pid), SECRETS) == [PASSWORD, CLIENT_SECRET]
        process.kill()


@pytest.mark.statement("C-031")
@pytest.mark.parametrize(
    ("secret", "arguments"),
    [
        (PASSWORD, ["user", "add", "bob", "--password-stdin"]),
        (spellings(KEY)[1], ["token", "enroll", "alice", "--key-stdin"]),
        (CLIENT_SECRET, ["client", "add", "vpn", "192.0.2.1", "--secret-stdin"]),
    ],
    ids=["password", "key", "secret"],
)
def test_a_command_that_was_given_a_secret_does_not_show_it(site: Site, secret: str, arguments: list[str]) -> None:
    site.add_user("alice", None)
    with holding(site, secret, *arguments) as process:
        assert leaks(visible(process.pid), SECRETS) == []
        assert core_limit(process.pid) == ["0", "0"]


@pytest.mark.statement("C-031")
def test_a_server_of_another_program_leaves_no_core_either() -> None:
    """The server sees to it by itself, whoever starts it."""
    program = "from store import serving; import resource as r; serving.set_up_process(); "
    program += "print(r.getrlimit(r.RLIMIT_CORE))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "(0, 0)\n"


def test_a_program_that_was_set_up_waits_for_no_thread_that_cannot_begin() -> None:
    """Python does for ever, where a new thread finds no memory (python/cpython#140746)."""
    program = """
import threading
from store import serving

class Poor(threading.Thread):
    def _bootstrap(self):
        raise MemoryError

serving.BEGINS_WITHIN = 1
serving.set_up_process()
usual = threading.Thread(target=print, args=("usual",))
usual.start()
usual.join()
for thread in (usual, Poor()):
    try:
        thread.start()
    except RuntimeError as error:
        print(error, threading.enumerate() == [threading.main_thread()])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "usual",
        "threads can only be started once True",
        "a thread was started and did not begin True",
    ]


# --- A site on which everything has happened that leaves traces


@dataclasses.dataclass(frozen=True)
class Traces:
    site: Site
    log: str
    visible: bytes
    core_limit: list[str]
    commands: str
    pins: list[str]
    states: list[str]


def run_commands(site: Site) -> str:
    """What the commands print that are given secrets, but for the one showing of a new key."""
    twofold = Twofold(site)
    results = [
        twofold.done("user", "add", "alice", "--password-stdin", stdin=PASSWORD),
        twofold.done("user", "set", "alice", "--password-stdin", stdin=PASSWORD),
        twofold.done("client", "add", "vpn", "127.0.0.1", "--secret-stdin", stdin=CLIENT_SECRET),
    ]
    for key, serial in ((KEY, "TF-1"), (SPARE_KEY, "TF-2")):
        options = ["--key-stdin", "--serial", serial, "--kind", "hotp", "--digits", "8"]
        twofold.done("token", "enroll", "alice", *options, stdin=spellings(key)[1])
    return "".join(result.out + result.err for result in results)


def run_listings(site: Site) -> str:
    twofold = Twofold(site)
    said = ""
    for arguments in (
        ["user", "list"],
        ["user", "show", "alice"],
        ["token", "list"],
        ["token", "show", "TF-1"],
        ["client", "list"],
        ["client", "show", "vpn"],
        ["audit", "list"],
        ["audit", "verify"],
    ):
        for option in ([], ["--json"]):
            result = twofold.done(*arguments, *option)
            said += result.out + result.err
    return said


def log_in(site: Site, server: ServerProcess, states: list[str]) -> list[str]:
    """Good and bad logins of every kind; the PINs that were typed."""
    app = App("hotp", "", "", KEY, 8, "SHA1", None, 0)
    right, used, wrong = app.at(0), app.at(0), "31415926"
    assert wrong not in [app.at(counter) for counter in range(50)]
    with server.nas(CLIENT_SECRET.encode()) as nas:
        refused = [
            access_request(nas.secret, "alice", WRONG_PASSWORD, identifier=1),
            access_request(nas.secret, "nobody", PASSWORD, identifier=2),
            access_request(nas.secret, "alice", wrong, state=b"ab" * 16, identifier=3),
        ]
        for request in refused:
            nas.send(request.data)
        assert [reply.code for _ in refused if (reply := nas.receive()) is not None] == [REJECT] * 3
        for pins in ([right], [used, wrong, app.at(1)]):
            reply = nas.login("alice", PASSWORD)
            for pin in pins:
                assert reply.code == CHALLENGE
                states.append(reply.state.decode())
                reply = nas.login("alice", pin, state=reply.state)
            assert reply.code == ACCEPT
        reply = nas.login("alice", PASSWORD)
        states.append(reply.state.decode())
        # The next two requests make the server itself fail: their tracebacks go to the debug log.
        ((sealed,),) = raw.rows(site.config.database, "SELECT sealed_key FROM tokens WHERE serial = 'TF-2'")
        raw.tamper(site.config.database, "UPDATE tokens SET sealed_key = x'00' WHERE serial = 'TF-2'")
        assert nas.login("alice", app.at(2), state=reply.state).code == REJECT
        raw.tamper(site.config.database, ("UPDATE tokens SET sealed_key = ? WHERE serial = 'TF-2'", (sealed,)))
        raw.tamper(site.config.database, "ALTER TABLE audit RENAME TO hidden")
        nas.send(access_request(nas.secret, "alice", PASSWORD).data)
        eventually(lambda: "store-unavailable" in server.log, what="a store that is missed")
        raw.tamper(site.config.database, "ALTER TABLE hidden RENAME TO audit")
    return [right, wrong, app.at(1), app.at(2)]


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traces]:
    site = Site(tmp_path_factory.mktemp("traces"))
    said = run_commands(site)
    states: list[str] = []
    with site.server("--debug", program=TWOFOLD) as server:
        pins = log_in(site, server, states)
        shown, limit = visible(server.process.pid), core_limit(server.process.pid)
    yield Traces(site, server.log, shown, limit, said + run_listings(site), pins, states)
    site.database.close()


@pytest.mark.statement("C-031")
def test_the_server_shows_no_secret_and_leaves_no_core(traces: Traces) -> None:
    assert leaks(traces.visible, SECRETS) == []
    assert traces.core_limit == ["0", "0"]


@pytest.mark.statement("C-031")
def test_no_secret_is_in_the_log_not_even_in_tracebacks(traces: Traces) -> None:
    assert traces.log.count("Traceback") >= 2, "the planted failures left no traceback to look at"
    assert "reject user=alice" in traces.log
    assert leaks(traces.log, [*SECRETS, *traces.pins, *traces.states]) == []


@pytest.mark.statement("C-031")
def test_no_secret_is_in_what_the_commands_print(traces: Traces) -> None:
    assert "alice" in traces.commands
    assert leaks(traces.commands, [*SECRETS, *traces.pins, *traces.states]) == []


@pytest.mark.statement("C-031", "O-049")
def test_no_secret_is_on_the_disk(traces: Traces) -> None:
    """Not in the database, not in what SQLite keeps beside it, in none of the ways a key is written."""
    octets = raw.octets(traces.site.config.database)
    assert b"TF-1" in octets
    assert leaks(octets, [*SECRETS, *traces.pins]) == []
    assert KEY[:8] not in octets
    assert CLIENT_SECRET.encode()[:12] not in octets


@pytest.mark.statement("C-033")
def test_every_decision_is_in_the_trail_with_its_request_client_and_reason(traces: Traces) -> None:
    logins = [row for row in traces.site.audit() if row["event"] == "login"]
    decisions = [(row["decision"], row["reason"]) for row in logins]
    assert sorted(map(str, decisions[:3])) == [  # these came together
        "('reject', 'password-wrong')",
        "('reject', 'state-unknown')",
        "('reject', 'user-unknown')",
    ]
    assert decisions[3:] == [
        ("challenge", "password-right"),
        ("accept", "passcode-right"),
        ("challenge", "password-right"),
        ("again", "passcode-used"),
        ("again", "passcode-wrong"),
        ("accept", "passcode-right"),
        ("challenge", "password-right"),
        ("reject", "decision-failed"),
    ]
    requests = [str(row["request_id"]) for row in logins]
    assert len(set(requests)) == len(requests)
    assert all(re.fullmatch(r"[0-9a-f]{12,}", request) for request in requests)
    logged = re.findall(r" request=(\S+)", traces.log)
    assert logged, "the log is limited to a line a second of one kind, but not to none"
    assert set(logged) <= set(requests), "log and trail name the same requests"
    assert {row["client"] for row in logins} == {"vpn"}
    assert {row["face"] for row in logins} == {"radius"}
    assert {row["serial"] for row in logins if row["decision"] == "accept"} == {"TF-1"}


@pytest.mark.statement("C-033", "C-031")
def test_no_secret_is_in_the_trail(traces: Traces) -> None:
    rows = raw.rows(traces.site.config.database, "SELECT * FROM audit")
    assert len(rows) > 15
    assert leaks(repr(rows), [*SECRETS, *traces.pins, *traces.states]) == []


@pytest.mark.statement("C-033")
def test_the_trail_of_it_all_is_a_chain(traces: Traces) -> None:
    assert Twofold(traces.site)("audit", "verify").status == 0
    rows = raw.rows(traces.site.config.database, "SELECT seq FROM audit ORDER BY seq")
    assert [seq for (seq,) in rows] == list(range(1, len(rows) + 1))


# --- What an error or a debugger would print


SECRET_FIELD = re.compile(
    r"(.*_)?(secret|password|password_hash|passcode|pin|key|octets|typed|state|rehash|random|audit"
    r"|data|authenticator)"
)
# Fields that have such a name and hold no secret.
HARMLESS = {"AuditFlood.key", "Snapshot.key_known_as", "KeySection.file", "Settings.security_key", "Settings.show_key"}
HARMLESS |= {f"{kind}.key" for kind in ("Rule", "DeleteRule", "SetRule", "UnsetRule", "Text", "SetText")}


def dataclasses_of_the_product() -> Iterator[type]:
    for package in (validation, store, first_factor, radius_server):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if ".migrations" in found.name:
                continue
            module = importlib.import_module(found.name)
            for value in vars(module).values():
                if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__:
                    yield value


@pytest.mark.statement("C-031")
def test_no_field_that_holds_a_secret_is_in_a_repr() -> None:
    shown, looked_at = [], 0
    for kind in dataclasses_of_the_product():
        for field in dataclasses.fields(kind):
            name = f"{kind.__name__}.{field.name}"
            if not SECRET_FIELD.fullmatch(field.name) or name in HARMLESS:
                continue
            if re.search(r"\b(bytes|str)\b", str(field.type)):
                looked_at += 1
                shown += [name] if field.repr else []
    assert shown == []
    assert looked_at > 20


@pytest.mark.statement("C-031")
def test_no_value_prints_its_secret() -> None:
    """Also not one inside another, and not in an error that was given one."""
    text, octets = "S3CRET-TEXT", b"S3CRET-OCTETS"
    values: list[object] = [
        MasterKey(octets),
        Keys(Sealer(MasterKey(octets), "store"), octets, octets),
        user(password_hash=text),
        totp_token(key=octets),
        client(secret=octets),
        challenge(state=text),
        snapshot(
            user=user(password_hash=text),
            tokens=(totp_token(key=octets),),
            client=client(secret=octets),
            challenge=None,
        ),
        snapshot(token=totp_token(key=octets), challenge=challenge(state=text), clients=(client(secret=octets),)),
        dataclasses.replace(moment(), random=octets.ljust(MOMENT_RANDOM_OCTETS)),
        LoginRequest("a", Channel("radius", True, True), "c", 1, passcode=text, state=text),  # type: ignore[arg-type]
        FirstFactorResult("proved", rehash=text),  # type: ignore[arg-type]
        Wanted(state=text, key=octets),
        AddUser(actor="a", name="b", password_hash=text),
        EnrollToken(actor="a", user="b", key=octets),
        AddClient(actor="a", name="b", network=client().network, secret=octets),
        Done(key=octets),
        Look("local", text, split=Split(text, text)),
    ]
    for value in values:
        for shown in (repr(value), str(value), f"{value!r:>1}", str(ValueError(value))):
            assert "S3CRET" not in shown, shown
            assert octets.hex() not in shown
