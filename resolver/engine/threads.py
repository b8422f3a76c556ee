"""How many threads an engine has; apart from engine.engine, which needs the compiled core."""

import os
from typing import Final

MOST_THREADS: Final = 64


def threads_of(threads: int) -> int:
    """Return how many threads `threads` of the configuration means: 0 is one for each core the process may use."""
    return threads or min(MOST_THREADS, len(os.sched_getaffinity(0)))
