"""The attributes and codes in use, by number, and which may stand in which reply.

Rule: replies are built from an allow-list per code, so nothing can slip into a Reject or a Challenge.
"""

from enum import IntEnum


class Code(IntEnum):
    """Packet codes (RFC 2865 3, RFC 5997 3)."""

    ACCESS_REQUEST = 1
    ACCESS_ACCEPT = 2
    ACCESS_REJECT = 3
    ACCESS_CHALLENGE = 11
    STATUS_SERVER = 12


class Attribute(IntEnum):
    """Attribute types (RFC 2865 5, RFC 2869 5, RFC 3579 3)."""

    USER_NAME = 1
    USER_PASSWORD = 2
    CHAP_PASSWORD = 3
    NAS_IP_ADDRESS = 4
    REPLY_MESSAGE = 18
    STATE = 24
    VENDOR_SPECIFIC = 26
    SESSION_TIMEOUT = 27
    IDLE_TIMEOUT = 28
    CALLING_STATION_ID = 31
    PROXY_STATE = 33
    ARAP_PASSWORD = 70
    PROMPT = 76
    EAP_MESSAGE = 79
    MESSAGE_AUTHENTICATOR = 80
    ERROR_CAUSE = 101


MICROSOFT = 311  # vendor id, RFC 2548
MS_CHAP_RESPONSE = 1
MS_CHAP2_RESPONSE = 25

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
