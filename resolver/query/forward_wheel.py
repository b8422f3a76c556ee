"""The time limits of all exchanges behind one timer: a wheel of ticks; what has ended is left on it.

Rules:
- Whoever waits is woken once, never early, and at most a tick late. It looks by itself whether it still cares.
- The timer runs only while somebody waits.
"""

import asyncio
import time
from typing import Protocol

TICK_S = 0.01


class Waking(Protocol):
    """Who can be woken; `now` is the monotonic clock in seconds."""

    def wake(self, now: float) -> None:
        """Do what is due."""


class Wheel:
    """Wakes on the running loop."""

    def __init__(self) -> None:
        self._slots: dict[int, list[Waking]] = {}
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def turning(self) -> bool:
        """True while somebody waits."""
        return self._timer is not None

    def at(self, when: float, one: Waking) -> None:
        """Wake `one` at `when` (monotonic s), or at the next tick where that is past."""
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
        """Wake nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._slots = {}

    def _turn(self) -> None:
        now = time.monotonic()
        first, self._next = self._next, int(now / TICK_S) + 1
        due = [one for number in range(first, self._next) for one in self._slots.pop(number, ())]
        # Set before anybody is woken: whoever is may ask to be woken again.
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._turn)
        for one in due:
            one.wake(now)
        if not self._slots and self._timer is not None:
            self._timer.cancel()
            self._timer = None
