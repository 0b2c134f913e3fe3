"""A security key made of software: what it does with a request, whatever brings it.

Rules: `knobs` scripts it and `log` tells what it saw, both while it is in use. It works at one request at a time;
`in_use` says so to whoever brings the next one. It speaks CTAP2, U2F or both, as its `versions` say.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

from fido2 import cbor
from fido2.ctap import CtapError

from tests.software_key import credentials, u2f
from tests.software_key.attestation import Authority
from tests.software_key.call import Call
from tests.software_key.chip import Chip
from tests.software_key.knobs import Knobs
from tests.software_key.log import Command, Log, Seen
from tests.software_key.memory import Credential, Memory

CTAP2 = ("FIDO_2_0", "FIDO_2_1")
CTAP2_0 = ("FIDO_2_0",)
U2F = ("U2F_V2",)
LONGEST_MESSAGE = 1200
COMMANDS = {
    0x01: Command.MAKE_CREDENTIAL,
    0x02: Command.GET_ASSERTION,
    0x04: Command.GET_INFO,
    0x06: Command.CLIENT_PIN,
    0x07: Command.RESET,
    0x08: Command.GET_NEXT_ASSERTION,
    0x0B: Command.SELECTION,
}
Request = Mapping[int, Any]
Response = Mapping[int, Any]


class SoftwareKey:
    """`authority` vouches for it where attestation is wanted; keys of one maker share it. `counter` is its start."""

    def __init__(
        self,
        name: str = "Software Key",
        serial: str = "0001",
        *,
        versions: tuple[str, ...] = CTAP2,
        pin: str | None = None,
        counter: int = 0,
        authority: Authority | None = None,
    ) -> None:
        self.name = name
        self.serial = serial
        self.in_use = threading.Lock()
        self._chip = Chip(authority or Authority(), Memory(counter), versions)
        self.set_pin(pin)
        self._commands: dict[Command, Callable[[Request, Call], Response | None]] = {
            Command.MAKE_CREDENTIAL: lambda request, call: credentials.make_credential(self._chip, request, call),
            Command.GET_ASSERTION: lambda request, call: credentials.get_assertion(self._chip, request, call),
            Command.GET_INFO: lambda request, call: self._info(),
            Command.CLIENT_PIN: lambda request, call: self._chip.pins.command(request),
            Command.RESET: lambda request, call: self._reset(call),
            Command.GET_NEXT_ASSERTION: lambda request, call: credentials.get_next_assertion(self._chip),
            Command.SELECTION: lambda request, call: self._chip.finger.wait(call),
        }

    # --- For tests

    @property
    def knobs(self) -> Knobs:
        return self._chip.knobs

    @property
    def log(self) -> Log:
        return self._chip.log

    @property
    def authority(self) -> Authority:
        return self._chip.authority

    @property
    def blinks(self) -> int:
        """How many times it asked for a touch."""
        return self.log.blinks

    @property
    def cancels(self) -> int:
        return self.log.cancels

    @property
    def counter(self) -> int:
        """The signature counter as it was signed last; the next signature adds `knobs.counter_step` to it."""
        return self._chip.memory.counter

    @counter.setter
    def counter(self, value: int) -> None:
        self._chip.memory.counter = value

    @property
    def credentials(self) -> list[Credential]:
        return self._chip.memory.credentials

    @property
    def pin_retries(self) -> int:
        return self._chip.pins.retries

    def set_pin(self, pin: str | None) -> None:
        self._chip.pins.set(pin)

    def press(self) -> None:
        """Touches it once, now; `wait_for_blink` comes before."""
        self._chip.finger.press()

    def wait_for_blink(self, number: int = 1, seconds: float = 60.0) -> None:
        """Until it has asked for a touch `number` times in its life."""
        self.log.wait_until(lambda: self.blinks >= number, seconds)

    def wait_for_cancel(self, number: int = 1, seconds: float = 60.0) -> None:
        self.log.wait_until(lambda: self.cancels >= number, seconds)

    def power_cycle(self) -> None:
        """What plugging it in does."""
        self._chip.power_cycle()

    # --- For transports

    @property
    def speaks_ctap2(self) -> bool:
        return any(version.startswith("FIDO_2") for version in self._chip.versions)

    @property
    def speaks_u2f(self) -> bool:
        return "U2F_V2" in self._chip.versions

    def ctap2(self, message: bytes, call: Call) -> bytes:
        """A status, and after success what belongs to it. Nothing that is asked can make it raise."""
        try:
            call.pause(self.knobs.delay)
            answer = self._command(command_of(message))(_decoded(message), call)
        except CtapError as error:
            return bytes([error.code])
        except KeyError:
            return bytes([CtapError.ERR.MISSING_PARAMETER])
        except (TypeError, ValueError, IndexError, AttributeError):
            return bytes([CtapError.ERR.INVALID_CBOR])
        return b"\0" + (cbor.encode(answer) if answer is not None else b"")

    def u2f(self, message: bytes) -> bytes:
        return u2f.answer(self._chip, message)

    def _command(self, command: Command) -> Callable[[Request, Call], Response | None]:
        if command is not Command.GET_NEXT_ASSERTION:
            self._chip.more = []  # it follows at once or not at all
        if command not in self._commands:
            raise CtapError(CtapError.ERR.INVALID_COMMAND)
        return self._commands[command]

    # --- Commands that need no file of their own

    def _info(self) -> Response:
        knobs = self.knobs
        extensions: dict[int, Any] = {2: ["credProtect"]} if knobs.cred_protect else {}
        return {
            1: list(self._chip.versions),
            **extensions,
            3: knobs.aaguid,
            4: self._options(),
            5: LONGEST_MESSAGE,
            6: list(knobs.pin_protocols),
            7: 8,
            8: 128,
            9: ["usb"],
            10: [{"alg": algorithm, "type": "public-key"} for algorithm in knobs.algorithms],
        }

    def _options(self) -> dict[str, bool]:
        options = {"rk": True, "up": True, "plat": False, "clientPin": self._chip.pins.is_set}
        if "FIDO_2_1" in self._chip.versions:
            options["pinUvAuthToken"] = True
            options["makeCredUvNotRqd"] = self.knobs.make_credential_without_uv
            options["alwaysUv"] = self.knobs.always_uv
        return options

    def _reset(self, call: Call) -> None:
        self._chip.finger.wait(call)
        self._chip.memory.forget()
        self.set_pin(None)
        self.power_cycle()


def command_of(message: bytes) -> Command:
    return COMMANDS.get(message[0], Command.UNKNOWN) if message else Command.UNKNOWN


def seen_of(message: bytes) -> Seen:
    """What a CTAP2 request is, for the log."""
    command = command_of(message)
    if command not in (Command.MAKE_CREDENTIAL, Command.GET_ASSERTION):
        return Seen(command)
    try:
        return _seen(command, _decoded(message))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return Seen(command)


def _seen(command: Command, request: Request) -> Seen:
    if command is Command.MAKE_CREDENTIAL:
        return Seen(command, True, request[2]["id"], 8 in request)
    return Seen(command, request.get(5, {}).get("up", True), request[1], 6 in request)


def _decoded(message: bytes) -> Request:
    return cast(Request, cbor.decode(message[1:])) if len(message) > 1 else {}
