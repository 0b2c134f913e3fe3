"""The numbers of `counts` for Prometheus (text format 0.0.4), and the small door where they can be read.

Rules: the door has a thread of its own and takes one caller after the other, each for two seconds at most and some
hundred in a second at most, so that nobody who can reach it holds up a login or makes the server grow. It knows
`GET /metrics` and nothing else.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from radius_server.counts import BUCKETS, Counts, Histogram
from radius_server.log import Drops, line, log
from store.config import Listen
from validation.errors import BadInput

CALLER_MOST = 2.0  # seconds
BETWEEN = 0.01  # seconds
REQUEST_MOST = 4096  # octets
KEPT = 0.5  # seconds that a text is handed out again
TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(counts: Counts, drops: Drops, in_work: int, waiting: dict[str, int]) -> str:
    """All numbers, in the text format of Prometheus."""
    return "\n".join(_lines(counts, drops, in_work, waiting)) + "\n"


def _lines(counts: Counts, drops: Drops, in_work: int, waiting: dict[str, int]) -> Iterator[str]:
    yield from _family(
        "twofold_radius_requests_total",
        "counter",
        "Requests that were signed as they must be, retransmissions among them.",
        ((_labels(client=c, code=k), n) for (c, k), n in dict(counts.requests).items()),
    )
    yield from _family(
        "twofold_radius_decisions_total",
        "counter",
        "Decisions on Access-Requests.",
        ((_labels(client=c, decision=d, reason=r), n) for (c, d, r), n in dict(counts.decisions).items()),
    )
    yield from _family(
        "twofold_radius_drops_total",
        "counter",
        "Packets that got no answer.",
        ((_labels(reason=reason), n) for reason, n in dict(drops.counters).items()),
    )
    yield from _family(
        "twofold_password_checks_total",
        "counter",
        "Checks of a password.",
        ((_labels(kind=kind, outcome=outcome), n) for (kind, outcome), n in dict(counts.passwords).items()),
    )
    yield from _family(
        "twofold_radius_accounting_records_total",
        "counter",
        "Accounting records that were stored.",
        ((_labels(client=client), n) for client, n in dict(counts.records).items()),
    )
    yield from _family(
        "twofold_radius_in_work", "gauge", "Requests in work, held back refusals among them.", [("", in_work)]
    )
    yield from _family(
        "twofold_radius_waiting",
        "gauge",
        "Requests that wait in a queue.",
        ((_labels(queue=name), n) for name, n in waiting.items()),
    )
    yield from _family(
        "twofold_store_available",
        "gauge",
        "1 if the store answered when it was last asked.",
        [("", int(counts.store_available))],
    )
    yield from _histograms(
        "twofold_radius_seconds", "From arrival to decision, without the delay of a refusal.", counts.seconds
    )


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{labels} {value}"


def _histograms(name: str, text: str, histograms: dict[str, Histogram]) -> Iterator[str]:
    yield from _family(name, "histogram", text, [])
    for decision, histogram in histograms.items():
        totals = list(accumulate(list(histogram.counts)))
        for bound, total in zip([*(f"{b:g}" for b in BUCKETS), "+Inf"], totals, strict=True):
            yield f"{name}_bucket{_labels(decision=decision, le=bound)} {total}"
        yield f"{name}_sum{_labels(decision=decision)} {histogram.sum:.6f}"
        yield f"{name}_count{_labels(decision=decision)} {totals[-1]}"


def _labels(**values: str) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class MetricsDoor:
    """Raises BadInput if it cannot listen. Callers wait until `start`; `text` is called in the thread of the door."""

    def __init__(self, listen: Listen, text: Callable[[], str]) -> None:
        self._text = text
        self._kept = ("", float("-inf"))
        family = socket.AF_INET6 if ":" in listen.address else socket.AF_INET
        try:
            self._socket = socket.create_server((listen.address, listen.port), family=family, backlog=16)
        except OSError as error:
            raise BadInput(f"[radius] metrics: cannot listen on {listen}: {error.strerror}") from None
        self.listen = listen
        self.bound = Listen(*self._socket.getsockname()[:2])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="twofold-metrics", daemon=True)

    def start(self) -> None:
        """Once; again does nothing."""
        if not self._thread.ident:
            self._thread.start()

    def close(self) -> None:
        """Whoever is being served may end by himself; the address is free at once."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._socket.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                caller, _ = self._socket.accept()
            except OSError:  # closed, or out of descriptors
                self._stop.wait(BETWEEN * 10)
                continue
            with caller:
                self._serve_one(caller)
            self._stop.wait(BETWEEN)

    def _serve_one(self, caller: socket.socket) -> None:
        try:
            self._answer(caller, time.monotonic() + CALLER_MOST)
        except OSError:
            return
        except Exception as error:  # the next one may have better luck
            log.error(line("internal-error", where="metrics", error=type(error).__name__))
            log.debug("internal error, where it happened", exc_info=error)

    def _answer(self, caller: socket.socket, until: float) -> None:
        target = _target(_request(caller, until))
        if target is None:
            status, body = "405 Method Not Allowed", "only GET /metrics\n"
        elif target != "/metrics":
            status, body = "404 Not Found", "only GET /metrics\n"
        else:
            status, body = "200 OK", self._fresh()
        octets = body.encode()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {TYPE}\r\nContent-Length: {len(octets)}\r\nConnection: close\r\n\r\n"
        )
        _send(caller, head.encode() + octets, until)

    def _fresh(self) -> str:
        text, made = self._kept
        if time.monotonic() > made + KEPT:
            text = self._text()
            self._kept = (text, time.monotonic())
        return text


def _request(caller: socket.socket, until: float) -> bytes:
    """The head of a request. Raises OSError for one that is too long or too slow."""
    read = b""
    while b"\r\n\r\n" not in read:
        caller.settimeout(_left(until))
        more = caller.recv(1024)
        read += more
        if not more or len(read) > REQUEST_MOST:
            raise OSError("no request")
    return read


def _target(request: bytes) -> str | None:
    """What a GET asks for, without its query; None for another method."""
    words = request.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or words[0] != b"GET":
        return None
    return words[1].partition(b"?")[0].decode("ascii", "replace")


def _send(caller: socket.socket, data: bytes, until: float) -> None:
    left = memoryview(data)
    while left:
        caller.settimeout(_left(until))
        left = left[caller.send(left) :]
    caller.shutdown(socket.SHUT_WR)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
