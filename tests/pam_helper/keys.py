"""Software keys plugged into this process, and tasks that run beside the test.

Rules: a `Bench` stands where Linux lists and opens hidraw devices, nothing else is replaced; what is opened is a real
descriptor. Keys come and go while tasks run. A task is waited for with a deadline, never slept for.
"""

import ctypes
import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from fido2 import cbor
from fido2.ctap import CtapError
from fido2.hid import CTAPHID
from fido2.hid.base import HidDescriptor

from pam_helper.key_outcomes import Cues, Outcome, Plugged
from pam_helper.security_key import Register, Touch
from tests.software_key.authenticator import SoftwareKey, command_of
from tests.software_key.call import Call
from tests.software_key.ctaphid import Session, descriptor, packets, plugged
from tests.software_key.log import Command
from tests.software_key.pins import Permission
from tests.software_key.relying import ORIGIN, RP_ID, Person, Relying
from validation.decisions import AskKey, AskNewKey

SOON = 60.0
_libc = ctypes.CDLL(None)
CHALLENGE = b"a challenge of our own, 32 octet"
CUES = Cues(touch="touch {key}", stranger="{key} is of no use", busy="another login has it")


@dataclass
class _Port:
    key: SoftwareKey
    inode: int
    sessions: list[Session]


class Bench:
    def __init__(self, name: str) -> None:
        """`name` keeps the paths of a test its own: what is logged about a path is remembered."""
        self._name = name
        self._lock = threading.Lock()
        self._ports: dict[str, _Port] = {}
        self._stays = 0
        self.refuses: dict[str, int] = {}  # errno when it is opened, by path
        self.other_devices: list[str] = []  # mice and the like
        self.described: list[str] = []
        self.file_users: list[int] = []  # whose rights the thread had that opened a key

    def plug(self, key: SoftwareKey, number: int | None = None, as_before: bool = False) -> Plugged:
        """With `as_before` nothing but what becomes of a connection tells this stay from the last one."""
        with self._lock:
            number = len(self._ports) if number is None else number
            path = self.path(number)
            assert path not in self._ports
            self._stays += 0 if as_before else 1
            key.power_cycle()
            self._ports[path] = _Port(key, self._stays, [])
        return Plugged(path, self._stays)

    def path(self, number: int) -> str:
        return f"/dev/hidraw-{self._name}-{number}"

    def unplug(self, key: SoftwareKey) -> None:
        with self._lock:
            (path,) = [path for path, port in self._ports.items() if port.key is key]
            port = self._ports.pop(path)
        for session in port.sessions:
            session.hang_up()

    def unplug_if_there(self, key: SoftwareKey) -> None:
        if any(port.key is key for port in self._ports.values()):
            self.unplug(key)

    @contextmanager
    def held_up(self, key: SoftwareKey) -> Iterator[None]:
        """Nothing comes from this key meanwhile."""
        with ExitStack() as held:
            for port in self._ports.values():
                if port.key is key:
                    for session in port.sessions:
                        held.enter_context(session._sending)
            yield

    @contextmanager
    def noise(self) -> Iterator[None]:
        """Keys talk to other programs, too, all the time."""
        quiet = threading.Event()

        def talk() -> None:
            while not quiet.wait(0.005):
                for session in [session for port in self._ports.values() for session in port.sessions]:
                    with suppress(OSError):  # closed
                        session._send(*packets(0x0BADC0DE, CTAPHID.CBOR, bytes(100)))
                        session._send(*packets(0xFFFFFFFF, CTAPHID.INIT, bytes(17)))

        talking = threading.Thread(target=talk, daemon=True)
        talking.start()
        try:
            yield
        finally:
            quiet.set()
            talking.join(SOON)

    # --- What the product sees

    def plugged(self) -> list[Plugged]:
        with self._lock:
            mice = [Plugged(path, 1_000_000) for path in self.other_devices]
            return sorted(mice + [Plugged(path, port.inode) for path, port in self._ports.items()])

    def describe(self, path: str) -> HidDescriptor:
        self.described.append(path)
        if path in self.refuses:
            raise OSError(self.refuses[path], os.strerror(self.refuses[path]))
        if path in self.other_devices:
            raise ValueError("Not a FIDO device")
        return descriptor(self._port(path).key, path)

    def open(self, path: str) -> int:
        self.file_users.append(_libc.setfsuid(ctypes.c_uint(-1)))
        port = self._port(path)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        session = Session(port.key, theirs, vanish=lambda: self.unplug(port.key))
        with self._lock:
            port.sessions.append(session)
        session.start()
        return ours.detach()

    def _port(self, path: str) -> _Port:
        with self._lock:
            if path not in self._ports:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
            return self._ports[path]


class Running:
    """A task in a thread, and what it said."""

    def __init__(self, task: Touch | Register) -> None:
        self.task = task
        self.said: list[str] = []
        self.cancelled = threading.Event()
        self._thread = threading.Thread(target=task.run, args=(self.cancelled, self.said.append), daemon=True)
        self._thread.start()

    def outcome(self) -> Outcome:
        self._thread.join(SOON)
        assert not self._thread.is_alive(), "it did not end by itself"
        return self.task.outcome

    def cancel(self) -> Outcome:
        self.cancelled.set()
        return self.outcome()

    def wait_until_said(self, text: str) -> None:
        wait_until(lambda: text in self.said)


def wait_until(what: Callable[[], bool]) -> None:
    until = time.monotonic() + SOON
    while not what():
        assert time.monotonic() < until, "it did not come to it"
        threading.Event().wait(0.01)


def registered(key: SoftwareKey, pin: str | None = None) -> bytes:
    """A credential on this key, made as another program would; its id."""
    with plugged(key) as device:
        return bytes(Relying(device, Person(pin)).credential().credential_id)


def assertion_wanted(*credentials: bytes, verify_user: bool = False) -> AskKey:
    return AskKey(RP_ID, ORIGIN, CHALLENGE, credentials, verify_user, or_passcode=True)


def credential_wanted(
    *exclude: bytes, algorithms: tuple[int, ...] = (-7, -8), verify_user: bool = False, attestation: bool = False
) -> AskNewKey:
    return AskNewKey(
        RP_ID, "Example", ORIGIN, CHALLENGE, b"handle", "alice", exclude, algorithms, verify_user, attestation
    )


class KeyThatWantsANewPin(SoftwareKey):
    """Its administrator set a PIN that has to be changed before it is used (forcePINChange)."""

    def _info(self) -> Mapping[int, Any]:
        return {**super()._info(), 12: True}


class KeyWithFinger(SoftwareKey):
    """It can verify its user by itself; a touch is a finger. `knows_finger` says whether it is the right one."""

    knows_finger = True

    def _options(self) -> dict[str, bool]:
        return super()._options() | {"uv": True}

    def ctap2(self, message: bytes, call: Call) -> bytes:
        if command_of(message) is Command.CLIENT_PIN:
            request: Any = cbor.decode(message[1:])
            if request[2] == 6:
                return self._token_by_finger(request, call)
        return super().ctap2(message, call)

    def _token_by_finger(self, request: Any, call: Call) -> bytes:
        try:
            self._chip.finger.wait(call)
        except CtapError as error:
            return bytes([error.code])
        if not self.knows_finger:
            return bytes([CtapError.ERR.UV_INVALID])
        pins = self._chip.pins
        secret = pins._agree(request)
        pins._renew_token(Permission(request[9]), request[10])
        return b"\0" + cbor.encode({2: secret.encrypt(pins._token)})


@contextmanager
def no_new_descriptors() -> Iterator[None]:
    """Sockets of software keys are closed by threads of theirs, a moment later."""
    before = _descriptors()
    yield
    wait_until(lambda: _descriptors() <= before)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
