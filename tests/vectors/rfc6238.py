"""RFC 6238 Appendix B: the test values of TOTP, 8 digits, 30 seconds.

The seed is as long as the hash (20, 32, 64 octets), as in the code of Appendix A; the RFC's table shows only the first
20 (errata 2866).
"""

from typing import NamedTuple

_DIGITS = b"1234567890" * 7
SEEDS = {"sha1": _DIGITS[:20], "sha256": _DIGITS[:32], "sha512": _DIGITS[:64]}


class Row(NamedTuple):
    time: int
    step: int
    totp: str
    algorithm: str


APPENDIX_B = [
    Row(59, 0x0000000000000001, "94287082", "sha1"),
    Row(59, 0x0000000000000001, "46119246", "sha256"),
    Row(59, 0x0000000000000001, "90693936", "sha512"),
    Row(1111111109, 0x00000000023523EC, "07081804", "sha1"),
    Row(1111111109, 0x00000000023523EC, "68084774", "sha256"),
    Row(1111111109, 0x00000000023523EC, "25091201", "sha512"),
    Row(1111111111, 0x00000000023523ED, "14050471", "sha1"),
    Row(1111111111, 0x00000000023523ED, "67062674", "sha256"),
    Row(1111111111, 0x00000000023523ED, "99943326", "sha512"),
    Row(1234567890, 0x000000000273EF07, "89005924", "sha1"),
    Row(1234567890, 0x000000000273EF07, "91819424", "sha256"),
    Row(1234567890, 0x000000000273EF07, "93441116", "sha512"),
    Row(2000000000, 0x0000000003F940AA, "69279037", "sha1"),
    Row(2000000000, 0x0000000003F940AA, "90698825", "sha256"),
    Row(2000000000, 0x0000000003F940AA, "38618901", "sha512"),
    Row(20000000000, 0x0000000027BC86AA, "65353130", "sha1"),
    Row(20000000000, 0x0000000027BC86AA, "77737706", "sha256"),
    Row(20000000000, 0x0000000027BC86AA, "47863826", "sha512"),
]
