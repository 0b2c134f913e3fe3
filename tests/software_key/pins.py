"""The PIN of a software key: authenticatorClientPIN (CTAP 2.1, 6.5), its retries, and the token a right PIN gives.

Rules: 8 retries, counted down before the PIN is compared; 3 wrong ones in a row block until the key is plugged in
anew. A token holds for the permissions and the RP it was made for, and for one touch.
"""

import hashlib
import hmac
import os
from collections.abc import Callable, Mapping
from enum import IntEnum, IntFlag
from typing import Any

from fido2.ctap import CtapError

from tests.software_key.knobs import Knobs
from tests.software_key.pin_protocols import PROTOCOLS, Secret, agree, new_agreement_key, public_half

RETRIES = 8
IN_A_ROW = 3
SHORTEST = 4
ERR = CtapError.ERR


class Permission(IntFlag):
    NONE = 0
    MAKE_CREDENTIAL = 0x01
    GET_ASSERTION = 0x02


class Sub(IntEnum):
    """Subcommands."""

    RETRIES = 1
    KEY_AGREEMENT = 2
    SET_PIN = 3
    CHANGE_PIN = 4
    TOKEN = 5  # of CTAP 2.0: without permissions
    TOKEN_WITH_PERMISSIONS = 9


Request = Mapping[int, Any]


def digest(pin: bytes) -> bytes:
    return hashlib.sha256(pin).digest()[:16]


class Pins:
    def __init__(self, knobs: Knobs) -> None:
        self._knobs = knobs
        self._pin: bytes | None = None
        self._rp_id: str | None = None
        self.retries = RETRIES
        self.power_cycle()
        self._subcommands: dict[int, Callable[[Request], Request | None]] = {
            Sub.RETRIES: self._tell_retries,
            Sub.KEY_AGREEMENT: self._tell_key,
            Sub.SET_PIN: self._set_pin,
            Sub.CHANGE_PIN: self._change_pin,
            Sub.TOKEN: self._give_token,
            Sub.TOKEN_WITH_PERMISSIONS: self._give_token_with_permissions,
        }

    def power_cycle(self) -> None:
        self._wrong_in_a_row = 0
        self._agreement = new_agreement_key()
        self._renew_token(Permission.NONE, None)

    def set(self, pin: str | None) -> None:
        """As the owner would have done earlier; None takes it away."""
        self._pin = None if pin is None else digest(pin.encode())
        self.retries = RETRIES
        self._wrong_in_a_row = 0

    @property
    def is_set(self) -> bool:
        return self._pin is not None

    def verified(self, proof: bytes | None, protocol: int | None, message: bytes, need: Permission, rp_id: str) -> bool:
        """Whether the PIN was given for this request. A proof that is there and wrong is an error."""
        if proof is None:
            return False
        mac = self._protocol(protocol).mac(self._token, message)
        bound_elsewhere = self._rp_id not in (None, rp_id)
        if not hmac.compare_digest(mac, proof) or not self._permissions & need or bound_elsewhere:
            raise CtapError(ERR.PIN_AUTH_INVALID)
        self._rp_id = rp_id
        return True

    def use_up(self) -> None:
        """After a touch the token is good for nothing more."""
        self._permissions = Permission.NONE

    def command(self, request: Request) -> Request | None:
        subcommand = self._subcommands.get(request[2])
        if subcommand is None:
            raise CtapError(ERR.INVALID_SUBCOMMAND)
        return subcommand(request)

    # --- Subcommands

    def _tell_retries(self, _: Request) -> Request:
        return {3: self.retries, 4: self._wrong_in_a_row >= IN_A_ROW}

    def _tell_key(self, request: Request) -> Request:
        self._protocol(request[1])
        return {1: public_half(self._agreement)}

    def _set_pin(self, request: Request) -> None:
        secret = self._agree(request)
        if self.is_set:
            raise CtapError(ERR.PIN_AUTH_INVALID)
        self._check_mac(secret, request[4], request[5])
        self._take(secret.decrypt(request[5]))

    def _change_pin(self, request: Request) -> None:
        secret = self._agree(request)
        self._check_not_blocked()
        self._check_mac(secret, request[4], request[5] + request[6])
        self._compare(secret.decrypt(request[6]))
        self._take(secret.decrypt(request[5]))

    def _give_token(self, request: Request) -> Request:
        secret = self._agree(request)
        self._check_not_blocked()
        self._compare(secret.decrypt(request[6]))
        self._renew_token(Permission.MAKE_CREDENTIAL | Permission.GET_ASSERTION, None)
        return {2: secret.encrypt(self._token)}

    def _give_token_with_permissions(self, request: Request) -> Request:
        secret = self._agree(request)
        wanted, rp_id = int(request[9]), request.get(10)
        if not wanted:
            raise CtapError(ERR.INVALID_PARAMETER)
        if wanted & ~(Permission.MAKE_CREDENTIAL | Permission.GET_ASSERTION):
            raise CtapError(ERR.UNAUTHORIZED_PERMISSION)
        if rp_id is None:
            raise CtapError(ERR.MISSING_PARAMETER)
        self._check_not_blocked()
        self._compare(secret.decrypt(request[6]))
        self._renew_token(Permission(wanted), rp_id)
        return {2: secret.encrypt(self._token)}

    # --- Pieces of them

    def _protocol(self, number: int | None) -> type[Secret]:
        if number is None:
            raise CtapError(ERR.MISSING_PARAMETER)
        if number not in self._knobs.pin_protocols:
            raise CtapError(ERR.INVALID_PARAMETER)
        return PROTOCOLS[number]

    def _agree(self, request: Request) -> Secret:
        self._protocol(request[1])
        return agree(request[1], self._agreement, request[3])

    def _check_mac(self, secret: Secret, mac: bytes, message: bytes) -> None:
        if not secret.is_mac(mac, message):
            raise CtapError(ERR.PIN_AUTH_INVALID)

    def _check_not_blocked(self) -> None:
        if self.retries == 0:
            raise CtapError(ERR.PIN_BLOCKED)
        if self._wrong_in_a_row >= IN_A_ROW:
            raise CtapError(ERR.PIN_AUTH_BLOCKED)
        if not self.is_set:
            raise CtapError(ERR.PIN_NOT_SET)

    def _compare(self, given: bytes) -> None:
        assert self._pin is not None
        self.retries -= 1
        if hmac.compare_digest(given, self._pin):
            self.retries, self._wrong_in_a_row = RETRIES, 0
            return
        self._agreement = new_agreement_key()
        self._wrong_in_a_row += 1
        if self.retries == 0:
            raise CtapError(ERR.PIN_BLOCKED)
        raise CtapError(ERR.PIN_AUTH_BLOCKED if self._wrong_in_a_row >= IN_A_ROW else ERR.PIN_INVALID)

    def _take(self, padded: bytes) -> None:
        if len(padded) != 64:
            raise CtapError(ERR.INVALID_PARAMETER)
        pin = padded.rstrip(b"\0")
        if len(pin.decode()) < SHORTEST or len(pin) > 63:
            raise CtapError(ERR.PIN_POLICY_VIOLATION)
        self._pin = digest(pin)
        self.retries, self._wrong_in_a_row = RETRIES, 0
        self._renew_token(Permission.NONE, None)

    def _renew_token(self, permissions: Permission, rp_id: str | None) -> None:
        self._token = os.urandom(32)
        self._permissions = permissions
        self._rp_id = rp_id
