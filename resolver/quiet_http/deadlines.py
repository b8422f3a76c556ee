# cython: language_level=3, annotation_typing=False
"""Deadlines of connections: one costs an entry in a table, not a timer, as all of one kind have the same time left."""

import asyncio
from collections.abc import Callable
from itertools import takewhile
from typing import Any


class Deadlines:
    """Connections that all have the same time left from when they start, and one timer for the first of them.

    then: called with each whose time is over.
    """

    def __init__(self, seconds: float, then: Callable[[Any], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._then = then
        self._due: dict[Any, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self, one: Any) -> None:
        """Call `then` for a connection when its time is over."""
        self._due.pop(one, None)
        due = self._due[one] = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._look)

    def stop(self, one: Any) -> None:
        """Forget a connection."""
        self._due.pop(one, None)

    def close(self) -> None:
        """Forget all."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        for one, _ in [*takewhile(lambda item: item[1] <= now, self._due.items())]:
            self._due.pop(one, None)
            self._then(one)
        # All have the same time left from their start, so the first in order is the next that is due.
        first = next(iter(self._due.values()), None)
        self._timer = None if first is None else self._loop.call_at(first, self._look)
