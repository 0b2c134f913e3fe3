"""Results as a table of text."""

from collections.abc import Sequence

from benchmarks.rounds import Result

HEAD = " " * 30 + " logins/s   p50 ms   p99 ms   max ms  CPU us  errors  again  lost"


def shown(results: Sequence[Result], peers: Sequence[Result]) -> str:
    """A line for each server; the last columns are how many times as much it does as each peer in `peers`."""
    titles = [f"/ {peer.subject.name.rpartition(' ')[2].removeprefix('pam_')}" for peer in peers]
    widths = [max(9, len(title) + 2) for title in titles]
    text = [HEAD + "".join(f"{title:>{width}}" for title, width in zip(titles, widths, strict=True))]
    for result in results:
        ratios = (
            f"{ratio(result.per_second, peer.per_second):>{width}}" for peer, width in zip(peers, widths, strict=True)
        )
        text.append(line(result) + "".join(ratios))
    return "\n".join(text)


def line(result: Result) -> str:
    p50, p99 = result.median(lambda r: r.load.p50_ms), result.median(lambda r: r.load.p99_ms)
    times = f"{p50:9.2f}{p99:9.2f}{result.median(lambda r: r.load.max_ms):9.1f}"
    rest = f"{result.cpu_us:8.0f}{result.errors:8}{result.resent:7}{result.lost:6}"
    return f"  {result.subject.name:28}{result.per_second:9.0f}{times}{rest}"


def ratio(one: float, other: float) -> str:
    found = one / other if other else float("inf")
    return f"{found:.3f}" if found < 1 else f"{found:.1f}"
