"""Master keys out of a file, out of a credential of systemd, or from a program.

Rules: what a source says is 64 hex characters, or nothing is read. A program is run without a shell, has seconds to
answer, and takes what it started with it when it must be ended. No message repeats what a source said.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from store.config import KeySource
from store.sealing import MASTER_KEY_OCTETS, MasterKey, read_private
from validation.errors import StoreMismatch
from validation.messages import printable

_CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), "Credentials"
TIME_LIMIT = 10.0  # seconds for a program
_MOST = 4096  # octets


def read(source: KeySource) -> MasterKey:
    """Raises StoreMismatch if there is no key, others may read it, or it is none."""
    text = _said(source)
    try:
        octets = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        octets = b""
    if len(octets) != MASTER_KEY_OCTETS:
        what = source.file if source.file is not None else f"{source} gives what"
        raise StoreMismatch(f"{what} is no key{_file(source)}: it should hold {MASTER_KEY_OCTETS * 2} hex characters")
    return MasterKey(octets)


def _file(source: KeySource) -> str:
    return " file" if source.file is not None else ""


def _said(source: KeySource) -> bytes:
    if source.command:
        return _output(source.command)
    if source.file is not None:
        return _private(source.file, "key file", "without it the store cannot be read. Restore it")
    folder = os.environ.get(_CREDENTIALS)
    if not folder:
        raise StoreMismatch(
            f"the master key is {source}, and systemd has given none to this program. It does so for services, and for "
            f"commands started as: systemd-run --pipe --wait -p LoadCredential={source.credential}:FILE twofold ..."
        )
    return _private(Path(folder, source.credential), "credential", "name it in LoadCredential= of the service")


def _private(path: Path, what: str, advice: str) -> bytes:
    try:
        return read_private(path, f"the {what}")
    except FileNotFoundError:
        raise StoreMismatch(f"the {what} {path} is missing; {advice}") from None


def _output(command: Sequence[str]) -> bytes:
    """What a program prints. Raises StoreMismatch if it fails, and says its first words on standard error."""
    name = f"the command {command[0]} of [key]"
    try:
        program = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise StoreMismatch(f"{name} cannot be started: {error.strerror}") from None
    try:
        out, complaint = program.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        _end(program)
        raise StoreMismatch(f"{name} did not end within {TIME_LIMIT:.0f} s") from None
    if program.returncode != 0:
        words = printable(complaint.decode("utf-8", "replace").strip().partition("\n")[0][:200])
        raise StoreMismatch(f"{name} ended with status {program.returncode}{': ' if words else ''}{words}")
    return out[: _MOST + 1].strip()


def _end(program: "subprocess.Popen[bytes]") -> None:
    """With whatever it has started, which would hold the pipes open."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()
    for pipe in (program.stdout, program.stderr):
        if pipe is not None:
            pipe.close()
