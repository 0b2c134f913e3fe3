"""Spoiled dialogues against the module under the sanitizers, from a seed, judged by a second reading of the protocol.

    python -m tests.pam_helper.module.fuzz [--runs N | --seconds N] [--seed S]

Good dialogues are changed octet by octet and frame by frame. `expected` reads the result once more, in Python and from
the protocol's text, and the module's code must be that one: so a crash, a report of a sanitizer, a hang and a wrong
verdict are all found. Prints what did not agree, in hex, with the seed that brings it back; exit status 1 then.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.pam_helper.module.conftest import SANITIZERS
from tests.pam_helper.module.harness import AUTH_ERR, AUTHINFO_UNAVAIL, IGNORED, SUCCESS, Built, Stack, build, hidden
from tests.pam_helper.module.hostile import FRAME_MAX, Connection, Hostile, Script, frame, verdict

USER = "alice"
BATCH = 500
MOST_DELAY = 60_000_000
MOST_WAIT = 300_000
KINDS = b"IEPpAWTtFHRXLNi\0\xff"
LENGTHS = (0, 1, 3, 4, 5, 255, 256, FRAME_MAX, FRAME_MAX + 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


@dataclass(frozen=True)
class Case:
    octets: bytes
    impatient: bool  # sends everything at once and waits for no reply


@dataclass(frozen=True)
class Finding:
    case: Case
    expected: int
    got: int

    def __str__(self) -> str:
        how = "at once" if self.case.impatient else "in turn"
        return f"expected {self.expected}, got {self.got}: {self.case.octets.hex()} {how}"


# --- The protocol, read a second time


def frames(octets: bytes) -> Iterator[tuple[int, bytes | None, int]]:
    """Type, payload (None when it is cut or too long) and the place after it."""
    at = 0
    while at < len(octets):
        size = int.from_bytes(octets[at + 1 : at + 5], "big")
        end = at + 5 + size
        whole = len(octets) >= at + 5 and size <= FRAME_MAX and len(octets) >= end
        yield octets[at], octets[at + 5 : end] if whole else None, end
        at = end
        if not whole:
            return


def expected(case: Case) -> int:
    waiting = False
    for kind, payload, end in frames(case.octets):
        if payload is None:
            break
        if chr(kind) == "F" and not waiting:
            return _judged(payload) if end == len(case.octets) else AUTHINFO_UNAVAIL
        if not _is_good(chr(kind), payload, waiting) or (_is_answered(chr(kind)) and case.impatient):
            break
        waiting = _waits_after(chr(kind), waiting)
    return AUTHINFO_UNAVAIL


def _is_good(kind: str, payload: bytes, waiting: bool) -> bool:
    """The driver has no terminal, so a wait ends only when the daemon ends it."""
    if kind in "WT" and not waiting:
        return len(payload) == 4 and int.from_bytes(payload, "big") <= (MOST_DELAY if kind == "W" else MOST_WAIT)
    if kind == "t":
        return waiting and not payload
    return kind in ("IE" if waiting else "IEPpA") and b"\0" not in payload


def _is_answered(kind: str) -> bool:
    return kind in "Ppt"


def _waits_after(kind: str, waiting: bool) -> bool:
    return kind == "T" or (waiting and kind != "t")


def _judged(payload: bytes) -> int:
    which, name = payload[:1], payload[1:]
    if which in (b"S", b"I"):
        return AUTH_ERR if name != USER.encode() else SUCCESS if which == b"S" else IGNORED
    return AUTH_ERR if which == b"D" else AUTHINFO_UNAVAIL


def turns(octets: bytes) -> Iterator[bytes]:
    """The octets up to each frame that will be answered, then the rest."""
    start, waiting = 0, False
    for kind, payload, end in frames(octets):
        if payload is None or not _is_good(chr(kind), payload, waiting):
            break
        if _is_answered(chr(kind)):
            yield octets[start:end]
            start = end
        waiting = _waits_after(chr(kind), waiting)
    yield octets[start:]


# --- Good dialogues, and how they are spoiled


def good(dice: random.Random) -> list[bytes]:
    texts = [b"PIN: ", "Grüße".encode(), b"", dice.randbytes(dice.randrange(1, 40)).replace(b"\0", b"."), b"x" * 3000]
    said = [frame(dice.choice("IEPpA"), dice.choice(texts)) for _ in range(dice.randrange(4))]
    if dice.random() < 0.3:
        said.append(frame("W", dice.randrange(2 * MOST_DELAY).to_bytes(4, "big")))
    if dice.random() < 0.2:
        texts_meanwhile = [frame(dice.choice("IE"), dice.choice(texts)) for _ in range(dice.randrange(3))]
        said += [frame("T", dice.randrange(MOST_WAIT * 10 // 9).to_bytes(4, "big")), *texts_meanwhile, frame("t")]
    name = dice.choice([USER] * 6 + ["bob", "", USER + "\0", USER.upper()])
    return [*said, verdict(dice.choice("SSSSIIDUx"), name)]


def spoiled(said: list[bytes], dice: random.Random) -> bytes:
    said = list(said)
    at = dice.randrange(len(said))
    match dice.randrange(8):
        case 0:  # as it is
            pass
        case 1:
            said[at] = bytes([dice.choice(KINDS)]) + said[at][1:]
        case 2:
            said[at] = said[at][:1] + dice.choice(LENGTHS).to_bytes(4, "big") + said[at][5:]
        case 3:
            said.insert(dice.randrange(len(said) + 1), said[at])
        case 4:
            del said[at]
        case 5:
            return _with_changed_octets(b"".join(said), dice)
        case 6:
            return b"".join(said)[: dice.randrange(sum(map(len, said)) + 1)]
        case _:
            said.insert(dice.randrange(len(said) + 1), dice.randbytes(dice.randrange(12)))
    return b"".join(said)


def _with_changed_octets(octets: bytes, dice: random.Random) -> bytes:
    changed = bytearray(octets)
    for _ in range(dice.randrange(1, 4)):
        place = dice.randrange(len(changed))
        changed[place : place + dice.randrange(2)] = bytes([dice.choice([0, 1, 255, dice.randrange(256)])])
    return bytes(changed)


def cases(seed: int) -> Iterator[Case]:
    dice = random.Random(seed)
    while True:
        yield Case(spoiled(good(dice), dice), impatient=dice.random() < 0.1)


# --- Runs


def sends(case: Case) -> Script:
    def script(connection: Connection) -> None:
        connection.hello()
        if case.impatient:
            connection.send(case.octets)
            return
        *answered, rest = turns(case.octets)
        for turn in answered:
            connection.send(turn)
            connection.hear()
        connection.send(rest)

    return script


def disagreements(built: Built, folder: Path, batch: list[Case]) -> list[Finding]:
    stack = Stack(built, folder)
    stack.service("auth [success=done default=die] @us combined")
    with Hostile(stack.socket, [sends(case) for case in batch]) as helper:
        runs = stack.run(runs=len(batch), answer=hidden("123456"), timeout=300)
        assert len(helper.connections) == len(batch)
    compared = [(case, expected(case), run.code) for case, run in zip(batch, runs, strict=True)]
    return [Finding(case, wanted, got) for case, wanted, got in compared if wanted != got]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, help="how many dialogues")
    parser.add_argument("--seconds", type=int, help="stop after the batch that is then running")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args(arguments)
    runs = options.runs or (sys.maxsize if options.seconds else 10_000)
    with tempfile.TemporaryDirectory() as folder:
        done, findings = _fuzz(Path(folder), options.seed, runs, options.seconds or sys.maxsize)
    print(f"seed {options.seed}: {done} dialogues, {len(findings)} not as expected")
    print(*findings, sep="\n", end="\n" if findings else "")
    return 1 if findings else 0


def _fuzz(folder: Path, seed: int, runs: int, seconds: int) -> tuple[int, list[Finding]]:
    built, supply, until = build(folder / "built", *SANITIZERS), cases(seed), time.monotonic() + seconds
    done, findings = 0, list[Finding]()
    while done < runs and time.monotonic() < until:
        batch = [next(supply) for _ in range(min(BATCH, runs - done))]
        findings += disagreements(built, folder, batch)
        done += len(batch)
    return done, findings


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
