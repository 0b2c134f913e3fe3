"""A bar on standard error for what takes a while.

Rules: only where standard error is a terminal, and only from 1,000 rows on; what is printed on standard output is the
same with and without. `rich` is loaded when a bar is really shown.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

PROGRESS_FROM = 1000  # rows
OCTETS_FROM = 32 * PROGRESS_FROM  # a file of so many rows has at least so many

T = TypeVar("T")


def _shown() -> bool:
    return sys.stderr.isatty()


@contextmanager
def busy(what: str, octets: int) -> Iterator[None]:
    """For work whose number of rows is only known at its end."""
    if octets < OCTETS_FROM or not _shown():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(what, total=None)
        yield


def counted(what: str, rows: int) -> Callable[[Iterable[T]], Iterator[T]]:
    """Hands its argument on, item by item, while a bar tells how many of `rows` are done."""

    def handed_on(items: Iterable[T]) -> Iterator[T]:
        if rows < PROGRESS_FROM or not _shown():
            yield from items
            return
        from rich.console import Console
        from rich.progress import track

        console = Console(stderr=True)
        yield from track(items, description=what, total=rows, console=console, transient=True)

    return handed_on
