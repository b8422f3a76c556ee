"""Counting within the service: joins the readings with the beat, the ledger and the exporter.

Rules:
- The feed and the ledger never import each other: what the feed enforces reaches the ledger as a call.
- Totals continue from the ledger, and start again if it is damaged. A full disk ends no start.
- At an orderly stop the rest of the counts is written last, when nothing counts any more.
"""

import asyncio
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from resolver.config.config import Config
from resolver.count.bookkeeping import Bookkeeping, ListNow
from resolver.count.exporter import Exporter
from resolver.count.ledger import Ledger, LedgerUnusable
from resolver.count.metrics import Series
from resolver.count.publish import Published, Publisher
from resolver.feed.places import Places
from resolver.feed.poll import Feed
from resolver.service.readings import Readings, labels_of

_LEAST_OCTETS: Final = 2**18

_log = logging.getLogger("resolver.count")


class Counting:
    """The way of a count from the readings to what leaves; OSError if the ledger cannot be used.

    turn_day: clears what is counted once a day; called when a day's figures are closed.
    """

    def __init__(
        self,
        config: Config,
        readings: Readings,
        feed: Feed,
        turn_day: Callable[[], object] = lambda: None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._readings = readings
        self._now = now
        self._labels = labels_of(config)
        self._exporter: Exporter | None = None
        places = Places(config.state.directory)
        places.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ledger = _opened(places.ledger, now())
        self._books = Bookkeeping(
            self._ledger,
            every_s=int(config.count.publish_every),
            region=config.count.region,
            subscribers=readings.subscribers,
            lists=lambda: lists_now(feed),
            keep_s=config.count.keep,
            now=now(),
        )
        self.publisher = Publisher(
            readings.exact,
            self._labels,
            every_s=int(config.count.publish_every),
            batch=config.count.batch,
            phases=secrets.randbelow,
            now=now(),
            start=self._ledger.totals(),
            books=self._books,
            turn_day=turn_day,
        )

    def published(self) -> Published:
        """Return the counts as last published."""
        return self.publisher.published

    def configure(self, config: Config, exact: Mapping[Series, int]) -> None:
        """Publish the series of another configuration; exact: the counts of the moment before it was applied."""
        self._labels = labels_of(config)
        self.publisher.relabel(self._labels, exact)
        if self._exporter is not None:
            self._exporter.relabel(self._labels)

    def exporter(self, unready: Callable[[], str]) -> Exporter:
        """Return the exporter; `unready` says why the service does not do all that it should, "" if it does."""
        self._exporter = Exporter(
            self._labels,
            published=self.published,
            read_live=self._readings.live,
            unready=unready,
            began=self._ledger.began,
        )
        return self._exporter

    async def run(self) -> None:
        """Publish on every beat until cancelled."""
        await self.publisher.run(self._now, asyncio.sleep)

    def leave(self) -> None:
        """Write the counts since the last beat."""
        self._books.leave(self.publisher.totals())


def _opened(path: Path, now: float) -> Ledger:
    """Return the ledger. A damaged ledger is renamed and a new one started: blocking must not wait for counting.

    On a disk that takes no octet the ledger is only read, and each beat tries to write it.
    """
    try:
        ledger = Ledger(path, now)
        ledger.totals()
        return ledger
    except LedgerUnusable as error:
        if not _takes_octets(path.parent):
            _log.error("%s: nothing can be written beside it; counts go on, and are lost if the service ends", error)
            return Ledger(path, now, lasting=False)
        renamed = path.with_name(f"{path.name}.unusable-{int(now)}")
        _log.error("%s; it is renamed to %s, and the totals start again", error, renamed.name)
    try:
        path.replace(renamed)
        for rest in ("-wal", "-shm"):
            path.with_name(path.name + rest).unlink(missing_ok=True)
        return Ledger(path, now)
    except LedgerUnusable as error:
        raise ValueError(str(error)) from None


def _takes_octets(folder: Path) -> bool:
    """Return whether a new file in `folder` can hold what a ledger needs at the least."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_LEAST_OCTETS))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True


def lists_now(feed: Feed) -> Iterator[ListNow]:
    """Yield what the ledger keeps of each list."""
    for facts in feed.facts():
        yield ListNow(facts.list_id, facts.serial, facts.entries, facts.enforced)
