"""`twofold-openvpn SETTINGS FILE`: OpenVPN 2.6 runs it for each login (`auth-user-pass-verify … via-file`).

OpenVPN forwards nothing for anybody until a script ends. So this process reads what was typed, leaves the asking to a
child, and ends with status 2: the login is deferred, and OpenVPN looks into files of its own for what came of it.

Rules: status 0 would let in, and is never used; only a child that has seen an Access-Accept writes the 1. The files
are OpenVPN's: none is made here, so what comes too late goes nowhere. A child holds one process of the account that
OpenVPN runs as; if no more may be made, the login is refused before Twofold is asked, which also leaves OpenVPN the one
process that it needs for its next script (it ends if it cannot make one). What the child needs to ask is imported in
the child, where nobody waits for it.
"""

import contextlib
import os
import signal
import sys
import syslog
from collections.abc import Mapping
from typing import NoReturn

REFUSED, DEFERRED = 1, 2
LET_IN, NOT_LET_IN = b"1", b"0"  # what OpenVPN reads in auth_control_file
LONGEST_CHILD = 60  # seconds; OpenVPN's hand-window, after which it has refused the login

BUSY = "Too many people are logging in at once. Please try again in a moment."
UNCHECKED = "The login could not be checked. Please try again later, or ask your administrator."


class Unusable(Exception):
    """OpenVPN did not hand over what this program needs. The text says what to set, and repeats nothing typed."""


def main() -> NoReturn:
    """Ends with the exit status: whoever packs this program into one file drops what main returns."""
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    try:
        settings, typed = arguments
        user, password = what_was_typed(typed)
        control, reason = result_files(os.environ)
    except ValueError:
        return complain("usage: twofold-openvpn SETTINGS FILE, and `via-file` behind it in OpenVPN's configuration")
    except Unusable as error:
        return complain(str(error))
    try:
        child = os.fork()
    except OSError as error:
        write(reason, BUSY.encode())
        return complain(f"no process for one more login (see LimitNPROC): {error.strerror}")
    if child == 0:
        _ask(settings, user, password, control, reason)
    return DEFERRED


def what_was_typed(path: str) -> tuple[str, str]:
    """User name and password, each a line of the file. Raises Unusable."""
    try:
        with open(path, "rb") as file:
            lines = file.read(8192).decode("utf-8", "surrogateescape").split("\n")
    except OSError as error:
        raise Unusable(f"the file with name and password: {error.strerror}") from None
    if len(lines) != 3 or lines[2]:
        raise Unusable("the file with name and password has not two lines: is `via-file` set?")
    return lines[0], lines[1]


def result_files(environment: Mapping[str, str]) -> tuple[str, str]:
    """Where OpenVPN looks for the verdict, and for a text. Raises Unusable."""
    try:
        return environment["auth_control_file"], environment["auth_failed_reason_file"]
    except KeyError as error:
        raise Unusable(f"OpenVPN has not set {error.args[0]}: version 2.6 or later is needed") from None


def _ask(settings: str, user: str, password: str, control: str, reason: str) -> NoReturn:
    """The child. It always leaves a verdict, and a text before it: OpenVPN reads both once the verdict is there."""
    let_in, text = False, UNCHECKED
    try:
        _leave_openvpn()
        from gateways.openvpn_login import login

        let_in, text = login(settings, user, password, os.environ)
    except Exception as error:
        complain(f"a fault of this program, {type(error).__name__}: the login is refused")
    finally:
        write(reason, text.encode())
        write(control, LET_IN if let_in else NOT_LET_IN)
        os._exit(0)


def _leave_openvpn() -> None:
    """Signals for OpenVPN's group and its log are not for the child; nor does it hold on to a process for ever."""
    os.setsid()
    signal.alarm(LONGEST_CHILD)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nowhere, number)


def write(path: str, octets: bytes) -> None:
    """Into a file that is there. OpenVPN has removed it if the login is over; then nobody is left to be told, and if
    the disk is full, the login stays without a verdict, and OpenVPN refuses it in the end."""
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            os.write(file, octets)
        finally:
            os.close(file)


def complain(text: str) -> int:
    """Into the system's log; nothing typed may be in it. The exit status that refuses."""
    syslog.openlog("twofold-openvpn", syslog.LOG_PID, syslog.LOG_AUTH)
    syslog.syslog(syslog.LOG_WARNING, text)
    return REFUSED


if __name__ == "__main__":
    main()
