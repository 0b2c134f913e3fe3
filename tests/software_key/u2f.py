"""U2F, also called CTAP1: register, authenticate, version (FIDO U2F Raw Message Formats v1.2)."""

import os
import struct
from dataclasses import dataclass

from tests.software_key.chip import Chip
from tests.software_key.knobs import UP
from tests.software_key.log import Command, Seen
from tests.software_key.memory import Credential
from tests.software_key.signing import KeyPair

OK = b"\x90\x00"
TOUCH_ME = b"\x69\x85"  # SW_CONDITIONS_NOT_SATISFIED
WRONG_DATA = b"\x6a\x80"
WRONG_LENGTH = b"\x67\x00"
UNKNOWN = b"\x6d\x00"
CHECK_ONLY, TOUCHED, UNTOUCHED = 0x07, 0x03, 0x08
COMMANDS = {1: Command.U2F_REGISTER, 2: Command.U2F_AUTHENTICATE, 3: Command.U2F_VERSION}


@dataclass(frozen=True)
class Apdu:
    instruction: int
    control: int
    data: bytes

    @classmethod
    def of(cls, octets: bytes) -> "Apdu":
        """Extended length, the only one used over CTAPHID."""
        if len(octets) < 7:
            return cls(octets[1] if len(octets) > 1 else 0, octets[2] if len(octets) > 2 else 0, b"")
        length = int.from_bytes(octets[5:7], "big")
        return cls(octets[1], octets[2], octets[7 : 7 + length])


def seen(octets: bytes) -> Seen:
    apdu = Apdu.of(octets)
    command = COMMANDS.get(apdu.instruction, Command.UNKNOWN)
    up = apdu.control == TOUCHED if command is Command.U2F_AUTHENTICATE else None
    return Seen(command, up)


def answer(chip: Chip, octets: bytes) -> bytes:
    apdu = Apdu.of(octets)
    match COMMANDS.get(apdu.instruction):
        case Command.U2F_REGISTER:
            return _register(chip, apdu)
        case Command.U2F_AUTHENTICATE:
            return _authenticate(chip, apdu)
        case Command.U2F_VERSION:
            return b"U2F_V2" + OK
        case _:
            return UNKNOWN


def _register(chip: Chip, apdu: Apdu) -> bytes:
    if len(apdu.data) != 64:
        return WRONG_LENGTH
    if not chip.finger.touched_for(apdu.data):
        return TOUCH_ME
    message, rp = apdu.data[:32], apdu.data[32:]
    credential = Credential(os.urandom(48), rp, KeyPair(), user={})
    chip.memory.keep(credential)
    attester = chip.attester()
    point = credential.pair.point()
    signature = attester.sign(b"\0" + rp + message + credential.id + point)
    handle = bytes([len(credential.id)]) + credential.id
    return b"\x05" + point + handle + attester.chain[0] + signature + OK


def _authenticate(chip: Chip, apdu: Apdu) -> bytes:
    message, rp, handle = apdu.data[:32], apdu.data[32:64], apdu.data[65:]
    found = chip.memory.listed(rp, [handle], uv=False)
    if not found:
        return WRONG_DATA
    if apdu.control == CHECK_ONLY:
        return TOUCH_ME
    up = apdu.control == TOUCHED
    if up and not chip.finger.touched_for(apdu.data):
        return TOUCH_ME
    head = struct.pack(">BI", chip.flags(UP if up else 0), chip.memory.count(chip.knobs.counter_step))
    signature = chip.sign(found[0].pair, chip.rp_hash(rp) + head + message)
    return head + signature + OK
