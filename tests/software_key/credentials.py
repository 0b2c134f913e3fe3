"""authenticatorMakeCredential, authenticatorGetAssertion and authenticatorGetNextAssertion (CTAP 2.1, 6.1 to 6.3)."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from fido2 import cbor
from fido2.ctap import CtapError

from tests.software_key.call import Call
from tests.software_key.chip import Chip
from tests.software_key.knobs import AT, UP, UV, Attestation
from tests.software_key.memory import UV_OPTIONAL, Credential, rp_hash
from tests.software_key.pins import Permission
from tests.software_key.signing import KeyPair

ERR = CtapError.ERR
Request = Mapping[int, Any]
Response = dict[int, Any]


def make_credential(chip: Chip, request: Request, call: Call) -> Response:
    message, rp_id, options = request[1], request[2]["id"], request.get(7, {})
    _answer_empty_proof(chip, request.get(8), call)
    algorithm = _choose(chip, request[4])
    _check_options(options, up_may_be_off=False)
    uv = chip.pins.verified(request.get(8), request.get(9), message, Permission.MAKE_CREDENTIAL, rp_id)
    _require_uv_to_make(chip, uv, bool(options.get("rk")))
    excluded = chip.memory.listed(rp_hash(rp_id), _ids(request.get(5, [])), uv)
    chip.finger.wait(call)
    chip.pins.use_up()
    if excluded:
        raise CtapError(ERR.CREDENTIAL_EXCLUDED)
    credential = _new_credential(chip, request, algorithm)
    chip.memory.keep(credential)
    return _attested(chip, credential, message, uv, request)


def get_assertion(chip: Chip, request: Request, call: Call) -> Response:
    rp_id, message, options = request[1], request[2], request.get(5, {})
    up = bool(options.get("up", True))
    _answer_empty_proof(chip, request.get(6), call)
    _check_options(options, up_may_be_off=True)
    uv = chip.pins.verified(request.get(6), request.get(7), message, Permission.GET_ASSERTION, rp_id)
    if chip.knobs.always_uv and not uv and (up or chip.knobs.always_uv_even_silent):
        raise CtapError(ERR.PUAT_REQUIRED)
    found = _eligible(chip, request, uv)
    if up and (found or chip.knobs.blink_without_credential):
        chip.finger.wait(call)
        chip.pins.use_up()
    if not found:
        raise CtapError(ERR.NO_CREDENTIALS)
    chip.more, chip.more_message, chip.more_flags = found[1:], message, (UP if up else 0) | (UV if uv else 0)
    answer = _asserted(chip, found[0])
    return answer | {5: len(found)} if len(found) > 1 else answer


def get_next_assertion(chip: Chip) -> Response:
    if not chip.more:
        raise CtapError(ERR.NOT_ALLOWED)
    return _asserted(chip, chip.more.pop(0))


# --- Before the touch


def _answer_empty_proof(chip: Chip, proof: bytes | None, call: Call) -> None:
    """An empty proof asks whether there is a PIN, and which key was touched (CTAP 2.1, 6.1.2 step 1)."""
    if proof == b"":
        chip.finger.wait(call)
        raise CtapError(ERR.PIN_INVALID if chip.pins.is_set else ERR.PIN_NOT_SET)


def _choose(chip: Chip, wanted: Sequence[Mapping[str, Any]]) -> int:
    for parameters in wanted:
        if parameters["type"] == "public-key" and parameters["alg"] in chip.knobs.algorithms:
            return int(parameters["alg"])
    raise CtapError(ERR.UNSUPPORTED_ALGORITHM)


def _check_options(options: Mapping[str, bool], up_may_be_off: bool) -> None:
    if options.get("uv"):  # there is no sensor for fingers or faces
        raise CtapError(ERR.INVALID_OPTION)
    if not up_may_be_off and options.get("up") is False:
        raise CtapError(ERR.INVALID_OPTION)
    if up_may_be_off and "rk" in options:
        raise CtapError(ERR.UNSUPPORTED_OPTION)


def _require_uv_to_make(chip: Chip, uv: bool, resident: bool) -> None:
    by_pin = chip.pins.is_set and (resident or not chip.knobs.make_credential_without_uv)
    if not uv and (by_pin or chip.knobs.always_uv):
        raise CtapError(ERR.PUAT_REQUIRED)


def _eligible(chip: Chip, request: Request, uv: bool) -> list[Credential]:
    """With an allow list one is enough (CTAP 2.1, 6.2.2 step 12)."""
    rp = rp_hash(request[1])
    if 3 in request:
        return chip.memory.listed(rp, _ids(request[3]), uv)[:1]
    return chip.memory.resident(rp, uv)


def _ids(descriptors: Sequence[Mapping[str, Any]]) -> list[bytes]:
    return [bytes(descriptor["id"]) for descriptor in descriptors]


def _asked_protection(chip: Chip, request: Request) -> int | None:
    asked = request.get(6, {}).get("credProtect")
    return asked if chip.knobs.cred_protect else None


# --- Answers


def _new_credential(chip: Chip, request: Request, algorithm: int) -> Credential:
    return Credential(
        id=os.urandom(48),
        rp_hash=rp_hash(request[2]["id"]),
        pair=KeyPair(algorithm),
        user=request[3],
        resident=bool(request.get(7, {}).get("rk")),
        protection=(chip.knobs.cred_protect_kept and _asked_protection(chip, request)) or UV_OPTIONAL,
    )


def _attested(chip: Chip, credential: Credential, message: bytes, uv: bool, request: Request) -> Response:
    knobs, protection = chip.knobs, _asked_protection(chip, request)
    public = cbor.encode(credential.pair.cose())
    attested = knobs.aaguid + len(credential.id).to_bytes(2, "big") + credential.id + public
    flags = UP | AT | (UV if uv else 0)
    data = chip.authenticator_data(
        credential.rp_hash, flags, attested, {"credProtect": protection} if protection else {}
    )
    return {1: "packed", 2: data, 3: _statement(chip, credential, data + message)}


def _statement(chip: Chip, credential: Credential, signed: bytes) -> Mapping[str, Any]:
    if chip.knobs.attestation is Attestation.SELF:
        return {"alg": credential.pair.algorithm, "sig": chip.sign(credential.pair, signed)}
    attester = chip.attester()
    signed = b"not " + signed if chip.knobs.wrong_signature else signed
    return {"alg": -7, "sig": attester.sign(signed), "x5c": list(attester.chain)}


def _asserted(chip: Chip, credential: Credential) -> Response:
    data = chip.authenticator_data(credential.rp_hash, chip.more_flags, b"", {})
    answer: Response = {
        1: {"id": chip.knobs.credential_id or credential.id, "type": "public-key"},
        2: data,
        3: chip.sign(credential.pair, data + chip.more_message),
    }
    user = _user(chip, credential)
    return answer | {4: user} if user else answer


def _user(chip: Chip, credential: Credential) -> Mapping[str, Any] | None:
    """Names only after a PIN, and nothing for a credential that had to be named (CTAP 2.1, 6.2.2)."""
    if chip.knobs.user_handle is not None:
        return {"id": chip.knobs.user_handle}
    if not credential.resident:
        return None
    return credential.user if chip.more_flags & UV else {"id": credential.user["id"]}
