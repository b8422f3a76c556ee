"""Decides when a list is tried again whose date is a few seconds ahead of this host's clock.

Rules:
- Within EARLY_S it is tried again at its date, not at the next poll, and is no failure yet.
- An attempt at that time which meets another early date is a failure: an authority whose clock is ahead and that
  publishes all the time would otherwise never be noticed.
"""

from typing import Final

EARLY_S: Final = 30
"""Clocks that NTP keeps differ by less."""


class Early:
    """The early list of one source. again_at: when to try it again, in unix seconds; 0 if there is none."""

    def __init__(self) -> None:
        self.again_at = 0
        self._retried = False

    def is_due(self, now: float) -> bool:
        """Return whether it is time to try again."""
        return 0 < self.again_at <= now

    def begin(self, now: float) -> None:
        """Note that an attempt begins."""
        self._retried = self.is_due(now)
        self.again_at = 0

    def waits(self, due_at: int, now: float) -> bool:
        """Return whether a list that cannot be accepted before `due_at` is tried again then, and is no failure yet."""
        if self._retried or not now < due_at <= now + EARLY_S:
            return False
        self.again_at = due_at
        return True
