"""`twofold-freeradius`, as FreeRADIUS runs it: the built program, its environment, its exit status, what it prints.

FreeRADIUS takes exit status 0 for "let in", and 3 as well; so each way to end is looked at from outside.
"""

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.first_factor.upstream import SECRET, Upstream, accept, challenge, reject, reply, silence, unhidden, upstream
from tests.gateways.programs import built
from tests.wire import CALLING_STATION_ID, USER_NAME, Attributes, Reply

ALICE = {"TMP_STRING_0": '"616c696365"', "TMP_STRING_1": '"67656865696d"'}
LET_IN, REFUSED, FAILED = 0, 1, 2
NAS_IDENTIFIER = 32


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("freeradius", tmp_path_factory.mktemp("program"))


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Path]:
    def write(*servers: Upstream, more: str = "", timeout: str = "1", secret: str = SECRET.decode()) -> Path:
        port = servers[0].address[1] if servers else free_port()
        file = tmp_path / "twofold.conf"
        file.touch(0o640)
        file.write_text(
            "# a comment, twofold_secret = none\n"
            'twofold_servers = "1"\ntwofold_server_1 = "127.0.0.1"   # this host\n'
            f'twofold_port = "{port}"\ntwofold_timeout = "{timeout}"\n'
            f'twofold_secret = "{secret}"\n'
            f"clients twofold {{\n    client nas {{\n        secret = other\n    }}\n}}\n{more}"
        )
        return file

    return write


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def run(program: Path, *words: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [program, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


def answering(code: int, attributes: Attributes) -> Callable[[bytes], list[bytes]]:
    return lambda request: [reply(request, code, attributes)]


def test_only_an_accept_lets_in(program: Path, settings: Callable[..., Path]) -> None:
    for answers, status in ((accept, LET_IN), (reject, REFUSED), (challenge, REFUSED), (silence, FAILED)):
        with upstream(answers) as server:
            done = run(program, settings(server), **ALICE)
            assert (done.returncode, done.stdout.strip(), done.stderr) == (status, "", ""), answers


@pytest.mark.parametrize("signature", ["none", "wrong"])
def test_an_accept_that_is_not_signed_lets_nobody_in(
    program: Path, settings: Callable[..., Path], signature: str
) -> None:
    with upstream(lambda request: [reply(request, 2, signature=signature)]) as server:
        assert run(program, settings(server), **ALICE).returncode == FAILED


def test_what_freeradius_says_is_asked(program: Path, settings: Callable[..., Path]) -> None:
    """Any octet of a password; what the gateway said, for policies; its name in place of ours."""
    said = {"TMP_STRING_2": '"77696669"', "TMP_STRING_3": '"c0000214"', "TMP_STRING_4": '"3139382e35312e3130302e37"'}
    odd = b"p\"q\\r%s$t'`id`\n\t;" + b"\xff\xc3\xa4"
    with upstream(accept) as server:
        environment = ALICE | said | {"TMP_STRING_1": f'"{odd.hex()}"', "TMP_STRING_5": '""', "USER_NAME": '"mallory"'}
        assert run(program, settings(server), **environment).returncode == LET_IN
    (request,) = server.requests
    assert unhidden(request).rstrip(b"\0") == odd
    asked = Reply(request)
    assert (asked.values(USER_NAME), asked.values(NAS_IDENTIFIER)) == ([b"alice"], [b"wifi"])
    assert (asked.values(4), asked.values(CALLING_STATION_ID), asked.values(30)) == (
        [b"\xc0\0\2\x14"],
        [b"198.51.100.7"],
        [],
    )


def test_reply_attributes_go_back_as_numbers_and_nothing_in_them_can_be_another(
    program: Path, settings: Callable[..., Path]
) -> None:
    sly = b'x"\nUser-Name = "root", %{exec:/bin/id} `id`'
    cisco, mppe = (9).to_bytes(4) + b"\x01\x05abc", (311).to_bytes(4) + b"\x10\x05abc"
    told = [(11, sly), (25, b"\0\xff"), (18, b"Hi"), (26, cisco), (81, b"17")]
    ours = [
        (1, b"root"),
        (24, b"state"),
        (33, b"p"),
        (26, mppe),
        (69, b"\0tunnel"),
        (79, b"\3\0\0\4"),
        (101, b"\0\0\1\1"),
    ]
    with upstream(answering(2, [*told, *ours])) as server:
        done = run(program, settings(server), **ALICE)
    assert done.stdout.splitlines() == [f"Attr-{kind} += 0x{value.hex()}" for kind, value in told]
    assert done.returncode == LET_IN


def test_a_reject_hands_nothing_back(program: Path, settings: Callable[..., Path]) -> None:
    with upstream(answering(3, [(18, b"no"), (25, b"x")])) as server:
        done = run(program, settings(server), **ALICE)
    assert (done.returncode, done.stdout) == (REFUSED, "")


def test_more_than_freeradius_reads_is_refused_and_never_cut(program: Path, settings: Callable[..., Path]) -> None:
    for count, status in ((8, LET_IN), (9, FAILED)):
        with upstream(answering(2, [(25, bytes([1]) * 230)] * count)) as server:
            done = run(program, settings(server), **ALICE)
        assert (done.returncode, len(done.stdout.splitlines())) == (status, count if status == LET_IN else 0)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TMP_STRING_0": '"616c696365"'},
        ALICE | {"TMP_STRING_1": '""'},
        ALICE | {"TMP_STRING_0": '""'},
        ALICE | {"TMP_STRING_0": "616c696365"},
        ALICE | {"TMP_STRING_0": '"616C696365"'},
        ALICE | {"TMP_STRING_1": '"geheim"'},
        ALICE | {"TMP_STRING_1": '"616"'},
        ALICE | {"TMP_STRING_1": '"616161"\n'},
        ALICE | {"TMP_STRING_0": '"ff"'},
        ALICE | {"TMP_STRING_1": f'"{"61" * 129}"'},
        ALICE | {"TMP_STRING_1": '"610062"'},
        ALICE | {"TMP_STRING_4": '"zz"'},
    ],
    ids=str,
)
def test_what_is_not_as_the_policies_write_it_is_refused_and_nobody_is_asked(
    program: Path, settings: Callable[..., Path], environment: dict[str, str]
) -> None:
    with upstream(accept) as server:
        done = run(program, settings(server), **environment)
    assert (done.returncode, done.stdout, server.requests) == (FAILED, "", [])


def test_no_variable_of_python_is_heeded(program: Path, settings: Callable[..., Path], tmp_path: Path) -> None:
    """Names of attributes become variables: none may lead Python elsewhere."""
    (tmp_path / "radius_client").mkdir()
    (tmp_path / "radius_client" / "__init__.py").write_text("import os\nos._exit(0)\n")
    (tmp_path / "sitecustomize.py").write_text("import os\nos._exit(0)\n")
    planted = {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "sitecustomize.py"), "PYTHONINSPECT": "1"}
    with upstream(reject) as server:
        assert run(program, settings(server), **ALICE, **planted).returncode == REFUSED


def test_a_full_pipe_of_freeradius_is_no_verdict(program: Path, settings: Callable[..., Path]) -> None:
    """What could not be said whole must not let in."""
    with upstream(answering(2, [(25, b"x")])) as server, Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [program, settings(server)], env=ALICE, stdout=full, stderr=subprocess.DEVNULL, timeout=60
        )
    assert done.returncode in (REFUSED, 120), "FreeRADIUS fails at a status above 9"


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ('twofold_port = "1"\n', "once"),
        ("  twofold_port = 1\n", "write twofold_NAME"),
        ('twofold_note = "a\\"b"\n', "write twofold_NAME"),
        ('twofold_note = "${x}"\n', "write twofold_NAME"),
    ],
)
def test_a_line_that_freeradius_may_read_otherwise_is_refused(
    program: Path, settings: Callable[..., Path], more: str, complaint: str
) -> None:
    with upstream(accept) as server:
        file = settings(server, more=more)
        done = run(program, file, "status")
        assert run(program, file, **ALICE).returncode == FAILED
    assert (done.returncode, complaint in done.stdout, server.requests) == (FAILED, True, [])
    assert SECRET.decode() not in done.stdout


def test_a_file_that_others_can_read_or_of_the_example_is_refused(program: Path, settings: Callable[..., Path]) -> None:
    example = run(program, settings(secret="put-the-secret-of-twofold-here"), "status")
    assert (example.returncode, "still that of the example" in example.stdout) == (FAILED, True)
    file = settings()
    file.chmod(0o644)
    readable = run(program, file, "status")
    assert (readable.returncode, "chmod 640" in readable.stdout) == (FAILED, True)
    missing = run(program, file.with_name("nothing"), **ALICE)
    assert missing.returncode == FAILED


@pytest.mark.parametrize("name", ["servers", "server_1", "port", "timeout", "secret"])
def test_a_setting_that_is_missing_is_named(program: Path, settings: Callable[..., Path], name: str) -> None:
    file = settings()
    lines = [line for line in file.read_text().splitlines() if not line.startswith(f"twofold_{name} ")]
    file.write_text("\n".join(lines))
    done = run(program, file, "status")
    assert (done.returncode, f"twofold_{name} is missing" in done.stdout) == (FAILED, True)


def test_status_names_each_server(program: Path, settings: Callable[..., Path]) -> None:
    with upstream(accept) as server:
        file = settings(server)
        done = run(program, file, "status")
        assert (done.returncode, done.stdout) == (0, f"127.0.0.1:{server.address[1]} answers\n")
    done = run(program, file, "status")
    assert (done.returncode, "nothing listens there" in done.stdout) == (1, True)


def test_other_words_are_explained(program: Path) -> None:
    for words in ((), ("a", "b"), ("a", "status", "c")):
        done = run(program, *words)
        assert (done.returncode, "usage: twofold-freeradius FILE" in done.stderr) == (FAILED, True)


def test_nothing_of_it_is_in_the_arguments_of_a_process(program: Path, settings: Callable[..., Path]) -> None:
    """The environment of a process is for its user alone (proc(5)); its arguments are for all."""
    with upstream(silence) as server:
        file = settings(server, timeout="20")
        process = subprocess.Popen([program, file], env=ALICE, stdout=subprocess.DEVNULL)
        try:
            folder = Path(f"/proc/{process.pid}")
            while not server.requests:
                assert process.poll() is None
            words = (folder / "cmdline").read_bytes().split(b"\0")
            assert words[-2:] == [os.fsencode(file), b""]
            assert (folder / "environ").stat().st_mode & 0o077 == 0
        finally:
            process.kill()
            process.wait()
