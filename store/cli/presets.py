"""What each kind of gateway needs of its client entry: `twofold client add --preset`.

Rules: a preset only fills in what no option names; nothing remembers it afterwards. `required` unless the program was
seen never to sign, or its vendor says so. A mode that asks, unless the program was seen to be unable to.
"""

from dataclasses import dataclass, field

from validation.messages import MessageKey
from validation.model import MessageAuthenticatorRule, Mode

_REQUIRED, _AUTO, _OFF = (
    MessageAuthenticatorRule.REQUIRED,
    MessageAuthenticatorRule.AUTO,
    MessageAuthenticatorRule.OFF,
)

# A window has a field of its own below the text, a terminal has the cursor behind it.
_WINDOW = (
    ("en", MessageKey.ASK_PIN, "PIN from your authenticator app"),
    ("en", MessageKey.ASK_PIN_AGAIN, "That PIN was not accepted. Wait for a new one. {tries}."),
    ("de", MessageKey.ASK_PIN, "PIN aus Ihrer Authenticator-App"),
    ("de", MessageKey.ASK_PIN_AGAIN, "Diese PIN wurde nicht angenommen. Warten Sie auf eine neue. {tries}."),
)

# A `&` and what follows it is taken for markup and left out, so that an address would arrive without its ends.
_NO_ADDRESS = (
    ("en", MessageKey.KEY, 'Choose "enter key" in the app and type: {key}'),
    ("de", MessageKey.KEY, 'Wählen Sie in der App "Schlüssel eingeben" und tippen Sie: {key}'),
)


@dataclass(frozen=True, slots=True)
class Preset:
    mode: Mode
    rule: MessageAuthenticatorRule
    note: str = ""  # what is to be set on the other side, or cannot be had there
    texts: tuple[tuple[str, MessageKey, str], ...] = field(default=(), repr=False)


PRESETS: dict[str, Preset] = {
    "cisco": Preset(
        Mode.CHALLENGE, _AUTO, "Set the timeout of the server to 60 s or more: the person types in it.", _WINDOW
    ),
    "citrix": Preset(Mode.CHALLENGE, _AUTO, "Let its monitor send Status-Server, or a ping.", _WINDOW),
    "fortigate": Preset(
        Mode.CHALLENGE,
        _AUTO,
        "Set remoteauthtimeout to 60; auth-type must be pap, since auto tries MS-CHAPv2.",
        _WINDOW,
    ),
    "freeradius": Preset(Mode.AUTO, _REQUIRED, "Over EAP, password and PIN come in one field."),
    "juniper": Preset(Mode.CHALLENGE, _AUTO, 'Add a "Show Generic Login Page" rule for Access-Challenge.', _WINDOW),
    "mikrotik": Preset(Mode.APPEND, _AUTO, "It shows no question, so password and PIN are typed in one field."),
    "ocserv": Preset(Mode.CHALLENGE, _OFF, "It never signs.", _WINDOW + _NO_ADDRESS),
    "openvpn": Preset(
        Mode.OPENVPN,
        _OFF,
        "openvpn-auth-radius never signs and takes a question for a refusal: use a static challenge.",
    ),
    "paloalto": Preset(
        Mode.CHALLENGE, _AUTO, "Portal and gateway ask one after the other: let one of them take a cookie.", _WINDOW
    ),
    "pam-radius": Preset(Mode.CHALLENGE, _OFF, "pam_radius_auth 2.0 never signs; later ones can."),
    "pfsense": Preset(Mode.APPEND, _AUTO, "It shows no question, so password and PIN are typed in one field."),
    "strongswan": Preset(Mode.APPEND, _REQUIRED, "It shows no question, so password and PIN are typed in one field."),
    "windows": Preset(Mode.APPEND, _AUTO, "RRAS and NPS pass PAP on; MS-CHAPv2 cannot carry a PIN."),
}
