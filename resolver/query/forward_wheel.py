"""Keeps the time limits of all exchanges behind one timer: a wheel of ticks.

Rules:
- An entry is woken once, never early, and at most a tick late. It is never removed: it checks by itself whether it has
  ended meanwhile.
- The timer runs only while there are entries.
"""

import asyncio
import time
from typing import Protocol

TICK_S = 0.01


class Waking(Protocol):
    """An entry of the wheel; `now` is the monotonic clock in seconds."""

    def wake(self, now: float) -> None:
        """Do what is due."""


class Wheel:
    """A timer wheel with ticks of TICK_S seconds, on the running event loop."""

    def __init__(self) -> None:
        self._slots: dict[int, list[Waking]] = {}
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def turning(self) -> bool:
        """True while there are entries."""
        return self._timer is not None

    def at(self, when: float, one: Waking) -> None:
        """Wake `one` at `when` (monotonic, in seconds), or at the next tick if that is past."""
        number = int(when / TICK_S) + 1
        if self._timer is None:
            self._next = int(time.monotonic() / TICK_S) + 1
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._turn)
        number = max(number, self._next)
        slot = self._slots.get(number)
        if slot is None:
            self._slots[number] = [one]
        else:
            slot.append(one)

    def close(self) -> None:
        """Stop the timer and drop all entries."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._slots = {}

    def _turn(self) -> None:
        now = time.monotonic()
        first, self._next = self._next, int(now / TICK_S) + 1
        due = [one for number in range(first, self._next) for one in self._slots.pop(number, ())]
        # Set before the entries are woken, because each may call `at` again.
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._turn)
        for one in due:
            one.wake(now)
        if not self._slots and self._timer is not None:
            self._timer.cancel()
            self._timer = None
