"""Texts that people read, and how they are made safe to print.

Rules: every text a person sees during a login is named by a `MessageKey` and has an English and a German default
here. `fill` replaces placeholders and never evaluates anything. Text from outside passes `printable` before it
reaches a log, a table or a reply.
"""

import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum


class MessageKey(StrEnum):
    """Name of a text. Admins will refer to texts by these names."""

    ASK_PIN = "ask-pin"
    ASK_PIN_AGAIN = "ask-pin-again"
    REFUSED = "refused"


# Wrong, used and locked PINs share ASK_PIN_AGAIN, and every refusal shares REFUSED, so that an answer tells
# nothing about the reason (CONFORMANCE R-078).
DEFAULTS: dict[str, dict[MessageKey, str]] = {
    "en": {
        MessageKey.ASK_PIN: "PIN from your authenticator app: ",
        MessageKey.ASK_PIN_AGAIN: "That PIN was not accepted. Wait for a new one. {tries}: ",
        MessageKey.REFUSED: "The login was refused.",
    },
    "de": {
        MessageKey.ASK_PIN: "PIN aus Ihrer Authenticator-App: ",
        MessageKey.ASK_PIN_AGAIN: "Diese PIN wurde nicht angenommen. Warten Sie auf eine neue. {tries}: ",
        MessageKey.REFUSED: "Die Anmeldung wurde abgelehnt.",
    },
}

_TRIES = {"en": ("1 try left", "{n} tries left"), "de": ("Noch 1 Versuch", "Noch {n} Versuche")}


@dataclass(frozen=True, slots=True)
class Message:
    """A text to show, as data: the key and what to fill in."""

    key: MessageKey
    values: dict[str, str | int] = field(default_factory=dict)

    def text(self, language: str = "en") -> str:
        """The finished text in `language`, English where that language is not known."""
        texts = DEFAULTS.get(language, DEFAULTS["en"])
        values = dict(self.values)
        if isinstance(tries := values.get("tries"), int):
            one, many = _TRIES.get(language, _TRIES["en"])
            values["tries"] = one if tries == 1 else many.replace("{n}", str(tries))
        return fill(texts[self.key], values)


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
    spaced = text.replace("\r\n", " ").replace("\n", " ").replace("\t", " ")
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp"))
