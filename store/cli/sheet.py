"""A sheet to print and hand over: QR code, key, and what to do with them, in the administrator's words.

Rules: it stands by itself, with no address that a browser would fetch. Every text is escaped. It holds a secret, and
says so.
"""

import html
import textwrap
from dataclasses import dataclass, field

SUFFIXES = (".html", ".svg")
_WIDTH, _HEIGHT = 595, 842  # A4 in points
_MARGIN, _CODE = 56, 220
_LINE, _CHARACTERS = 18, 78

_HTML = """\
<!DOCTYPE html>
<html lang="{language}">
<head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 12pt/1.5 sans-serif; margin: 20mm; max-width: 170mm; }}
svg {{ width: 70mm; height: 70mm; }}
code {{ font-size: 14pt; letter-spacing: 1pt; }}
</style></head>
<body>
<h1>{title}</h1>
{code}
<p><code>{key}</code></p>
{steps}
<p><strong>{warning}</strong></p>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Sheet:
    """What stands on it. `instructions` are lines."""

    title: str
    uri: str = field(repr=False)
    key_text: str = field(repr=False)
    instructions: str
    warning: str
    language: str = "en"

    def render(self, suffix: str) -> bytes:
        return (self._html() if suffix == ".html" else self._svg()).encode()

    def _code(self) -> str:
        import segno

        code: segno.QRCode = segno.make(self.uri, error="m", micro=False)
        return code.svg_inline(omitsize=True, border=2)

    def _html(self) -> str:
        steps = "".join(f"<p>{html.escape(line)}</p>\n" for line in self.instructions.split("\n"))
        return _HTML.format(
            language=html.escape(self.language),
            title=html.escape(self.title),
            code=self._code(),
            key=html.escape(self.key_text),
            steps=steps,
            warning=html.escape(self.warning),
        )

    def _svg(self) -> str:
        inner = self._code().replace("<svg ", f'<svg x="{_MARGIN}" y="90" width="{_CODE}" height="{_CODE}" ', 1)
        lines = [self.key_text, "", *self._wrapped(self.instructions), "", *self._wrapped(self.warning)]
        at = 90 + _CODE + 2 * _LINE
        texts = [
            _text(_MARGIN, 60, self.title, 22),
            *(_text(_MARGIN, at + n * _LINE, t, 12) for n, t in enumerate(lines)),
        ]
        size = f'width="{_WIDTH}pt" height="{_HEIGHT}pt" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{inner}\n' + "\n".join(texts) + "\n</svg>\n"

    def _wrapped(self, text: str) -> list[str]:
        return [piece for line in text.split("\n") for piece in textwrap.wrap(line, _CHARACTERS) or [""]]


def _text(x: int, y: int, text: str, size: int) -> str:
    return f'<text x="{x}" y="{y}" font-family="sans-serif" font-size="{size}">{html.escape(text)}</text>'
