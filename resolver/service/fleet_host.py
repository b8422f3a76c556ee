"""A compile host within the service: publishes what is in force here for the nodes, and collects their receipts.

Rules:
- Each change of what is enforced here wakes the publisher; without `[fleet] publish` there is no FleetHost.
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from resolver.config.config import Config
from resolver.feed import fleet, fleet_receipts, poll
from resolver.feed.release import Releases
from resolver.feed.seal import Keys
from resolver.feed.state import Record

MOST_BEAT_S: Final = 900.0


class FleetHost:
    """Publishes the lists of `feed` and the names released, as the configuration says. `now` returns unix seconds."""

    def __init__(
        self, config: Config, keys: Keys, feed: poll.Feed, releases: Releases, now: Callable[[], float]
    ) -> None:
        self._feed = feed
        self._host = poll.host_of(config)
        self._now = now
        folders = config.fleet
        self._publisher = fleet.Publisher(
            Path(folders.publish),
            poll.host_key_of(config, make=True),
            feed,
            releases,
            digest_key=keys.digest_id,
            beat=min(MOST_BEAT_S, *(float(one.source.poll) for one in config.lists)),
            now=now,
        )
        self._collector = (
            fleet_receipts.Collector(Path(folders.receipts), Path(folders.nodes)) if folders.nodes else None
        )

    def wake(self) -> None:
        """Publish what changed now."""
        self._publisher.wake()

    def run(self) -> Coroutine[Any, Any, None]:
        """Return the work that runs while serving."""
        return self._publisher.run(self._collected)

    def publish(self) -> None:
        """Publish what is in force now, and collect receipts; OSError if a folder cannot be used."""
        self._publisher.publish()
        self.collect()

    def collect(self) -> bool:
        """Make the fleet's receipt of each list that all nodes have reported; return whether one was made.

        False too if this host collects no receipts. OSError if a folder cannot be used.
        """
        if self._collector is None:
            return False
        outbox = self._feed.outbox
        return fleet_receipts.look(
            self._collector, self._feed, host=self._host, now=self._now(), has=outbox.has, put=outbox.put
        )

    def reports(self, list_id: str, record: Record) -> fleet_receipts.Reports | None:
        """Return which nodes have reported a list's record in force; None if no receipts are collected. OSError."""
        return None if self._collector is None else self._collector.reports(list_id, record)

    async def _collected(self) -> None:
        if await asyncio.to_thread(self.collect):
            self._feed.outbox.wake()
