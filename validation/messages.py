"""Texts that people read, and how they are made safe to print.

Rules: every text a person sees during a login is named by a `MessageKey` and has an English and a German default
here; admins may set others (`settings.Text`). `fill` replaces placeholders and never evaluates anything. Text from
outside passes `printable` before it reaches a log, a table or a reply.
"""

import re
import unicodedata
from enum import StrEnum

from validation.errors import BadInput


class MessageKey(StrEnum):
    """Name of a text; `twofold message set` knows it by the same name."""

    ASK_PIN = "ask-pin"
    ASK_PIN_AGAIN = "ask-pin-again"
    REFUSED = "refused"
    HARDWARE_ONLY = "hardware-only"
    LOST_TOKEN = "lost-token"
    ELSEWHERE = "elsewhere"
    WELCOME = "welcome"
    APPS = "apps"
    KEY = "key"
    KEY_ON_SCREEN = "key-on-screen"
    FIRST_PIN = "first-pin"
    FIRST_PIN_AGAIN = "first-pin-again"
    TICKET = "ticket"
    GRACE = "grace"
    REGISTERED = "registered"
    PASSWORD = "password"
    PASSWORD_AND_PIN = "password-and-pin"
    CLOSE = "close"
    ADMIN_TOKEN = "admin-token"
    WELCOME_OR_KEY = "welcome-or-key"
    ASK_KEY = "ask-key"
    ASK_KEY_OR_PIN = "ask-key-or-pin"
    KEY_PLUG_IN = "key-plug-in"
    KEY_ABSENT = "key-absent"
    KEY_FOREIGN = "key-foreign"
    KEY_KNOWN = "key-known"
    KEY_UNUSABLE = "key-unusable"
    KEY_PIN = "key-pin"
    KEY_PIN_WRONG = "key-pin-wrong"
    KEY_PIN_BLOCKED = "key-pin-blocked"
    KEY_PIN_UNSET = "key-pin-unset"
    KEY_TIMED_OUT = "key-timed-out"
    KEY_REFUSED = "key-refused"
    KEY_NEEDED = "key-needed"
    KEY_ELSEWHERE = "key-elsewhere"
    KEY_NOT_HERE = "key-not-here"
    KEY_NOT_ALLOWED = "key-not-allowed"
    KEY_NAME = "key-name"
    KEY_NAME_AGAIN = "key-name-again"
    NEW_KEY = "new-key"
    KEY_REGISTERED = "key-registered"
    KEY_ALONE = "key-alone"
    SHEET = "sheet"
    SHEET_WARNING = "sheet-warning"


# What `fill` puts in, by text: message set refuses other placeholders.
PLACEHOLDERS: dict[MessageKey, frozenset[str]] = {
    MessageKey.ASK_PIN_AGAIN: frozenset({"tries"}),
    MessageKey.FIRST_PIN_AGAIN: frozenset({"tries"}),
    MessageKey.KEY: frozenset({"uri", "key"}),
    MessageKey.KEY_ON_SCREEN: frozenset({"qr", "key", "uri"}),
    MessageKey.TICKET: frozenset({"ticket", "minutes"}),
    MessageKey.GRACE: frozenset({"days"}),
    MessageKey.ASK_KEY: frozenset({"where"}),
    MessageKey.ASK_KEY_OR_PIN: frozenset({"where"}),
    MessageKey.KEY_PLUG_IN: frozenset({"where"}),
    MessageKey.NEW_KEY: frozenset({"where"}),
    MessageKey.KEY_PIN_WRONG: frozenset({"tries"}),
}

# Not everything must be there: some gateways take the ends off an address, and the key alone can be typed.
_MAY_BE_LEFT_OUT: dict[MessageKey, frozenset[str]] = {MessageKey.KEY: frozenset({"uri"})}

# Octets a text may have. A RADIUS reply holds 4,096, with 20 of header, 18 of Message-Authenticator, two for each 253
# of text, and in a challenge 34 of State. The key and the question for its first PIN stand in one challenge. The
# rest is for Proxy-State.
_MOST_IN_REJECT, _MOST_IN_CHALLENGE, _MOST_BESIDE_OTHERS = 4000, 3900, 1500
_TEXTS_OF_ENDS = frozenset(
    {
        MessageKey.REFUSED,
        MessageKey.HARDWARE_ONLY,
        MessageKey.LOST_TOKEN,
        MessageKey.ELSEWHERE,
        MessageKey.GRACE,
        MessageKey.REGISTERED,
        MessageKey.KEY_ELSEWHERE,
    }
)
_TEXTS_BESIDE_OTHERS = frozenset(
    {MessageKey.KEY, MessageKey.KEY_ON_SCREEN, MessageKey.FIRST_PIN, MessageKey.FIRST_PIN_AGAIN, MessageKey.TICKET}
)


def most_octets(key: MessageKey) -> int:
    """How long the text called `key` may be."""
    if key in _TEXTS_BESIDE_OTHERS:
        return _MOST_BESIDE_OTHERS
    return _MOST_IN_REJECT if key in _TEXTS_OF_ENDS else _MOST_IN_CHALLENGE


# Wrong, used and locked PINs share ASK_PIN_AGAIN, and every refusal before a proved password shares REFUSED, so that an
# answer tells nothing about the reason (CONFORMANCE R-078).
DEFAULTS: dict[str, dict[MessageKey, str]] = {
    "en": {
        MessageKey.ASK_PIN: "PIN from your authenticator app: ",
        MessageKey.ASK_PIN_AGAIN: "That PIN was not accepted. Wait for a new one. {tries}: ",
        MessageKey.REFUSED: "The login was refused.",
        MessageKey.HARDWARE_ONLY: "Your account needs a hardware token. Please ask your administrator for yours.",
        MessageKey.LOST_TOKEN: "Your account has no second factor. Please ask your administrator.",
        MessageKey.ELSEWHERE: "Your account has no second factor yet. It cannot be set up here; "
        "please ask your administrator where.",
        MessageKey.WELCOME: "Set up your second factor (1 minute). Enter s to go on, or n for instructions: ",
        MessageKey.APPS: "You need an authenticator app on your phone, for example Aegis, 2FAS, FreeOTP+ or Google "
        "Authenticator. Install one, then enter s to go on: ",
        MessageKey.KEY: "Scan or open this address with the app: {uri}\n"
        'Or choose "enter key" in the app and type: {key}',
        MessageKey.KEY_ON_SCREEN: "Scan this with the app:\n{qr}\n"
        'No camera? Choose "enter key" in the app and type:\n{key}\nOr open this address:\n{uri}',
        MessageKey.FIRST_PIN: "First PIN from the app: ",
        MessageKey.FIRST_PIN_AGAIN: "That PIN is not right (the clock of the phone may be off). {tries}. "
        "First PIN from the app: ",
        MessageKey.TICKET: "You have no second factor yet. Your enrolment ticket, good for {minutes} minutes: "
        "{ticket}\n"
        "Type it and your password at: twofold ticket redeem\nThen enter a new PIN of your app here: ",
        MessageKey.GRACE: "Please register a second factor. You have {days} days left.",
        MessageKey.REGISTERED: "Done. From now on each login asks for a PIN. If you change phones, delete the account "
        "in the old app.",
        MessageKey.PASSWORD: "Password: ",
        MessageKey.PASSWORD_AND_PIN: "Password, then PIN, in one: ",
        MessageKey.CLOSE: "Press Enter to close: ",
        MessageKey.ADMIN_TOKEN: "This is a token from your administrator, who alone can revoke it. Please ask there.",
        MessageKey.WELCOME_OR_KEY: "Set up your second factor (1 minute). Enter s to pair an app, k to register a "
        "security key, or n for instructions: ",
        MessageKey.ASK_KEY: "Touch your security key now.   ({where})",
        MessageKey.ASK_KEY_OR_PIN: "Touch your security key now, or press Enter to use a PIN.   ({where})",
        MessageKey.KEY_PLUG_IN: "Plug in your security key, then touch it.   ({where})",
        MessageKey.KEY_ABSENT: "No security key was found.",
        MessageKey.KEY_FOREIGN: "This security key is not registered for you.",
        MessageKey.KEY_KNOWN: "This security key is registered for you already.",
        MessageKey.KEY_UNUSABLE: "This security key cannot be used here.",
        MessageKey.KEY_PIN: "PIN of the security key: ",
        MessageKey.KEY_PIN_WRONG: "That is not the PIN of the security key. {tries}.",
        MessageKey.KEY_PIN_BLOCKED: "The PIN of the security key was wrong too often. Plug it out and in again; if "
        "that does not help, ask your administrator.",
        MessageKey.KEY_PIN_UNSET: "This security key has no PIN yet, and needs one here.",
        MessageKey.KEY_TIMED_OUT: "The security key was not touched in time.",
        MessageKey.KEY_REFUSED: "This security key was not accepted.",
        MessageKey.KEY_NEEDED: "Your account needs a security key here.",
        MessageKey.KEY_ELSEWHERE: "Your second factor is a security key, which works only at the machine itself. Log "
        "in there, and pair an app for logins like this one: twofold profile add",
        MessageKey.KEY_NOT_HERE: "A security key can be registered only at the machine itself.",
        MessageKey.KEY_NOT_ALLOWED: "Security keys of this model are not allowed here. Please ask your administrator.",
        MessageKey.KEY_NAME: "Name for this security key, for example blue: ",
        MessageKey.KEY_NAME_AGAIN: "You have that name already, or it cannot be used. Another name: ",
        MessageKey.NEW_KEY: "Touch the security key that you want to register.   ({where})",
        MessageKey.KEY_REGISTERED: "Done. This security key works from now on.",
        MessageKey.SHEET: "1. Install an authenticator app on your phone, for example Aegis, 2FAS, FreeOTP+ or Google "
        "Authenticator.\n"
        "2. In the app, add an account and scan the code above; or choose to enter a key, and type the one below it.\n"
        "3. From now on each login asks for the digits that the app shows.",
        MessageKey.SHEET_WARNING: "Whoever sees this sheet can copy your second factor. Destroy it when it has been "
        "scanned.",
        MessageKey.KEY_ALONE: "It works at a console alone. Logins over the network need a PIN: pair an app too, with "
        "twofold profile add",
    },
    "de": {
        MessageKey.ASK_PIN: "PIN aus Ihrer Authenticator-App: ",
        MessageKey.ASK_PIN_AGAIN: "Diese PIN wurde nicht angenommen. Warten Sie auf eine neue. {tries}: ",
        MessageKey.REFUSED: "Die Anmeldung wurde abgelehnt.",
        MessageKey.HARDWARE_ONLY: "Ihr Konto braucht einen Hardware-Token. Bitte fragen Sie Ihre Administration.",
        MessageKey.LOST_TOKEN: "Ihr Konto hat keinen zweiten Faktor. Bitte wenden Sie sich an Ihre Administration.",
        MessageKey.ELSEWHERE: "Ihr Konto hat noch keinen zweiten Faktor. Er kann hier nicht eingerichtet werden; bitte "
        "fragen Sie Ihre Administration, wo.",
        MessageKey.WELCOME: "Richten Sie Ihren zweiten Faktor ein (1 Minute). Weiter mit s, Anleitung mit n: ",
        MessageKey.APPS: "Sie brauchen eine Authenticator-App auf dem Telefon, zum Beispiel Aegis, 2FAS, FreeOTP+ oder "
        "Google Authenticator. Installieren Sie eine, dann weiter mit s: ",
        MessageKey.KEY: "Scannen oder öffnen Sie diese Adresse mit der App: {uri}\n"
        'Oder wählen Sie in der App "Schlüssel eingeben" und tippen Sie: {key}',
        MessageKey.KEY_ON_SCREEN: "Scannen Sie dies mit der App:\n{qr}\n"
        'Keine Kamera? Wählen Sie in der App "Schlüssel eingeben" und tippen Sie:\n{key}\n'
        "Oder öffnen Sie diese Adresse:\n{uri}",
        MessageKey.FIRST_PIN: "Erste PIN aus der App: ",
        MessageKey.FIRST_PIN_AGAIN: "Diese PIN stimmt nicht (vielleicht geht die Uhr des Telefons falsch). {tries}. "
        "Erste PIN aus der App: ",
        MessageKey.TICKET: "Sie haben noch keinen zweiten Faktor. Ihr Einrichtungsschein, gültig für {minutes} "
        "Minuten: {ticket}\nGeben Sie ihn und Ihr Passwort ein bei: twofold ticket redeem\n"
        "Geben Sie danach hier eine neue PIN Ihrer App ein: ",
        MessageKey.GRACE: "Bitte richten Sie einen zweiten Faktor ein. Es bleiben {days} Tage.",
        MessageKey.REGISTERED: "Fertig. Ab jetzt fragt jede Anmeldung nach einer PIN. Wenn Sie das Telefon wechseln, "
        "löschen Sie das Konto in der alten App.",
        MessageKey.PASSWORD: "Passwort: ",
        MessageKey.PASSWORD_AND_PIN: "Passwort, dann PIN, in einem: ",
        MessageKey.CLOSE: "Mit der Eingabetaste schließen: ",
        MessageKey.ADMIN_TOKEN: "Dieser Token kommt von Ihrer Administration, und nur sie kann ihn sperren. Bitte "
        "fragen Sie dort.",
        MessageKey.WELCOME_OR_KEY: "Richten Sie Ihren zweiten Faktor ein (1 Minute). App mit s, Sicherheitsschlüssel "
        "mit k, Anleitung mit n: ",
        MessageKey.ASK_KEY: "Berühren Sie jetzt Ihren Sicherheitsschlüssel.   ({where})",
        MessageKey.ASK_KEY_OR_PIN: "Berühren Sie jetzt Ihren Sicherheitsschlüssel, oder Eingabetaste für eine PIN.   "
        "({where})",
        MessageKey.KEY_PLUG_IN: "Stecken Sie Ihren Sicherheitsschlüssel ein und berühren Sie ihn.   ({where})",
        MessageKey.KEY_ABSENT: "Es wurde kein Sicherheitsschlüssel gefunden.",
        MessageKey.KEY_FOREIGN: "Dieser Sicherheitsschlüssel ist nicht für Sie registriert.",
        MessageKey.KEY_KNOWN: "Dieser Sicherheitsschlüssel ist schon für Sie registriert.",
        MessageKey.KEY_UNUSABLE: "Dieser Sicherheitsschlüssel kann hier nicht benutzt werden.",
        MessageKey.KEY_PIN: "PIN des Sicherheitsschlüssels: ",
        MessageKey.KEY_PIN_WRONG: "Das ist nicht die PIN des Sicherheitsschlüssels. {tries}.",
        MessageKey.KEY_PIN_BLOCKED: "Die PIN des Sicherheitsschlüssels war zu oft falsch. Ziehen Sie ihn ab und "
        "stecken Sie ihn wieder ein; hilft das nicht, fragen Sie Ihre Administration.",
        MessageKey.KEY_PIN_UNSET: "Dieser Sicherheitsschlüssel hat noch keine PIN und braucht hier eine.",
        MessageKey.KEY_TIMED_OUT: "Der Sicherheitsschlüssel wurde nicht rechtzeitig berührt.",
        MessageKey.KEY_REFUSED: "Dieser Sicherheitsschlüssel wurde nicht angenommen.",
        MessageKey.KEY_NEEDED: "Ihr Konto braucht hier einen Sicherheitsschlüssel.",
        MessageKey.KEY_ELSEWHERE: "Ihr zweiter Faktor ist ein Sicherheitsschlüssel, der nur an der Maschine selbst "
        "wirkt. Melden Sie sich dort an und richten Sie für solche Anmeldungen eine App ein: twofold profile add",
        MessageKey.KEY_NOT_HERE: "Ein Sicherheitsschlüssel kann nur an der Maschine selbst registriert werden.",
        MessageKey.KEY_NOT_ALLOWED: "Sicherheitsschlüssel dieses Modells sind hier nicht erlaubt. Bitte fragen Sie "
        "Ihre Administration.",
        MessageKey.KEY_NAME: "Name für diesen Sicherheitsschlüssel, zum Beispiel blau: ",
        MessageKey.KEY_NAME_AGAIN: "Diesen Namen haben Sie schon, oder er geht nicht. Ein anderer Name: ",
        MessageKey.NEW_KEY: "Berühren Sie den Sicherheitsschlüssel, den Sie registrieren wollen.   ({where})",
        MessageKey.KEY_REGISTERED: "Fertig. Dieser Sicherheitsschlüssel gilt ab jetzt.",
        MessageKey.SHEET: "1. Installieren Sie eine Authenticator-App auf dem Telefon, zum Beispiel Aegis, 2FAS, "
        "FreeOTP+ oder Google Authenticator.\n"
        "2. Fügen Sie in der App ein Konto hinzu und scannen Sie den Code oben; oder wählen Sie, einen Schlüssel "
        "einzugeben, und tippen Sie den darunter.\n"
        "3. Ab jetzt fragt jede Anmeldung nach den Ziffern, die die App zeigt.",
        MessageKey.SHEET_WARNING: "Wer dieses Blatt sieht, kann Ihren zweiten Faktor kopieren. Vernichten Sie es, wenn "
        "der Code gescannt ist.",
        MessageKey.KEY_ALONE: "Er wirkt nur an einer Konsole. Anmeldungen über das Netz brauchen eine PIN: richten Sie "
        "auch eine App ein, mit twofold profile add",
    },
}

QR_LINE = "{qr}"  # stands in the texts of a challenge where a screen draws the code


_TRIES = {"en": ("1 try left", "{n} tries left"), "de": ("Noch 1 Versuch", "Noch {n} Versuche")}


def tries_text(tries: int, language: str) -> str:
    one, many = _TRIES.get(language, _TRIES["en"])
    return one if tries == 1 else many.replace("{n}", str(tries))


def default_text(key: MessageKey, language: str) -> str:
    return DEFAULTS.get(language, DEFAULTS["en"])[key]


_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")


def check_text(key: MessageKey, text: str) -> None:
    """Refuse a text that could not be shown, or whose placeholders nothing fills. Raises BadInput.

    Line breaks are allowed, other controls are not.
    """
    if len(text.encode()) > most_octets(key):
        raise BadInput(f"{key}: {len(text.encode())} octets; at most {most_octets(key)} fit into a RADIUS reply")
    if text and not text.strip():  # a challenge with nothing to read breaks clients (pam_radius)
        raise BadInput(f"{key}: the text is blank; an empty text brings the default back")
    if any(unicodedata.category(char) in _UNPRINTABLE and char != "\n" for char in text):
        raise BadInput(f"{key}: control and invisible characters are not allowed, line breaks are")
    known = PLACEHOLDERS.get(key, frozenset())
    for name in known - _MAY_BE_LEFT_OUT.get(key, frozenset()):
        if text and "{" + name + "}" not in text:
            raise BadInput(f"{key}: the text must hold {{{name}}}")
    if foreign := [name for name in _PLACEHOLDER.findall(text) if name not in known]:
        there = ", ".join(f"{{{name}}}" for name in sorted(known)) or "none"
        raise BadInput(f"{key}: people would read {{{foreign[0]}}} as it stands; placeholders of this text: {there}")


def fill(template: str, values: dict[str, str | int]) -> str:
    """Replace each `{name}` of `template` once; unknown placeholders stay as they are.

    Not `str.format`: a template is an admin's text, and format strings can reach into objects.
    """
    parts: list[str] = []
    rest = template
    while rest:
        before, brace, after = rest.partition("{")
        parts.append(before)
        if not brace:
            break
        name, closing, tail = after.partition("}")
        if closing and name in values:
            parts.append(str(values[name]))
            rest = tail
        else:
            parts.append("{")
            rest = after
    return "".join(parts)


# Cc control, Cf format (bidi overrides, zero width), Cs surrogates, Zl/Zp line and paragraph separators, Co private,
# Cn unassigned: none of them may steer a terminal or forge a log line.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"})


def printable(text: str, limit: int = 256) -> str:
    r"""`text` with everything that could steer a terminal or a log written as `\x1b`, `\u2028` …, cut at `limit`.

    A backslash is doubled, so that the result can be read back without doubt. The cut is marked with `…`.
    """
    if len(text) <= limit and text.isascii() and text.isprintable() and "\\" not in text:
        return text  # nearly all
    shown: list[str] = []
    length = 0
    for char in text:
        piece = _shown(char)
        if length + len(piece) > limit:
            shown.append("…")
            break
        shown.append(piece)
        length += len(piece)
    return "".join(shown)


def _shown(char: str) -> str:
    if char == "\\":
        return "\\\\"
    if unicodedata.category(char) not in _UNPRINTABLE:
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def without_controls(text: str) -> str:
    """`text` for a person's screen: line breaks become blanks, other control characters vanish (R-074)."""
    if text.isascii() and text.isprintable():
        return text
    spaced = text.replace("\r\n", " ").replace("\n", " ").replace("\t", " ")
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp"))
