"""`Twofold` runs commands in this process, as `twofold --config FILE …` would, standard input and all."""

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from typing import Any
from unittest import mock

from store.cli.main import run
from tests.site import Site


@dataclass(frozen=True)
class Result:
    """What a command said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """The one line that says what is wrong; click shows the usage above it."""
        lines = [line for line in self.err.splitlines() if line and not line.startswith(("Usage:", "Try "))]
        (sentence,) = lines
        return sentence


class Twofold:
    def __init__(self, site: Site) -> None:
        self._site = site

    def __call__(self, *arguments: str, stdin: str | bytes = b"") -> Result:
        octets = stdin.encode() if isinstance(stdin, str) else stdin
        typed = io.TextIOWrapper(io.BytesIO(octets), encoding="utf-8")
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.object(sys, "stdin", typed), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run(["--config", str(self._site.config_file), *arguments])
        return Result(status, out.getvalue(), err.getvalue())

    def done(self, *arguments: str, stdin: str | bytes = b"") -> Result:
        """The same for a command that must go well."""
        result = self(*arguments, stdin=stdin)
        assert result.status == 0, result
        return result
