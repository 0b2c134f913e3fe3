"""The kinds of tokens there are: a new kind is one file beside this one and one line here."""

from validation.errors import Damaged
from validation.tokens.hotp import Hotp
from validation.tokens.kind import Kind
from validation.tokens.recovery_code import RecoveryCode
from validation.tokens.totp import Totp
from validation.tokens.webauthn import Webauthn
from validation.tokens.yubico_otp import YubicoOtp

_KINDS: tuple[Kind, ...] = (Totp(), Hotp(), YubicoOtp(), RecoveryCode(), Webauthn())

KINDS: dict[str, Kind] = {kind.name: kind for kind in _KINDS}


def kind_of(name: str) -> Kind:
    """The kind called `name`. Raises Damaged if a stored token names a kind this version does not know."""
    try:
        return KINDS[name]
    except KeyError:
        raise Damaged(f"token kind {name!r} is not known to this version; upgrade, or revoke the token") from None
