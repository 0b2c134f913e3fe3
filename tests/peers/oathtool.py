"""PINs from the real `oathtool`, which knows nothing of this product."""

import subprocess

from tests.peers import peers


def oathtool(key: bytes, *options: str) -> list[str]:
    """What it prints for `key`, which it reads from standard input, not from argv."""
    done = subprocess.run(
        [peers.require("oathtool"), *options, "-"], input=key.hex(), capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def totp_now(key: bytes) -> str:
    """What an app with the usual settings shows."""
    (passcode,) = oathtool(key, "--totp")
    return passcode
