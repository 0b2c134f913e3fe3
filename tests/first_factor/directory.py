"""A directory server made by hand, for answers that no real one would give. It listens on loopback, in clear.

`Directory(bind=..., search=...)` answers each question with what the function makes of it: octets, `None` for silence
with the connection left open, or `Last(octets)` to hang up after them; `Slowly(octets)` takes its time. `heard` holds
every question.
"""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

BIND, SEARCH, EXTENDED, UNBIND = 0x60, 0x63, 0x77, 0x42
BOUND, ENTRY, DONE, REFERENCE, EXTENDED_ANSWER = 0x61, 0x64, 0x65, 0x73, 0x78
ALICE = "uid=alice,ou=people,dc=example,dc=org"
POLICY_CONTROL = b"1.3.6.1.4.1.42.2.27.8.5.1"


def tlv(tag: int, *content: bytes) -> bytes:
    """One element in BER, in the longest form of length that is needed."""
    value = b"".join(content)
    if len(value) < 128:
        return bytes([tag, len(value)]) + value
    length = len(value).to_bytes(4)
    return bytes([tag, 0x84]) + length + value


def split(octets: bytes) -> tuple[int, bytes, bytes]:
    """Tag and content of the first element, and what follows."""
    length, start = octets[1], 2
    if length > 127:
        start += length - 128
        length = int.from_bytes(octets[2:start])
    return octets[0], octets[start : start + length], octets[start + length :]


class Last(bytes):
    """An answer after which the server hangs up."""


class Slowly(bytes):
    """An answer that comes octet by octet."""


@dataclass(frozen=True)
class Question:
    id: bytes  # as an element
    tag: int
    content: bytes = field(repr=False)

    @property
    def name(self) -> bytes:
        """Of a bind: as whom."""
        _, _, rest = split(self.content)
        return split(rest)[1]

    @property
    def password(self) -> bytes:
        _, _, rest = split(self.content)
        return split(split(rest)[2])[1]

    def answer(self, tag: int, code: int = 0, message: bytes = b"", *more: bytes, controls: bytes = b"") -> bytes:
        """An LDAPResult, or something else that begins like one."""
        result = tlv(tag, tlv(10, bytes([code])), tlv(4), tlv(4, message), *more)
        return tlv(0x30, self.id, result, *([tlv(0xA0, controls)] if controls else []))

    def bound(self, code: int = 0, message: bytes = b"", policy: bytes | None = None) -> bytes:
        control = b"" if policy is None else tlv(0x30, tlv(4, POLICY_CONTROL), tlv(4, policy))
        return self.answer(BOUND, code, message, controls=control)

    def entry(self, dn: str = ALICE, **attributes: list[bytes]) -> bytes:
        found = [
            tlv(0x30, tlv(4, name.encode()), tlv(0x31, *(tlv(4, v) for v in values)))
            for name, values in attributes.items()
        ]
        return tlv(0x30, self.id, tlv(ENTRY, tlv(4, dn.encode()), tlv(0x30, *found)))

    def reference(self, url: bytes = b"ldap://elsewhere.example.org/") -> bytes:
        return tlv(0x30, self.id, tlv(REFERENCE, tlv(4, url)))

    def done(self, code: int = 0, message: bytes = b"", *more: bytes) -> bytes:
        return self.answer(DONE, code, message, *more)


Answer: TypeAlias = Callable[[Question], bytes | None]


def _yes(question: Question) -> bytes:
    return question.bound()


def _alice(question: Question) -> bytes:
    return question.entry() + question.done()


class Directory:
    def __init__(
        self,
        bind: Answer = _yes,
        search: Answer = _alice,
        extended: Answer = lambda question: question.answer(EXTENDED_ANSWER),
    ) -> None:
        self._answers = {BIND: bind, SEARCH: search, EXTENDED: extended}
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._closed = threading.Event()
        self._open: list[socket.socket] = []
        self.heard: list[Question] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self._listening.getsockname()[1]}"

    @property
    def binds(self) -> list[tuple[bytes, bytes]]:
        """Names and passwords, in the order in which they came."""
        return [(question.name, question.password) for question in self.heard if question.tag == BIND]

    def close(self) -> None:
        self._closed.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(60)
        for each in self._open:
            each.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        octets = b""
        try:
            while more := connection.recv(65536):
                octets += more
                while octets[:1] == b"0" and len(octets) > 6 and _whole(octets):  # no TLS
                    _, message, octets = split(octets)
                    if not self._answered(connection, message):
                        return
        except OSError:
            return

    def _answered(self, connection: socket.socket, message: bytes) -> bool:
        _, number, rest = split(message)
        tag, content, _ = split(rest)
        question = Question(tlv(2, number), tag, content)
        self.heard.append(question)
        if tag not in self._answers:
            return False
        answer = self._answers[tag](question)
        if isinstance(answer, Slowly):
            for octet in answer:
                connection.sendall(bytes([octet]))
                self._closed.wait(0.01)
        elif answer is not None:
            connection.sendall(answer)
        if isinstance(answer, Last):
            connection.shutdown(socket.SHUT_RDWR)
        return not isinstance(answer, Last)


def _whole(octets: bytes) -> bool:
    length, start = octets[1], 2
    if length > 127:
        start += length - 128
        length = int.from_bytes(octets[2:start])
    return len(octets) >= start + length
