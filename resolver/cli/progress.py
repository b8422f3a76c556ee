"""Shows on a terminal that a long verb works, and for how long; a pipe or a file gets nothing of it.

Rules:
- It is written to stderr, and only if that is a terminal; it is wiped before anything is printed.
- What is shown are our own words, never anything that was typed or read.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

AFTER_S = 0.5
"""A verb that is done sooner shows nothing, so that short ones do not flicker."""


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show `what` and the seconds that have passed, until the end of the block."""
    if not sys.stderr.isatty():
        yield
        return
    from threading import Timer

    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    shown = _progress(SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    shown.add_task(what, total=None)
    later = Timer(AFTER_S, shown.start)
    later.daemon = True
    later.start()
    try:
        yield
    finally:
        later.cancel()
        later.join()
        shown.stop()


def steps(found: list[Any], what: str) -> Iterator[Any]:
    """Iterate over the steps of a long task, with a bar that says how many are left."""
    if not sys.stderr.isatty():
        yield from found
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    text = TextColumn("{task.description}", markup=False)
    with _progress(text, BarColumn(), TaskProgressColumn(), TimeRemainingColumn()) as shown:
        yield from shown.track(found, description=what)


def _progress(*columns: Any) -> Any:
    from rich.console import Console
    from rich.progress import Progress

    # Whatever goes to stdout meanwhile stays on stdout: Rich would write it to its own console.
    return Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    )
