"""Talking to the helper from a terminal: what it shows is printed, what it asks is read.

Rules: a terminal is asked as the helper says, with or without echo; standard input that is no terminal gives a line
for each question. Only a whole final frame is an end.
"""

import socket
import sys
from pathlib import Path

import click

from pam_helper import hello as greeting
from pam_helper.frames import TO_MODULE, BadFrame, Frame, Parser, Type
from pam_helper.hello import Hello
from pam_helper.sockets import peer_of
from validation.errors import BadInput, Refused, StoreUnavailable
from validation.messages import without_controls

_WITHIN = 30.0  # seconds for the helper's part
_CHUNK = 65_536


def converse(path: Path, hello: Hello, trusted: tuple[int, ...] = (0,)) -> None:
    """Begin with `hello` and go on to the verdict. Raises Refused, or StoreUnavailable if there is no helper.

    `trusted` are the uids that the helper may run as: it is told passwords.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_WITHIN)
            connection.connect(str(path))
            if peer_of(connection).uid not in trusted:
                raise Refused(f"{path} is not root's; nothing was told to it")
            connection.sendall(Frame(Type.HELLO, greeting.encode(hello)).encode())
            _to_the_end(connection)
    except BadFrame as error:
        raise StoreUnavailable(f"the helper at {path} speaks otherwise than this command: {error}") from None
    except OSError as error:
        why = error.strerror or "no answer in time"
        raise StoreUnavailable(f"no helper answers at {path} ({why}); is it running? twofold pam serve") from None


def _to_the_end(connection: socket.socket) -> None:
    parser = Parser(TO_MODULE)
    while True:
        while (frame := parser.take()) is None:
            octets = connection.recv(_CHUNK)
            if not octets:
                raise StoreUnavailable("the helper hung up")
            parser.feed(octets)
        if frame.type is Type.FINAL:
            _judge(frame.payload[:1])
            return
        _shown(connection, frame)


def _judge(verdict: bytes) -> None:
    if verdict == b"U":
        raise StoreUnavailable("no answer now; nothing was changed")
    if verdict != b"S":
        raise Refused("refused")


def _shown(connection: socket.socket, frame: Frame) -> None:
    text = without_controls(frame.payload.decode("utf-8", "replace"))
    match frame.type:
        case Type.INFO:
            click.echo(text)
        case Type.ERROR:
            click.echo(text, err=True)
        case Type.PROMPT | Type.PROMPT_HIDDEN:
            answer = _read(text, hidden=frame.type is Type.PROMPT_HIDDEN)
            connection.sendall(Frame(Type.REPLY, answer).encode())
        case _:  # for PAM alone
            return


def _read(question: str, hidden: bool) -> bytes:
    if sys.stdin.isatty():
        typed = click.prompt(question.rstrip().rstrip(":"), default="", show_default=False, hide_input=hidden, err=True)
        return str(typed).encode("utf-8", "surrogateescape")
    octets = sys.stdin.buffer.readline(_CHUNK)
    if not octets:
        raise BadInput(f"{question.strip()}: standard input ended")
    return octets.removesuffix(b"\n").removesuffix(b"\r")
