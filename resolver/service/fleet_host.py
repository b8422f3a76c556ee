"""A compile host within the service: publishes what is in force here for the nodes, and collects their receipts.

Rules:
- Each change of what is enforced here wakes the publisher; without `[fleet] publish` there is no FleetHost.
- Nodes write to the folder of receipts. Publishing never waits for collecting, and `status` shows what was collected
  last: a folder that gives no answer delays neither.
- What was read is saved for `list status`; if that fails, only that screen takes longer.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from resolver.config.config import Config
from resolver.feed import fleet, fleet_receipts, poll
from resolver.feed.places import Places
from resolver.feed.release import Releases
from resolver.feed.seal import Keys
from resolver.feed.state import Record

MOST_BEAT_S: Final = 900.0
COLLECT_EVERY_S: Final = 10.0
COLLECT_WITHIN_S: Final = 30.0
"""Time after which a folder of receipts that gives no answer is said to be stuck, in seconds."""

_log: Final = logging.getLogger("resolver.service")


class FleetHost:
    """Publishes the lists of `feed` and the names released, as the configuration says. `now` returns unix seconds."""

    def __init__(
        self, config: Config, keys: Keys, feed: poll.Feed, releases: Releases, now: Callable[[], float]
    ) -> None:
        self._feed = feed
        self._host = poll.host_of(config)
        self._now = now
        self._beat = _beat_of(config)
        self._reports: dict[str, tuple[Record, fleet_receipts.Reports]] = {}
        self._collected_at = Places(config.state.directory).collected
        folders = config.fleet
        self._publisher = fleet.Publisher(
            Path(folders.publish),
            poll.host_key_of(config, make=True),
            feed,
            releases,
            digest_key=keys.digest_id,
            beat=self._beat,
            now=now,
        )
        self._collector = (
            fleet_receipts.Collector(Path(folders.receipts), Path(folders.nodes)) if folders.nodes else None
        )

    def configure(self, config: Config) -> None:
        """Go on with the lists of another configuration. What was published of a list that is gone stays until it is
        stale: nodes keep the list, with an alarm, until it is removed there too."""
        self._beat = self._publisher.beat = _beat_of(config)
        self.wake()

    def wake(self) -> None:
        """Publish what changed now."""
        self._publisher.wake()

    async def run(self) -> None:
        """Publish and collect until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publisher.run(), name="publish")
            group.create_task(self._collect(), name="collect")

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
        records = {one.list.id: record for one in self._feed if (record := one.state.in_force) is not None}
        reports = self._collector.reports(records)
        self._reports = {list_id: (record, reports[list_id]) for list_id, record in records.items()}
        reported = [(list_id, *found) for list_id, found in self._reports.items()]
        outbox = self._feed.outbox
        made = fleet_receipts.look(reported, host=self._host, now=self._now(), has=outbox.has, put=outbox.put)
        with suppress(OSError):
            self._collector.save(self._collected_at)
        return made

    def reports(self, list_id: str, record: Record) -> fleet_receipts.Reports | None:
        """Return which nodes had reported a list's record in force when receipts were collected last.

        None if no receipts are collected, or none were since this record is in force.
        """
        about, reports = self._reports.get(list_id, (None, None))
        return reports if about is not None and about.identity == record.identity else None

    async def _collect(self) -> None:
        """Collect until cancelled, in a thread of its own: one that a folder holds up must not hold up a stop."""
        stuck = failed = False
        while self._collector is not None:
            done, loop = asyncio.Event(), asyncio.get_running_loop()
            result: list[bool | Exception] = []
            threading.Thread(target=self._collected, args=(result, done, loop), daemon=True).start()
            try:
                async with asyncio.timeout(COLLECT_WITHIN_S):
                    await done.wait()
            except TimeoutError:
                if not stuck:
                    said = "fleet: the folder of receipts gives no answer: no receipt is collected until it does"
                    _log.error(said)
                stuck = True
                await done.wait()
            stuck = False
            (found,) = result
            if isinstance(found, Exception) and not isinstance(found, OSError):
                raise found
            if isinstance(found, OSError) and not failed:
                _log.error("fleet: receipts cannot be collected (%s: %s)", found.filename, found.strerror)
            elif found is True:
                self._feed.outbox.wake()
            failed = isinstance(found, OSError)
            await asyncio.sleep(min(self._beat, COLLECT_EVERY_S))

    def _collected(self, result: list[bool | Exception], done: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        try:
            result.append(self.collect())
        except Exception as error:  # noqa: BLE001 - the wait must end, and the loop raises what is no fault of a folder
            result.append(error)
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(done.set)


def _beat_of(config: Config) -> float:
    """Return the time between two signs of life, in seconds."""
    return min(MOST_BEAT_S, *(float(one.source.poll) for one in config.lists))
