"""Counts the failures of a list's updates, by reason, and logs each with its detail in one line without a name."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from resolver.config.lists import List
from resolver.feed import detail_text, details
from resolver.feed.details import Detail, Place
from resolver.feed.processes import UpdateFailed
from resolver.feed.reasons import Reason

_log: Final = logging.getLogger("resolver.feed")


class Failures:
    """The failures of one list.

    counts: by reason, since the start. since, recent: since when (unix seconds) no poll has been good, and the counts
    of the polls from then on; 0 and none if the last poll was good. polled_at: when the last poll ended, 0 if none has.
    last: the reasons of the last poll's failures, each with its detail; none if it was good. refused: lines by reason,
    of a list of which the last poll took none. `kept` says what stays in force; `now` returns unix seconds.
    """

    def __init__(self, one: List, kept: Callable[[], str], now: Callable[[], float]) -> None:
        self.counts: dict[str, int] = {}
        self.since = 0
        self.recent: dict[str, int] = {}
        self.polled_at = 0
        self.last: list[str] = []
        self.refused: dict[str, int] = {}
        self._list = one
        self._kept = kept
        self._now = now

    def count(self, reason: Reason, detail: Detail | None = None) -> None:
        """Count a failure and log it."""
        said = detail_text.text(detail, self._list)
        line = f"{reason.value}: {said}" if said else reason.value
        self.counts[reason.value] = self.counts.get(reason.value, 0) + 1
        self.last.append(line)
        if detail is not None and detail.unusable is not None:
            self.refused = {str(why): count for why, count in detail.unusable.refused.items()}
        _log.warning("list %s: update failed: %s; %s", self._list.id, line, self._kept())

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Turn what ends a step into one count and one line; only a cancellation goes on."""
        try:
            yield
        except UpdateFailed as failed:
            self.count(failed.reason, failed.detail)
        except OSError as error:
            self.count(Reason.STATE_NOT_WRITTEN, details.of_errno(error, Place.STATE))
        except Exception as error:  # noqa: BLE001 - its text may hold anything: only its kind is logged
            _log.debug("list %s: %s", self._list.id, type(error).__name__)
            self.count(Reason.INTERNAL)

    @contextmanager
    def poll(self) -> Iterator[None]:
        """Count as `counted`, and note since when and why polls fail."""
        before = dict(self.counts)
        self.last, self.refused = [], {}
        try:
            with self.counted():
                yield
                self.since, self.recent = 0, {}
                return
        finally:
            self.polled_at = int(self._now())
        self.since = self.since or int(self._now())
        new = {reason: count - before.get(reason, 0) for reason, count in self.counts.items()}
        self.recent = {reason: count for reason, more in new.items() if (count := self.recent.get(reason, 0) + more)}
