"""Devices that log in with EAP: `eapol_test`, which is wpa_supplicant with an access point of its own."""

import re
from dataclasses import dataclass, field

from tests.peers.freeradius_front.front import HOST, NAS_SECRET, Front

# Method and what is inside, as wpa_supplicant.conf(5) writes them.
TTLS_PAP = ("TTLS", "auth=PAP")
TTLS_GTC = ("TTLS", "autheap=GTC")
PEAP_GTC = ("PEAP", "auth=GTC")
TTLS_CHAP = ("TTLS", "auth=CHAP")
TTLS_MSCHAPV2 = ("TTLS", "auth=MSCHAPV2")
PEAP_MSCHAPV2 = ("PEAP", "auth=MSCHAPV2")
MD5 = ("MD5", "")
GTC = ("GTC", "")


@dataclass(frozen=True)
class Ended:
    """What came of it. `timed_out` is a failure that is none: nobody said no."""

    output: str = field(repr=False)
    status: int

    @property
    def let_in(self) -> bool:
        return self.status == 0 and self.output.rstrip().endswith("SUCCESS")

    @property
    def refused(self) -> bool:
        """By an EAP-Failure in an Access-Reject: the exit status is the same for whatever went wrong."""
        return (
            self.status in (252, 253)
            and "EAP: Received EAP-Failure" in self.output
            and "code=3 (Access-Reject)" in self.output
            and "EAPOL test timed out" not in self.output
        )

    @property
    def unsigned(self) -> list[str]:
        """Answers of the server without a Message-Authenticator."""
        answers = re.findall(r"^RADIUS message: code=(?:2|3|11) .*?(?=^\S)", self.output, re.MULTILINE | re.DOTALL)
        assert answers, self.output
        return [answer for answer in answers if "Message-Authenticator" not in answer]


def network(
    name: str, password: str, method: tuple[str, str], ca: str, host: str = HOST, outer: str = "anonymous"
) -> str:
    """The configuration of a device. The password is written in hexadecimal, since any octet may be in it."""
    eap, inside = method
    lines = [
        "key_mgmt=IEEE8021X",
        "eapol_flags=0",
        f'identity="{name}"',
        f'password=P"{escaped(password)}"',
        f"eap={eap}",
    ]
    if inside:
        lines += [f'anonymous_identity="{outer}"', f'phase2="{inside}"', f'ca_cert="{ca}"', f'domain_match="{host}"']
    return "network={\n    " + "\n    ".join(lines) + "\n}\n"


def escaped(text: str) -> str:
    """As printf_decode() of wpa_supplicant reads it."""
    return "".join(f"\\x{octet:02x}" for octet in text.encode())


def eapol_test(
    front: Front,
    name: str,
    password: str,
    method: tuple[str, str],
    *options: str,
    ca: str = "",
    host: str = HOST,
    outer: str = "anonymous",
) -> Ended:
    """One login, from FreeRADIUS's own host."""
    file = front.world.path / "network.conf"
    front.world.write(file, network(name, password, method, ca or str(front.ca), host, outer), 0o600)
    attributes = ("-N", "32:s:wifi", "-N", "30:s:02-00-00-00-00-01:office", "-M", "02:00:00:00:00:99")
    asked = ("eapol_test", "-c", file, "-a", "127.0.0.1", "-s", NAS_SECRET, "-t", "40", "-r", "0", *attributes)
    done = front.world.run(*asked, *options, check=False)
    return Ended(done.stdout, done.returncode)
