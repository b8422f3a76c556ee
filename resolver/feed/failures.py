"""Counts the failures of a list's updates, by reason, and logs each in one line without a name."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from resolver.feed.processes import UpdateFailed
from resolver.feed.reasons import Reason

_log: Final = logging.getLogger("resolver.feed")


class Failures:
    """The failures of one list.

    counts: by reason, since the start. since, recent: since when (unix seconds) no poll has been good, and the counts
    of the polls from then on; 0 and none if the last poll was good. `kept` says what stays in force; `now` returns unix
    seconds.
    """

    def __init__(self, list_id: str, kept: Callable[[], str], now: Callable[[], float]) -> None:
        self.counts: dict[str, int] = {}
        self.since = 0
        self.recent: dict[str, int] = {}
        self._list_id = list_id
        self._kept = kept
        self._now = now

    def count(self, reason: Reason) -> None:
        """Count a failure and log it."""
        self.counts[reason.value] = self.counts.get(reason.value, 0) + 1
        _log.warning("list %s: update failed: %s; %s", self._list_id, reason.value, self._kept())

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Turn what ends a step into one count and one line; only a cancellation goes on."""
        try:
            yield
        except UpdateFailed as failed:
            self.count(failed.reason)
        except OSError:
            self.count(Reason.STATE_NOT_WRITTEN)
        except Exception as error:  # noqa: BLE001 - its text may hold anything: only its kind is logged
            _log.debug("list %s: %s", self._list_id, type(error).__name__)
            self.count(Reason.INTERNAL)

    @contextmanager
    def poll(self) -> Iterator[None]:
        """Count as `counted`, and note since when and why polls fail."""
        before = dict(self.counts)
        with self.counted():
            yield
            self.since, self.recent = 0, {}
            return
        self.since = self.since or int(self._now())
        new = {reason: count - before.get(reason, 0) for reason, count in self.counts.items()}
        self.recent = {reason: count for reason, more in new.items() if (count := self.recent.get(reason, 0) + more)}
