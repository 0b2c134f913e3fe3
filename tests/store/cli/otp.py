"""One-time values computed from RFC 4226 and RFC 6238 alone, and an `otpauth://` address read as an app reads it.

Rule: nothing of the product and no library of theirs is imported here, so that a shared mistake cannot hide.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class App:
    """What an authenticator app has after scanning."""

    kind: str
    issuer: str
    account: str
    key: bytes
    digits: int
    algorithm: str
    period: int | None
    counter: int | None

    def at(self, moving_factor: int) -> str:
        mac = hmac.new(self.key, moving_factor.to_bytes(8, "big"), self.algorithm.lower()).digest()
        offset = mac[-1] & 0x0F
        number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFFFFFF
        return f"{number % 10**self.digits:0{self.digits}}"

    def shows(self, now: float) -> str:
        """The PIN on the screen at `now`; of a counter token the next one."""
        return self.at(int(now // self.period) if self.period is not None else self.counter or 0)


def scanned(uri: str) -> App:
    """Every parameter must be there once: what is left to an app's default, some app reads otherwise."""
    parts = urlsplit(uri)
    assert parts.scheme == "otpauth"
    assert " " not in uri
    assert "+" not in uri
    values = {name: value for name, (value,) in parse_qs(parts.query, strict_parsing=True).items()}
    issuer, colon, account = parts.path.lstrip("/").partition(":")
    assert colon == ":"
    assert unquote(issuer) == values.pop("issuer")
    secret = values.pop("secret")
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    app = App(
        kind=parts.netloc,
        issuer=unquote(issuer),
        account=unquote(account),
        key=key,
        digits=int(values.pop("digits")),
        algorithm=values.pop("algorithm"),
        period=int(values.pop("period")) if parts.netloc == "totp" else None,
        counter=int(values.pop("counter")) if parts.netloc == "hotp" else None,
    )
    assert app.algorithm in {name.upper() for name in hashlib.algorithms_guaranteed}
    assert values == {}
    return app
