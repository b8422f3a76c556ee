"""Keeps the ledger while the service runs: each beat before it is shown, seconds of enforcement, the rests at a stop.

Rules:
- A ledger that cannot be written is logged once, until it can be written again; it delays no beat.
- Seconds of enforcement are sampled at least once a minute: a list that is enforced at a sample counts for the time
  since the last sample, but for no more than MOST_S: a process that stood still enforced nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from resolver.count.ledger import Beat, Ledger, LedgerUnusable, ListBeat, Total
from resolver.count.metrics import Series

MOST_S: Final = 120.0
_DAY_S: Final = 86400

_log = logging.getLogger(__name__)


class ListNow(NamedTuple):
    """The list in force now, and whether it is enforced."""

    list_id: str
    serial: int
    entries: int
    enforced: bool


class Bookkeeping:
    """Writes beats of `every_s` seconds to `ledger`.

    lists: returns the lists in force; subscribers: returns the operator's figure; keep_s: how long beats are kept.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        every_s: int,
        region: str,
        subscribers: Callable[[], int],
        lists: Callable[[], Iterable[ListNow]],
        keep_s: float,
        now: float,
    ) -> None:
        self._ledger = ledger
        self._every_s = every_s
        self._region = region
        self._subscribers = subscribers
        self._lists = lists
        self._keep_s = keep_s
        self._looked = now
        self._enforced_s: dict[str, float] = {}
        self._forgot = 0
        self.writable = True

    def watch(self, now: float) -> None:
        """Count the time since the last sample for each list that is enforced now."""
        since = min(max(0.0, now - self._looked), MOST_S)
        self._looked = now
        for one in self._lists():
            if one.enforced:
                self._enforced_s[one.list_id] = self._enforced_s.get(one.list_id, 0.0) + since

    async def keep(self, at: int, totals: Mapping[Series, Total]) -> None:
        """Write the beat at `at` (unix seconds)."""
        lists = tuple(
            ListBeat(
                list_id=one.list_id,
                serial=one.serial,
                entries=one.entries,
                enforced_s=min(self._every_s, round(self._enforced_s.get(one.list_id, 0.0))),
            )
            for one in self._lists()
        )
        self._enforced_s = {}
        beat = Beat(
            at=at,
            every_s=self._every_s,
            region=self._region,
            subscribers=self._subscribers(),
            totals=totals,
            lists=lists,
        )
        await asyncio.to_thread(self._write, beat)

    def leave(self, totals: Mapping[Series, Total]) -> None:
        """Write what was counted since the last beat, at an orderly stop."""
        self._logged_once(lambda: self._ledger.leave(totals))

    def _write(self, beat: Beat) -> None:
        self._logged_once(lambda: self._ledger.write(beat))
        if beat.at // _DAY_S != self._forgot:
            self._forgot = beat.at // _DAY_S
            self._logged_once(lambda: self._ledger.forget(beat.at - self._keep_s))

    def _logged_once(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (LedgerUnusable, OSError) as error:
            if self.writable:
                _log.error(
                    "the ledger of counts cannot be written: %s; a restart loses the counts since its last beat",
                    error,
                )
            self.writable = False
        else:
            self.writable = True
