"""The process in which logins are decided: it reads batches of requests, has the gate decide them, sends the outcomes.

Rules: it opens the store by itself, decides one batch after the other, and ends when the server has: what it has begun
it finishes first. What had to wait too long for the batch before it is not decided. An answer leaves after its commit,
as everywhere.
"""

import contextlib
import socket
import time

from radius_server import gate_frames as frames
from radius_server.log import JsonFormatter, line, log
from store import serving
from store.config import Config
from store.opening import open_gate
from validation.errors import BadInput, StoreUnavailable
from validation.gate import Gate

# No PIN is used up for a login that nobody waits for any more.
_TOO_LATE = frames.TooLate("the store took so long that what came after is not decided any more")


def serve(sock: socket.socket, config: Config) -> None:
    """Until the other side of `sock` ends. Raises Spoiled."""
    with contextlib.suppress(ConnectionError):  # it ended, and hears no answer
        try:
            gate = open_gate(config)
        except (StoreUnavailable, BadInput) as error:
            frames.send(sock, frames.TROUBLE, frames.of_trouble(_as_trouble(error)))
            return
        frames.send(sock, frames.READY)
        while (frame := frames.receive(sock)) is not None:
            _answer(sock, gate, *frame)


def _as_trouble(error: StoreUnavailable | BadInput) -> StoreUnavailable:
    return error if isinstance(error, StoreUnavailable) else StoreUnavailable(str(error))


def _answer(sock: socket.socket, gate: Gate, kind: int, body: bytes) -> None:
    if kind == frames.LOGINS:
        frames.send(sock, *_decided(gate, body))
    elif kind == frames.CHECK:
        frames.send(sock, *_checked(gate))
    elif kind == frames.LOG_FORMAT:
        serving.set_log_format(JsonFormatter() if body == b"json" else None)
    else:
        raise frames.Spoiled(f"a frame of kind {kind}")


def _decided(gate: Gate, body: bytes) -> tuple[int, bytes]:
    """What cannot be read or told costs its batch an answer, and nothing else."""
    try:
        until, requests = frames.requests_in(body)
        if time.monotonic() > until:
            return frames.TROUBLE, frames.of_trouble(_TOO_LATE)
        outcomes = gate.login(requests)
        if isinstance(trouble := outcomes[-1], StoreUnavailable):  # the server, which logs it, is told its text alone
            log.debug("store unavailable, where it happened", exc_info=trouble)
        return frames.OUTCOMES, frames.of_outcomes(outcomes)
    except Exception as error:
        return frames.TROUBLE, frames.of_trouble(_defect("login", error))


def _checked(gate: Gate) -> tuple[int, bytes]:
    try:
        gate.check()
    except StoreUnavailable as error:
        return frames.TROUBLE, frames.of_trouble(error)
    except Exception as error:
        return frames.TROUBLE, frames.of_trouble(_defect("check", error))
    return frames.READY, b""


def _defect(where: str, error: Exception) -> StoreUnavailable:
    log.error(line("internal-error", where=f"gate {where}", error=type(error).__name__))
    log.debug("internal error, where it happened", exc_info=error)
    return StoreUnavailable(f"the gate failed ({type(error).__name__})")
