"""Which attributes may stand in which reply. Their numbers stand in `radius_client.wire`.

Rule: replies are built from an allow-list per code, so nothing can slip into a Reject or a Challenge.
"""

from enum import IntEnum

from radius_client.wire import MICROSOFT, MS_CHAP2_RESPONSE, MS_CHAP_RESPONSE, Attribute, Code

__all__ = [
    "ALLOWED_IN_REPLY",
    "AUTHORIZE_ONLY",
    "MICROSOFT",
    "MS_CHAP2_RESPONSE",
    "MS_CHAP_RESPONSE",
    "Attribute",
    "Code",
    "Prompt",
]


class Prompt(IntEnum):
    """Whether what is typed may be seen (RFC 2869 5.10)."""

    NO_ECHO = 0
    ECHO = 1


AUTHORIZE_ONLY = (17).to_bytes(4, "big")  # Service-Type, RFC 5176 3.2

# Message-Authenticator and Proxy-State are added by the codec; a Reject holds nothing about the user (RFC 2865 5.44,
# RFC 5080 2.6.1), a Challenge no authorization (RFC 2865 4.4).
ALLOWED_IN_REPLY: dict[Code, frozenset[int]] = {
    Code.ACCESS_ACCEPT: frozenset(range(1, 256))
    - {
        Attribute.USER_PASSWORD,
        Attribute.CHAP_PASSWORD,
        Attribute.PROXY_STATE,
        Attribute.MESSAGE_AUTHENTICATOR,
    },
    Code.ACCESS_REJECT: frozenset({Attribute.REPLY_MESSAGE, Attribute.EAP_MESSAGE, Attribute.ERROR_CAUSE}),
    Code.ACCESS_CHALLENGE: frozenset(
        {
            Attribute.REPLY_MESSAGE,
            Attribute.STATE,
            Attribute.VENDOR_SPECIFIC,
            Attribute.SESSION_TIMEOUT,
            Attribute.IDLE_TIMEOUT,
            Attribute.PROMPT,
            Attribute.EAP_MESSAGE,
        }
    ),
}
