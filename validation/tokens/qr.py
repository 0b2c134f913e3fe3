"""An `otpauth://` address as a picture of text, for every place that shows one on a terminal.

Rules: half blocks, one text line for two rows of modules, no colours. Light modules are drawn, for dark terminals;
scanners take either. Whoever shows a picture also shows the key as text (`uri.grouped`), for terminals without
these characters.
"""

import io

import segno

_QUIET = 2  # modules around the code; the standard's 4 would not fit 80 columns for long names


def picture(uri: str) -> str:
    """The QR code of `uri`; about 45 columns for a usual key."""
    out = io.StringIO()
    segno.make(uri, error="l", micro=False).terminal(out, compact=True, border=_QUIET)
    return out.getvalue().rstrip("\n")
