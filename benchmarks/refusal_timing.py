"""Whether the time of a refusal tells who exists: unknown, wrong password, locked, disabled, waiting after failures.

    .venv/bin/python -m benchmarks.refusal_timing [--samples 5000] [--seed 1]

A real server with passwords kept here and `reject_delay 0`, so that nothing hides the work; the usual delay of a second
with jitter comes on top. One request at a time over loopback, the classes mixed at random, everybody with a token, each
name asked at most four times (the fifth wrong password would make a user wait). Printed are the median and the 95th
hundredth of each class, and for each pair the AUC (Mann-Whitney): how often a refusal of the one takes longer than
one of the other; 0.50 is as good as a coin. Exit status 1 if a pair is outside 0.45 to 0.55, or if any two replies
differ in more than identifier and authenticators.
"""

import argparse
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.site import SECRET, Site
from tests.wire import REJECT, Nas, Reply, access_request
from validation.model import Mode
from validation.requests import (
    ChangeUserState,
    Channel,
    FirstFactor,
    FirstFactorResult,
    LoginRequest,
    SetRule,
    UserAct,
)
from validation.settings import Scope

REASONS = {
    "unknown": "user-unknown",
    "wrong password": "password-wrong",
    "locked": "user-locked",
    "disabled": "user-disabled",
    "waiting": "waiting-after-failures",
}
CLASSES = tuple(REASONS)
TIMES_EACH = 4
WARM_UP = 300
MOST = 0.55


def people(site: Site, count: int) -> dict[str, list[str]]:
    """Names of the same length in every class; their order of birth is mixed, so that age tells nothing."""
    names = {which: [f"{letter}{n:05}" for n in range(count)] for which, letter in zip(CLASSES, "uplds", strict=True)}
    born = [(which, name) for which in CLASSES[1:] for name in names[which]]
    random.Random(0).shuffle(born)
    for at, (which, name) in enumerate(born):
        site.add_user(name)
        site.enroll(name, kind="totp")
        if which in ("locked", "disabled"):
            act = UserAct.LOCK if which == "locked" else UserAct.DISABLE
            site.gate.administer(ChangeUserState(actor="bench", name=name, act=act))
        if at % 1000 == 999:
            print(f"  {at + 1} of {len(born)} people", flush=True)
    return names


def make_wait(site: Site, names: list[str]) -> None:
    """Five wrong passwords each, past the hash."""
    (client,) = site.gate.clients()
    wrong = FirstFactorResult(FirstFactor.WRONG)
    for at, _ in itertools.product(range(0, len(names), 50), range(5)):
        site.gate.login(
            [
                LoginRequest(
                    user=name,
                    channel=Channel.for_mode(Mode.CHALLENGE),
                    client=client.name,
                    client_version=client.version,
                    first_factor=wrong,
                )
                for name in names[at : at + 50]
            ]
        )


def reduced(reply: Reply) -> bytes:
    """Without identifier, Response Authenticator and Message-Authenticator."""
    return reply.data[:1] + reply.data[2:4] + reply.data[20:22] + reply.data[38:]


def asked(nas: Nas, name: str, number: int) -> tuple[float, bytes]:
    request = access_request(SECRET, name, "wrong-password", identifier=number % 256)
    began = time.perf_counter()
    nas.send(request.data)
    reply = nas.receive(30)
    took = time.perf_counter() - began
    if reply is None or reply.check(request).code != REJECT:
        sys.exit(f"no Reject for {name}")
    return took, reduced(reply)


def order(names: dict[str, list[str]], samples: int, dice: random.Random) -> list[tuple[str, str]]:
    """Each class `samples` times, in any order; no name more than TIMES_EACH times."""
    found = [(which, all_[n % len(all_)]) for which, all_ in names.items() for n in range(samples)]
    dice.shuffle(found)
    return found


def auc(ones: list[float], others: list[float]) -> float:
    """How often one of `ones` is larger than one of `others`; ties count half."""
    ranked = sorted([(value, 0) for value in ones] + [(value, 1) for value in others])
    rank, ranks = 1, 0.0
    for _, group in itertools.groupby(ranked, key=lambda pair: pair[0]):
        tied = list(group)
        ranks += sum(which == 0 for _, which in tied) * (rank + (len(tied) - 1) / 2)
        rank += len(tied)
    return (ranks - len(ones) * (len(ones) + 1) / 2) / (len(ones) * len(others))


def told(took: dict[str, list[float]]) -> Iterator[tuple[str, str, float]]:
    print(f"\n{'class':16}{'samples':>9}{'median':>12}{'95 of 100':>12}")
    for which, times in took.items():
        hundredths = statistics.quantiles(times, n=100)
        print(f"{which:16}{len(times):9}{hundredths[49] * 1000:9.2f} ms{hundredths[94] * 1000:9.2f} ms")
    print(f"\n{'pair':34}{'AUC':>7}")
    for one, other in itertools.combinations(took, 2):
        found = auc(took[one], took[other])
        print(f"{one + ' / ' + other:34}{found:7.3f}")
        yield one, other, found


def check_reasons(site: Site, names: dict[str, list[str]]) -> None:
    """The last refusal of everybody was the one that was meant; the unknown are counted, not written down."""
    class_of = {name: which for which, all_ in names.items() for name in all_}
    last = {row["user"]: row["reason"] for row in site.audit() if row["event"] == "login"}
    wrong = {(class_of[n], reason) for n, reason in last.items() if n in class_of and reason != REASONS[class_of[n]]}
    if wrong:
        sys.exit(f"not the refusals that were meant: {wrong}")


def measure(site: Site, names: dict[str, list[str]], samples: int, seed: int) -> int:
    took: dict[str, list[float]] = {which: [] for which in CLASSES}
    seen: Counter[bytes] = Counter()
    with site.server() as server, server.nas() as nas:
        for number in range(WARM_UP):
            asked(nas, f"x{number:05}", number)
        began = time.monotonic()
        for number, (which, name) in enumerate(order(names, samples, random.Random(seed))):
            seconds, reply = asked(nas, name, number)
            took[which].append(seconds)
            seen[reply] += 1
        print(f"{sum(seen.values())} refusals in {time.monotonic() - began:.0f} s; different replies: {len(seen)}")
    check_reasons(site, names)
    bad = [pair for pair in told(took) if not 1 - MOST <= pair[2] <= MOST]
    return 1 if bad or len(seen) != 1 else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=5000, help="of each class")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder) / "site")
        site.add_client()
        for key, value in (("reject_delay", "0"), ("lock_base", "1h")):
            site.gate.administer(SetRule(actor="bench", key=key, value=value, scope=Scope()))
        print(f"seed {chosen.seed}; making the people ...", flush=True)
        names = people(site, -(-chosen.samples // TIMES_EACH))
        make_wait(site, names["waiting"])
        return measure(site, names, chosen.samples, chosen.seed)


if __name__ == "__main__":
    sys.exit(main())
