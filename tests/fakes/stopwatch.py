"""A stopwatch that stands still while this machine had no processor to spare.

Rules:
- What is measured are seconds of the clock less those in which a watched process could have run and waited for a
  processor: Linux counts them for each thread. So a bound holds on a busy machine as on an idle one.
- Watched are the process of the test and those that it names. Waits of several processes at the same time are counted
  once each: the stopwatch may be slow on a busy machine, it is never fast.
- Where the kernel counts no waits, the seconds are those of the clock.
"""

import contextlib
import os
import time
from pathlib import Path


def waited(pid: int) -> float:
    """Seconds that the threads of a process have waited for a processor so far."""
    spent = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # a thread that has ended
            spent += int(thread.read_text().split()[1])
    return spent / 1e9


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self, *pids: int) -> None:
        self._pids = (os.getpid(), *pids)
        self._waited = self._sum()
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds so far, without the waits for a processor."""
        return max(0.0, time.monotonic() - self._began - self.waited)

    @property
    def waited(self) -> float:
        """Seconds so far in which a watched process waited for a processor."""
        return self._sum() - self._waited

    def _sum(self) -> float:
        return sum(waited(pid) for pid in self._pids)
